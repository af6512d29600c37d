"""Studies whose latencies come from elsewhere: one waits for its device, one goes on, none waits in vain."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from search_builders import open_study, work

from nas.errors import LatencyError, StudyError
from nas.latency import device_agent
from nas.search.context import StudyContext
from nas.search.definition import load_study
from nas.search.far_device import check_far_device, collect_figures
from nas.storage import Repository

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None,
    reason="onnx and onnxruntime are not installed",
)

PERSONS = {"train_identities": 8, "test_identities": 4, "cameras": 2, "images": 2, "height": 32, "width": 16}
STUDY: dict[str, Any] = {
    "name": "far",
    "space": {
        "name": "two",
        "backbones": {"resnet18": {"width": 0.125}},
        "sites": [4, 8],
        "blocks": ["se"],
        "rules": [{"max_blocks": 1}],
    },
    "data": {"generated": PERSONS},
    "recipe": {"extends": "quickstart", "epochs": 1, "input": [32, 16], "identities": 4, "images": 2},
    "stages": [{"profile": {}}, {"sweep": {"design": "exhaustive"}}, {"confirm": {"seeds": 1, "baselines": []}}],
}
LATENCY: dict[str, Any] = {
    "device": "robot",
    "on": "cpu",
    "backend": "onnxruntime",
    "reference": "resnet34",
    "batch": 1,
    "input": [32, 16],
    "warmup": 1,
    "batches": 5,
    "threads": 1,
}
WAIT_S = 240.0


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def open_far(folder: Path, **latency: Any) -> tuple[Repository, StudyContext]:
    database = f"sqlite:///{folder / 'study.db'}"
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "database": database, "latency": LATENCY | latency}))
    _, repository, context = open_study(folder / "study.yaml")
    return repository, context


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts agents as the device would: the module alone, a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        where = ["--db", f"sqlite:///{tmp_path / 'study.db'}", "--device", "robot", "--poll", "0.1"]
        command = [sys.executable, device_agent.__file__, *where, "--work", str(tmp_path / f"w{len(started)}")]
        started.append(subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_study_waits_for_its_device_whose_agent_is_killed_on_the_way(
    tmp_path: Path, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    repository, context = open_far(tmp_path, batches=300)
    worker = threading.Thread(target=work, args=(context,), daemon=True)
    worker.start()
    wait_until(lambda: len(repository.latency_jobs(status="waiting")) == 4)  # two baselines, two placements
    assert repository.results("far").empty

    first = start_agent("--lease", "1")
    wait_until(lambda: bool(repository.latency_jobs(status="running") or repository.latency_jobs(status="finished")))
    first.kill()
    start_agent()
    worker.join(WAIT_S)
    assert not worker.is_alive()

    results = repository.results("far")
    assert repository.status("far")["finished"]
    assert set(results["status"]) == {"finished"}
    assert results["latency_ms"].notna().all()
    assert {job["status"] for job in repository.latency_jobs()} == {"finished"}
    assert {row.device for row in repository.latencies().itertuples()} == {"robot"}


def test_a_study_that_goes_on_files_late_figures(
    tmp_path: Path, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    repository, context = open_far(tmp_path, wait_for_device=False)
    work(context)
    assert repository.status("far")["finished"]
    assert repository.results("far")["latency_ms"].isna().all()
    assert start_agent("--once").wait(WAIT_S) == 0
    collect_figures(context)
    assert repository.results("far")["latency_ms"].notna().all()


def test_what_the_device_cannot_do_is_not_waited_for(
    tmp_path: Path, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    repository, context = open_far(tmp_path, backend="tensorrt", on="cuda")
    start_agent()
    work(context)
    assert repository.status("far")["finished"]
    assert {job["reason"] for job in repository.latency_jobs()} == {"tensorrt is not installed on this device"}
    assert repository.results("far")["latency_ms"].isna().all()


def test_what_would_fail_every_job_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def context(backend: str) -> StudyContext:
        data = {**STUDY, "latency": LATENCY | {"backend": backend}}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(data))
        return StudyContext(load_study(tmp_path / "study.yaml"), None, 0)  # type: ignore[arg-type]

    check_far_device(context("onnxruntime"))
    with pytest.raises(LatencyError, match="did you mean 'onnxruntime'"):
        check_far_device(context("onnxruntim"))
    monkeypatch.setattr("nas.latency.backends.base.installed", lambda *modules: "onnx is not installed")
    with pytest.raises(StudyError, match="jobs for a device are ONNX files, and onnx is not installed"):
        check_far_device(context("onnxruntime"))
    check_far_device(context("eager"))  # rebuilt on the device by this package, not sent
