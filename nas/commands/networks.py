"""`train`, `evaluate`, `extract`, `export`: one network by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from nas import data as images
from nas import networks, retrieval, training
from nas.data.devices import usable_device
from nas.data.prepared import PreparedData
from nas.data.records import ReidDataset
from nas.errors import DataError, TrainingError
from nas.files.hashes import sha256_of
from nas.files.outputs import check_outputs
from nas.files.yaml_source import FILE_ENDINGS, load_yaml
from nas.networks.export import CALIBRATION_IMAGES, ExportFormat, ExportReport
from nas.progress import Progress
from nas.spaces.candidate import Candidate, as_candidate
from nas.spaces.plugins import find_part
from nas.training.checkpoints import Checkpoint, load_checkpoint
from nas.training.results import EpochRecord, TrainingResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from nas.networks import ReidNetwork
    from nas.retrieval import RetrievalMetrics
    from nas.training.scoring import Embeddings

Data = str | Path | Mapping[str, Any] | Sequence[Any] | ReidDataset | PreparedData
"""A folder, `NAME:PATH`, the `data` of a study file, several of them to join, or a set that is loaded already."""
Trained = str | Path | Checkpoint | TrainingResult
"""A checkpoint file, or what a training gave."""
MOST_CROPS = 64
"""Images that an export is compared with PyTorch on: enough for a nearest neighbour each, seconds on a CPU."""
_GENERATED = {"train_identities": 1, "test_identities": 8, "cameras": 2, "images": 2}


def prepared(
    data: Data,
    size: tuple[int, int],
    view: str = "final",
    *,
    cache: Path | None = None,
    use: Literal["train", "evaluate"] = "train",
    progress: Progress | None = None,
) -> PreparedData:
    """The images behind `data`, packed at one size."""
    if isinstance(data, PreparedData):
        return data
    return images.prepare(
        images.dataset_view(dataset(data, cache, progress), view), size, cache, progress=progress, use=use
    )


def dataset(data: Data, cache: Path | None = None, progress: Progress | None = None) -> ReidDataset:
    """The data set that is meant."""
    if isinstance(data, ReidDataset):
        return data
    if isinstance(data, PreparedData):
        raise DataError("prepared data have no files any more", "give the data set that they were prepared from")
    given = data if isinstance(data, (list, tuple)) else [data]
    specs = [images.parse_source(str(one)) if isinstance(one, (str, Path)) else one for one in given]
    return images.load_dataset(specs if len(specs) > 1 else specs[0], cache=cache, progress=progress)  # type: ignore[arg-type]


def recipe_of(
    written: training.Recipe | Mapping[str, object] | str | Path,
    transfer: str | Path | None = None,
    changes: Mapping[str, object] | None = None,
) -> training.Recipe:
    """A recipe by name, from a YAML file or from its keys, with changes over it and the source of a transfer.

    Raises:
        TrainingError: a key or value is not valid.
    """
    if isinstance(written, (str, Path)) and str(written).endswith(FILE_ENDINGS):
        chosen = training.recipe_in(load_yaml(written, TrainingError))
    else:
        chosen = training.load_recipe(str(written) if isinstance(written, Path) else written)
    overrides = dict(changes or {})
    if transfer is not None:
        source: dict[str, object] = {"from": str(transfer)}
        overrides["transfer"] = source | ({"head_epochs": chosen.head_epochs} if chosen.transfer else {})
    return chosen.with_overrides(overrides)


def require_sources(
    network: Candidate, final: training.Recipe, start: str | Path | None, progress: Progress | None = None
) -> None:
    """That the weights a training begins from, and its teachers, are there and fit, before images are packed.

    Args:
        network: to train.
        start: a trained plain network to go on from; None for none.
        progress: told the bytes of published weights that are loaded.

    Raises:
        TrainingError: they are missing, damaged, or another network's.
    """
    training.check_teachers(final)
    if start is not None:
        training.check_start(load_checkpoint(start), network, None, str(start))
    if final.transfer is not None and not final.transfer.from_pretraining:
        training.check_source(training.source_file(final.transfer, network), network)
    if start is None and final.transfer is None:
        training.require_pretrained([network], final, progress)


def train(
    candidate: Candidate | str,
    data: Data,
    recipe: training.Recipe | Mapping[str, object] | str | Path = "strong_baseline",
    *,
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = True,
    stop_epoch: int | None = None,
    start: str | Path | None = None,
    transfer: str | Path | None = None,
    view: str = "final",
    device: str = "auto",
    cache: str | Path | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Trains one candidate and scores it, as `nas train` does.

    Args:
        candidate: or its notation, as `resnet50+cnl@6,8,14`.
        data: see `Data`.
        recipe: a name, a file, its keys or a `Recipe`.
        epochs: fewer of them; the schedule shrinks with it.
        seed: everything random follows from it.
        out: checkpoint file to write and to go on from; None: nothing is written, the weights are in `trained`.
        resume: go on from `out` when it is there.
        stop_epoch: stop after this epoch; call again with a later one to go on.
        start: go on from this trained plain network, for a few epochs.
        transfer: fine-tune this checkpoint in two steps.
        view: `final` (train on all, read on the test split) or `select` (hold persons out).
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        cache: folder for packed images.
        progress: told the steps done.
        on_epoch: called with the `EpochRecord` of each epoch.
        should_stop: asked before each step; true ends the training, with its checkpoint written.

    Returns:
        mAP, rank-1 and mINP as fractions in `metrics`; `trained` holds the weights, for `evaluate`, `extract` and
        `export`.

    Raises:
        TrainingError: recipe, data and checkpoint do not go together; `Diverged`, `OutOfMemory` and
            `TrainingInterrupted` are such.
        DataError, SpaceError: the images cannot be read, or there is no such network.
    """
    chosen, network = recipe_of(recipe, transfer), as_candidate(candidate)
    fidelity = training.Fidelity(epochs=epochs)
    final = training.final_recipe(network, chosen, fidelity, warm=start is not None)
    require_sources(network, final, start, progress)
    return training.train(
        network,
        chosen,
        prepared(data, final.input, view, cache=_path(cache), progress=progress),
        seed=seed,
        fidelity=fidelity,
        checkpoint=_path(out),
        resume=resume,
        device=usable_device(device),
        stop_epoch=stop_epoch,
        init_from=_path(start),
        on_epoch=on_epoch,
        should_stop=should_stop,
        progress=progress,
    )


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def loaded(trained: Trained) -> Checkpoint:
    """The weights that are meant; a `TrainingError` where there is no such file, or a training that kept no weights."""
    if isinstance(trained, Checkpoint):
        return trained
    if not isinstance(trained, TrainingResult):
        return load_checkpoint(trained)
    found = trained.trained or trained.checkpoint
    if found is None:
        raise TrainingError("this training kept no weights", "set keep: last in its recipe, or train without `out`")
    return loaded(found)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: mAP, CMC, mINP as fractions, with every query's result.
        checkpoint: what was evaluated.
        data: on what; query and gallery images with persons and cameras.
        embeddings: float32 (N, D) of query and gallery.
    """

    metrics: RetrievalMetrics
    checkpoint: Checkpoint
    data: PreparedData
    embeddings: Embeddings

    @property
    def map(self) -> float:
        """Mean average precision, a fraction."""
        return self.metrics.map

    @property
    def rank1(self) -> float:
        """Share of queries whose nearest image is right."""
        return self.metrics.rank1

    @property
    def pairs(self) -> retrieval.PairDistances:
        """Distances of pairs of one person and of two: ROC, histogram."""
        return retrieval.PairDistances(*self.embeddings.with_persons(self.data))


def evaluate(
    checkpoint: Trained,
    data: Data,
    *,
    view: str = "final",
    rerank: bool = False,
    metrics: Sequence[str] = (),
    device: str = "auto",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates a trained network on any set, as `nas evaluate` does.

    Args:
        checkpoint: see `Trained`.
        data: see `Data`.
        view: as for `train`.
        rerank: k-reciprocal re-ranking (20, 6, 0.3).
        metrics: of one's own, `module:function` or an entry point's name; in `metrics.own` of what comes back.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        cache: folder for packed images.
        progress: told the images embedded.

    Raises:
        TrainingError, DataError: the checkpoint or the images cannot be read.
    """
    for name in metrics:
        find_part("metric", name, {})  # before the work whose numbers it would take
    source = loaded(checkpoint)
    found = prepared(data, source.input_size, view, cache=_path(cache), use="evaluate", progress=progress)
    place = usable_device(device)
    network = training.network_from_checkpoint(source, place)
    embeddings = training.embed(network, found.to(place), source.recipe.augmentation, progress)
    scores = training.score_embeddings(embeddings, found, rerank=rerank, per_query=True)
    own = training.own_metrics(metrics, embeddings, found)
    return Evaluation(replace(scores, own=own), source, found, embeddings)


