"""A device that is not there, or cannot what is asked of it: one sentence from every command and from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_standin
import pytest
import torch
from search_builders import study_file

from nas.cli.main import main
from nas.data.devices import tf32, usable_device
from nas.errors import LatencyError, StudyError, TrainingError
from nas.latency import LatencyProtocol, measure
from nas.search.definition import load_study
from nas.training.precision import resolve_precision

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says of itself; it must end with 2 and no traceback."""
    code, said = main(arguments), capsys.readouterr()
    text = " ".join((said.out + said.err).split())
    assert code == 2, text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cuda1", "gpu", "CUDA", "cpu:0", "mps", "cuda:-1"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(TrainingError, match="unknown device"):
        usable_device(name)


@NO_GPU
def test_a_gpu_that_is_not_there() -> None:
    assert usable_device("auto") == "cpu"
    with pytest.raises(StudyError, match="cuda:1 cannot be used: "):
        usable_device("cuda:1", StudyError)
    with pytest.raises(LatencyError, match="cuda cannot be used"):
        measure("resnet18(width=0.25)", LatencyProtocol(device="cuda", input=(32, 16)))


@pytest.mark.parametrize(("count", "name"), [(1, "cuda:1"), (2, "cuda:7")])
def test_a_card_too_many(count: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(TrainingError, match=f"no device {name}, only {count} of them"):
        usable_device(name)
    assert usable_device(f"cuda:{count - 1}") == f"cuda:{count - 1}"


@pytest.mark.parametrize(
    ("capability", "precision", "expected"),
    [((9, 0), "auto", "bf16"), ((8, 0), "bf16", "bf16"), ((7, 5), "auto", "fp16"), ((7, 5), "fp16", "fp16"),
     ((6, 1), "auto", "fp32"), ((7, 0), "bf16", "bf16 needs compute capability 8.0, cuda:0 has 7.0")],
)  # fmt: skip
def test_precision_by_card(
    capability: tuple[int, int], precision: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if " " not in expected:
        assert resolve_precision(precision, torch.device("cuda:0")) == expected
        return
    with pytest.raises(TrainingError) as error:
        resolve_precision(precision, torch.device("cuda:0"))
    assert error.value.message == expected


@NO_GPU
@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_commands(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "unknown device 'tpu'" if device == "tpu" else "cuda cannot be used: "
    file = str(tmp_path / "no-such.pt")
    for arguments in (
        ["train", "resnet18", "--data", "generated:"],
        ["evaluate", file, "--data", "generated:"],
        ["extract", file, str(tmp_path), "--out", str(tmp_path / "features.npy")],
    ):
        assert words in sentence([*arguments, "--device", device], capsys)


@NO_GPU
def test_studies_and_workers(tmp_path: Path) -> None:
    definition = load_study(study_file(tmp_path, [{"sweep": {"candidates": 4}}], device="cuda"))
    assert definition.device == "cuda"
    with pytest.raises(StudyError, match="device must be auto, cpu, cuda or cuda:N, not 'tpu'"):
        load_study(study_file(tmp_path, [{"sweep": {"candidates": 4}}], device="tpu"))


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.slow
def test_switches_of_tf32_whatever_interface_was_used_before(new: bool) -> None:
    """In a process of its own: torch refuses to read the former interface once the newer one was used."""
    first = (
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'" if new else "torch.set_float32_matmul_precision('high')"
    )
    code = f"""
import torch
{first}
from nas.data.devices import tf32
parts = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.mkldnn.matmul
before = [part.fp32_precision for part in parts]
for allowed in (False, True):
    with tf32(allowed):
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
    assert [part.fp32_precision for part in parts] == before, (before, [part.fp32_precision for part in parts])
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_tf32_comes_back_after_an_error() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(ZeroDivisionError), tf32(True):
        _: Any = 1 / 0
    assert torch.backends.cuda.matmul.fp32_precision == before


@pytest.mark.heavy
@pytest.mark.slow
def test_on_cards_that_are_there_but_cannot(tmp_path: Path) -> None:
    """Two cards of compute capability 7.0, no NVML."""
    for arguments, words in [
        (["train", "resnet18", "--data", "generated:", "--device", "cuda:7"], "no device cuda:7, only 2 of them"),
        (["train", "resnet18(width=0.25)", "--recipe", "quickstart", "--set", "precision=bf16", "--device", "cuda:1",
          "--data", "generated:train_identities=16,test_identities=4"],
         "bf16 needs compute capability 8.0, cuda:1 has 7.0"),
    ]:  # fmt: skip
        found = gpu_standin.python("-m", "nas", *arguments, FAKECUDA_CAPABILITY="70", NAS_CACHE=str(tmp_path))
        assert found.returncode == 2, found.stdout
        assert words in found.stdout
        assert "Traceback" not in found.stdout
