"""Databases that are away, locked, full, cut off in the middle, wrong or not there: waited out, or one sentence."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing.process
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_postgres import PASSWORD, PrivatePostgres
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import SessionTransaction
from storage_builders import fill, finish_all, in_processes, outcome, processes

from nas.errors import StorageError
from nas.storage import Repository, masked, open_database
from nas.storage import database as database_module
from nas.storage.integrity import check_database
from nas.storage.urls import parse_url


@pytest.mark.postgres
@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_is_waited_for(postgres: PrivatePostgres) -> None:
    with open_database(postgres.create_database()) as database:
        repository = Repository(database, patience_s=60)
        study_id, _, ids = fill(repository, 150)
        outages = threading.Thread(target=_two_outages, args=(postgres,))
        outages.start()
        done: list[int] = []
        while claim := repository.claim_training(study_id, "w", 600):
            assert repository.heartbeat(claim.id, "w")
            assert repository.finish_training(claim.id, "w", outcome())
            done.append(claim.id)
            time.sleep(0.01)
        outages.join()
        assert done == ids  # each once: also when the answer to a commit was lost
        assert {repository.training(id_)["attempts"] for id_ in ids} == {1}  # type: ignore[index]


def _two_outages(postgres: PrivatePostgres) -> None:
    for mode in ("immediate", "fast"):
        time.sleep(0.5)
        postgres.stop(mode)
        time.sleep(0.5)
        postgres.start()


@pytest.mark.postgres
def test_a_connection_cut_in_the_middle_of_a_transaction_loses_nothing(postgres: PrivatePostgres) -> None:
    with open_database(postgres.create_database()) as database:
        repository = Repository(database, patience_s=30)
        study_id, (stage,), (training_id,) = fill(repository, 1)
        repository.claim_training(study_id, "w")
        cut: list[str] = []

        @event.listens_for(database.engine, "before_cursor_execute")
        def cut_once(connection, cursor, statement, *_):  # type: ignore[no-untyped-def]
            if "nas_stage_training" in statement and not cut:
                cut.append(
                    postgres.psql(
                        f"SELECT pg_terminate_backend({connection.connection.driver_connection.info.backend_pid})"
                    )
                )

        assert repository.finish_training(training_id, "w", outcome(0.75))
        assert [answer.strip() for answer in cut] == ["t"]
        assert not repository.has_open_trainings(stage)
        assert repository.results("made_up")["map"].tolist() == [0.75]
        assert check_database(repository) == []


def lose_answers(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Lets commits go through while the client hears of a broken connection."""
    left = [times]
    commit = SessionTransaction.commit

    def commit_unheard(self: SessionTransaction, _to_root: bool = False) -> None:
        commit(self, _to_root)
        if left[0]:
            left[0] -= 1
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(SessionTransaction, "commit", commit_unheard)


def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id, (stage,), ids = fill(repository, 3)
    with monkeypatch.context() as patch:
        lose_answers(patch, 1)
        claim = repository.claim_training(study_id, "w")
    assert claim is not None
    assert (claim.id, claim.attempt) == (ids[0], 1)
    assert repository.status("made_up")["trainings"]["running"] == 1
    with monkeypatch.context() as patch:
        lose_answers(patch, 1)
        assert repository.finish_training(claim.id, "w", outcome())
    second = repository.claim_training(study_id, "w")
    assert second is not None
    with monkeypatch.context() as patch:
        lose_answers(patch, 1)
        assert repository.fail_training(second.id, "w", "diverged", "NaN") == "failed"
    with monkeypatch.context() as patch:
        lose_answers(patch, 1)
        repository.store_latency({"median_ms": 1.0}, architecture_id="a", notation="x", protocol_id="p", device="gpu")
    assert len(repository.latencies()) == 1
    assert repository.stage_trainings(stage) == {"waiting": 1, "running": 0, "finished": 1, "failed": 1}


def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_module.PATIENT, "timeout", 0.05)
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        repository = Repository(database, patience_s=30)
        study_id, _, _ = fill(repository, 1)
        with sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False) as other:
            other.execute("BEGIN IMMEDIATE")
            release = threading.Timer(1.0, lambda: other.execute("ROLLBACK"))
            release.start()
            assert repository.claim_training(study_id, "w") is not None
            release.join()
        impatient = Repository(database, patience_s=0.2)
        with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            assert impatient.status("made_up")["trainings"]["running"] == 1  # readers never wait for a writer
            with pytest.raises(StorageError, match="did not answer"):
                impatient.claim_training(study_id, "w")


