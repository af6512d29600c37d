"""`nas db`: upgrade, describe, check and repair a database; take a study out of it and in again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import search, storage, training
from nas.cli.common import EXIT_USER, Json, database_option, emit, emit_json, note, print_table, progress_bar
from nas.errors import StorageError
from nas.files.outputs import check_outputs
from nas.files.places import DEFAULT_URL

if TYPE_CHECKING:
    from nas.storage.archive import Archived
    from nas.storage.checkpoint_store import CheckpointStore
    from nas.storage.info import DatabaseInfo

DatabaseUrl = Annotated[
    str, database_option("sqlite:///FILE or postgresql://USER@HOST/NAME; default: $NAS_DATABASE, or nas.db here.")
]
Checkpoints = Annotated[
    str | None, typer.Option("--checkpoints", metavar="FOLDER", help="Checkpoint store: a folder or an fsspec URL.")
]


def checkpoint_store(given: str | None) -> CheckpointStore:
    """The checkpoint store: as given, else where workers keep theirs."""
    return storage.CheckpointStore(given or search.cache_folder() / "checkpoints")


def info(db: DatabaseUrl = DEFAULT_URL, json: Json = False) -> None:
    """Show what a database is and holds; changes nothing, also when it is older or newer.

    Example: nas db info --db sqlite:///nas.db
    """
    found = storage.describe_database(db)
    if json:
        emit_json(found)
        return
    emit(f"{found['url']}\n{found['engine']}, {found['bytes'] / 1e6:.1f} MB")
    emit(f"schema {found['schema'] or 'none'} ({_schema_words(found)})")
    if found["optuna_studies"] is not None:
        emit(f"studies in Optuna's own tables: {found['optuna_studies']}")
    print_table(("table", "rows"), list(found["rows"].items()))


def _schema_words(found: DatabaseInfo) -> str:
    if found["schema"] == found["newest_schema"]:
        return "the newest"
    if found["schema"] is None:
        return "no studies here yet"

    older = found["schema"] in storage.known_revisions()
    return "older: run `nas db upgrade`" if older else "newer than this version of nas: upgrade nas"


def upgrade(db: DatabaseUrl = DEFAULT_URL, json: Json = False) -> None:
    """Make a new database, or bring an old one to the newest schema with its data.

    Example: nas db upgrade --db postgresql://robot@server/nas
    """
    try:
        before = storage.describe_database(db)["schema"]
    except StorageError:
        before = None  # not there yet, or wrong in a way that opening it says better
    with storage.open_database(db) as database:
        shown = database.url
    after = storage.describe_database(db)["schema"]
    if json:
        emit_json({"url": shown, "before": before, "after": after})
        return
    done = f"is at schema {after} already" if before == after else f"went from schema {before or 'none'} to {after}"
    note(f"{shown} {done}.")


def check(
    db: DatabaseUrl = DEFAULT_URL,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be put right.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every checkpoint and compare its hash.")] = False,
    checkpoints: Checkpoints = None,
    json: Json = False,
) -> None:
    """Find what is wrong in a database: silent workers, orphans, contradictions, lost checkpoints.

    Exit code 2 when something is left that does not go away by itself.

    Example: nas db check --repair
    """
    store = checkpoint_store(checkpoints)
    with storage.open_database(db, create=False) as database, progress_bar("check", enabled=not json) as progress:
        repository = storage.Repository(database)
        problems = storage.check_database(repository, store=store, deep=deep, progress=progress)
        repaired = storage.repair_database(repository, problems) if repair else 0
        left = storage.check_database(repository, store=store, deep=deep) if repair else problems
    if json:
        found = [{k: v for k, v in asdict(p).items() if k != "keys"} | {"count": p.count} for p in problems]
        emit_json({"problems": found, "repaired": repaired, "left": [p.kind for p in left]})
    else:
        _show_problems([(p.sentence, _remedy(p.repairable, p.harmless, repair)) for p in problems], repaired, repair)
    if any(not problem.harmless for problem in left):
        raise typer.Exit(EXIT_USER)


def _remedy(repairable: bool, harmless: bool, repair: bool) -> str:
    if repair and repairable:
        return "repaired"
    if harmless:
        return "goes away by itself; --repair does it now"
    return "--repair puts it right" if repairable else "somebody has to look at it"


def _show_problems(rows: list[tuple[str, str]], repaired: int, repair: bool) -> None:
    for sentence, remedy in rows:
        emit(f"{sentence} ({remedy})")
    if not rows:
        note("Nothing is wrong.")
    elif repair:
        note(f"{repaired} rows put right.")


def export(
    study: Annotated[str, typer.Argument(help="Name of a study in the database.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The archive to write.")],
    db: DatabaseUrl = DEFAULT_URL,
    with_checkpoints: Annotated[bool, typer.Option(help="Put the checkpoints into the archive too.")] = True,
    checkpoints: Annotated[
        str | None,
        typer.Option("--checkpoints", metavar="FOLDER", help="Put them there instead, named by content."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a whole study to one file: results, curves, latencies, rules, checkpoints; an older archive is replaced.

    Example: nas db export market1501 market1501.nas.zip
    """
    store = checkpoint_store(None) if with_checkpoints else None
    beside = None if checkpoints is None else checkpoint_store(checkpoints)
    with storage.open_database(db, create=False, read_only=True) as database, progress_bar("export") as progress:
        check_outputs((file,), (database.path,), force=storage.is_archive(file))
        repository = storage.Repository(database)
        done = storage.export_study(repository, study, file, store=store, beside=beside, progress=progress)
    _show_archived(done, f"wrote {file}", json)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="An archive made by `nas db export`.")],
    db: DatabaseUrl = DEFAULT_URL,
    name: Annotated[str | None, typer.Option(help="What to call the study here; default: its own name.")] = None,
    with_checkpoints: Annotated[bool, typer.Option(help="Take the checkpoints out of the archive too.")] = True,
    checkpoints: Checkpoints = None,
    json: Json = False,
) -> None:
    """Bring a study from an archive into a database (made when needed), all or nothing.

    Example: nas db import market1501.nas.zip --db postgresql://robot@server/nas
    """
    with storage.open_archive(file, IDS):  # refused before a database is made
        store = checkpoint_store(checkpoints) if with_checkpoints else None
    with storage.open_database(db) as database, progress_bar("import") as progress:
        done = storage.import_study(
            storage.Repository(database), file, name=name, store=store, ids=IDS, progress=progress
        )
    _show_archived(done, f"study {done.study!r} is in the database now", json)
    for sentence in () if json else done.touched:
        note(f"It also brought {sentence}.")


def _recipe_id(definition: Mapping[str, object]) -> str:
    return training.load_recipe(dict(definition)).id


def _protocol_id(definition: Mapping[str, object]) -> str:
    from nas.latency import LatencyProtocol

    return LatencyProtocol.from_record(definition).id


IDS = {"recipe": _recipe_id, "protocol": _protocol_id}


def _show_archived(done: Archived, sentence: str, json: bool) -> None:
    if json:
        emit_json(asdict(done))
        return
    counts = done.rows
    note(
        f"{sentence}: {counts['nas_stage']} stages, {counts['nas_training']} trainings, "
        f"{counts['nas_latency']} latencies, {counts['nas_rule']} findings, {done.checkpoints} checkpoints."
    )
