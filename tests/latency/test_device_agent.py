"""The module for devices: Python 3.8, nothing but the standard library, what it reads of a Jetson."""

from __future__ import annotations

import ast
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.latency import device_agent
from nas.latency.device_agent import (
    EngineError,
    FolderMailbox,
    PowerMeter,
    noise_file,
    power_rails,
    read_machine,
    read_temperatures,
    serve,
)

SOURCE = Path(device_agent.__file__)


def test_it_is_python_3_8() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 8))


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    copy = shutil.copy(SOURCE, tmp_path / "device_agent.py")
    run = subprocess.run([sys.executable, "-I", "-S", copy, "--help"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert "--folder" in run.stdout


def find_python_3_8() -> str | None:
    path = shutil.which("python3.8")
    works = path is not None and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0
    return path if works else None


def test_it_runs_in_python_3_8(tmp_path: Path) -> None:
    python = find_python_3_8()
    if python is None:
        pytest.skip("Python 3.8 is not installed")
    job = {"format": 1, "device": "d", "notation": "resnet50", "architecture_id": "a", "protocol_id": "p",
           "protocol": {}, "noise": None, "sha256": "0" * 64}  # fmt: skip
    folder = tmp_path / "jobs" / "a-p"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job))
    command = [python, str(SOURCE), "--folder", str(tmp_path), "--work", str(tmp_path / "work")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    result = json.loads((tmp_path / "results" / "a-p.json").read_text())
    assert result["payload"]["reason"] == "the network file is damaged or missing"


# -- what it reads


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_a_jetson_is_recognised(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/device-tree/model": "Jetson-AGX\x00",
            "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        },
    )
    found = read_machine(str(root))
    assert (found["board"], found["governor"]) == ("Jetson-AGX", "schedutil")
    assert found["jetson_release"] == "# R35 (release), REVISION: 4.1"


def test_nothing_is_read_where_nothing_is(tmp_path: Path) -> None:
    found = read_machine(str(tmp_path))
    assert (found["board"], found["governor"], found["jetson_release"]) == (None, None, None)
    assert read_temperatures(str(tmp_path)) is None
    assert power_rails(str(tmp_path)) == {}
    assert PowerMeter({}).mean_mw() is None


def test_temperatures(tmp_path: Path) -> None:
    zones = "sys/class/thermal/thermal_zone"
    files = {f"{zones}0/type": "CPU-therm", f"{zones}0/temp": 41500, f"{zones}1/type": "PMIC", f"{zones}1/temp": "n/a"}
    assert read_temperatures(str(write(tmp_path, files))) == {"CPU-therm": 41.5}


def test_power_of_jetpack_4(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0/"
    rails = {"in_power0_input": 5000, "rail_name_0": "GPU", "in_power1_input": 2000, "rail_name_1": "CPU"}
    meter = PowerMeter(power_rails(str(write(tmp_path, {device + name: value for name, value in rails.items()}))))
    meter.sample()
    assert meter.mean_mw() == 7000.0


def test_power_of_jetpack_5_takes_the_rail_of_the_whole_board(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/"
    rails = {
        "in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 3000,
        "in2_label": "VDD_CPU_GPU_CV", "in2_input": 5000, "curr2_input": 1000,
    }  # fmt: skip
    meter = PowerMeter(power_rails(str(write(tmp_path, {device + name: value for name, value in rails.items()}))))
    meter.sample()
    assert meter.mean_mw() == pytest.approx(15_000.0)


def test_a_rail_that_cannot_be_read_is_no_power(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/"
    meter = PowerMeter(power_rails(str(write(tmp_path, {device + "in1_input": 5000}))))
    meter.sample()
    assert meter.mean_mw() is None


@pytest.mark.parametrize(("kind", "dtype"), [("f32", np.float32), ("f16", np.float16)])
def test_noise_has_the_promised_spread(kind: str, dtype: type, tmp_path: Path) -> None:
    sizes = {-2: 1 << 20, -7: 4096, -4: 3 << 18}
    parts = " ".join([kind, *(f"{exponent}:{size}" for exponent, size in sizes.items())])
    values = np.fromfile(noise_file(str(tmp_path), parts), dtype)
    for exponent, size in sizes.items():
        part, values = np.split(values, [size // np.dtype(dtype).itemsize])
        assert part.astype(np.float64).std() == pytest.approx(2.0**exponent, rel=0.1)
    assert values.size == 0


@pytest.mark.parametrize("parts", ["", "f64 -2:4096", "f32", "f32 -2", "f32 -2:4096 ../x:1", "f32 -200:4096"])
def test_only_known_noise_is_made(parts: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not know"):
        noise_file(str(tmp_path), parts)


def test_input_noise_fills_exactly() -> None:
    for values in (1, 65536, 65537, 200_000):
        assert len(device_agent.normal_noise(values, "e")) == values * struct.calcsize("e")


# -- an exchange folder


def job_folder(root: Path, name: str, **changes: object) -> None:
    job = {"format": 1, "device": "d", "notation": name, "protocol": {}, "noise": None, "sha256": None, **changes}
    write(root, {f"jobs/{name}/job.json": json.dumps(job)})


def test_a_folder_is_worked_through_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        job_folder(tmp_path, name)
    lines: list[str] = []
    measured = serve(
        FolderMailbox(str(tmp_path)), "", lambda job, path: {"median_ms": 1.0}, once=True, log=lines.append
    )
    assert measured == 2
    assert lines == ["one: 1.000 ms a batch", "two: 1.000 ms a batch"]
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"one.json", "two.json"}


def test_two_agents_do_not_share_a_folder(tmp_path: Path) -> None:
    job_folder(tmp_path, "one")
    first = FolderMailbox(str(tmp_path))
    with pytest.raises(EngineError, match="another agent works in"):
        FolderMailbox(str(tmp_path))
    del first


def test_a_damaged_job_gets_a_reason_and_the_rest_is_measured(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/bad/job.json": "{", "jobs/old/job.json": json.dumps({"format": 99})})
    job_folder(tmp_path, "good")
    assert serve(FolderMailbox(str(tmp_path)), "", lambda *_: {"median_ms": 1.0}, once=True, log=lambda _: None) == 1
    reasons = {
        path.stem: json.loads(path.read_text())["payload"].get("reason") for path in (tmp_path / "results").iterdir()
    }
    assert reasons["good"] is None
    assert "damaged" in reasons["bad"]
    assert "damaged" in reasons["old"]


def test_jobs_for_other_devices_are_left(tmp_path: Path) -> None:
    job_folder(tmp_path, "mine", device="xavier")
    job_folder(tmp_path, "other", device="orin")
    assert serve(FolderMailbox(str(tmp_path), "xavier"), "", lambda *_: {"median_ms": 1.0}, once=True, log=print) == 1


def test_a_crash_while_measuring_is_a_reason_not_an_end(tmp_path: Path) -> None:
    def crash(*_: object) -> dict[str, float]:
        raise MemoryError("out of memory")

    job_folder(tmp_path, "one")
    assert serve(FolderMailbox(str(tmp_path)), "", crash, once=True, log=lambda _: None) == 0
    payload = json.loads((tmp_path / "results" / "one.json").read_text())["payload"]
    assert payload["reason"] == "MemoryError: out of memory"


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    assert device_agent.main(["--folder", str(tmp_path)]) == 2
