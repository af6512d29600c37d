"""Real processes, really killed: nothing finished is lost, nothing is done twice, the study ends the same."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from fault_builders import CLOCK_AHEAD, DIE_BEFORE_TELLING, WAIT_S, FaultStudy, Row, undisturbed, workers_of
from private_postgres import PrivatePostgres

from nas.storage import Repository, open_database

pytestmark = pytest.mark.slow
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    return server.create_database()


def test_kill_9_of_workers_changes_nothing_but_time(tmp_path: Path, url: str, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, url, seconds=0.15, workers=2)
    rng = random.Random(0)
    with study.watched():
        with study.held():
            runner = study.run()
            while study.killed < 3 and runner.poll() is None:
                study.wait_for(study.killed + 1, runner)
                time.sleep(rng.uniform(0.0, 0.3))
                study.kill_one(runner, rng)
        study.kill_workers(runner, 5, rng)
        study.finish(runner)
    assert study.killed >= 3
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


def test_kill_9_of_the_runner_and_running_again(tmp_path: Path, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, seconds=0.15, workers=2)
    with study.watched():
        with study.held():
            runner = study.run()
            study.wait_for(8, runner)
            orphans = workers_of(runner)
            runner.kill()
        runner.wait()
        assert orphans
        _, alive = psutil.wait_procs(orphans, timeout=WAIT_S)
        assert not alive, "workers outlive their runner"
        study.finish(study.run())
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


def test_kill_9_between_rungs_promotes_the_same(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 12, "rungs": [2, 8], "keep": 0.34}},
        {"confirm": {"max_candidates": 4, "candidates": ["resnet50+hac@1", "resnet50+cnl@2"], "rungs": [10, 120]}},
    ]
    expected = undisturbed(tmp_path / "undisturbed", stages)
    study = FaultStudy.replayed(tmp_path, stages=stages, seconds=0.15, workers=2)
    rng = random.Random(1)
    with study.watched():
        with study.held("confirm"):
            runner = study.run()
            while study.killed < 2 and runner.poll() is None:
                study.wait_for(6 * study.killed + 6, runner)
                study.kill_one(runner, rng)
        study.finish(runner)
    assert study.killed == 2
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_gives_everything_back(tmp_path: Path, number: signal.Signals, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, seconds=0.3, workers=2)
    with study.watched():
        with study.held():
            runner = study.run(lease=60)
            study.wait_for(4, runner)
            runner.send_signal(number)
            study.finish(runner, 130)
        with open_database(study.url) as database:
            status = Repository(database).status(study.name)
        assert status["running"] == []
        assert "run the same command again" in study.said()
        study.finish(study.run(lease=60))
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()
    assert counts.attempts == counts.trainings  # what was given back does not count as an attempt


def test_two_runs_of_one_study_at_once(tmp_path: Path, url: str, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, url)
    with study.watched():
        both = [study.run(lease=60), study.run(lease=60)]
        for runner in both:
            study.finish(runner)
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()
    assert counts.attempts == counts.trainings


def test_a_worker_killed_between_result_and_mirror(tmp_path: Path, url: str) -> None:
    stages = [{"sweep": {"design": "stratified", "candidates": 6}}]
    study = FaultStudy.replayed(tmp_path, url, stages, seconds=0.0)
    study.finish(study.worker(hooks=DIE_BEFORE_TELLING), -signal.SIGKILL)
    with open_database(url) as database:
        repository = Repository(database)
        assert repository.status(study.name)["trainings"] == {"waiting": 0, "running": 0, "finished": 8, "failed": 0}
        (stage,) = repository.stages(repository.study(study.name).id)
        repository.set_stage(stage.id, status="finished")  # as another worker does that has nothing left to do
    plan = study.plan()
    before = study.counts(plan)
    assert (before.untold, before.lost, before.twice) == (6, 0, 0)
    study.finish(study.run())
    after = study.counts(plan)
    assert after.whole, after.sentence()


@pytest.mark.postgres
def test_a_clock_that_runs_ahead_takes_nothing_from_anybody(
    tmp_path: Path, postgres: PrivatePostgres, expected: list[Row]
) -> None:
    study = FaultStudy.replayed(tmp_path, postgres.create_database(), seconds=0.3)
    with study.watched():
        workers = [study.worker(hooks=CLOCK_AHEAD, lease=60), study.worker(lease=60)]
        for worker in workers:
            study.finish(worker)
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()
    assert counts.attempts == counts.trainings
