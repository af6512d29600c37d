"""`nas evaluate`: a trained network on any set."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import data as images
from nas import reporting, retrieval, training
from nas.cli.common import Force, Json, emit, emit_json, note, print_table, progress_bar
from nas.cli.inputs import Cache, CheckpointFile, Data, Device, View, prepare_data, tell_metrics, write_whole
from nas.errors import DataError, NasError
from nas.files.outputs import check_outputs
from nas.files.shown import csv_text
from nas.files.whole import write_text
from nas.spaces.plugins import find_part

if TYPE_CHECKING:
    import pandas as pd

    from nas.data.prepared import PreparedData
    from nas.retrieval import RetrievalMetrics
    from nas.retrieval.verification import Roc
    from nas.training.checkpoints import Checkpoint
    from nas.training.scoring import Embeddings

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
"""At which face and person verification is usually quoted."""


def evaluate(
    checkpoint: CheckpointFile,
    data: Data,
    view: View = "final",
    rerank: Annotated[bool, typer.Option("--rerank", help="k-reciprocal re-ranking (20, 6, 0.3).")] = False,
    flip: Annotated[bool, typer.Option("--flip", help="Features of images and their mirror images, averaged.")] = False,
    aqe: Annotated[int, typer.Option(min=0, help="Average query expansion with this many neighbours.")] = 0,
    multi_query: Annotated[
        bool, typer.Option("--multi-query", help="All images of a person in one camera are one query.")
    ] = False,
    single_shot: Annotated[
        int, typer.Option(min=0, help="CUHK03's classic protocol: mean CMC over so many random galleries.")
    ] = 0,
    verification: Annotated[
        bool, typer.Option("--verification", help="Also true positive rates at low FPR, FNMR at FMR.")
    ] = False,
    roc: Annotated[Path | None, typer.Option(help="The ROC curve: drawn (.png), or its points (.csv).")] = None,
    per_query: Annotated[Path | None, typer.Option(help="Write every query's result to this CSV.")] = None,
    worst: Annotated[int, typer.Option(min=0, help="Show this many queries with the lowest AP.")] = 0,
    rank_lists: Annotated[Path | None, typer.Option(help="Draw what the worst queries found (PNG).")] = None,
    histogram: Annotated[
        Path | None,
        typer.Option(help="Distances of pairs of one and two persons: drawn (.html, .png) or binned (.csv)."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A metric of your own: module:function, or an entry point.")
    ] = None,
    force: Force = False,
    device: Device = "auto",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Evaluate a checkpoint on any set: mAP, CMC, mINP, and what the worst queries look like.

    Example: nas evaluate market.pt --data duke:data/DukeMTMC-reID --worst 10 --rank-lists worst.png
    """
    if histogram is not None and histogram.suffix not in (".csv", ".html", ".png"):
        raise NasError(
            f"a histogram is written as .html, .png or .csv, not {histogram.name}", "Give --histogram distances.html."
        )
    if rank_lists is not None and rank_lists.suffix != ".png":
        raise NasError(f"rank lists are drawn as .png, not {rank_lists.name}", "Give --rank-lists worst.png.")
    if roc is not None and roc.suffix not in (".csv", ".png"):
        raise NasError(f"a ROC curve is written as .png or .csv, not {roc.name}", "Give --roc roc.png.")
    if multi_query and (per_query is not None or worst or rank_lists is not None):
        raise NasError(
            "--multi-query joins images, so there are no results of single ones",
            "Leave --per-query, --worst and --rank-lists out.",
        )
    check_outputs((per_query, histogram, rank_lists, roc), (checkpoint,), force=force)
    for name in metric or ():
        find_part("metric", name, {})  # before the work whose numbers it would take
    place = images.usable_device(device)
    loaded = training.load_checkpoint(checkpoint)
    prepared = prepare_data(data, view, loaded.input_size, cache, use="evaluate")
    network = training.network_from_checkpoint(loaded, place)
    with progress_bar("embed", enabled=not json) as progress:
        here = prepared.to(place)
        embeddings = training.embed(network, here, loaded.recipe.augmentation, progress, flip=flip)
    six = embeddings.with_persons(prepared)
    metrics = retrieval.evaluate_as(
        six,
        expansion=aqe,
        multi_query=multi_query,
        flipped=flip,
        rerank=retrieval.Rerank() if rerank else None,
        per_query=not multi_query,
    )
    metrics = replace(metrics, own=training.own_metrics(metric or (), embeddings, prepared))
    classic = retrieval.single_shot(six, single_shot) if single_shot else None
    table = reporting.query_table(metrics, prepared)
    shown = table.nsmallest(worst, "ap", keep="first") if worst else table.head(0)
    rates = _verification(embeddings, prepared) if verification else {}
    if per_query is not None:
        write_text(per_query, csv_text(table))
    if roc is not None:
        _write_roc(roc, retrieval.PairDistances(*six).roc())
    if histogram is not None:
        distances = retrieval.PairDistances(*embeddings.with_persons(prepared))
        reporting.write_distances(distances.histogram(), histogram)
    if rank_lists is not None:
        _draw_rank_lists(rank_lists, metrics, embeddings, prepared, worst or 5)
    if json:
        document = _evaluation_document(loaded, prepared, metrics, shown, rates)
        emit_json(document | ({} if classic is None else {"single_shot": classic.to_dict()}))
    else:
        _tell_evaluation(metrics, shown, rates)
        if classic is not None:
            tell_metrics(classic)


