"""The program for devices: one file for Python 3.6, nothing but the standard library, what it reads of a Jetson."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas.errors import LatencyError
from nas.latency import agent_file as built
from nas.latency.device_agent import program
from nas.latency.device_agent.engines import EngineError, normal_noise
from nas.latency.device_agent.machine import PowerMeter, power_rails, read_machine, read_temperatures
from nas.latency.device_agent.mailbox import FORMAT, FolderMailbox, payload_sha256
from nas.latency.device_agent.noise import noise_file
from nas.latency.device_agent.program import serve

OLDEST = (3, 6)  # JetPack 4.6
NEWER_CALLS = {
    "math": {"prod", "dist", "comb", "perm", "isqrt", "lcm", "nextafter", "ulp"},
    "time": {"perf_counter_ns", "monotonic_ns", "time_ns", "thread_time"},
    "contextlib": {"nullcontext", "AsyncExitStack", "chdir"},
    "functools": {"cache", "cached_property", "singledispatchmethod"},
    "os": {"posix_spawn", "memfd_create", "waitstatus_to_exitcode", "pidfd_open", "register_at_fork"},
    "shlex": {"join"},
    "ast": {"unparse"},
    "random": {"randbytes"},
    "statistics": {"fmean", "quantiles", "multimode", "NormalDist"},
}
"""Functions of the standard library that Python 3.6 does not have, of the modules the agent uses or might."""
NEWER_METHODS = {"removeprefix", "removesuffix", "isascii", "bit_count", "is_relative_to", "fromisoformat", "hexdigits"}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file that goes to a device."""
    path = tmp_path_factory.mktemp("agent") / "device_agent.py"
    path.write_text(built.agent_file())
    return path


