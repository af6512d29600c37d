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

from nas.cli.main import main
from nas.errors import LatencyError, StudyError
from nas.latency.exchange import Bridge
from nas.search.context import StudyContext, StudyParts
from nas.search.definition import load_study
from nas.search.far_device import check_far_device
from nas.search.joining import joined
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
def board(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the agent as a board would: the file that the bridge left, a process of its own that waits for jobs."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "device_agent.py", "--folder", ".", "--wait", "0.1"]
        started.append(subprocess.Popen(command, cwd=tmp_path / "stick", stdout=subprocess.DEVNULL, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def answers(repository: Repository) -> set[str]:
    """What is said of each network's time: that it is known, or why a measurement as short as these does not tell."""
    results = repository.results("far")
    why = results["latency_unknown"].where(results["latency_ms"].isna(), "known")
    return {"nothing" if text is None or text != text else str(text) for text in why}


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_a_study_waits_for_its_device_whose_agent_is_killed_on_the_way(
    tmp_path: Path, board: Callable[[], subprocess.Popen[str]]
) -> None:
    repository, context = open_far(tmp_path, batches=300)
    worker = threading.Thread(target=work, args=(context,), daemon=True)
    worker.start()
    # two baselines, two placements, and another placement that checks whether equal tensors cost the same
    wait_until(lambda: len(repository.latency_jobs(status="waiting")) >= 4)
    assert repository.results("far").empty

    bridge = Bridge(repository, str(tmp_path / "stick"), "robot")
    bridge.carry()
    first = board()
    wait_until(lambda: any((tmp_path / "stick" / "results").glob("*")))
    first.kill()
    first.wait()
    board()
    while worker.is_alive():
        bridge.carry()
        worker.join(0.2)

    results = repository.results("far")
    assert repository.status("far")["finished"]
    assert set(results["status"]) == {"finished"}
    assert "nothing" not in answers(repository)
    assert {job["status"] for job in repository.latency_jobs()} == {"finished"}
    assert {row.device for row in repository.latencies().itertuples()} == {"robot"}


@pytest.mark.slow
def test_a_study_that_goes_on_gets_late_figures(tmp_path: Path, board: Callable[[], subprocess.Popen[str]]) -> None:
    repository, context = open_far(tmp_path, wait_for_device=False)
    work(context)
    assert repository.status("far")["finished"]
    assert answers(repository) == {"nothing"}
    bridge = Bridge(repository, str(tmp_path / "stick"), "robot")
    bridge.carry()
    board()
    wait_until(lambda: bridge.carry()[0] == 0)
    assert "nothing" not in answers(repository)


@pytest.mark.slow
def test_what_the_device_cannot_do_is_not_waited_for(
    tmp_path: Path, board: Callable[[], subprocess.Popen[str]]
) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    repository, context = open_far(tmp_path, backend="tensorrt", on="cuda")
    worker = threading.Thread(target=work, args=(context,), daemon=True)
    worker.start()
    bridge = Bridge(repository, str(tmp_path / "stick"), "robot")
    wait_until(lambda: bridge.carry()[0] > 0)
    board()
    while worker.is_alive():
        bridge.carry()
        worker.join(0.2)
    assert repository.status("far")["finished"]
    assert {job["reason"] for job in repository.latency_jobs()} == {"tensorrt is not installed on this device"}
    assert repository.results("far")["latency_ms"].isna().all()


def test_a_worker_on_the_device_answers_its_study(tmp_path: Path) -> None:
    """No bridge, no agent: the machine has this package and the device, and joins like any other."""
    repository, context = open_far(tmp_path)
    context.measures_for = "robot"
    work(context)
    assert repository.status("far")["finished"]
    assert "nothing" not in answers(repository)
    assert {row.device for row in repository.latencies().itertuples()} == {"robot"}
    board = joined(["far"], f"sqlite:///{tmp_path / 'study.db'}", measures_for="board")
    with board as queue, pytest.raises(StudyError, match="the study measures on 'robot', not on 'board'"):
        queue.run()
    assert main(["worker", "far", "--db", f"sqlite:///{tmp_path / 'study.db'}", "--measures-for", "board"]) == 2


def test_what_would_fail_every_job_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def context(backend: str) -> StudyParts:
        data = {**STUDY, "latency": LATENCY | {"backend": backend}}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(data))
        return StudyParts(load_study(tmp_path / "study.yaml"))

    check_far_device(context("onnxruntime"))
    with pytest.raises(LatencyError, match="did you mean 'onnxruntime'"):
        check_far_device(context("onnxruntim"))
    monkeypatch.setattr("nas.latency.exchange.installed", lambda *modules: "onnx is not installed")
    with pytest.raises(LatencyError, match="jobs for a device are ONNX files, and onnx is not installed"):
        check_far_device(context("onnxruntime"))
    check_far_device(context("eager"))  # rebuilt on the device by this package, not sent