def extract(
    checkpoint: Trained, images: Any, *, batch: int = 64, device: str = "auto", progress: Progress | None = None
) -> NDArray[np.float32]:
    """Features of images, as `nas extract` writes them.

    Args:
        checkpoint: see `Trained`.
        images: a path, a PIL image, a uint8 array (H, W, 3) or tensor (3, H, W), or an iterable of them.
        batch: images at a time.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        progress: told the images done.

    Returns:
        float32 (N, D), rows of length 1: the inner product of two is their cosine similarity.

    Raises:
        TrainingError, DataError: the checkpoint or an image cannot be read.
    """
    return training.FeatureExtractor(loaded(checkpoint), usable_device(device), batch)(images, progress)


def export(
    checkpoint: Trained,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    precision: str = "fp32",
    crops: str | Path | None = None,
    data: Data | None = None,
    view: str | None = None,
    calibration: int | None = None,
    cache: str | Path | None = None,
    opset: int | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a trained network for deployment, once it answers as PyTorch does; `nas export`.

    Args:
        checkpoint: see `Trained`.
        out: file to write; None: beside the checkpoint file.
        format: `onnx`, `torch-export`, `executorch` or `tensorrt`.
        precision: fp32, fp16 or bf16, or int8 (not for TensorRT); input and output stay float32.
        crops: folder of person crops to compare on, beside random images; None: 32 of the generated pedestrians.
        data: int8 only: training images to read the ranges of activations from, query and gallery to evaluate on
            before and after.
        view: int8 only: of `data`, as for `train`; None: `final`.
        calibration: int8 only: number of those training images, evenly from all of them; None: 128.
        cache: int8 only: folder for packed images.
        opset: ONNX operator set; None: 17, which TensorRT 8 reads too.
        progress: told of the steps.

    Returns:
        What was written; in int8 an `Int8Export` with mAP before and after.

    Raises:
        TrainingError: the format is not available here, or the file answers differently: then nothing is written.
        DataError: the images cannot be read.
    """
    int8 = precision == networks.INT8
    if int8 and data is None:
        raise TrainingError("int8 needs data to read ranges of activations from and to evaluate on", "Give --data.")
    given = {"data": data, "view": view, "calibration": calibration, "cache": cache}
    idle = [name for name, value in given.items() if value is not None]
    if idle and not int8:
        raise TrainingError(
            f"{' and '.join(idle)} {'is' if len(idle) == 1 else 'are'} for an export to int8 alone",
            "Write --int8, or give crops with --images.",
        )
    kind = networks.check_format(format, precision, opset)
    file = checkpoint if isinstance(checkpoint, (str, Path)) else getattr(checkpoint, "checkpoint", None)
    if out is None and file is None:
        raise TrainingError("a network that is in no file needs `out`", "say where to write it")
    target = networks.check_target(out or Path(str(file)).with_suffix(kind.suffix))
    check_outputs((target,), () if file is None else (Path(str(file)),), force=True)
    _check_replaced(kind, format, target)
    source = loaded(checkpoint)
    network = training.network_from_checkpoint(source)

    def write(
        calibration: Tensor | None = None, accept: Callable[[networks.ExportedNetwork], None] | None = None
    ) -> ExportReport:
        told = {} if calibration is None else {"calibration_images": str(len(calibration))}
        told |= {} if file is None else {"checkpoint_sha256": sha256_of(Path(str(file)))}
        augmentation = source.recipe.augmentation
        return networks.export_network(
            network,
            target,
            format,
            precision=precision,
            crops=_crops(crops, source, progress),
            calibration=calibration,
            preprocessing=networks.Preprocessing(mean=augmentation.mean, std=augmentation.std),
            extra={**told, "dataset": source.dataset_id},
            opset=opset,
            accept=accept,
            progress=progress,
        )

    if data is None:
        return write()
    found = prepared(data, source.input_size, view or "final", cache=_path(cache), progress=progress)
    taken = _calibration(found, source, CALIBRATION_IMAGES if calibration is None else calibration)
    before = training.score(network, found, source.recipe, progress=progress)
    after: list[RetrievalMetrics] = []

    def evaluate_file(file: networks.ExportedNetwork) -> None:
        try:
            after.append(training.score(cast("ReidNetwork", file), found, source.recipe, progress=progress))
        except training.Diverged as error:
            raise TrainingError(
                f"the file in int8 is of no use: {error.message}; {target} was not written", "Export in fp32 or fp16."
            ) from None

    report = write(calibration=taken, accept=evaluate_file)
    return Int8Export(**vars(report), before=before, after=after[0], calibration=len(taken))


def _check_replaced(kind: ExportFormat, format: str, target: Path) -> None:
    """A file that an export replaces is an earlier export of its kind."""
    if not target.exists():
        return
    try:
        ours = kind.read_metadata(target).get("producer", "").startswith("nas ")
    except Exception:  # readers of foreign formats raise what they stumble on
        ours = False
    if not ours:
        raise TrainingError(
            f"{target} exists already and is no {format} file that nas exported", "Give another name, or move it away."
        )


@dataclass(frozen=True)
class Int8Export(ExportReport):
    """What an export to int8 wrote and what it cost.

    Attributes:
        before: the network in PyTorch in fp32 on the CPU: mAP, CMC, mINP as fractions.
        after: the file on this machine's CPU, on the same images.
        calibration: number of training images that the ranges of activations were read from.
    """

    before: RetrievalMetrics
    after: RetrievalMetrics
    calibration: int

    def sentence(self) -> str:
        """What it cost, as the command says it."""
        one, two = self.before, self.after
        return (
            f"mAP {one.map:.4f} in fp32, {two.map:.4f} in int8 ({two.map - one.map:+.4f}); rank-1 {one.rank1:.4f} and"
            f" {two.rank1:.4f}; {two.valid_queries} queries, ranges from {self.calibration} training images"
        )


def _calibration(found: PreparedData, source: Checkpoint, count: int) -> Tensor:
    """Training images (N, 3, H, W), evenly from all of them, normalised and not augmented."""
    import torch

    size = len(found.train)
    if count < 1 or not size:
        raise TrainingError("int8 needs at least one training image to read ranges of activations from")
    places = torch.arange(min(count, size)) * size // min(count, size)
    device = torch.device("cpu")
    normalise = images.BatchAugmenter(source.recipe.augmentation, source.input_size, device).normalise
    return normalise(found.train.gather(places))


def _crops(folder: str | Path | None, source: Checkpoint, progress: Progress | None) -> Tensor:
    """Normalised crops (N, 3, H, W) from a folder, or of the generated set."""
    import numpy as np
    import torch

    records = _generated(progress) if folder is None else _in_folder(Path(folder))
    size, augmentation = source.input_size, source.recipe.augmentation
    pixels = torch.from_numpy(np.stack([images.read_image(record, size) for record in records])).permute(0, 3, 1, 2)
    return images.BatchAugmenter(augmentation, size, torch.device("cpu")).normalise(pixels)


def _generated(progress: Progress | None) -> list[images.ImageRecord]:
    found = images.load_dataset({"generated": _GENERATED}, progress=progress)
    return [*found.query, *found.gallery][:MOST_CROPS]


def _in_folder(folder: Path) -> list[images.ImageRecord]:
    files = images.list_images(folder).files[:MOST_CROPS]
    if not files:
        raise DataError(f"the folder {folder} holds no images to compare on")
    return [images.ImageRecord(path, 0, 0) for path in files]
