"""What `nas train`, `nas evaluate` and `nas extract` share: images in, whole files and metrics out."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nas import data, files
from nas.cli.common import emit, progress_bar

if TYPE_CHECKING:
    from nas.data.prepared import PreparedData
    from nas.retrieval import RetrievalMetrics

DATA_HELP = (
    "A folder, a CSV, NAME:PATH (market1501, duke, cuhk03, msmt17, omniglot, folders, csv), "
    "or generated:train_identities=64. Several times: joined."
)
Data = Annotated[list[str], typer.Option("--data", help=DATA_HELP)]
View = Annotated[str, typer.Option(help="final: train on all, test on the test split; select: hold persons out.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder for packed images.", show_default=False)]
CheckpointFile = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="File written by a training.")]


def prepare_data(
    sources: list[str],
    view: str,
    size: tuple[int, int],
    cache: Path | None,
    before_packing: Callable[[], object] = lambda: None,
    use: Literal["train", "evaluate"] = "train",
) -> PreparedData:
    """Reads and packs the images behind `--data`; `DataError` says what is wrong with them.

    `before_packing` is called when the images are known to be there: what else can be wrong is found before the wait.
    """
    specs = [data.parse_source(source) for source in sources]
    with progress_bar("data") as progress:
        dataset = data.load_dataset(specs if len(specs) > 1 else specs[0], cache=cache, progress=progress)
        viewed = data.dataset_view(dataset, view)
    before_packing()
    with progress_bar("data") as progress:
        return data.prepare(viewed, size, cache, progress=progress, use=use)


def write_whole(path: Path, write: Callable[[BytesIO], object]) -> None:
    """Writes a file whole or not at all."""
    # Writers of pictures and tables seek and tell; the whole file passes through memory.
    buffer = BytesIO()
    write(buffer)
    files.write_atomically(path, lambda file: file.write(buffer.getvalue()))


def tell_metrics(metrics: RetrievalMetrics) -> None:
    """Prints mAP, rank-1, mINP, and how they were measured."""
    emit(f"mAP {metrics.map:.4f}   rank-1 {metrics.rank1:.4f}   mINP {metrics.minp:.4f}")
    skipped = f", {metrics.skipped_queries} skipped" if metrics.skipped_queries else ""
    emit(f"{metrics.valid_queries} queries{skipped}; {metrics.protocol}")
