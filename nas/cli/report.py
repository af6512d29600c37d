"""`nas report`: the static report of a study, finished or not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import reporting, search, storage
from nas.cli.campaign import load_studies
from nas.cli.common import Json, emit_json, note, progress_bar

if TYPE_CHECKING:
    from nas.reporting import StudyData
    from nas.storage import Database


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("report")(report)


def report(
    study: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]...",
            help="Name of a study, its file, or a database; default: the only one here. Several: one report over all.",
        ),
    ] = None,
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="Database; default: the study's.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder; default: reports/STUDY.")] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="LIST",
            help="Of html, md, csv, rules, latex, png, svg; pdf, slide: a summary. Default: html, md, csv, rules; png "
            "too where a browser is here to draw it.",
        ),
    ] = None,
    plotlyjs: Annotated[
        str, typer.Option(help="inline: one self-contained page; directory: plotly.min.js beside it.")
    ] = "inline",
    rank_lists: Annotated[
        int,
        typer.Option("--rank-lists", min=0, metavar="N", help="Show what N queries find (best checkpoint)."),
    ] = 0,
    maps: Annotated[
        int, typer.Option("--maps", min=0, metavar="N", help="Show where the best network looks, on N queries.")
    ] = 0,
    json: Json = False,
) -> None:
    """Write the report of a study, or one over several: page, Markdown, tables, rules and figures.

    Example: nas report quickstart --format html,md,latex,svg
    """
    given = db or os.environ.get("NAS_DATABASE")
    if study is not None and len(study) > 1:
        _over_several([search.find_study(named, given) for named in study], out, json)
        return
    name, url = search.find_study(study[0] if study else None, given)
    wanted = None if formats is None else [part.strip() for part in formats.split(",") if part.strip()]
    with storage.open_database(url, create=False, read_only=True) as database:
        data = reporting.load_study_data(database, name)
        if rank_lists:
            data = _with_rank_lists(database, data, rank_lists, enabled=not json)
        if maps:
            with progress_bar("Maps", enabled=not json) as progress:
                data = replace(data, maps=reporting.make_maps(database, data, images=maps, progress=progress))
    folder = out or Path("reports") / reporting.file_name(name)
    with progress_bar("Report", enabled=not json) as progress:
        written = reporting.write_report(
            reporting.with_samples(data), folder, wanted, plotlyjs=plotlyjs, progress=progress
        )
    if json:
        emit_json({"study": name, "files": {kind: str(path) for kind, path in written.items()}})
        return
    for path in dict.fromkeys(written.values()):
        note(f"  {path}")


def _over_several(named: list[tuple[str, str]], out: Path | None, json: bool) -> None:
    """One report over several studies."""
    folder = out or Path("reports") / reporting.file_name("-".join(name for name, _ in named))
    written = reporting.write_combined(load_studies(named), folder)
    if json:
        emit_json({"studies": [name for name, _ in named], "files": {k: str(path) for k, path in written.items()}})
        return
    for path in written.values():
        note(f"  {path}")


def _with_rank_lists(database: Database, data: StudyData, queries: int, *, enabled: bool) -> StudyData:
    with progress_bar("Rank lists", enabled=enabled) as progress:
        return replace(data, rank_lists=reporting.make_rank_lists(database, data, queries=queries, progress=progress))
