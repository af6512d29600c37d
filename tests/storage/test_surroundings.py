"""Surroundings as people have them: files that move, clocks that step, servers set up elsewhere, odd addresses."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from private_postgres import PGBOUNCER, PrivatePostgres
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from storage_builders import clock_moves, fill, finish_all, outcome

from nas.commands import running
from nas.errors import StorageError, StudyError
from nas.files.whole import write_atomically
from nas.storage import Repository, open_database
from nas.storage.administration import rename_study
from nas.storage.integrity import check_database
from nas.storage.optuna_storage import _patiently, mirror_trials
from nas.storage.retry import as_storage_error, with_retries
from nas.storage.urls import network_file_system, parse_url

NAME = "made_up/0-sweep"


# -- files


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[tuple[Repository, int, Path]]:
    """A repository whose study waits for trainings, with the file it is in."""
    path = tmp_path / "study.db"
    with open_database(str(path)) as database:
        repository = Repository(database)
        yield repository, fill(repository, 4)[0], path


@pytest.mark.parametrize("how", [Path.unlink, lambda path: path.rename(path.with_name("elsewhere.db"))])
def test_a_writer_whose_file_is_gone_says_so_and_makes_no_new_one(
    begun: tuple[Repository, int, Path], how: Callable[[Path], object]
) -> None:
    repository, study_id, path = begun
    how(path)
    for work in (lambda: repository.claim_training(study_id, "w"), lambda: repository.status("made_up")):
        with pytest.raises(StorageError, match=r"study.db is gone .moved, replaced or deleted while"):
            work()
    repository.database.engine.dispose()
    with pytest.raises(StorageError, match="is gone"):
        repository.claim_training(study_id, "w")
    assert not path.exists()


def test_a_writer_never_goes_on_in_another_file(begun: tuple[Repository, int, Path], tmp_path: Path) -> None:
    repository, study_id, path = begun
    with open_database(str(tmp_path / "other.db")) as other:
        fill(Repository(other), 1)
    (tmp_path / "other.db").replace(path)
    with pytest.raises(StorageError, match="is another file now"):
        repository.claim_training(study_id, "w")


def test_a_reader_reads_the_file_that_is_there_now(begun: tuple[Repository, int, Path], tmp_path: Path) -> None:
    _, _, path = begun
    with open_database(str(path), read_only=True) as database:
        reader = Repository(database)
        assert len(reader.results("made_up")) == 4
        with open_database(str(tmp_path / "other.db")) as other:
            fill(Repository(other), 1)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        (tmp_path / "other.db").replace(path)
        assert len(reader.results("made_up")) == 1
        path.unlink()
        with pytest.raises(StorageError, match="is gone"):
            reader.results("made_up")


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="needs to become another user")
def test_a_reader_of_a_folder_it_may_not_write_sees_what_is_written_later() -> None:
    # Where another user can get to it: temporary folders of tests are their owner's alone.
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        path = folder / "study.db"
        with open_database(str(path)) as database:
            study_id, _, _ = fill(Repository(database), 3)
        assert {file.name for file in folder.iterdir()} == {"study.db"}  # nobody writes: no log beside it
        with _nobody(path) as ask:
            assert ask() == "0"
            with open_database(str(path)) as database:
                finish_all(Repository(database), study_id)
            assert ask() == "3"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _nobody(path: Path) -> Iterator[Callable[[], str]]:
    """A child of another user that has the database open, and tells how many trainings are finished."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    child = os.fork()
    if not child:
        ours.close()
        try:
            os.setuid(65534)
            with open_database(str(path), read_only=True) as database:
                while theirs.recv(1):
                    finished = Repository(database, patience_s=1).status("made_up")["trainings"]["finished"]
                    theirs.send(str(finished).encode())
        except BaseException as error:
            theirs.send(repr(error).encode())
        os._exit(0)
    theirs.close()

    def ask() -> str:
        ours.send(b"?")
        return ours.recv(1000).decode()

    try:
        yield ask
    finally:
        ours.close()
        os.waitpid(child, 0)