def _hammer(url: str, study_id: int, owner: str) -> int:
    database_module.PATIENT["timeout"] = 0.02  # far less than it takes: retries must do
    with open_database(url) as database:
        return len(finish_all(Repository(database), study_id, owner))


@pytest.mark.slow
def test_many_writers_never_see_a_locked_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with open_database(url) as database:
        study_id, _, ids = fill(Repository(database), 80)
        assert sum(in_processes(_hammer, [(url, study_id, f"w{i}") for i in range(6)])) == len(ids)


def fill_up(ballast: Path) -> None:
    """Writes a file until there is no space left."""
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, b"\0" * 4096)
    os.close(file)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted as root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_loses_nothing(small_disk: Path) -> None:
    with open_database(f"sqlite:///{small_disk}/study.db") as database:
        repository = Repository(database, patience_s=5)
        study_id, _, ids = fill(repository, 20)
        first = repository.claim_training(study_id, "w", 600)
        assert first is not None
        repository.finish_training(first.id, "w", outcome(0.6))
        second = repository.claim_training(study_id, "w", 600)
        assert second is not None
        ballast = small_disk / "ballast"
        fill_up(ballast)
        long = outcome(metrics={"cmc": [0.123456789] * 20_000})
        with pytest.raises(StorageError, match="no space left"):
            repository.finish_training(second.id, "w", long)
        assert repository.results("made_up")["map"].notna().sum() == 1
        ballast.unlink()
        assert repository.finish_training(second.id, "w", long)
        assert finish_all(repository, study_id) == ids[2:]
        assert check_database(repository) == []


def test_no_room_for_a_new_database(small_disk: Path) -> None:
    fill_up(small_disk / "ballast")
    with pytest.raises(StorageError, match=r"no space left|cannot be read or written"):
        open_database(f"sqlite:///{small_disk}/study.db")


WRONG_ADDRESSES = {
    "": "empty",
    "mysql://h/d": "'mysql' databases are not supported",
    "sqlite:///file:x.db?uri=true": "not a file: address",
    "postgresql://u:secret@localhost": "names no database",
    "postgresql://u:secret@h:port/d": "cannot be read",
    "sqlite:////nowhere/at/all/study.db": "the folder /nowhere/at/all of the database does not exist",
    "sqlite:////tmp": "is a folder",
}


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_a_wrong_address_is_one_sentence(address: str) -> None:
    with pytest.raises(StorageError, match=WRONG_ADDRESSES[address]) as error:
        open_database(address)
    assert "secret" not in str(error.value)
    assert "\n" not in error.value.message


