"""The schema: made once, upgraded with its data from every version, never touched when newer, Optuna's left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from early_database import STEP_BY_STEP
from sqlalchemy import Engine, inspect, text
from storage_builders import fill, finish_all, in_processes, outcome, request

from nas.errors import StorageError
from nas.storage import Repository, open_database, schema
from nas.storage.database import Database
from nas.storage.models import Base
from nas.storage.urls import parse_url


def open_and_count(url: str) -> int:
    """What the first moment of a worker process is."""
    with open_database(url) as database:
        Repository(database).ensure_study("shared", {"seed": 1}, 1, None)
        return len(Repository(database).studies())


def differences(database: Database) -> list[Any]:
    """What Alembic would change to bring the tables to those of the models."""
    with database.engine.connect() as connection:
        assert schema.version(connection).is_newest
        options = {"include_name": schema.is_ours, "version_table": schema.VERSION_TABLE, "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def test_a_new_database_has_exactly_the_tables_of_the_models(database: Database) -> None:
    assert differences(database) == []


@pytest.mark.slow
def test_workers_may_all_start_on_an_empty_database(url: str) -> None:
    assert in_processes(open_and_count, [(url,)] * 8) == [1] * 8


def test_a_database_from_before_the_first_release_is_upgraded_with_its_results(early_url: str) -> None:
    with open_database(early_url) as database:
        repository = Repository(database)
        assert differences(database) == []
        assert repository.study("early").definition == {"name": "early", "seed": 1, "note": "é"}
        table = repository.results("early").set_index(["stage", "seed", "notation"]).sort_index()
        assert table["status"].value_counts().to_dict() == {"finished": 5, "failed": 1, "waiting": 1}
        assert table.loc[("0-sweep", 0, "resnet50+cnl@0"), "map"] == 0.7312345678901234
        assert table.loc[("1-search", 0, "resnet50+cnl@0"), "map"] == 0.6
        rung, plain, inheriting = (
            repository.training(int(table.loc[key, "training_id"]))
            for key in (
                ("1-search", 0, "resnet50+cnl@0"),
                ("0-sweep", 0, "resnet50+cnl@0"),
                ("1-search", 1, "resnet50+cnl@1"),
            )
        )
        assert rung
        assert plain
        assert inheriting
        kept = ("view", "stop_epoch", "start", "fidelity")
        assert [rung[key] for key in kept] == ["final", 40, "scratch", {"epochs": 10}]
        assert [plain[key] for key in kept] == ["select", None, "scratch", {"epochs": 10}]
        assert [inheriting[key] for key in kept] == [
            "select",
            None,
            f"checkpoint:{plain['checkpoint_sha256']}",
            {"epochs": 10},
        ]
        assert (rung["dataset_known_by"], plain["dataset_known_by"]) == ("names and sizes", "content")
        assert len(repository.epochs(plain["id"])) == 3
        assert len(repository.latencies()) == 2
        claim = repository.claim_training(repository.study("early").id, "w")
        assert claim is not None
        assert (claim.notation, claim.view, claim.stop_epoch) == ("resnet50+cnl@2", "select", None)


@pytest.mark.parametrize(("version", "tables"), [("0.2.0", ("nas_control", "nas_note")), ("0.2.1", ("nas_note",))])
def test_states_between_the_trial_and_the_release_are_upgraded(url: str, version: str, tables: tuple[str, ...]) -> None:
    with open_database(url) as database:
        study_id, _, _ = fill(Repository(database), 2)
        finish_all(Repository(database), study_id)
        with database.engine.begin() as connection:
            for table in tables:
                connection.execute(text(f"DROP TABLE {table}"))
            connection.execute(text("ALTER TABLE nas_dataset DROP COLUMN warnings"))
            connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'"))
    with open_database(url) as database:
        assert differences(database) == []
        repository = Repository(database)
        assert repository.results("made_up")["map"].notna().all()
        repository.set_wish(study_id, "pause")
        assert repository.note("made_up", "resnet50+cnl@0", star=True).star
        assert repository.datasets_of("made_up")[0]["warnings"] is None


def test_a_database_that_migrations_made_step_by_step_stays_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.executescript(STEP_BY_STEP.read_text())
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        assert differences(database) == []
        repository = Repository(database)
        assert repository.results("present")["map"].dropna().tolist() == [0.5, 0.6]
        assert [note.comment for note in repository.named_notes("present").values()] == ["fits"]
        claim = repository.claim_training(repository.study("present").id, "w")
        assert claim is not None
        assert repository.finish_training(claim.id, "w", outcome(0.7))


def test_what_an_upgraded_database_knows_is_found_again_and_new_data_is_not_mixed_in(early_url: str) -> None:
    with open_database(early_url) as database:
        repository = Repository(database)
        stage = repository.stages(repository.study("early").id)[1].id
        before = int(repository.results("early").query("stage == '0-sweep'")["training_id"].iloc[0])
        assert repository.request_trainings(stage, [request(0, batch=7)]) == [before]
        repository.ensure_dataset("by-content", "market1501", {"market1501": "/data/market"}, {})
        (new,) = repository.request_trainings(stage, [request(0, batch=8, dataset_id="by-content")])
        (other,) = repository.request_trainings(stage, [request(0, batch=9, start="plain:abc")])
        (own,) = repository.request_trainings(stage, [request(0, batch=10, code="def")])
        assert len({before, new, other, own}) == 4
        assert (repository.training(new) or {})["dataset_known_by"] == "content"


def test_an_upgrade_happens_once_whoever_comes_first(early_url: str) -> None:
    assert in_processes(open_and_count, [(early_url,)] * 4) == [2] * 4


def test_a_newer_database_is_refused_and_left_as_it_was(url: str) -> None:
    with open_database(url) as database, database.engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    for read_only in (False, True):
        with pytest.raises(StorageError, match=r"newer version of nas .schema 9999"):
            open_database(url, read_only=read_only)


def test_a_database_of_several_versions_is_damaged(url: str) -> None:
    with open_database(url) as database, database.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {schema.VERSION_TABLE} VALUES ('0.1.0')"))
    for read_only in (False, True):
        with pytest.raises(StorageError, match=r"is damaged: .* names 2 versions instead of one"):
            open_database(url, read_only=read_only)


def test_an_older_database_is_not_upgraded_by_a_reader(early_url: str) -> None:
    with pytest.raises(StorageError) as error:
        open_database(early_url, read_only=True)
    assert "nas db upgrade" in str(error.value.hint)
    old = Database(parse_url(early_url))
    with old.engine.connect() as connection:
        assert schema.version(connection).current == "0002"
    old.close()


def test_a_trial_version_is_refused_by_its_name(early_url: str) -> None:
    old = Database(parse_url(early_url))
    with old.engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0001'"))
    old.close()
    with pytest.raises(StorageError, match="trial version"):
        open_database(early_url)


def test_a_failing_upgrade_changes_nothing(early_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Database(parse_url(early_url))
    before = _columns(old.engine)
    command_upgrade = schema.command.upgrade

    def break_after(*arguments: Any) -> None:
        command_upgrade(*arguments)
        raise RuntimeError("power cut")

    monkeypatch.setattr(schema.command, "upgrade", break_after)
    with pytest.raises(RuntimeError):
        schema.upgrade(old.engine, old.url)
    assert _columns(old.engine) == before
    with old.engine.connect() as connection:
        assert schema.version(connection).current == "0002"
    monkeypatch.undo()
    schema.upgrade(old.engine, old.url)
    old.close()


def _columns(engine: Engine) -> dict[str, set[str]]:
    known = inspect(engine)
    return {name: {column["name"] for column in known.get_columns(name)} for name in known.get_table_names()}


def test_an_empty_database_is_made_only_when_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no database at|holds no studies"):
        open_database(url, create=False)
    assert not (tmp_path / "study.db").exists()


def test_a_reader_cannot_write(url: str) -> None:
    with open_database(url) as database:
        study_id, _, _ = fill(Repository(database), 2)
        finish_all(Repository(database), study_id)
    with open_database(url, read_only=True) as database:
        repository = Repository(database, patience_s=1)
        assert len(repository.results("made_up")) == 2
        with pytest.raises(StorageError, match="reading only"):
            repository.ensure_study("new", {}, 1, None)
        with pytest.raises(Exception, match=r"read-only|readonly"), database.engine.begin() as connection:
            connection.execute(text("DELETE FROM nas_epoch"))


def test_a_reader_sees_what_writers_do_meanwhile(url: str) -> None:
    with open_database(url) as database:
        writer = Repository(database)
        study_id, _, _ = fill(writer, 2)
        with open_database(url, read_only=True) as same:
            reader = Repository(same)
            assert reader.status("made_up")["trainings"]["finished"] == 0
            finish_all(writer, study_id)
            assert reader.status("made_up")["trainings"]["finished"] == 2
