"""`nas report`, `nas compare`: the static report of a study, finished or not, or over several; two of them compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import reporting, search, storage
from nas.cli.campaign import load_studies
from nas.cli.common import Json, Profile, Study, Url, emit_json, line, note, note_path, print_table, progress_bar
from nas.errors import NasError, StudyError
from nas.files.yaml_source import FILE_ENDINGS

if TYPE_CHECKING:
    from nas.reporting import StudyData
    from nas.storage import Database


def report(
    study: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]...",
            help="Name of a study, its file, or a database; default: the only one here. Several, or a campaign's file: "
            "one report over all.",
        ),
    ] = None,
    db: Url = None,
    profile: Profile = None,
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
        int, typer.Option("--rank-lists", min=0, metavar="N", help="Show what N queries find (best checkpoint).")
    ] = 0,
    maps: Annotated[
        int, typer.Option("--maps", min=0, metavar="N", help="Show where the best network looks, on N queries.")
    ] = 0,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Five images of the data; the study's `report:` may forbid it.")
    ] = True,
    json: Json = False,
) -> None:
    """Write the report of a study, or one over several: page, Markdown, tables, rules and figures.

    Example: nas report quickstart --format html,md,latex,svg
    """
    if not images and (rank_lists or maps):
        raise NasError("--no-images leaves nothing of --rank-lists and --maps, which are images", "Leave them out.")
    if study is not None and (len(study) > 1 or _is_campaign(study[0])):
        options = {"--format": formats is not None, "--plotlyjs": plotlyjs != "inline", "--rank-lists": rank_lists}
        options |= {"--maps": maps, "--no-images": not images, "--profile": profile is not None}
        if given := ", ".join(option for option, is_given in options.items() if is_given):
            raise NasError(f"{given}: only for the report of one study", "leave it out, or name one study")
        _over_several(study, db, out, json)
        return
    name, url = search.find_study(study[0] if study else None, db, profile)
    note(f"Study {name!r}: reading its results.")
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
            reporting.with_samples(data, images), folder, wanted, plotlyjs=plotlyjs, progress=progress
        )
    if json:
        emit_json({"study": name, "files": {kind: str(path) for kind, path in written.items()}})
        return
    for path in dict.fromkeys(written.values()):
        note_path(path)


def compare(
    first: Study,
    second: Annotated[str, typer.Argument(metavar="STUDY", help="The study it is held against.")],
    db: Url = None,
    json: Json = False,
) -> None:
    """Hold two studies against each other: the networks both trained, their order, and their rules.

    Example: nas compare market1501 market1501-cuhk03
    """
    named = [search.find_study(study, db) for study in (first, second)]
    if named[0] == named[1]:
        raise StudyError(f"study {named[0][0]!r} is compared with itself", "name two different ones")
    found = reporting.compare_studies(*_several(named))
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


def _is_campaign(named: str) -> bool:
    return named.endswith(FILE_ENDINGS) and search.is_campaign(Path(named))


def _over_several(given: list[str], db: str | None, out: Path | None, json: bool) -> None:
    """One report over several studies; a campaign's file stands for the studies that its files name themselves."""
    campaign = search.read_campaign(Path(given[0])) if len(given) == 1 else None
    if campaign is None:
        named = [search.find_study(one, db) for one in given]
    else:
        named = [search.written_study(path, db) for path in search.listed(Path(given[0]))]
    name = "-".join(name for name, _ in named) if campaign is None else campaign.name
    folder = out or Path("reports") / reporting.file_name(name)
    words = () if campaign is None else (campaign.title, campaign.question)
    note(f"Reading the results of {len(named)} studies.")
    studies = _several(named, missing=campaign is None)
    written = reporting.write_combined(studies, folder, *words)
    if json:
        emit_json(
            {"studies": [study.name for study in studies], "files": {k: str(path) for k, path in written.items()}}
        )
        return
    for path in written.values():
        note_path(path)


def _several(named: list[tuple[str, str]], *, missing: bool = True) -> list[StudyData]:
    """The studies that have begun (`load_studies`), where they are more than one."""
    studies = load_studies(named, missing=missing)
    if len(studies) > 1:
        return studies
    begun = f"only {studies[0].name!r}" if studies else "none"
    alone = f"; `nas report {studies[0].name}` is its own report" if studies else ""
    raise StudyError(f"of {len(named)} studies {begun} has begun; this takes two", f"begin them with `nas run`{alone}")


def _with_rank_lists(database: Database, data: StudyData, queries: int, *, enabled: bool) -> StudyData:
    with progress_bar("Rank lists", enabled=enabled) as progress:
        return replace(data, rank_lists=reporting.make_rank_lists(database, data, queries=queries, progress=progress))


def _difference(row: Any) -> str:
    if row.difference != row.difference:
        return ""
    return f"{row.difference:+.4f}" + (f" [{row.low:+.4f}, {row.high:+.4f}]" if row.low == row.low else "")