def test_its_syntax_is_that_of_the_oldest_python(agent: Path) -> None:
    ast.parse(agent.read_text(), feature_version=OLDEST)
    vermin = shutil.which("vermin", path=str(Path(sys.executable).parent))
    if vermin is not None:
        run = subprocess.run([vermin, "--target=3.6-", str(agent)], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stdout


def test_it_calls_nothing_newer_than_the_oldest_python(agent: Path) -> None:
    modules, called = set(), set()
    for node in ast.walk(ast.parse(agent.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            called.add((owner, node.attr))
        if isinstance(node, ast.Call):
            assert "capture_output" not in {keyword.arg for keyword in node.keywords}
    assert not {(m, name) for m, name in called if name in NEWER_CALLS.get(m, set()) or name in NEWER_METHODS}
    assert not modules & {"dataclasses", "contextvars", "zoneinfo", "graphlib", "tomllib", "sqlite3"}


def test_it_needs_nothing_but_the_standard_library(agent: Path) -> None:
    run = subprocess.run([sys.executable, "-I", "-S", agent, "--help"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert "--folder" in run.stdout


def test_two_definitions_of_a_name_cannot_go_into_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built, "MODULES", ("statistics", "statistics"))
    with pytest.raises(LatencyError, match="two modules of the device's agent define"):
        built.agent_file()


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9"])
def test_it_runs_in_old_pythons(version: str, agent: Path, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"Python {version} is not installed")
    job_folder(tmp_path, "a-p")
    command = [python, str(agent), "--folder", str(tmp_path)]
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
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_15W >",
            "var/lib/nvpmodel/status": "pmode:0002",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        },
    )
    found = read_machine(str(root))
    assert (found["board"], found["governor"], found["power_mode"]) == ("Jetson-AGX", "schedutil", "MODE_15W")
    assert found["jetson_release"] == "# R35 (release), REVISION: 4.1"


def test_nothing_is_read_where_nothing_is(tmp_path: Path) -> None:
    found = read_machine(str(tmp_path))
    assert {found[key] for key in ("board", "governor", "jetson_release", "power_mode")} == {None}
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
        assert len(normal_noise(values, "e")) == values * struct.calcsize("e")


# -- an exchange folder


def job_folder(root: Path, name: str, **changes: object) -> None:
    job = {
        "format": FORMAT,
        "device": "d",
        "notation": name,
        "protocol": {},
        "reference": None,
        "sha256": "",
        **changes,
    }
    write(root, {f"jobs/{name}/job.json": json.dumps(job)})
    with zipfile.ZipFile(root / "jobs" / name / "networks.zip", "w") as archive:
        archive.writestr("networks.json", "[]")
    packed = (root / "jobs" / name / "networks.zip").read_bytes()
    if "sha256" not in changes and name != "a-p":
        job["sha256"] = hashlib.sha256(packed).hexdigest()
        (root / "jobs" / name / "job.json").write_text(json.dumps(job))


def quick(*_: object) -> dict[str, float]:
    return {"median_ms": 1.0}


def quiet(_: str) -> None:
    pass


def payload(root: Path, name: str) -> dict[str, object]:
    content = json.loads((root / "results" / f"{name}.json").read_text())
    assert content["sha256"] == payload_sha256(content["payload"])
    found: dict[str, object] = content["payload"]
    return found


def test_a_folder_is_worked_through_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        job_folder(tmp_path, name)
    lines: list[str] = []
    mailbox = FolderMailbox(str(tmp_path))
    assert serve(mailbox, quick, log=lines.append) == 2
    assert lines == ["one: 1.000 ms per batch", "two: 1.000 ms per batch"]
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"one.json", "two.json"}
    assert serve(mailbox, quick, log=lines.append) == 0


def test_two_agents_do_not_share_a_folder(tmp_path: Path) -> None:
    job_folder(tmp_path, "one")
    first = FolderMailbox(str(tmp_path))
    with pytest.raises(EngineError, match="another agent works in"):
        FolderMailbox(str(tmp_path))
    del first


def test_a_damaged_job_gets_a_reason_and_the_rest_is_measured(tmp_path: Path) -> None:
    write(tmp_path, {"jobs/bad/job.json": "{", "jobs/old/job.json": json.dumps({"format": 99}), "jobs/empty/x": ""})
    job_folder(tmp_path, "good")
    assert serve(FolderMailbox(str(tmp_path)), quick, log=quiet) == 1
    assert "damaged" in str(payload(tmp_path, "bad")["reason"])
    assert "damaged" in str(payload(tmp_path, "old")["reason"])
    assert payload(tmp_path, "good")["record"] == {"median_ms": 1.0}
    assert not (tmp_path / "results" / "empty.json").exists(), "a job that is still being written is left"


def test_jobs_for_other_devices_are_left(tmp_path: Path) -> None:
    job_folder(tmp_path, "mine", device="xavier")
    job_folder(tmp_path, "other", device="orin")
    assert serve(FolderMailbox(str(tmp_path), "xavier"), quick, log=quiet) == 1


def test_a_crash_while_measuring_is_a_reason_not_an_end(tmp_path: Path) -> None:
    def crash(*_: object) -> dict[str, float]:
        raise MemoryError("out of memory")

    job_folder(tmp_path, "one")
    assert serve(FolderMailbox(str(tmp_path)), crash, log=quiet) == 0
    assert payload(tmp_path, "one")["reason"] == "MemoryError: out of memory"


def test_an_agent_that_waits_takes_what_comes_later(tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def log(line: str) -> None:
        if line.startswith("later"):
            raise EnoughError
        job_folder(tmp_path, "later")

    job_folder(tmp_path, "first")
    with pytest.raises(EnoughError):
        serve(FolderMailbox(str(tmp_path)), quick, wait_s=0.01, log=log)


@pytest.mark.parametrize("linked", ["results", "jobs", ".agent"])
def test_the_agent_works_through_no_link(linked: str, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "stick"
    (elsewhere / "one").mkdir(parents=True)
    (folder / "jobs").mkdir(parents=True)
    if linked == "jobs":
        (folder / "jobs").rmdir()
    (folder / linked).symlink_to(elsewhere)
    with pytest.raises(EngineError, match="is a link"):
        FolderMailbox(str(folder))


def test_a_result_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    job_folder(tmp_path, "one")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "results").mkdir()
    mailbox = FolderMailbox(str(tmp_path))
    job = mailbox.claim()
    assert job is not None
    (tmp_path / "results" / "one.json").symlink_to(tmp_path / "victim")
    assert mailbox.claim() is None
    mailbox.finish(job, {"median_ms": 1.0})
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "results" / "one.json").is_symlink()


def test_a_network_larger_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "LARGEST_NETWORK", 10)
    with zipfile.ZipFile(tmp_path / "n.zip", "w") as archive:
        archive.writestr("networks.json", " " * 11)
    packed = (tmp_path / "n.zip").read_bytes()
    with pytest.raises(EngineError, match="unpacks to more than 1 GiB"):
        program.unpack(packed, hashlib.sha256(packed).hexdigest(), str(tmp_path))
    with pytest.raises(EngineError, match="more than 8 GiB of weights"):
        noise_file(str(tmp_path), "f32 " + " ".join(["-2:9999999999"] * 2))


def test_a_folder_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--folder", str(tmp_path)]) == 2
    assert "is it an exchange folder?" in capsys.readouterr().err
