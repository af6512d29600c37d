"""`nas train`, `nas evaluate`, `nas extract`: one candidate by hand."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.common import duration, emit, emit_json, note, print_table, progress_bar
from nas.errors import DataError, NasError, TrainingError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from nas.data.prepared import PackedSplit, PreparedData
    from nas.retrieval import RetrievalMetrics
    from nas.training import EpochRecord, Recipe, TrainingResult
    from nas.training.checkpoints import Checkpoint
    from nas.training.scoring import Embeddings

INTERRUPTED = 130

DATA_HELP = (
    "A folder, a CSV, NAME:PATH (market1501, duke, cuhk03, msmt17, folders, csv), or generated:train_identities=64. "
    "Several times: joined."
)
Data = Annotated[list[str], typer.Option("--data", help=DATA_HELP)]
View = Annotated[str, typer.Option(help="final: train on all, test on the test split; select: hold persons out.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder for packed images.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
CheckpointFile = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="File written by a training.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.command("extract")(extract)


# ---------------------------------------------------------------------- train


def train(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="e.g. resnet50+cnl@6,8,14")],
    data: Data,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file with one.")] = "strong_baseline",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. triplet.margin=0.5.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Fewer epochs; the schedule shrinks with them.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Checkpoint file; default: in ./checkpoints.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint file when it is there.")] = True,
    stop_epoch: Annotated[int | None, typer.Option(min=1, help="Stop after this epoch; run again to go on.")] = None,
    inherit: Annotated[Path | None, typer.Option(help="Start from this trained baseline (init: inherit).")] = None,
    transfer: Annotated[Path | None, typer.Option(help="Fine-tune this checkpoint in two steps.")] = None,
    view: View = "final",
    device: Device = "auto",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Train one candidate and evaluate it. Ctrl-C writes a checkpoint; the same command goes on from it.

    Example: nas train resnet50+cnl@6,8,14 --data market1501:data/Market-1501-v15.09.15
    """
    from nas.spaces.candidate import Candidate
    from nas.training import Fidelity, TrainingInterrupted, final_recipe
    from nas.training import train as run_training

    parsed = Candidate.parse(candidate)
    chosen = _recipe(recipe, set_ or [], inherit, transfer)
    fidelity = Fidelity(epochs=epochs)
    final = final_recipe(parsed, chosen, fidelity)
    prepared = _prepare(data, view, final.input, cache)
    path = out or Path("checkpoints") / f"{parsed.id}_{final.name}_s{seed}.pt"
    note(f"{parsed.notation}: {final.name}, {final.total_epochs} epochs, {prepared.name}, writing {path}")
    try:
        with progress_bar("train", enabled=not json) as progress, _polite_stop() as should_stop:
            result = run_training(
                parsed,
                chosen,
                prepared,
                seed=seed,
                fidelity=fidelity,
                checkpoint=path,
                resume=resume,
                device=_device(device),
                stop_epoch=stop_epoch,
                init_from=inherit,
                should_stop=should_stop,
                progress=progress,
            )
    except TrainingInterrupted as stopped:
        note(str(stopped))
        raise typer.Exit(INTERRUPTED) from stopped
    document = _training_document(candidate=parsed.notation, recipe=final, data=prepared, result=result)
    emit_json(document) if json else _tell_training(result)


def _recipe(name: str, changes: list[str], inherit: Path | None, transfer: Path | None) -> Recipe:
    from nas.spaces.yaml_source import load_yaml
    from nas.training import load_recipe

    chosen = load_recipe(load_yaml(name, TrainingError).data if name.endswith((".yaml", ".yml")) else name)
    overrides = dict(_assignment(change) for change in changes)
    if inherit is not None:
        overrides["init"] = "inherit"
    if transfer is not None:
        overrides["transfer"] = {"from": str(transfer), **_head_epochs(chosen)}
    return chosen.with_overrides(overrides)


def _head_epochs(recipe: Recipe) -> dict[str, int]:
    return {"head_epochs": recipe.head_epochs} if recipe.transfer else {}


def _assignment(text: str) -> tuple[str, Any]:
    """`triplet.margin=0.5` as key and value; the value is read as YAML.

    >>> _assignment("milestones=[20, 35]")
    ('milestones', [20, 35])
    """
    from nas.spaces.yaml_source import parse_yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainingError(f"--set takes KEY=VALUE, not {text!r}", "For example --set base_lr=5e-4.")
    return key, parse_yaml(f"value: {value}", f"--set {key}", TrainingError).data["value"]


