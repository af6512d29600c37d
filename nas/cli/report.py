"""`nas report`: the static report of a study, finished or not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import reporting, search, storage
from nas.cli.common import Json, emit_json, note, progress_bar

if TYPE_CHECKING:
    from nas.reporting import StudyData
    from nas.storage import Database


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("report")(report)


def report(
    study: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="Name of a study, its file, or a database; default: the only one here."),
    ] = None,
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="Database; default: the study's.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder; default: reports/STUDY.")] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Of html, md, csv, rules, latex, png, svg; comma-separated.")
    ] = "html,md,csv,rules",
    plotlyjs: Annotated[
        str, typer.Option(help="inline: one self-contained page; directory: plotly.min.js beside it.")
    ] = "inline",
    rank_lists: Annotated[
        int,
        typer.Option("--rank-lists", min=0, metavar="N", help="Show what N queries find (best checkpoint)."),
    ] = 0,
    json: Json = False,
) -> None:
    """Write the report of a study: page, Markdown, tables, rules and figures.

    Example: nas report quickstart --format html,md,latex,svg
    """
    name, url = search.find_study(study, db or os.environ.get("NAS_DATABASE"))
    wanted = [part.strip() for part in formats.split(",") if part.strip()]
    with storage.open_database(url, create=False, read_only=True) as database:
        data = reporting.load_study_data(database, name)
        if rank_lists:
            data = _with_rank_lists(database, data, rank_lists, enabled=not json)
    folder = out or Path("reports") / reporting.file_name(name)
    with progress_bar("Report", enabled=not json) as progress:
        written = reporting.write_report(data, folder, wanted, plotlyjs=plotlyjs, progress=progress)
    if json:
        emit_json({"study": name, "files": {kind: str(path) for kind, path in written.items()}})
        return
    for path in dict.fromkeys(written.values()):
        note(f"  {path}")


def _with_rank_lists(database: Database, data: StudyData, queries: int, *, enabled: bool) -> StudyData:
    with progress_bar("Rank lists", enabled=enabled) as progress:
        return replace(data, rank_lists=reporting.make_rank_lists(database, data, queries=queries, progress=progress))