def _verification(embeddings: Embeddings, data: PreparedData) -> dict[str, float]:
    try:
        roc = retrieval.PairDistances(*embeddings.with_persons(data)).roc()
    except DataError as error:  # no pair of one kind: the ranking's figures stand without a ROC
        note(f"no verification rates: {error.message}")
        return {}
    rates = {f"tpr_at_fpr_{rate:g}": roc.tpr_at(rate) for rate in FALSE_POSITIVE_RATES}
    misses = {f"fnmr_at_fmr_{rate:g}": 1.0 - roc.tpr_at(rate) for rate in FALSE_POSITIVE_RATES}
    return {"auc": roc.auc, **rates, **misses}


def _write_roc(path: Path, found: Roc) -> None:
    if path.suffix == ".png":
        write_whole(path, lambda file: retrieval.draw_roc(found).save(file, format="PNG"))
        return
    import pandas as pd

    table = pd.DataFrame({"distance": found.thresholds, "fmr": found.fpr, "tpr": found.tpr, "fnmr": 1.0 - found.tpr})
    write_text(path, csv_text(table))


def _draw_rank_lists(
    path: Path, metrics: RetrievalMetrics, embeddings: Embeddings, data: PreparedData, count: int
) -> None:
    if metrics.per_query is None:
        raise RuntimeError("results of single queries were not kept")
    lists = retrieval.rank_lists(*embeddings.with_persons(data), queries=metrics.per_query.worst(count), top=10)
    picture = retrieval.draw_rank_lists(
        lists, partial(reporting.pixels_of, data.query), partial(reporting.pixels_of, data.gallery)
    )
    write_whole(path, lambda file: picture.save(file, format="PNG"))
    note(f"rank lists: {path}")


def _evaluation_document(
    loaded: Checkpoint, data: PreparedData, metrics: RetrievalMetrics, worst: pd.DataFrame, rates: dict[str, float]
) -> dict[str, object]:
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
    for name, value in {**metrics.own, **rates}.items():
        emit(f"{name.replace('_', ' ')}: {value:.4f}")
    if len(worst):
        rows = worst[["ap", "first_rank", "identity", "camera", "path"]].round(4).to_numpy().tolist()
        print_table(("AP", "first right", "identity", "camera", "query"), rows, title="Worst queries")