@contextmanager
def _polite_stop() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM ask the training to write itself down and stop; a second Ctrl-C is immediate."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        note("stopping at the next step; press Ctrl-C again to stop without saving")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _training_document(candidate: str, recipe: Recipe, data: PreparedData, result: TrainingResult) -> dict[str, Any]:
    return {
        "candidate": candidate,
        "recipe": recipe.to_dict(),
        "recipe_id": recipe.id,
        "data": {"name": data.name, "id": data.dataset_id},
        "seed": result.seed,
        "metrics": result.metrics.to_dict(),
        "epochs": [_epoch_document(record) for record in result.epochs],
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "precision": result.precision,
        "checkpoint": result.checkpoint,
        "checkpoint_sha256": result.checkpoint_sha256,
    }


def _epoch_document(record: EpochRecord) -> dict[str, Any]:
    return {
        "epoch": record.epoch,
        "lr": record.lr,
        "losses": dict(record.losses),
        "seconds": record.seconds,
        "images": record.images,
        "map": record.map,
    }


def _tell_training(result: TrainingResult) -> None:
    _tell_metrics(result.metrics)
    emit(
        f"{len(result.epochs)} epochs in {duration(result.seconds)}, {result.images_per_second:.0f} images/s "
        f"in {result.precision}"
    )
    if result.checkpoint is not None:
        emit(f"weights: {result.checkpoint}")


# ---------------------------------------------------------------------- evaluate


