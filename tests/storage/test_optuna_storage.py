"""The mirror in Optuna's tables: each training once, readable by Optuna's own tools."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from private_postgres import PrivatePostgres
from sqlalchemy import inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from storage_builders import fill, finish_all

from nas.errors import NasError, StorageError
from nas.storage import Database, Repository, open_database, schema
from nas.storage import optuna_storage as mirror
from nas.storage.models import Base
from nas.storage.optuna_storage import (
    delete_mirror,
    mirror_trials,
    mirrored_studies,
    rename_mirror,
)

SITES = {f"site_{n:02d}": optuna.distributions.CategoricalDistribution(["none", "cnl", "hac"]) for n in range(1, 18)}
NAME = "made_up/0-sweep"


def trial(training_id: int, value: float = 0.5) -> dict[str, Any]:
    params = {name: "cnl" if training_id % 17 == i else "none" for i, name in enumerate(SITES)}
    values = [value, 10.0]
    return {
        "training_id": training_id, "params": params, "distributions": SITES, "values": values, "notation": "resnet50",
    }  # fmt: skip


@pytest.fixture
def ids(repository: Repository) -> list[int]:
    study_id, _, ids = fill(repository, 6)
    finish_all(repository, study_id)
    return ids


def driver_url(database: Database) -> str:
    return database.address.render_as_string(hide_password=False)


def test_optuna_loads_the_study(database: Database, ids: list[int]) -> None:
    assert mirror_trials(database, NAME, [trial(i, 0.5 + i / 100) for i in ids]) == 6
    study = optuna.load_study(study_name=NAME, storage=driver_url(database))
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [t.user_attrs[mirror.TRAINING_KEY] for t in study.trials] == ids
    assert all(t.state.name == "COMPLETE" and t.user_attrs["candidate"] == "resnet50" for t in study.trials)
    assert len(study.best_trials) == 1
    assert study.metric_names == ["mAP", "cost"]
    assert study.trials_dataframe().shape[0] == 6


def test_optunas_dashboard_opens_the_same_database(database: Database, ids: list[int]) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    mirror_trials(database, NAME, [trial(i) for i in ids])
    app = dashboard.wsgi(driver_url(database))
    answers: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "wsgi.url_scheme": "http", "CONTENT_TYPE": "application/json", "QUERY_STRING": "", "wsgi.errors": None,
    }  # fmt: skip
    body = b"".join(app(environ, lambda status, headers, exc_info=None: answers.append(status)))
    assert answers[0].startswith("200")
    assert [study["study_name"] for study in json.loads(body)["study_summaries"]] == [NAME]


def test_nothing_is_mirrored_twice(database: Database, ids: list[int]) -> None:
    assert mirror_trials(database, NAME, [trial(ids[0])]) == 1
    assert mirror_trials(database, NAME, [trial(i) for i in ids]) == 5
    assert mirror_trials(database, NAME, [trial(i) for i in ids]) == 0


def test_two_workers_at_once_mirror_once(url: str, database: Database, ids: list[int]) -> None:
    added: list[int] = []

    def reconcile() -> None:
        with open_database(url) as own:
            added.append(mirror_trials(own, NAME, [trial(i) for i in ids]))

    threads = [threading.Thread(target=reconcile) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(added) == 6
    assert len(optuna.load_study(study_name=NAME, storage=driver_url(database)).trials) == 6


def test_another_program_that_keeps_the_lock_is_not_waited_for_without_a_limit(
    url: str, database: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LOCK_S", 0.1)
    trials = [trial(i) for i in ids]
    with open_database(url) as other:
        with other.lock(mirror._LOCK), pytest.raises(NasError, match=r"another program has held .* for 0\.1 s"):
            mirror_trials(database, NAME, trials)
        assert mirror_trials(database, NAME, trials) == 6


@pytest.mark.parametrize("told", [0, 1])
@pytest.mark.slow
def test_a_crash_in_between_is_made_good(
    url: str, database: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    class KilledError(BaseException):
        pass

    def killed(study: optuna.Study, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        for frozen in trials[:told]:
            study.add_trial(frozen)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "add_trials", killed)
        with pytest.raises(KilledError):
            mirror_trials(database, NAME, [trial(i) for i in ids])
    with open_database(url) as next_run:
        mirror_trials(next_run, NAME, [trial(i) for i in ids])
    trials = optuna.load_study(study_name=NAME, storage=driver_url(database)).trials
    assert sorted(t.user_attrs[mirror.TRAINING_KEY] for t in trials) == ids


def test_other_choices_are_refused_not_written(database: Database, ids: list[int]) -> None:
    mirror_trials(database, NAME, [trial(ids[0])])
    other = {**SITES, "site_01": optuna.distributions.CategoricalDistribution(["none", "se"])}
    with pytest.raises((StorageError, ValueError)):
        mirror_trials(database, NAME, [{**trial(ids[1]), "distributions": other}])
    assert len(optuna.load_study(study_name=NAME, storage=driver_url(database)).trials) == 1


def test_values_that_are_no_numbers_are_left_out(database: Database, ids: list[int]) -> None:
    assert mirror_trials(database, NAME, [trial(ids[0], math.inf), trial(ids[1], math.nan), trial(ids[2])]) == 1


def test_rename_and_delete(database: Database, repository: Repository, ids: list[int]) -> None:
    assert mirrored_studies(database, "made_up") == []
    mirror_trials(database, NAME, [trial(i) for i in ids])
    rename_mirror(database, "made_up", "other{name}%")
    assert mirrored_studies(database, "other{name}%") == ["other{name}%/0-sweep"]
    assert mirrored_studies(database, "made_up") == []
    delete_mirror(database, "other{name}%")
    assert mirrored_studies(database, "other{name}%") == []
    delete_mirror(database, "other{name}%")


def test_a_mirror_deleted_by_optunas_tools_is_made_again(url: str, database: Database, ids: list[int]) -> None:
    assert mirror_trials(database, NAME, [trial(i) for i in ids]) == 6
    optuna.delete_study(study_name=NAME, storage=driver_url(database))
    with open_database(url) as next_run:
        assert mirror_trials(next_run, NAME, [trial(i) for i in ids]) == 6
        assert mirror_trials(next_run, NAME, [trial(i) for i in ids]) == 0


def test_no_foreign_key_leads_into_optunas_tables(database: Database, ids: list[int]) -> None:
    mirror_trials(database, NAME, [trial(ids[0])])
    found = inspect(database.engine)
    ours = [name for name in found.get_table_names() if name.startswith("nas_")]
    assert len(ours) > 10
    assert all(key["referred_table"].startswith("nas_") for name in ours for key in found.get_foreign_keys(name))
    assert "alembic_version" in found.get_table_names()


def test_our_migrations_leave_optunas_tables_alone(early_url: str) -> None:
    old = Database(make_url_of(early_url))
    optuna.create_study(study_name="theirs", storage=driver_url(old), directions=["maximize", "minimize"])
    theirs = {name for name in inspect(old.engine).get_table_names() if not name.startswith("nas_")}
    old.close()
    with open_database(early_url) as database:
        tables = set(inspect(database.engine).get_table_names())
        assert len(theirs) > 10
        assert theirs <= tables
        assert optuna.load_study(study_name="theirs", storage=driver_url(database)).trials == []
        with database.engine.connect() as connection:
            options = {"include_name": schema.is_ours, "version_table": schema.VERSION_TABLE}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, Base.metadata) == []  # nothing of theirs would be dropped


def test_a_database_that_is_away_while_optuna_is_told_is_waited_for(
    database: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = optuna.storages.RDBStorage.create_new_study
    left = [2]

    def away(*arguments: Any, **named: Any) -> int:
        if left[0]:
            left[0] -= 1
            lost = OperationalError("INSERT", None, Exception("server closed the connection unexpectedly"))
            raise optuna.exceptions.StorageInternalError("an exception is raised during the commit") from lost
        return int(create(*arguments, **named))

    monkeypatch.setattr(optuna.storages.RDBStorage, "create_new_study", away)
    assert mirror_trials(database, NAME, [trial(i) for i in ids]) == 6
    assert left == [0]


@pytest.mark.postgres
def test_braces_and_percent_signs_in_a_password(postgres: PrivatePostgres) -> None:
    url = make_url_of(postgres.create_database())
    password = "p{0}%s@/:"
    postgres.psql(f"DROP ROLE IF EXISTS odd; CREATE ROLE odd SUPERUSER LOGIN PASSWORD '{password}'")
    odd = url.set(username="odd", password=password).render_as_string(hide_password=False)
    with open_database(odd) as database:
        study_id, _, ids = fill(Repository(database), 2)
        finish_all(Repository(database), study_id)
        assert mirror_trials(database, NAME, [trial(i) for i in ids]) == 2
        assert password not in database.url


def make_url_of(url: str) -> Any:
    """The parsed address, with the driver spelled out."""
    return make_url(url.replace("postgresql://", "postgresql+psycopg://"))


def test_braces_and_percent_signs_in_a_path(tmp_path: Any) -> None:
    folder = tmp_path / "a {b} 100%"
    folder.mkdir()
    with open_database(f"sqlite:///{folder}/study.db") as database:
        study_id, _, ids = fill(Repository(database), 1)
        finish_all(Repository(database), study_id)
        assert mirror_trials(database, NAME, [trial(ids[0])]) == 1
    assert {path.name for path in folder.iterdir()} <= {"study.db", "study.db.lock", "study.db-wal", "study.db-shm"}
