"""`nas studies`: the studies in a database; delete and rename them, try failed trainings again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nas import search, storage
from nas.cli.common import Json, Url, emit_json, note, print_table
from nas.cli.db import Checkpoints, checkpoint_store
from nas.errors import StudyError
from nas.files.places import DEFAULT_URL

if TYPE_CHECKING:
    from nas.storage.administration import Deletion
    from nas.storage.records import StudySummary

Name = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in the database.")]
# Of the environment only the group is told: it must not overrule a --db that stands before the word.
Own = Annotated[str | None, typer.Option("--db", metavar="URL", help="Database; default: that of `nas studies`.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def alone(context: typer.Context, db: Url = None, json: Json = False) -> None:
    """List the studies of this folder or of a database; with a command, delete or rename one or retry its failures.

    Example: nas studies --db sqlite:///nas.db
    """
    if context.invoked_subcommand is not None:
        context.obj = db
        return
    list_(context, db, json)


def list_(context: typer.Context, db: Own = None, json: Json = False) -> None:
    """List the studies of all databases of this folder, or of one.

    Example: nas studies list
    """
    unread: list[str] = []
    found = search.studies_here(db or context.obj, unread)
    for sentence in unread:
        note(f"{sentence}.")
    if json:
        emit_json([{**study.summary, "database": storage.masked(study.url)} for study in found])
        return
    if not found:
        note("No study here yet: start one with `nas run STUDY.yaml`, or say where with --db URL.")
        return
    headings = ("study", "state", "stages", "finished", "running", "waiting", "failed", "begun")
    for url in dict.fromkeys(study.url for study in found):
        print_table(headings, [_row(study.summary) for study in found if study.url == url], title=storage.masked(url))


def _row(study: StudySummary) -> tuple[object, ...]:
    counts = study["trainings"]
    begun = datetime.fromtimestamp(study["created_at"], UTC).strftime("%Y-%m-%d %H:%M")
    stages = f"{study['stages_finished']}/{study['stages']}"
    numbers = (counts["finished"], counts["running"], counts["waiting"], counts["failed"])
    return (study["study"], study["state"], stages, *numbers, begun)


def delete(
    context: typer.Context,
    study: Name,
    db: Own = None,
    yes: Yes = False,
    keep_trainings: Annotated[bool, typer.Option("--keep-trainings", help="Keep finished trainings as facts.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also while workers are running it.")] = False,
    checkpoints: Checkpoints = None,
    json: Json = False,
) -> None:
    """Delete a study with its trainings and checkpoints; what other studies share stays.

    Example: nas studies delete quickstart
    """
    with storage.open_database(db or context.obj or DEFAULT_URL, create=False) as database:
        repository = storage.Repository(database)
        _confirm(_deletion_question(storage.preview_deletion(repository, study), keep_trainings), yes)
        store = checkpoint_store(checkpoints)
        done = storage.delete_study(repository, study, store=store, keep_trainings=keep_trainings, force=force)
    if json:
        emit_json({key: value for key, value in asdict(done).items() if key != "checkpoints"})
        return
    note(f"Deleted the study {study!r}.")


def _deletion_question(going: Deletion, keep_trainings: bool) -> str:
    what = f"Delete the study {going.study!r} with {going.stages} stages"
    if keep_trainings:
        return f"{what}, keeping its {going.finished} finished trainings?"
    shared = f" ({going.shared} shared with other studies stay)" if going.shared else ""
    own = f"{going.trainings} trainings of its own, {going.finished} of them finished"
    return f"{what}, {own}, and {len(going.checkpoints)} checkpoints{shared}?"


def rename(context: typer.Context, study: Name, new: str, db: Own = None, yes: Yes = False, json: Json = False) -> None:
    """Give a study another name.

    Example: nas studies rename quickstart first_try
    """
    with storage.open_database(db or context.obj or DEFAULT_URL, create=False) as database:
        repository = storage.Repository(database)
        repository.study(study)
        _confirm(f"Rename the study {study!r} to {new!r} (its file must get the new name too)?", yes)
        storage.rename_study(repository, study, new)
    if json:
        emit_json({"old": study, "new": new})
        return
    note(f"The study {study!r} is now {new!r}; write `name: {new}` into its file before running it again.")


def retry(
    context: typer.Context,
    study: Name,
    db: Own = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only failures of this kind, such as out_of_memory.")] = None,
    json: Json = False,
) -> None:
    """Let failed trainings be tried again by the next `nas run` or `nas worker`.

    Example: nas studies retry market1501 --kind out_of_memory
    """
    with storage.open_database(db or context.obj or DEFAULT_URL, create=False) as database:
        count = storage.retry_failed(storage.Repository(database), study, kind)
    if json:
        emit_json({"study": study, "waiting_again": count})
        return
    note(f"{count} trainings of {study!r} wait to be tried again.")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise StudyError("this needs a yes", "add --yes")
    typer.confirm(question, abort=True, err=True)
