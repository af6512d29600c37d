"""The schema: made once, upgraded with its data from every version, never touched when newer, Optuna's left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, insert, inspect, text
from storage_builders import fill, finish_all, in_processes

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


def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        options = {"include_name": schema.is_ours, "version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_workers_may_all_start_on_an_empty_database(url: str) -> None:
    assert in_processes(open_and_count, [(url,)] * 8) == [1] * 8


def _insert_old(engine: Engine) -> dict[str, Any]:
    """A small study written with the tables of whatever version the database has."""
    old = MetaData()
    old.reflect(engine, only=lambda name, _: name.startswith("nas_"))
    rows: dict[str, dict[str, Any]] = {
        "nas_space": {"id": "s", "name": "space", "size": "12", "definition": {}, "rules": [], "created_at": 1.0},
        "nas_study": {
            "id": 1, "name": "old", "definition": {"a": [1, "é"]}, "seed": 1, "space_id": "s", "created_at": 1.0,
        },
        "nas_stage": {
            "id": 1, "study_id": 1, "position": 0, "name": "0-sweep", "kind": "sweep", "settings": {},
            "status": "running",
        },
        "nas_candidate": {
            "id": "c", "architecture_id": "a", "notation": "resnet50", "backbone": "resnet50", "n_blocks": 0,
            "definition": {}, "created_at": 1.0,
        },
        "nas_recipe": {"id": "r", "definition": {}, "created_at": 1.0},
        "nas_dataset": {"id": "d", "name": "data", "spec": {}, "counts": {}, "created_at": 1.0},
        "nas_training": {
            "id": 7, "candidate_id": "c", "recipe_id": "r", "dataset_id": "d", "fidelity_label": "e1", "seed": 0,
            "fidelity": {}, "split": "val", "status": "finished", "attempts": 1, "map": 0.5, "created_at": 1.0,
        },
        "nas_stage_training": {
            "stage_id": 1, "training_id": 7, "role": "candidate", "sampler": "random", "batch": 0, "position": 0,
            "sampler_attrs": {}, "is_open": False, "created_at": 1.0,
        },
        "nas_epoch": {"training_id": 7, "epoch": 1, "losses": {"id": 1.0}},
        "nas_device": {"id": "gpu", "description": {}, "created_at": 1.0},
    }  # fmt: skip
    with engine.begin() as connection:
        for name, row in rows.items():
            connection.execute(insert(old.tables[name]), [row])
    return rows


@pytest.mark.parametrize("revision", schema.known_revisions())
def test_every_version_upgrades_with_its_data(url: str, revision: str) -> None:
    address = parse_url(url)
    old = Database(address)
    schema.upgrade(old.engine, old.url, revision)
    rows = _insert_old(old.engine)
    old.close()
    with open_database(url) as database:
        repository = Repository(database)
        with database.engine.connect() as connection:
            assert schema.version(connection).is_newest
            for name, row in rows.items():
                columns = ", ".join(row)
                stored = connection.execute(text(f"SELECT {columns} FROM {name}")).one()
                assert [_plain(value) for value in stored] == [_plain(value) for value in row.values()]
        assert repository.study("old").definition == {"a": [1, "é"]}
        (row,) = repository.results("old").to_dict("records")
        assert (row["training_id"], row["map"], row["status"]) == (7, 0.5, "finished")
        assert repository.claim_training(1, "w") is None


def _plain(value: Any) -> Any:
    """JSON and booleans as both engines' plain drivers give them."""
    if isinstance(value, str) and value[:1] in "[{":
        return json.loads(value)
    return int(value) if isinstance(value, bool) else value


def test_a_newer_database_is_refused_and_left_as_it_was(url: str) -> None:
    with open_database(url) as database, database.engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    for read_only in (False, True):
        with pytest.raises(StorageError, match=r"newer version of nas .schema 9999"):
            open_database(url, read_only=read_only)


def test_an_older_database_is_not_upgraded_by_a_reader(url: str) -> None:
    old = Database(parse_url(url))
    schema.upgrade(old.engine, old.url, "0001")
    with pytest.raises(StorageError) as error:
        open_database(url, read_only=True)
    assert "nas db upgrade" in str(error.value.hint)
    with old.engine.connect() as connection:
        assert schema.version(connection).current == "0001"
    old.close()


def test_a_failing_upgrade_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Database(parse_url(url))
    schema.upgrade(old.engine, old.url, "0001")
    _insert_old(old.engine)
    before = set(inspect(old.engine).get_table_names())
    command_upgrade = schema.command.upgrade

    def break_after(*arguments: Any) -> None:
        command_upgrade(*arguments)
        raise RuntimeError("power cut")

    monkeypatch.setattr(schema.command, "upgrade", break_after)
    with pytest.raises(RuntimeError):
        schema.upgrade(old.engine, old.url)
    assert set(inspect(old.engine).get_table_names()) == before
    with old.engine.connect() as connection:
        assert schema.version(connection).current == "0001"
    monkeypatch.undo()
    schema.upgrade(old.engine, old.url)
    old.close()


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
