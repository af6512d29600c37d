"""Readings of a GPU, through a stand-in for its library; none where there is none."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas.latency import gpu


class FakeError(Exception):
    pass


def fake_nvml(**broken: bool) -> Any:
    """A GPU that answers everything but what is called broken."""

    def answer(name: str, value: Any) -> Any:
        def ask(*_: Any) -> Any:
            if broken.get(name):
                raise FakeError(name)
            return value

        return ask

    return SimpleNamespace(
        NVMLError=FakeError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=answer("init", None),
        nvmlShutdown=answer("shutdown", None),
        nvmlDeviceGetHandleByIndex=answer("handle", object()),
        nvmlDeviceGetName=answer("name", "Test GPU"),
        nvmlSystemGetDriverVersion=answer("driver", "570.1"),
        nvmlDeviceGetMemoryInfo=answer("memory", SimpleNamespace(total=8e9)),
        nvmlDeviceGetPowerManagementLimit=answer("limit", 30_000),
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1300, 2: 2133}[kind],
        nvmlDeviceGetTemperature=answer("temperature", 51),
        nvmlDeviceGetCurrentClocksThrottleReasons=answer("throttle", 0),
        nvmlDeviceGetTotalEnergyConsumption=answer("energy", 123_456),
        nvmlDeviceGetComputeRunningProcesses=answer(
            "processes", [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=1)]
        ),
        nvmlDeviceGetProcessUtilization=answer(
            "utilisation",
            [SimpleNamespace(pid=pid, smUtil=share) for pid, share in ((os.getpid(), 90), (1, 0), (2, 20), (2, 40))],
        ),
        nvmlDeviceGetUtilizationRates=answer("rates", SimpleNamespace(gpu=35)),
        nvmlDeviceGetUUID=answer("uuid", "GPU-1f"),
    )


def test_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    assert gpu.read_gpu(0) == {"name": "Test GPU", "driver": "570.1", "memory_mb": 8000.0, "power_limit_w": 30.0}
    assert gpu.read_clocks(0) == {"sm_mhz": 1300, "memory_mhz": 2133, "temperature": 51, "throttle": 0}
    assert gpu.read_energy_mj(0) == 123_456.0
    assert gpu.others_gpu_share(0, 0.0, os.getpid()) == pytest.approx(0.3)
    assert gpu.idle_gpu_share(0) == 0.35
    assert gpu.gpu_name_of_lock(0) == "GPU-1f"


def test_what_a_device_does_not_give_is_none_and_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("limit", "energy", "temperature", "throttle", "processes", "rates", "uuid")
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**dict.fromkeys(names, True)))
    assert gpu.read_gpu(0) == {"name": "Test GPU", "driver": "570.1", "memory_mb": 8000.0, "power_limit_w": None}
    assert gpu.read_clocks(0) == {"sm_mhz": 1300, "memory_mhz": 2133, "temperature": None, "throttle": None}
    assert gpu.read_energy_mj(0) is None
    assert gpu.others_gpu_share(0, 0.0, os.getpid()) is None
    assert gpu.idle_gpu_share(0) is None
    assert gpu.gpu_name_of_lock(0) == "cuda-0"


@pytest.mark.parametrize("broken", ["init", "handle"])
def test_without_a_driver_nothing_is_read(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**{broken: True}))
    assert gpu.read_gpu(0) is None
    assert gpu.read_energy_mj(0) is None


def test_without_the_library_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu.read_clocks(0) is None


@pytest.mark.parametrize(
    ("visible", "index", "asked"),
    [(None, 1, 1), ("", 1, 1), ("3", 0, 3), ("2, 5", 1, 5), ("GPU-1f,GPU-2a", 1, "GPU-2a"), ("4", 1, 1)],
)
def test_the_device_read_is_the_one_that_programs_see(
    visible: str | None, index: int, asked: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study's workers each see one GPU, as device 0; its energy must not be another's."""
    nvml, seen = fake_nvml(), []
    nvml.nvmlDeviceGetHandleByIndex = nvml.nvmlDeviceGetHandleByUUID = seen.append
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpu.read_energy_mj(index)
    assert seen == [asked]


@pytest.mark.parametrize(("device", "index"), [("cpu", None), ("cuda", 0), ("cuda:3", 3)])
def test_index_of_a_device(device: str, index: int | None) -> None:
    assert gpu.gpu_index(device) == index


def test_a_program_that_only_holds_the_card_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paused worker of ours, an idle notebook."""
    nvml = fake_nvml()
    nvml.nvmlDeviceGetProcessUtilization = lambda *_: [SimpleNamespace(pid=1, smUtil=0)]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpu.others_gpu_share(0, 0.0, os.getpid()) == 0.0


def test_in_a_container_with_other_process_numbers_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    assert gpu.others_gpu_share(0, 0.0, own_pid=999_999_999) is None


def see(monkeypatch: pytest.MonkeyPatch, *uuids: str) -> None:
    """Cards as torch shows them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(name="Card of torch", uuid=uuids[index])
    )


def test_torch_says_which_card_an_index_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML counts by the bus, CUDA by speed unless told otherwise."""
    nvml, asked = fake_nvml(), []
    nvml.nvmlDeviceGetHandleByUUID = asked.append
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    see(monkeypatch, "aa", "bb")
    gpu.read_energy_mj(1)
    assert asked == ["GPU-bb"]
    assert gpu.gpu_model(0) == "Card of torch"
    assert gpu.gpu_uuid(2) is None


def test_clocks_are_read_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    readings = iter([(1300, 51, 0), (1100, 60, 4), (1250, None, 8)])
    monkeypatch.setattr(
        gpu,
        "read_clocks",
        lambda index: dict(zip(("sm_mhz", "temperature", "throttle"), next(readings), strict=True), memory_mhz=None),
    )
    moments = iter([0.0, 0.05, 0.2, 0.4])
    monkeypatch.setattr(gpu.time, "monotonic", lambda: 100.0 + next(moments))
    with gpu.GpuSampler(0) as sampler:
        for _ in range(4):
            sampler.sample()
    expected = {"readings": 3, "sm_mhz": [1100, 1300], "memory_mhz": None, "temperature": 60, "throttle": 12}
    assert sampler.summary() == expected
    assert gpu.GpuSampler(None).summary() is None
