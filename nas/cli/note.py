"""`nas note`: what a person notes of the candidates of a study."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from nas import search, storage
from nas.cli.common import Json, emit_json, line, note, print_table
from nas.cli.run import Url
from nas.errors import StudyError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("note")(note_candidate)


def note_candidate(
    study: Annotated[str, typer.Argument(help="Name of a study, or its file.")],
    candidate: Annotated[
        str | None, typer.Argument(help="Its notation, as tables show it; without one all notes are listed.")
    ] = None,
    star: Annotated[bool | None, typer.Option("--star/--no-star", help="Star it, or take the star away.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A word to find it by, several times for several; '' takes them away.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="A comment; '' takes it away.")] = None,
    db: Url = None,
    json: Json = False,
) -> None:
    """Star, tag or comment a candidate, or list what is noted; reports, dashboard and Python show it.

    Example: nas note quickstart 'resnet50+cnl@8' --star --comment "for the robot"
    """
    name, url = search.find_study(study, db or os.environ.get("NAS_DATABASE"))
    tags = None if tag is None else [word for word in tag if word]
    changes = any(value is not None for value in (star, tags, comment))
    if candidate is None and changes:
        raise StudyError("which candidate is noted something of?", "give its notation behind the study")
    with storage.open_database(url, create=False, read_only=not changes) as database:
        repository = storage.Repository(database)
        if candidate is not None:
            found = {candidate: repository.note(name, candidate, star=star, tags=tags, comment=comment)}
        else:
            found = repository.named_notes(name)
    if json:
        emit_json([{"candidate": notation, **asdict(noted)} for notation, noted in found.items()])
    elif candidate is not None:
        line(found[candidate].words or "Nothing is noted of it.")
    elif found:
        rows = [(n, "★" if noted.star else "", ", ".join(noted.tags), noted.comment) for n, noted in found.items()]
        print_table(("candidate", "", "tags", "comment"), rows, title=f"Notes of {name}")
    else:
        note(f"Nothing is noted of candidates of {name!r}.")
