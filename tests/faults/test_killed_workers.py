"""Real processes, really killed: nothing finished is lost, nothing is done twice, the study ends the same."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from search_builders import open_study, study_file, work

from nas.storage import Repository, open_database

STAGES = [
    {"sweep": {"design": "stratified", "candidates": 12, "seeds": 2}},
    {"search": {"sampler": "nsga2", "trainings": 12, "batch": 4}},
    {"confirm": {"max_candidates": 3, "seeds": 2}},
]
pytestmark = pytest.mark.slow


def start(path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nas", "run", str(path), "--no-report", "--lease", "2", *arguments]
    with (path.parent / "run.log").open("ab") as log:
        return subprocess.Popen(command, cwd=path.parent, stdout=log, stderr=log, start_new_session=True)


def plan(repository: Repository) -> list[tuple[str, str, int, float]]:
    results = repository.results("replayed")
    assert set(results["status"]) == {"finished"}
    return sorted(zip(results["stage"], results["notation"], results["seed"], results["map"], strict=True))


def undisturbed(tmp_path: Path) -> list[tuple[str, str, int, float]]:
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    _, repository, context = open_study(study_file(folder, STAGES))
    work(context)
    return plan(repository)


def workers_of(runner: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return [p for p in psutil.Process(runner.pid).children() if "worker" in p.cmdline()]
    except psutil.Error:
        return []


def check_whole(path: Path, expected: list[tuple[str, str, int, float]]) -> None:
    repository = Repository(open_database(f"sqlite:///{path.parent / 'study.db'}"))
    status = repository.status("replayed")
    assert status["finished"], (path.parent / "run.log").read_text()[-2000:]
    assert status["running"] == []
    assert status["trainings"]["running"] == status["trainings"]["waiting"] == 0
    assert plan(repository) == expected
    with sqlite3.connect(path.parent / "study.db") as raw:
        key = "candidate_id, recipe_id, dataset_id, fidelity_label, seed"
        assert (
            raw.execute(f"SELECT count(*) FROM (SELECT 1 FROM nas_training GROUP BY {key} HAVING count(*) > 1)")
            is not None
        )
        twice = raw.execute(f"SELECT count(*) FROM (SELECT {key} FROM nas_training GROUP BY {key} HAVING count(*) > 1)")
        assert twice.fetchone() == (0,)


def test_kill_9_of_workers_changes_nothing_but_time(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path)
    path = study_file(tmp_path, STAGES, seconds=0.1, workers=2, max_attempts=50)
    runner = start(path)
    rng, kills = random.Random(0), 0
    for wanted in range(3, 36, 8):
        wait_for_trainings(path, wanted)
        time.sleep(rng.uniform(0.0, 0.3))
        victims = workers_of(runner)
        if victims and runner.poll() is None:
            rng.choice(victims).kill()
            kills += 1
    assert runner.wait(timeout=200) == 0, (tmp_path / "run.log").read_text()[-3000:]
    assert kills >= 3
    check_whole(path, expected)


def test_kill_9_of_the_runner_and_running_again(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path)
    path = study_file(tmp_path, STAGES, seconds=0.1, workers=2)
    runner = start(path)
    wait_for_trainings(path, 10)
    orphans = workers_of(runner)
    runner.kill()
    runner.wait()
    gone, alive = psutil.wait_procs(orphans, timeout=30)
    assert gone
    assert not alive, "workers outlive their runner"
    assert start(path).wait(timeout=200) == 0
    check_whole(path, expected)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_gives_everything_back(tmp_path: Path, number: signal.Signals) -> None:
    path = study_file(tmp_path, STAGES, seconds=0.3, workers=2)
    runner = start(path)
    wait_for_trainings(path, 6)
    os.kill(runner.pid, number)
    assert runner.wait(timeout=60) == 130
    repository = Repository(open_database(f"sqlite:///{tmp_path / 'study.db'}"))
    assert repository.status("replayed")["running"] == []
    assert "again" in (tmp_path / "run.log").read_text()
    assert start(path).wait(timeout=200) == 0
    check_whole(path, undisturbed(tmp_path))


def test_two_runs_of_one_study_at_once(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path)
    path = study_file(tmp_path, STAGES, seconds=0.05)
    both = [start(path), start(path)]
    assert [runner.wait(timeout=250) for runner in both] == [0, 0], (tmp_path / "run.log").read_text()[-3000:]
    check_whole(path, expected)


def wait_for_trainings(path: Path, count: int) -> None:
    """Waits until so many trainings have finished."""
    until = time.monotonic() + 120
    database = path.parent / "study.db"
    while time.monotonic() < until:
        time.sleep(0.3)
        if not database.exists():
            continue
        try:
            with sqlite3.connect(database, timeout=5) as raw:
                found = raw.execute("SELECT count(*) FROM nas_training WHERE status = 'finished'").fetchone()[0]
        except sqlite3.Error:
            continue
        if found >= count:
            return
    raise AssertionError("no trainings finished: " + (path.parent / "run.log").read_text()[-2000:])
