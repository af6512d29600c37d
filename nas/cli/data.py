"""`nas data`: check a set, count it, draw the generated one, pack images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import data
from nas.cli.common import EXIT_USER, Json, console, emit, emit_json, note, parse_size, print_table, progress_bar
from nas.errors import DataError

if TYPE_CHECKING:
    from nas.data.inspection import DataReport
    from nas.data.records import ReidDataset, SplitCounts
    from nas.data.summary import CountSpread, DataSummary

SOURCE_HELP = (
    "A folder, a CSV, NAME:PATH (market1501, duke, cuhk03, msmt17, omniglot, folders, csv), "
    "cuhk03:PATH,variant=detected, or generated:train_identities=64,seed=0."
)
Source = Annotated[str, typer.Argument(help=SOURCE_HELP)]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder for packs and generated sets.", show_default=False)]
FILES_SHOWN = 20


def check(
    source: Source,
    decode: Annotated[bool, typer.Option(help="Open every image (the slow part).")] = True,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Find what is wrong with a set: counts, unreadable images, persons in one camera, hopeless queries.

    Exit code 2 when something must be put right before training.

    Example: nas data check market1501:data/Market-1501-v15.09.15
    """
    with progress_bar("check") as progress:
        report = data.check_dataset(_load(source, cache), decode=decode, progress=progress)
    if json:
        emit_json(report.to_dict())
    else:
        _show_report(report)
    if not report.ok:
        raise typer.Exit(EXIT_USER)


def info(source: Source, cache: Cache = None, json: Json = False) -> None:
    """Count a set: persons, images, cameras, right answers a query, batches an epoch, size when packed.

    Example: nas data info market1501:data/Market-1501-v15.09.15
    """
    summary = data.summarise(_load(source, cache))
    if json:
        emit_json(summary.to_dict())
    else:
        _show_summary(summary)


def synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    train_identities: Annotated[int | None, typer.Option(help="Persons to learn from.", show_default=False)] = None,
    test_identities: Annotated[int | None, typer.Option(help="Persons for the test.", show_default=False)] = None,
    cameras: Annotated[int | None, typer.Option(help="Cameras.", show_default=False)] = None,
    images: Annotated[int | None, typer.Option(help="Images a person and camera.", show_default=False)] = None,
    distractors: Annotated[int | None, typer.Option(help="Gallery images of nobody.", show_default=False)] = None,
    height: Annotated[int | None, typer.Option(help="Image height in pixels.", show_default=False)] = None,
    width: Annotated[int | None, typer.Option(help="Image width in pixels.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other persons.")] = 0,
    sheet: Annotated[Path | None, typer.Option(help="Also draw a contact sheet here.", show_default=False)] = None,
) -> None:
    """Draw the generated pedestrian set into Market-1501-style folders.

    Example: nas data synth data/pedestrians --train-identities 200 --sheet pedestrians.png
    """
    given = {
        "train_identities": train_identities,
        "test_identities": test_identities,
        "cameras": cameras,
        "images": images,
        "distractors": distractors,
        "height": height,
        "width": width,
        "seed": seed,
    }
    settings = data.parse_settings({key: value for key, value in given.items() if value is not None})
    if folder.exists():
        raise DataError(f"{folder} exists already", "Give a folder that does not exist yet; nothing is overwritten.")
    with progress_bar("draw") as progress:
        data.write_set(settings, folder, progress)
    if sheet is not None:
        data.contact_sheet(settings).save(sheet)
    note(f"{settings.images_total} images of {settings.persons} persons in {folder}")


def pack(
    source: Source,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "256x128",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Decode and resize every image once into memory-mapped files (studies do this at first use).

    Example: nas data pack market1501:data/Market-1501-v15.09.15 --size 256x128
    """
    pixels, dataset = parse_size(size), _load(source, cache)
    packs: list[tuple[str, int, int, str]] = []
    for split, records in dataset.splits.items():
        if not records:
            continue
        with progress_bar(f"pack {split}") as progress:
            data.open_pack(records, pixels, cache, progress)
        path = data.pack_path(records, pixels, cache)
        packs.append((split, len(records), data.pack_bytes(len(records), pixels), str(path)))
    if json:
        keys = ("split", "images", "bytes", "file")
        found = [dict(zip(keys, pack, strict=True)) for pack in packs]
        emit_json({"name": dataset.name, "size": list(pixels), "packs": found})
        return
    rows = [(split, images, f"{size / 1e6:.1f} MB", file) for split, images, size, file in packs]
    print_table(("split", "images", "size", "file"), rows)


def _load(source: str, cache: Path | None) -> ReidDataset:
    with progress_bar("draw") as progress:
        return data.load_dataset(data.parse_source(source), cache=cache, progress=progress)


def _show_report(report: DataReport) -> None:
    emit(f"{report.name}  {report.dataset_id or ''}")
    print_table(("split", "persons", "images", "cameras", "distractors"), _count_rows(report.counts))
    emit("")
    colours = {"error": "bold red", "warning": "yellow", "note": "green"}
    out = console(stderr=False)
    for finding in report.findings:
        out.print(f"[{colours[finding.level]}]{finding.level}[/] ", end="")
        out.print(finding.sentence, markup=False)
        for line in finding.files[:FILES_SHOWN]:
            out.print(f"    {line}", markup=False)
        if len(finding.files) > FILES_SHOWN:
            out.print(f"    ... and {len(finding.files) - FILES_SHOWN} more; --json lists all", markup=False)
        if finding.advice:
            out.print(f"  {finding.advice}", markup=False)


def _show_summary(summary: DataSummary) -> None:
    emit(f"{summary.name}  {summary.id}")
    print_table(("split", "persons", "images", "cameras", "distractors"), _count_rows(summary.splits))
    junk = sum(summary.junk.values())
    lines = (
        ("images a training person", _spread(summary.images_a_person)),
        ("cameras a training person", _spread(summary.cameras_a_person)),
        ("right answers a query", _spread(summary.positives)),
        ("batches an epoch (P 16, K 4)", "needs 16 persons" if summary.batches is None else str(summary.batches)),
        ("packed at 256x128", f"{summary.pack_bytes / 1e6:.0f} MB"),
        ("junk left out", f"{junk} images"),
    )
    emit("")
    for what, value in lines:
        emit(f"{what:<30} {value}")


def _count_rows(counts: dict[str, SplitCounts]) -> list[tuple[object, ...]]:
    return [(split, c.identities, c.images, c.cameras, c.distractors) for split, c in counts.items()]


def _spread(spread: CountSpread | None) -> str:
    if spread is None:
        return "none"
    return f"{spread.mean:.2f} on average, {spread.least}-{spread.most}, median {spread.median:g}"
