"""Wishes, budgets, stagnation, and several studies over one set of workers."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from search_builders import open_study, study_file, work
from sqlalchemy import update

from nas.cli.main import main
from nas.errors import DataError, NasError, StudyError
from nas.search import worker as working
from nas.search.definition import load_study
from nas.search.history import stagnant
from nas.search.joining import joined
from nas.search.launchers.base import launch_lines, stage_state
from nas.search.runner import register
from nas.search.worker import Worker
from nas.storage import Repository, TrainingOutcome, open_database
from nas.storage.clock import database_now
from nas.storage.models import Training


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are started find the table where the study names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_LAUNCHER", "")


SWEEP: list[Any] = [{"sweep": {"candidates": 6, "baselines": False}}]


@pytest.mark.slow
def test_a_budget_in_trainings_ends_the_study_and_a_larger_one_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(tmp_path, SWEEP, budget={"trainings": 4})
    assert main(["run", str(file), "--no-report"]) == 0
    assert "the budget of 4 trainings is spent (4)" in " ".join(capsys.readouterr().err.split())
    with open_database(load_study(file).database) as database:
        status = Repository(database).status("replayed")
    assert (status["trainings"]["finished"], status["trainings"]["waiting"], status["wish"]) == (4, 2, "stop")
    study_file(tmp_path, SWEEP, budget={"trainings": 6})
    assert main(["run", str(file), "--no-report"]) == 0
    _, repository, _ = open_study(file)
    status = repository.status("replayed")
    assert (status["finished"], status["trainings"]["finished"]) == (True, 6)


def test_a_stage_ends_with_its_budget_and_the_next_one_begins(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"candidates": 6, "baselines": False, "budget": {"trainings": 2}}},
        {"confirm": {"max_candidates": 1, "seeds": 1, "baselines": []}},
    ]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    first, second = repository.stages(context.study_id)
    assert first.result == {
        "stopped": "the budget of 2 trainings is spent (2); 4 trainings that it had asked for were not begun"
    }
    assert [first.status, second.status] == ["finished", "finished"]
    # What the next one confirms is one of the two: a table has one value a candidate and seed.
    assert repository.status("replayed")["trainings"] == {"waiting": 0, "running": 0, "finished": 2, "failed": 0}
    stages[0]["sweep"]["budget"] = {"trainings": 20}  # type: ignore[index]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    assert repository.status("replayed")["stages"][0]["trainings"]["finished"] == 6


def test_hours_are_of_trainings_that_finished_since_the_study_began(tmp_path: Path) -> None:
    _, repository, context = open_study(study_file(tmp_path, SWEEP, budget={"hours": 2.0}))
    gpu = repository.ensure_environment({"device": "cuda", "gpu": "H"})
    Worker(context, None).advance()  # type: ignore[arg-type]
    for seconds, environment in ((3600.0, gpu), (1800.0, None)):
        claim = repository.claim_training(context.study_id, "w")
        assert claim is not None
        repository.finish_training(claim.id, "w", TrainingOutcome(map=0.5, seconds=seconds, environment_id=environment))
    spent = repository.spent(context.study_id)
    assert (spent.trainings, spent.hours, spent.gpu_hours, spent.failures) == (2, 1.5, 1.0, 0)


@pytest.mark.slow
def test_too_many_failures_end_the_study_with_exit_2_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(tmp_path, SWEEP, budget={"failures": 1}, max_attempts=1)
    table = tmp_path / "table.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[-3:], *[row for row in rows if row.startswith('"resnet50",')]]) + "\n")
    assert main(["run", str(file), "--no-report"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "2 trainings failed and the budget allows 1 (2 of kind" in said
    assert "is not in the table" in said
    assert main(["status", "replayed", "--db", open_study(file)[0].database]) == 0
    told = capsys.readouterr().out
    assert "stopped: 2 trainings failed" in " ".join(told.split())
    assert "running" not in told.partition("training time")[2]


@pytest.mark.slow
def test_stagnation_ends_a_search_by_hypervolume(tmp_path: Path) -> None:
    stages = [{"search": {"sampler": "random", "trainings": 60, "batch": 2, "stagnation": 3}}]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    rows = repository.results("replayed")
    assert 8 <= rows["candidate_id"].nunique() < 60
    assert repository.stages(context.study_id)[0].status == "finished"


def test_a_front_that_grows_does_not_stagnate() -> None:
    rows = pd.DataFrame(
        {
            "batch": [0, 0, 1, 1],
            "notation": ["resnet50", "resnet50+cnl@1", "resnet50+cnl@2", "resnet50+cnl@3"],
            "map": [0.5, 0.6, 0.55, 0.58],
            "status": "finished",
            "training_id": [1, 2, 3, 4],
            "seed": 0,
            "start": "scratch",
        }
    )
    prices = dict(zip(rows["notation"], (30.0, 33.0, 34.0, 35.0), strict=True))
    assert stagnant(rows, 1, lambda c: prices[c.notation])
    assert not stagnant(rows.assign(map=[0.5, 0.6, 0.55, 0.61]), 1, lambda c: prices[c.notation])
    assert not stagnant(rows, 2, lambda c: prices[c.notation])


def test_stop_pause_and_resume_are_wishes_that_workers_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(tmp_path, SWEEP)
    definition, repository, context = open_study(file)
    url = ["--db", definition.database]
    assert main(["pause", "replayed", *url]) == 0
    worker = Worker(context, None)  # type: ignore[arg-type]
    worker.begin()
    assert worker.step() == "idle"
    assert launch_lines(repository.status("replayed")) == ["wished: pause"]
    assert main(["resume", "replayed", *url]) == 0
    assert worker.step() == "worked"  # it planned
    assert worker.step() == "worked"
    assert main(["stop", "replayed", *url]) == 0
    assert worker.step() == "idle"
    assert worker.stopping
    assert repository.status("replayed")["trainings"]["finished"] == 1
    capsys.readouterr()
    assert main(["status", "replayed", *url]) == 0
    told = capsys.readouterr().out
    assert "stopped: it was asked to" in told
    assert "running" not in told.partition("training time")[2]
    assert main(["stop", "nobody", *url]) == 2


def test_a_study_whose_worker_was_killed_stops_with_its_lease(tmp_path: Path) -> None:
    """Nobody takes back what a killed worker held: as long as it was counted, the study never stopped."""
    _, repository, context = open_study(study_file(tmp_path, SWEEP))
    Worker(context, None).advance()  # type: ignore[arg-type]
    claim = repository.claim_training(context.study_id, "killed")
    assert claim is not None
    repository.set_wish(context.study_id, "stop")
    assert launch_lines(repository.status("replayed")) == ["wished: stop"]
    repository.run(update(Training).where(Training.id == claim.id).values(lease_until=database_now() - 1.0))
    status = repository.status("replayed")
    assert [row["training_id"] for row in status["running"]] == [claim.id]
    assert launch_lines(status) == ["stopped: it was asked to"]
    assert stage_state(status["stages"][0], status) == "stopped"


def test_a_run_that_was_killed_is_not_said_to_go_on(tmp_path: Path) -> None:
    """It tells every ten seconds that it is there; nobody can take back what a killed one said last."""
    _, repository, context = open_study(study_file(tmp_path, SWEEP))
    now = repository.status("replayed")["now"]
    here = {"launcher": "local", "host": "here", "pid": 7, "log": "", "jobs": [], "ends_at": now + 900}
    repository.set_launch(context.study_id, here | {"until": now + 60})
    assert launch_lines(repository.status("replayed"))[0].startswith("run by process 7")
    repository.set_launch(context.study_id, here | {"until": now - 1})
    assert launch_lines(repository.status("replayed")) == []


def test_a_run_that_was_killed_on_this_machine_is_known_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, repository, context = open_study(study_file(tmp_path, SWEEP))
    job = {"id": "0", "worker": "w", "state": "running", "code": None, "log": "", "reason": ""}
    here = {"launcher": "local", "host": socket.gethostname(), "pid": 7, "log": "", "jobs": [job], "ends_at": None}
    repository.set_launch(context.study_id, here | {"until": repository.status("replayed")["now"] + 60})
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != 7)
    (said,) = launch_lines(repository.status("replayed"))
    assert said == f"process 7 on {socket.gethostname()} ran it and is gone: run the same command to go on"
    repository.register_worker("w", context.study_id, host=socket.gethostname(), pid=8)  # it ends with what began it
    repository.register_worker("dead", context.study_id, host=socket.gethostname(), pid=7)
    assert launch_lines(repository.status("replayed")) == [said]
    repository.register_worker("far", context.study_id, host="box2", pid=7)
    (other,) = launch_lines(repository.status("replayed"))
    assert other == f"process 7 on {socket.gethostname()} ran it and is gone: workers on box2 go on with it"
    repository.worker_stopped("far")
    assert launch_lines(repository.status("replayed")) == [said]
    for stage in repository.stages(context.study_id):
        repository.set_stage(stage.id, status="finished")
    assert launch_lines(repository.status("replayed")) == []


def test_stop_now_reaches_a_training_through_its_sign_of_life(tmp_path: Path) -> None:
    _, repository, context = open_study(study_file(tmp_path, SWEEP, seconds=1000.0))
    worker = Worker(context, _Files(), lease_s=0.3)  # type: ignore[arg-type]
    thread = threading.Thread(target=worker.run)
    thread.start()
    while not repository.status("replayed")["running"]:
        time.sleep(0.01)
    repository.set_wish(context.study_id, "stop now")
    thread.join()
    assert repository.status("replayed")["trainings"] == {"waiting": 6, "running": 0, "finished": 0, "failed": 0}


class _Files:
    """No checkpoint to hand over."""

    def interrupted(self, _claim: object) -> None:
        return None


def test_workers_of_several_studies_serve_the_highest_priority_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'all.db'}"
    for name, priority in (("low", 0), ("high", 5), ("middle", 1)):
        (tmp_path / name).mkdir()
        file = study_file(
            tmp_path / name,
            SWEEP,
            name=name,
            priority=priority,
            database=url,
            seed=priority,
            objective=_table(tmp_path / name),
        )
        with open_database(url) as database:
            register(load_study(file), Repository(database))
    with joined([], url) as queue:
        assert queue.run() == 18
    with open_database(url) as database:
        repository = Repository(database)
        ended = {n: repository.results(n)["finished_at"] for n in ("high", "middle", "low")}
    assert ended["high"].max() <= ended["middle"].min()
    assert ended["middle"].max() <= ended["low"].min()


def _table(folder: Path) -> dict[str, Any]:
    return {"table": str(folder / "table.csv")}


def test_a_study_that_cannot_be_worked_on_leaves_the_others_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'all.db'}"
    for name in ("broken", "fine"):
        (tmp_path / name).mkdir()
        file = study_file(tmp_path / name, SWEEP, name=name, database=url, objective=_table(tmp_path / name))
        with open_database(url) as database:
            register(load_study(file), Repository(database))
    (tmp_path / "broken" / "table.csv").unlink()
    with joined(["broken", "fine"], url) as queue, pytest.raises(NasError, match=r"table\.csv"):
        queue.run()
    with open_database(url) as database:
        assert Repository(database).status("fine")["finished"]


def test_which_studies_a_worker_works_on_must_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    assert main(["worker", "--db", url]) == 2
    assert main(["worker", "a", "--all", "--db", url]) == 2
    assert capsys.readouterr().err.count("name them, or give --all") == 2


def test_a_worker_without_the_data_takes_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, repository, context = open_study(study_file(tmp_path, SWEEP))
    Worker(context, None).advance()  # type: ignore[arg-type]
    context.__dict__["replay"] = None  # as a study that trains, on data whose images are others here
    monkeypatch.setattr(type(context), "trains", True)
    worker = Worker(context, None)  # type: ignore[arg-type]

    def differ(*_: object) -> None:
        raise DataError("the data here is not the data this training was planned on")

    monkeypatch.setattr(working, "require_same_data", differ)
    monkeypatch.setattr(type(context), "dataset", lambda *_: None)
    monkeypatch.setattr(type(context), "search_view", "table")
    with pytest.raises(DataError, match="not the data"):
        worker.step()
    assert repository.status("replayed")["trainings"]["waiting"] == 6
    assert (
        (repository.results("replayed")["attempts"] == 0).all()
        if "attempts" in repository.results("replayed")
        else True
    )


@pytest.mark.parametrize("budget", [{"trainings": 0}, {"hours": -1}, {"failures": -1}, {"money": 3}])
def test_a_budget_that_cannot_be_is_refused(tmp_path: Path, budget: dict[str, float]) -> None:
    with pytest.raises(StudyError, match="budget"):
        load_study(study_file(tmp_path, SWEEP, budget=budget))
