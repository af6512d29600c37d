"""Who listens to a study is told of everything once, in order; trackers write it where their own readers find it."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from private_postgres import free_port
from search_builders import SPACE, true_map, true_ms

import nas
from nas.errors import StudyError
from nas.results.costs import COSTS
from nas.search.callbacks import NUMBERS, Callback, EpochEvent, TrainingEvent
from nas.spaces import Candidate

STAGES: list[Any] = [
    {"sweep": {"design": "stratified", "candidates": 40, "seeds": 2}},
    {"shrink": {"families": ["sites", "block_preference"], "confirm": 6}},
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    return tmp_path


def score(candidate: Candidate, seed: int) -> dict[str, float]:
    if candidate.notation == "resnet101":
        raise ValueError("too large")
    return {"map": true_map(candidate) + 0.0001 * (seed % 3), "latency_ms": true_ms(candidate), "loss": 0.5}


def run(*callbacks: Any, stages: list[Any] | None = None) -> nas.Study:
    objective = {"python": score, "metrics": ["map", "loss"], "costs": ["latency_ms"]}
    chosen = [{"sweep": {"candidates": 2}}] if stages is None else stages
    study = {"name": "told", "space": SPACE, "objective": objective, "stages": chosen, "max_attempts": 1}
    return nas.run(study, in_process=True, progress=False, callbacks=callbacks)


class Listener(Callback):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def study_began(self, study: str, definition: Mapping[str, Any]) -> None:
        self.heard.append(("began", study, definition["name"]))

    def stage(self, name: str, kind: str, status: str) -> None:
        self.heard.append((name, kind, status))

    def training(self, event: TrainingEvent) -> None:
        self.heard.append(event)

    def epoch(self, event: EpochEvent) -> None:
        self.heard.append(event)

    def rule(self, stage: str, sentence: str, evidence: Mapping[str, Any]) -> None:
        self.heard.append(("rule", stage, sentence))

    def study_ended(self, study: str, finished: bool) -> None:
        self.heard.append(("ended", study, finished))


def test_whatever_a_study_may_pay_with_is_told() -> None:
    """Activations and slow batches were not."""
    assert {cost.column for cost in COSTS.values()} <= set(NUMBERS)


@pytest.mark.slow
def test_everything_is_told_once_and_in_order() -> None:
    listener = Listener()
    found = run(listener, stages=STAGES)
    heard = listener.heard
    assert heard[0] == ("began", "told", "told")
    assert heard[-1] == ("ended", "told", True)
    trainings = [event for event in heard if isinstance(event, TrainingEvent)]
    rows = found.results().drop_duplicates("training_id")
    for status, wanted in (("running", rows), ("finished", rows.query("status == 'finished'"))):
        assert sorted(e.id for e in trainings if e.status == status) == sorted(wanted["training_id"])
    failed = [event for event in trainings if event.status == "failed"]
    assert {(e.notation, e.failure) for e in failed} == {("resnet101", "error")}
    one = next(event for event in trainings if event.status == "finished")
    assert one.numbers["map"] == true_map(Candidate.parse(one.notation)) + 0.0001 * (one.seed % 3)
    assert one.numbers["loss"] == 0.5
    begun: set[int] = set()
    for event in trainings:
        assert event.status == "running" or event.id in begun
        begun.add(event.id)
    stages = [event[1:] for event in heard if isinstance(event, tuple) and event[0] in ("sweep", "shrink")]
    assert stages == [("sweep", "running"), ("sweep", "finished"), ("shrink", "running"), ("shrink", "finished")]
    rules = [event[2] for event in heard if isinstance(event, tuple) and event[0] == "rule"]
    assert rules == [rule.sentence() for rule in found.rules().rules]
    again = Listener()
    run(again, stages=STAGES)
    assert again.heard == []  # the study is finished: nothing happens


@pytest.mark.slow
def test_one_that_raises_does_not_end_the_study(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def training(self, event: TrainingEvent) -> None:
            raise OSError("no route to host")

    with caplog.at_level(logging.WARNING, logger="nas.callbacks"):
        assert run(Broken()).status()["finished"]
    assert "Broken.training raised OSError: no route to host" in caplog.text


def test_the_end_is_told_when_a_run_is_broken_off() -> None:
    listener = Listener()
    study = {
        "name": "broken",
        "space": SPACE,
        "objective": lambda candidate: {},
        "stages": [{"sweep": {"candidates": 1}}],
    }
    with pytest.raises(StudyError, match="gave no 'map'"):
        nas.run({**study, "cost": "params"}, in_process=True, progress=False, callbacks=[listener])
    assert listener.heard[-1] == ("ended", "broken", False)


@pytest.mark.slow
def test_epochs_of_our_own_trainings_are_told() -> None:
    listener = Listener()
    recipe = {"extends": "strong_baseline", "epochs": 2, "milestones": [], "warmup_epochs": 0, "identities": 2}
    study = {
        "name": "epochs",
        "space": {"name": "one", "backbones": {"resnet18": {"width": 0.25}}, "sites": [3], "blocks": ["se"]},
        "data": {"generated": {"train_identities": 4, "test_identities": 4, "cameras": 2, "images": 2}},
        "recipe": {**recipe, "images": 2, "input": [64, 32], "weights": "none"},
        "latency": {"input": [64, 32], "batch": 1, "batches": 3, "reference": "resnet18(width=0.25)", "threads": 1},
        "select_on": "test",
        "stages": [{"sweep": {"design": "exhaustive"}}],
    }
    found = nas.run(study, in_process=True, progress=False, callbacks=[listener])
    epochs = [event for event in listener.heard if isinstance(event, EpochEvent)]
    trainings = {event.training for event in epochs}
    assert len(trainings) == 2
    assert [event.epoch for event in epochs if event.training == min(trainings)] == [1, 2]
    assert all(event.numbers["loss"] > 0 for event in epochs)
    # The weights that were kept can be gone on with as they are said to be.
    kept = found.candidates().dropna(subset=["checkpoint"])
    assert len(kept) > 0
    assert kept["export"].str.startswith("nas export ").all()
    assert 0 <= nas.evaluate(kept["checkpoint"].iloc[0], study["data"], device="cpu").map <= 1


def test_tensorboard(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = run(nas.TensorBoard(folder / "runs"))
    read = EventAccumulator(str(folder / "runs" / "told" / "study"))
    read.Reload()
    finished = found.results().query("status == 'finished'")
    values = [event.value for event in read.Scalars("result/map")]
    assert sorted(values) == pytest.approx(sorted(finished["map"]), abs=1e-6)
    assert len(list((folder / "runs" / "told").glob("training-*"))) == len(found.results())


def test_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file://{folder / 'mlruns'}"
    found = run(nas.MLflow(uri))
    client = mlflow.MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("told").experiment_id])
    results = found.results()
    assert {r.data.params["candidate"] for r in runs} == set(results["notation"])
    assert {r.data.params["candidate"] for r in runs if r.info.status == "FAILED"} == {"resnet101"}
    told = {r.data.params["candidate"]: r.data.metrics.get("map") for r in runs if r.info.status == "FINISHED"}
    finished = results.query("status == 'finished'")
    assert told == dict(zip(finished["notation"], finished["map"], strict=True))


@pytest.mark.slow
def test_a_server_of_mlflow_s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("flask")
    port = free_port()
    store = {"MLFLOW_ALLOW_FILE_STORE": "true", "_MLFLOW_SERVER_FILE_STORE": f"file://{folder / 'kept'}"}
    command = [sys.executable, "-m", "flask", "--app", "mlflow.server:app", "run", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | store, stdout=log, stderr=log)
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_for(uri, server, folder / "server.log")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        found = run(nas.MLflow(uri))
        client = mlflow.MlflowClient(tracking_uri=uri)
        runs = client.search_runs([client.get_experiment_by_name("told").experiment_id])
    finally:
        server.terminate()
        server.wait(30)
    finished = found.results().query("status == 'finished'")
    told = {r.data.params["candidate"]: r.data.metrics["map"] for r in runs if r.info.status == "FINISHED"}
    assert told == dict(zip(finished["notation"], finished["map"], strict=True))


def wait_for(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers."""
    while True:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
            return
        time.sleep(0.2)


@pytest.mark.slow  # each run starts a process of wandb's own
def test_weights_and_biases_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    found = run(nas.WeightsAndBiases("project", folder), stages=[{"sweep": {"candidates": 2, "baselines": False}}])
    kept = list((folder / "wandb").glob("offline-run-*"))
    assert len(kept) == len(found.results())
    assert b"resnet50" in b"".join(file.read_bytes() for run in kept for file in run.glob("*.wandb"))


@pytest.mark.parametrize(("tracker", "extra"), [("MLflow", "mlflow"), ("TensorBoard", "tensorboard")])
def test_a_tracker_without_its_package_says_what_to_install(
    tracker: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = getattr(nas, tracker)

    def refuse(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(StudyError, match="cannot be imported: No module") as caught:
        make("runs")
    assert caught.value.hint == f"pip install 'nas-reid[{extra}]'"