@pytest.mark.parametrize(("kind", "said"), [("nfs4", "nfs4"), ("fuse.sshfs", "fuse.sshfs"), ("ext4", None)])
def test_a_file_on_a_network_file_system_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str | None
) -> None:
    mounts = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype=kind)]
    monkeypatch.setattr("nas.storage.urls.psutil.disk_partitions", lambda all: mounts)
    assert network_file_system(f"sqlite:///{tmp_path}/study.db") == said
    assert network_file_system("postgresql://user@host/nas") is None
    told: list[str] = []
    running._warn_of_network(f"sqlite:///{tmp_path}/study.db", told.append)
    assert bool(told) is (said is not None)
    assert all("initdb -D" in told[1] for _ in told)


# -- clocks


def test_a_killed_training_is_taken_over_although_the_clock_was_set_back(repository: Repository) -> None:
    study_id, (stage,), (training,) = fill(repository, 1)
    assert repository.claim_training(study_id, "killed", 3.0)
    assert repository.lease_stage(stage, "killed", 0.5)
    repository.register_worker("killed", study_id, host="h")
    clock_moves(repository, -7200.0)
    assert [problem.kind for problem in check_database(repository)] == ["expired_lease"]
    assert [worker["state"] for worker in repository.workers(study_id)] == ["silent"]
    assert repository.claim_training(study_id, "next", 3.0) is None  # its owner may live: it has its lease's length
    clock_moves(repository, 3.2)
    claim = repository.claim_training(study_id, "next", 0.5)
    assert claim is not None
    assert claim.id == training
    assert not repository.lease_stage(stage, "next", 0.5)
    with repository.database.write() as session:
        until = session.execute(text("SELECT planner_until FROM nas_stage")).scalar_one()
    assert until - repository.status("made_up")["now"] < 610


def test_a_training_that_gets_on_is_not_taken_when_the_clock_is_set_back(repository: Repository) -> None:
    study_id, _, (training,) = fill(repository, 1)
    assert repository.claim_training(study_id, "alive", 60.0)
    clock_moves(repository, -7200.0)
    for _ in range(5):
        assert repository.claim_training(study_id, "next", 60.0) is None
        assert repository.heartbeat(training, "alive")
        time.sleep(0.1)
    assert repository.finish_training(training, "alive", outcome())


# -- servers


def _use_fully(url: str) -> None:
    """All that a study does with a database, text beyond ASCII and Optuna's tables included."""
    with open_database(url) as database:
        repository = Repository(database, patience_s=20)
        study_id, (stage,), ids = fill(repository, 12, study="made_up")
        repository.ensure_study("made_up", {"name": "made_up", "title": "é – 中"}, 1, None)
        with repository.stage_lock(stage, "w") as mine:
            assert mine
        assert finish_all(repository, study_id) == ids
        assert repository.study("made_up").definition["title"] == "é – 中"
        assert len(repository.results("made_up")) == 12
        blocks = {"block": optuna.distributions.CategoricalDistribution(["none", "cnl"])}
        told = {"params": {"block": "cnl"}, "distributions": blocks, "values": [0.5, 10.0], "notation": "é"}
        trials = [{"training_id": training, **told} for training in ids]
        assert (mirror_trials(database, NAME, trials), mirror_trials(database, NAME, trials)) == (12, 0)
    with open_database(url, read_only=True) as database:
        for _ in range(8):  # psycopg prepares what it has seen five times
            assert Repository(database).status("made_up")["trainings"]["finished"] == 12


@pytest.mark.postgres
def test_a_database_in_sql_ascii_is_served(postgres: PrivatePostgres) -> None:
    _use_fully(postgres.create_database("ENCODING 'SQL_ASCII' TEMPLATE template0"))


@pytest.mark.postgres
@pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer (apt-get install pgbouncer)")
@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.slow
def test_pgbouncer_is_served(postgres: PrivatePostgres, mode: str) -> None:
    address = parse_url(postgres.create_database())
    with postgres.bouncer(mode) as port:
        _use_fully(address.set(port=port).render_as_string(hide_password=False))
        missing = address.set(port=port, database="not_there").render_as_string(hide_password=False)
        with pytest.raises(StorageError, match="the database or its user does not exist"):
            open_database(missing)


