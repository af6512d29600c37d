"""`nas compare`: two studies held against each other."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from nas import reporting, search
from nas.cli.campaign import load_studies
from nas.cli.common import Json, emit_json, line, print_table
from nas.errors import StudyError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(compare)


def compare(
    first: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or its file.")],
    second: Annotated[str, typer.Argument(metavar="STUDY", help="The study it is held against.")],
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="Database; default: the studies'.")] = None,
    json: Json = False,
) -> None:
    """Hold two studies against each other: the networks both trained, their order, and their rules.

    Example: nas compare market1501 market1501-cuhk03
    """
    url = db or os.environ.get("NAS_DATABASE")
    named = [search.find_study(study, url) for study in (first, second)]
    if named[0] == named[1]:
        raise StudyError(f"study {named[0][0]!r} is compared with itself", "name two different ones")
    studies = load_studies(named)
    found = reporting.compare_studies(*studies)
    if json:
        emit_json(found.to_dict())
        return
    line(found.sentence())
    rows = [
        (r.notation, f"{r.map_first:.4f}", f"{r.map_second:.4f}", _difference(r), r.verdict)
        for r in found.networks.itertuples()
    ]
    print_table(("network", found.names[0], found.names[1], "difference, 95 %", ""), rows)
    for heading, sentences in (
        ("Rules of both", found.both),
        (f"Only of {found.names[0]}", found.only_first),
        (f"Only of {found.names[1]}", found.only_second),
    ):
        for sentence in sentences:
            line(f"{heading}: {sentence}")


def _difference(row: Any) -> str:
    if row.difference != row.difference:
        return ""
    return f"{row.difference:+.4f}" + (f" [{row.low:+.4f}, {row.high:+.4f}]" if row.low == row.low else "")
