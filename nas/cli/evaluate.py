"""`nas evaluate`: a trained network on any set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import retrieval, training
from nas.cli.common import emit, emit_json, note, print_table, progress_bar
from nas.cli.inputs import (
    Cache,
    CheckpointFile,
    Data,
    Device,
    Json,
    View,
    pick_device,
    prepare_data,
    tell_metrics,
    write_whole,
)
from nas.errors import DataError, NasError
from nas.files.outputs import check_outputs
from nas.files.shown import csv_text
from nas.files.whole import write_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from nas.data.prepared import PackedSplit, PreparedData
    from nas.retrieval import RetrievalMetrics
    from nas.retrieval.verification import DistanceHistogram
    from nas.training.checkpoints import Checkpoint
    from nas.training.scoring import Embeddings

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    checkpoint: CheckpointFile,
    data: Data,
    view: View = "final",
    rerank: Annotated[bool, typer.Option("--rerank", help="k-reciprocal re-ranking (20, 6, 0.3).")] = False,
    verification: Annotated[bool, typer.Option("--verification", help="Also true positive rates at low FPR.")] = False,
    per_query: Annotated[Path | None, typer.Option(help="Write every query's result to this CSV.")] = None,
    worst: Annotated[int, typer.Option(min=0, help="Show this many queries with the lowest AP.")] = 0,
    rank_lists: Annotated[Path | None, typer.Option(help="Draw what the worst queries found (PNG).")] = None,
    histogram: Annotated[
        Path | None, typer.Option(help="Distances of pairs of one and of two persons: drawn (.png), or binned (.csv).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist already.")] = False,
    device: Device = "auto",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Evaluate a checkpoint on any set: mAP, CMC, mINP, and what the worst queries look like.

    Example: nas evaluate market.pt --data duke:data/DukeMTMC-reID --worst 10 --rank-lists worst.png
    """
    if histogram is not None and histogram.suffix not in (".csv", ".png"):
        raise NasError(
            f"a histogram is written as .png or .csv, not {histogram.name}", "Give --histogram distances.png."
        )
    if rank_lists is not None and rank_lists.suffix != ".png":
        raise NasError(f"rank lists are drawn as .png, not {rank_lists.name}", "Give --rank-lists worst.png.")
    check_outputs((per_query, histogram, rank_lists), (checkpoint,), force=force)
    loaded = training.load_checkpoint(checkpoint)
    prepared = prepare_data(data, view, loaded.input_size, cache, use="evaluate")
    network = training.network_from_checkpoint(loaded, pick_device(device))
    with progress_bar("embed", enabled=not json) as progress:
        embeddings = training.embed(network, prepared.to(pick_device(device)), loaded.recipe.augmentation, progress)
    metrics = training.score_embeddings(embeddings, prepared, rerank=rerank, per_query=True)
    table = _query_table(metrics, prepared)
    shown = table.nsmallest(worst, "ap", keep="first") if worst else table.head(0)
    rates = _verification(embeddings, prepared) if verification else {}
    if per_query is not None:
        write_text(per_query, csv_text(table))
    if histogram is not None:
        _write_histogram(histogram, retrieval.PairDistances(*embeddings.with_persons(prepared)).histogram())
    if rank_lists is not None:
        _draw_rank_lists(rank_lists, metrics, embeddings, prepared, worst or 5)
    if json:
        emit_json(_evaluation_document(loaded, prepared, metrics, shown, rates))
    else:
        _tell_evaluation(metrics, shown, rates)


def _query_table(metrics: RetrievalMetrics, data: PreparedData) -> pd.DataFrame:
    """One row a query; AP and INP are empty where no right answer was left."""
    import pandas as pd

    found = metrics.per_query
    if found is None:
        raise RuntimeError("results of single queries were not kept")
    records = data.query.records
    return pd.DataFrame(
        {
            "path": [str(record.path) for record in records],
            "identity": [record.identity for record in records],
            "camera": [record.camera for record in records],
            "ap": found.ap,
            "inp": found.inp,
            "first_rank": found.first_rank,
            "right": found.positives,
        }
    )


def _verification(embeddings: Embeddings, data: PreparedData) -> dict[str, float]:
    try:
        roc = retrieval.PairDistances(*embeddings.with_persons(data)).roc()
    except DataError as error:  # no pair of one kind: the ranking's figures stand without a ROC
        note(f"no verification rates: {error.message}")
        return {}
    return {"auc": roc.auc, **{f"tpr_at_fpr_{rate:g}": roc.tpr_at(rate) for rate in FALSE_POSITIVE_RATES}}


def _write_histogram(path: Path, found: DistanceHistogram) -> None:
    if path.suffix == ".png":
        write_whole(path, lambda file: retrieval.draw_histogram(found).save(file, format="PNG"))
        return
    import pandas as pd

    columns = {"from": found.edges[:-1], "to": found.edges[1:]}
    table = pd.DataFrame({**columns, "same_person": found.positive, "other_person": found.negative})
    write_text(path, csv_text(table))


def _draw_rank_lists(
    path: Path, metrics: RetrievalMetrics, embeddings: Embeddings, data: PreparedData, count: int
) -> None:
    if metrics.per_query is None:
        raise RuntimeError("results of single queries were not kept")
    lists = retrieval.rank_lists(*embeddings.with_persons(data), queries=metrics.per_query.worst(count), top=10)
    picture = retrieval.draw_rank_lists(lists, partial(_pixels, data.query), partial(_pixels, data.gallery))
    write_whole(path, lambda file: picture.save(file, format="PNG"))
    note(f"rank lists: {path}")


def _pixels(split: PackedSplit, place: int) -> NDArray[np.uint8]:
    import numpy as np

    pixels: NDArray[np.uint8] = split.gather(np.array([place]))[0].permute(1, 2, 0).cpu().numpy()
    return pixels


def _evaluation_document(
    loaded: Checkpoint, data: PreparedData, metrics: RetrievalMetrics, worst: pd.DataFrame, rates: dict[str, float]
) -> dict[str, Any]:
    return {
        "candidate": loaded.candidate.notation,
        "epoch": loaded.epoch,
        "trained_on": loaded.dataset_id,
        "data": {"name": data.name, "id": data.dataset_id},
        "metrics": metrics.to_dict(),
        "verification": rates,
        "worst": worst.to_dict("records"),
    }


def _tell_evaluation(metrics: RetrievalMetrics, worst: pd.DataFrame, rates: dict[str, float]) -> None:
    tell_metrics(metrics)
    for name, value in rates.items():
        emit(f"{name.replace('_', ' ')}: {value:.4f}")
    if len(worst):
        rows = worst[["ap", "first_rank", "identity", "camera", "path"]].round(4).to_numpy().tolist()
        print_table(("AP", "first right", "identity", "camera", "query"), rows, title="Worst queries")