def evaluate(
    checkpoint: CheckpointFile,
    data: Data,
    view: View = "final",
    rerank: Annotated[bool, typer.Option("--rerank", help="k-reciprocal re-ranking (20, 6, 0.3).")] = False,
    verification: Annotated[bool, typer.Option("--verification", help="Also true positive rates at low FPR.")] = False,
    per_query: Annotated[Path | None, typer.Option(help="Write every query's result to this CSV.")] = None,
    worst: Annotated[int, typer.Option(min=0, help="Show this many queries with the lowest AP.")] = 0,
    rank_lists: Annotated[Path | None, typer.Option(help="Draw what the worst queries found (PNG).")] = None,
    histogram: Annotated[Path | None, typer.Option(help="Write the distances of pairs, binned, to this CSV.")] = None,
    device: Device = "auto",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Evaluate a checkpoint on any set: mAP, CMC, mINP, and what the worst queries look like.

    Example: nas evaluate market.pt --data duke:data/DukeMTMC-reID --worst 10 --rank-lists worst.png
    """
    from nas.training.checkpoints import load_checkpoint, network_from_checkpoint
    from nas.training.scoring import embed, score_embeddings

    loaded = load_checkpoint(checkpoint)
    prepared = _prepare(data, view, loaded.input_size, cache)
    network = network_from_checkpoint(loaded, _device(device))
    with progress_bar("embed", enabled=not json) as progress:
        embeddings = embed(network, prepared.to(_device(device)), loaded.recipe.augmentation, progress)
    metrics = score_embeddings(embeddings, prepared, rerank=rerank, per_query=True)
    table = _query_table(metrics, prepared)
    shown = table.nsmallest(worst, "ap", keep="first") if worst else table.head(0)
    rates = _verification(embeddings, prepared) if verification else {}
    if per_query is not None:
        _write_text(per_query, table.to_csv(index=False))
    if histogram is not None:
        _write_text(histogram, _histogram_table(embeddings, prepared).to_csv(index=False))
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


FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)


def _verification(embeddings: Embeddings, data: PreparedData) -> dict[str, float]:
    from nas.retrieval.verification import PairDistances

    roc = PairDistances(*embeddings.with_persons(data)).roc()
    return {"auc": roc.auc, **{f"tpr_at_fpr_{rate:g}": roc.tpr_at(rate) for rate in FALSE_POSITIVE_RATES}}


def _histogram_table(embeddings: Embeddings, data: PreparedData) -> pd.DataFrame:
    import pandas as pd

    from nas.retrieval.verification import PairDistances

    found = PairDistances(*embeddings.with_persons(data)).histogram()
    low, high = found.edges[:-1], found.edges[1:]
    return pd.DataFrame({"from": low, "to": high, "same_person": found.positive, "other_person": found.negative})


def _draw_rank_lists(
    path: Path, metrics: RetrievalMetrics, embeddings: Embeddings, data: PreparedData, count: int
) -> None:
    from nas.retrieval.pictures import draw_rank_lists
    from nas.retrieval.rank_lists import rank_lists

    if metrics.per_query is None:
        raise RuntimeError("results of single queries were not kept")
    lists = rank_lists(*embeddings.with_persons(data), queries=metrics.per_query.worst(count), top=10)
    picture = draw_rank_lists(lists, partial(_pixels, data.query), partial(_pixels, data.gallery))
    _write(path, lambda file: picture.save(file, format="PNG"))
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
    _tell_metrics(metrics)
    for name, value in rates.items():
        emit(f"{name.replace('_', ' ')}: {value:.4f}")
    if len(worst):
        rows = worst[["ap", "first_rank", "identity", "camera", "path"]].round(4).to_numpy().tolist()
        print_table(("AP", "first right", "identity", "camera", "query"), rows, title="Worst queries")


def _tell_metrics(metrics: RetrievalMetrics) -> None:
    emit(f"mAP {metrics.map:.4f}   rank-1 {metrics.rank1:.4f}   mINP {metrics.minp:.4f}")
    skipped = f", {metrics.skipped_queries} skipped" if metrics.skipped_queries else ""
    emit(f"{metrics.valid_queries} queries{skipped}; {metrics.protocol}")


# ---------------------------------------------------------------------- extract

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def extract(
    checkpoint: CheckpointFile,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Images, folders, or text files of paths.")],
    out: Annotated[Path, typer.Option(help="features.npy (and features.txt with the paths) or features.parquet.")],
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write the L2-normalised features of images; the inner product of two is their cosine similarity.

    Example: nas extract market.pt crops/ --out crops.npy
    """
    from nas.training import FeatureExtractor

    if out.suffix not in (".npy", ".parquet"):
        raise NasError(f"features are written as .npy or .parquet, not {out.name}", "Give --out features.npy.")
    paths = [path for given in images for path in _image_paths(given)]
    if not paths:
        raise DataError(f"there are no images in {', '.join(map(str, images))}")
    extractor = FeatureExtractor(checkpoint, _device(device), batch)
    with progress_bar("extract", enabled=not json) as progress:
        features = extractor(paths, progress)
    _write_features(out, features, [str(path) for path in paths])
    document = {"candidate": extractor.candidate.notation, "images": len(paths), "dim": extractor.dim, "out": out}
    emit_json(document) if json else emit(f"{len(paths)} features of {extractor.dim} numbers: {out}")


def _image_paths(given: Path) -> list[Path]:
    """The images behind an argument: of a folder (sorted, with its subfolders), of a list in a text file, or itself."""
    if given.is_dir():
        return sorted(path for path in given.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not given.is_file():
        raise DataError(f"there is no file or folder {given}")
    if given.suffix.lower() in (".txt", ".lst"):
        return [Path(line.strip()) for line in given.read_text("utf-8").splitlines() if line.strip()]
    return [given]


def _write_features(out: Path, features: Any, paths: list[str]) -> None:
    import numpy as np

    if out.suffix == ".npy":
        _write_text(out.with_suffix(".txt"), "\n".join(paths) + "\n")
        _write(out, lambda file: np.save(file, features))
        return
    import pandas as pd

    frame = pd.DataFrame({"path": paths, "feature": list(features)})
    try:
        _write(out, lambda file: frame.to_parquet(file, index=False))
    except ImportError as error:
        hint = "Install it (pip install pyarrow), or write .npy."
        raise NasError("writing .parquet needs the package pyarrow", hint) from error


# ---------------------------------------------------------------------- shared


def _prepare(sources: list[str], view: str, size: tuple[int, int], cache: Path | None) -> PreparedData:
    from nas.data.load import load_dataset, parse_source
    from nas.data.prepared import prepare
    from nas.data.views import dataset_view

    specs = [parse_source(source) for source in sources]
    with progress_bar("data") as progress:
        dataset = load_dataset(specs if len(specs) > 1 else specs[0], cache=cache, progress=progress)
        return prepare(dataset_view(dataset, view), size, cache, progress=progress)


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _write_text(path: Path, text: str) -> None:
    _write(path, lambda file: file.write(text.encode()))


def _write(path: Path, write: Callable[[Any], object]) -> None:
    """Writes a file whole or not at all."""
    from io import BytesIO

    from nas.training.files import write_atomically

    # Writers of pictures and tables seek and tell; the whole file passes through memory.
    buffer = BytesIO()
    write(buffer)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))