@pytest.mark.parametrize("content", [b"no database " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"not an SQLite database|damaged"):
        open_database(str(path))
    assert path.read_bytes() == content


def test_a_database_of_somebody_else_is_not_taken_over_by_readers(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE theirs (id INTEGER)")
    with pytest.raises(StorageError, match="holds no studies"):
        open_database(str(tmp_path / "other.db"), read_only=True)


@pytest.mark.postgres
def test_wrong_credentials_and_names_are_told_at_once(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "OPEN_PATIENCE_S", 1e6)  # whatever is waited for does not end
    url = postgres.create_database()
    wrong = {
        url.replace(PASSWORD, "wrong-secret"): "refuses the user or password",
        url.rsplit("/", 1)[0] + "/nowhere": "does not exist",
    }
    for address, sentence in wrong.items():
        with pytest.raises(StorageError, match=sentence) as error:
            open_database(address)
        assert "secret" not in str(error.value)
        assert PASSWORD not in str(error.value)


def test_a_server_that_is_not_there_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "OPEN_PATIENCE_S", 0.3)
    with pytest.raises(StorageError, match=r"postgresql\+psycopg://robot:\*\*\*@127.0.0.1:1/d did not answer"):
        open_database("postgresql://robot:secret@127.0.0.1:1/d")


def test_passwords_are_never_shown(postgres: PrivatePostgres, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = postgres.create_database()
    with open_database(url) as database:
        shown = f"{database!r} {database.url} {masked(url)} {masked(url + '?password=' + PASSWORD)}"
        fill(Repository(database), 1)
        assert PASSWORD not in shown
        with database.read() as session:
            tables = session.scalars(
                text("SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'nas%'")
            )
            dump = "".join(str(session.execute(text(f"SELECT * FROM {name}")).all()) for name in tables.all())
    assert PASSWORD not in dump
    assert PASSWORD not in caplog.text
    assert masked("::::") == "sqlite:///::::"


def test_an_address_may_hold_what_passwords_hold() -> None:
    url = parse_url("postgresql://robot:p%40ss%7Bw%2F%25@db.example:5432/nas?sslmode=require")
    assert (url.password, url.drivername, dict(url.query)) == ("p@ss{w/%", "postgresql+psycopg", {"sslmode": "require"})
    assert masked("postgresql://robot:p%40ss@h/d") == "postgresql+psycopg://robot:***@h/d"


def test_in_memory_for_one_process() -> None:
    with open_database("sqlite://") as database:
        study_id, _, ids = fill(Repository(database), 2)
        assert finish_all(Repository(database), study_id) == ids


FORKS = """
import multiprocessing, sys
from storage_builders import fill, finish_all
from nas.storage import Repository, open_database

def finish_inherited(owner):
    return finish_all(repository, study_id, owner)

with open_database(sys.argv[1]) as database:
    repository = Repository(database)
    study_id, _, ids = fill(repository, 20)
    repository.status("made_up")  # so that the pool holds a connection to be inherited
    with multiprocessing.get_context("fork").Pool(3) as pool:
        done = pool.map(finish_inherited, ["w0", "w1", "w2"], chunksize=1)
    assert sorted(id_ for each in done for id_ in each) == ids
    print(repository.status("made_up")["trainings"]["finished"])
"""


def test_a_forked_child_makes_its_own_connections(url: str) -> None:
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", FORKS, url]
    said = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=240, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == ["20"]


def test_a_database_on_a_read_only_disk_can_be_read(small_disk: Path) -> None:
    with open_database(f"sqlite:///{small_disk}/study.db") as database:
        study_id, _, _ = fill(Repository(database), 2)
        finish_all(Repository(database), study_id)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert not list(small_disk.glob("*-shm"))
    with open_database(f"sqlite:///{small_disk}/study.db", read_only=True) as database:
        assert len(Repository(database).results("made_up")) == 2
    with pytest.raises(StorageError, match=r"may not be written|cannot be opened"):
        Repository(open_database(f"sqlite:///{small_disk}/study.db")).ensure_study("new", {}, 1, None)


def _work_until_killed(url: str, study_id: int, owner: str) -> None:
    with open_database(url) as database:
        repository = Repository(database)
        while repository.has_open_trainings(1):
            # Its worker may fall silent as often as one is killed, or has to wait for a busy machine.
            claim = repository.claim_training(study_id, owner, 0.5, max_silences=1_000)
            if claim is None:
                time.sleep(0.05)
                continue
            time.sleep(0.02)
            repository.record_epochs(claim.id, [{"epoch": 1, "losses": {"id": 1.0}}])
            repository.finish_training(claim.id, owner, outcome(0.5 + claim.id / 1000))


@pytest.mark.slow
def test_workers_killed_at_any_moment_lose_nothing(repository: Repository, url: str) -> None:
    study_id, _, ids = fill(repository, 150)
    context, rng = processes(), random.Random(0)
    workers: dict[int, multiprocessing.process.BaseProcess] = {}
    kills = 0
    for number in itertools.count():
        if not repository.has_open_trainings(1):
            break
        slot = number % 3
        if slot in workers and kills < 15 and workers[slot].is_alive():
            time.sleep(rng.uniform(0, 0.15))
            workers[slot].kill()
            workers[slot].join()
            kills += 1
        if slot not in workers or not workers[slot].is_alive():
            workers[slot] = context.Process(  # type: ignore[attr-defined]
                target=_work_until_killed, args=(url, study_id, f"w{number}")
            )
            workers[slot].start()
        time.sleep(0.01)
    for worker in workers.values():
        worker.join()
    assert kills
    table = repository.results("made_up")
    assert table["training_id"].tolist() == ids
    assert table["map"].tolist() == [0.5 + id_ / 1000 for id_ in ids]
    assert check_database(repository) == []