class _DriverError(Exception):
    sqlstate: str | None = None


def _told(message: str, sqlstate: str | None, kind: type[ProgrammingError] | type[OperationalError]) -> str | None:
    original = _DriverError(message)
    original.sqlstate = sqlstate
    found = as_storage_error(kind("SELECT 1", None, original), "postgresql://h/d")
    return None if found is None else str(found)


def test_what_does_not_exist_is_told_as_what_it_is() -> None:
    missing = "the database or its user does not exist"
    refused = 'connection failed: FATAL:  database "d" does not exist'
    assert missing in str(_told(refused, None, OperationalError))
    assert missing in str(_told('FATAL:  role "r" does not exist', None, OperationalError))
    assert _told('prepared statement "_pg3_0" does not exist', "26000", ProgrammingError) is None
    assert _told("function julianday(unknown) does not exist", "42883", ProgrammingError) is None
    table = str(_told('relation "nas_study" does not exist', "42P01", ProgrammingError))
    assert "lacks a table" in table


# -- addresses


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:///rel.db", "rel.db"), ("sqlite://rel.db", "rel.db"), ("sqlite:rel.db", "rel.db"),
        ("sqlite:////abs/a.db", "/abs/a.db"), ("sqlite:/abs/a.db", "/abs/a.db"), ("SQLite:///rel.db", "rel.db"),
        ("rel.db", "rel.db"), ("sqlite://folder/rel.db", "folder/rel.db"), ("sqlite://", None), ("sqlite:///", None),
        ("sqlite:///~/a.db", "/home/robot/a.db"), ("~/a.db", "/home/robot/a.db"), ("sqlite+pysqlite:///a.db", "a.db"),
    ],
)  # fmt: skip
def test_addresses_mean_what_people_mean(address: str, path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/robot")
    found = parse_url(address)
    assert (found.drivername, found.database, found.host, dict(found.query)) == ("sqlite", path, None, {})


@pytest.mark.parametrize("address", ["sqlite:///a.db?mode=ro", "sqlite:///~nobody-here-of-that-name/a.db"])
def test_what_an_address_cannot_mean_is_one_sentence(address: str) -> None:
    with pytest.raises(StorageError, match=r"takes no options|there is no home folder"):
        parse_url(address)


# -- names and causes


def test_names_that_no_file_could_give_are_refused(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 1)
    for name in ("", "a/b", "a\x1b[31m", "x" * 81, "-x", "a b"):
        with pytest.raises(StudyError, match="cannot be the name of a study"):
            rename_study(repository, "made_up", name)
    repository.register_worker("w" * 200, study_id, host="h")
    with pytest.raises(StudyError, match="a worker's name has 300 characters"):
        repository.register_worker("w" * 300, study_id, host="h")


def _causes_end(error: BaseException) -> bool:
    """Whether a simple walker of causes, which follows what there is, comes to an end."""
    found: BaseException | None = error
    for _ in range(20):
        found = found.__cause__ or found.__context__ if found is not None else None
    return found is None


def test_no_error_causes_itself(repository: Repository, tmp_path: Path) -> None:
    lost = OperationalError("INSERT", None, _DriverError("disk I/O error"))

    def optunas() -> None:
        raise optuna.exceptions.StorageInternalError("an exception is raised during the commit") from lost

    def ours() -> None:
        raise ProgrammingError("SELECT", None, _DriverError("syntax error"))

    works: list[Callable[[], Any]] = [
        lambda: _patiently(repository.database, optunas),
        lambda: with_retries(ours, url="x", patience_s=0.1),
        lambda: with_retries(lambda: _patiently(repository.database, optunas), url="x", patience_s=0.1),
        lambda: write_atomically(tmp_path / "a", lambda _file: 1 / 0),
    ]
    import nas.storage.optuna_storage as module

    patience, module.PATIENCE_S = module.PATIENCE_S, 0.05
    try:
        for work in works:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - any: what counts is how it is chained
                work()
            assert _causes_end(caught.value)
    finally:
        module.PATIENCE_S = patience
