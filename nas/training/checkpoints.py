"""The checkpoint file: everything a training needs to go on to the bit, and everything a network needs to be rebuilt.

Plain tensors, numbers and text, read with `weights_only=True`: opening a checkpoint never runs code. Written whole
or not at all (`nas.files.whole`).
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor, nn

import nas
from nas.errors import NasError, TrainingError
from nas.files.given import refuse_special, zip_fault
from nas.files.hashes import sha256_of
from nas.files.whole import write_atomically
from nas.networks import ReidNetwork, build_network
from nas.networks.weights import load_plain
from nas.spaces.candidate import Candidate
from nas.training.published import read_published
from nas.training.recipe import Recipe, load_recipe
from nas.training.results import EpochRecord

FORMAT, VERSION = "nas-checkpoint", 1
SCRATCH = "scratch"
PUBLISHED = "published"
"""In place of the data set of a network that others trained."""
MOST_CLASSES, MOST_PIXELS = 10**7, 10**5

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A training at a step boundary.

    Attributes:
        recipe: how, overrides of the candidate included.
        dataset_id: on what (`PreparedData.dataset_id`).
        input_size: (height, width).
        num_classes: identities of the classifier.
        epoch: whole epochs done.
        step: steps done of the epoch after them; 0 between epochs.
        network: state of the trained network.
        averaged: averaged weights (`AveragedWeights.state_dict`) or None.
        training: what only a resumed training needs (optimisers, scaler, random numbers, sums); empty once it is done.
        records: the epochs so far.
        start: what it started from, by content; `scratch` for fresh or published weights.
        seen: int64, `nas.data.records.image_keys` of the images it was trained on, and of those that what it started
            from tells of (checkpoints of before 0.2 and published networks tell none); None where none are known.
    """

    candidate: Candidate
    recipe: Recipe
    dataset_id: str
    seed: int
    input_size: tuple[int, int]
    num_classes: int
    epoch: int
    step: int
    network: Weights
    averaged: Mapping[str, Any] | None
    training: Mapping[str, Any]
    records: tuple[EpochRecord, ...]
    versions: Mapping[str, str] = field(
        default_factory=lambda: {"nas": nas.__version__, "torch": str(torch.__version__)}
    )
    start: str = SCRATCH
    seen: Tensor | None = None

    @property
    def weights(self) -> Weights:
        """The weights that are evaluated: the averaged ones where there are some."""
        if self.averaged is None:
            return self.network
        return {name: value for name, value in self.averaged.items() if name != "updates"}

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights that are evaluated: names, types, shapes and values, whatever else a file holds."""
        digest = hashlib.sha256()
        for name, value in sorted(self.weights.items()):
            digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def finished(self) -> bool:
        """Whether it is what a training leaves behind: all epochs of the recipe are done, or `keep: best` kept it."""
        return self.epoch >= self.recipe.total_epochs or (self.recipe.keep == "best" and not self.training)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> str:
    """Writes a checkpoint whole or not at all; returns the SHA-256 of the file.

    Raises:
        TrainingError: the file cannot be written (no space, no permission); an older one stays as it was.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "candidate": checkpoint.candidate.to_dict(),
        "recipe": checkpoint.recipe.to_dict(),
        "records": [{**asdict(r), "losses": dict(r.losses)} for r in checkpoint.records],
        "start": checkpoint.start,
        "seen": checkpoint.seen,
        **{name: getattr(checkpoint, name) for name in _PLAIN},
    }
    when_full = "keep checkpoints elsewhere; the training goes on from its last one."
    return write_atomically(path, lambda file: torch.save(content, cast(IO[bytes], file)), TrainingError, when_full)


_PLAIN = (
    "dataset_id",
    "seed",
    "input_size",
    "num_classes",
    "epoch",
    "step",
    "network",
    "averaged",
    "training",
    "versions",
)


def load_checkpoint(path: str | Path, *, sha256: str | None = None) -> Checkpoint:
    """Reads a checkpoint onto the CPU.

    Args:
        path: a file written by `save_checkpoint`, or a re-identification network that others published
            (`nas.training.published`), which counts as trained to its end on data that are not known.

    Raises:
        TrainingError: the file is missing, damaged, of another kind or newer than this version; names it.
    """
    path = Path(path)
    if sha256 is not None and path.is_file() and sha256_of(path) != sha256:
        raise TrainingError(f"{path} is not the file that was written: its SHA-256 differs", "Copy or train it again.")
    content = _read(path)
    if content.get("format") != FORMAT:
        return _published(path)
    try:
        _check_types(content)
        return Checkpoint(
            candidate=Candidate.from_dict(content["candidate"]),
            recipe=_recipe_of(content["recipe"]),
            start=str(content.get("start", SCRATCH)),
            seen=content.get("seen"),
            records=tuple(EpochRecord(**record) for record in content["records"]),
            **{name: content[name] for name in _PLAIN if name != "input_size"},
            input_size=(int(content["input_size"][0]), int(content["input_size"][1])),
        )
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, NasError) as error:
        raise TrainingError(f"{path} is a damaged checkpoint: {error}", "Train the candidate again.") from error


def _recipe_of(stored: Mapping[str, Any]) -> Recipe:
    """The recipe in a file; those of before 0.2 say with `init` that a start was inherited."""
    return load_recipe({key: value for key, value in stored.items() if key != "init"})


def _check_types(content: Mapping[str, Any]) -> None:
    """What everybody relies on who has a checkpoint in hand; whether weights fit a network is seen when it is built."""
    for name in ("candidate", "recipe"):
        if not isinstance(content[name], dict):  # a text would name a shipped recipe instead
            raise TypeError(f"{name} is {content[name]!r}")
    for name, least in (("num_classes", 1), ("epoch", 0), ("step", 0)):
        if type(content[name]) is not int or not least <= content[name] < MOST_CLASSES:
            raise ValueError(f"{name} is {content[name]!r}")
    if not all(0 < side < MOST_PIXELS for side in content["input_size"]):
        raise ValueError(f"input_size is {content['input_size']!r}")
    seen = content.get("seen")
    if seen is not None and not (isinstance(seen, Tensor) and seen.dtype == torch.int64 and seen.ndim == 1):
        raise ValueError("seen holds no images")
    for name in ("network", "averaged"):
        weights = content[name]
        if weights is None and name == "averaged":
            continue
        held = weights.items() if isinstance(weights, dict) else [(None, None)]
        if not all(isinstance(key, str) and (isinstance(value, Tensor) or key == "updates") for key, value in held):
            raise ValueError(f"{name} holds no weights")


def _read(path: Path) -> dict[str, Any]:
    try:
        refuse_special(path)
        if not zipfile.is_zipfile(path):  # no file of ours; older torch, which others used, wrote no archives
            return {}
        if (fault := zip_fault(path)) is not None:
            raise zipfile.BadZipFile(fault)
        content = load_plain(path)
    except FileNotFoundError as error:
        raise TrainingError(f"there is no checkpoint {path}", "Train one with `nas train`.") from error
    except pickle.UnpicklingError as error:
        raise TrainingError(
            f"{path} is no checkpoint: it is damaged, or holds more than a checkpoint's tensors"
        ) from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        said = getattr(error, "strerror", None) or str(error)
        first = said.splitlines()[0] if said else type(error).__name__
        raise TrainingError(f"{path} cannot be read as a checkpoint: {first}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is no checkpoint of this program", "Give a file that `nas train` wrote.")
    if content.get("format") == FORMAT and content.get("version") != VERSION:
        raise TrainingError(f"{path} has format version {content.get('version')}, not {VERSION}", "Update the package.")
    return content


def _published(path: Path) -> Checkpoint:
    try:
        found = read_published(path)
    except TrainingError as error:
        raise TrainingError(f"{path} is no checkpoint of this program: {error.message}", error.hint) from error
    return Checkpoint(
        candidate=found.candidate,
        recipe=found.recipe,
        dataset_id=PUBLISHED,
        seed=0,
        input_size=found.recipe.input,
        num_classes=found.num_classes,
        epoch=found.recipe.total_epochs,
        step=0,
        network=found.weights,
        averaged=None,
        training={},
        records=(),
    )


def network_from_checkpoint(source: str | Path | Checkpoint, device: str | torch.device = "cpu") -> ReidNetwork:
    """The trained network of a checkpoint, in evaluation mode; a `TrainingError` where the weights do not fit it."""
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    network = build_network(
        checkpoint.candidate,
        num_classes=checkpoint.num_classes,
        input_size=checkpoint.input_size,
        **network_settings(checkpoint.recipe),
    )
    restore(network, checkpoint.weights, f"the checkpoint of {checkpoint.candidate}")
    return network.to(device).eval()


def network_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says about the network itself, as `build_network` takes it."""
    return {"pooling": recipe.pooling, "head": recipe.head_name, "head_settings": recipe.head_settings}


def restore(network: nn.Module, weights: Weights, what: str) -> None:
    """Loads all weights, all of them and nothing else; a misfit is a `TrainingError` that names `what`."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1].strip()
        raise TrainingError(f"{what} does not fit its network: {last}") from error


def copy_weights(network: nn.Module, weights: Weights, what: str, skip: Callable[[str], bool]) -> None:
    """Copies weights by name; those for which `skip(name)` keep what the network has.

    Raises:
        TrainingError: a weight that is not skipped is missing on either side, or has another shape.
    """
    own = network.state_dict()
    wanted = {name for name in own if not skip(name)}
    offered = {name for name in weights if not skip(name)}
    misfits = sorted(wanted ^ offered) or [n for n in sorted(wanted) if own[n].shape != weights[n].shape]
    if misfits:
        raise TrainingError(f"{what} does not fit {type(network).__name__}: {misfits[0]} and {len(misfits) - 1} more")
    network.load_state_dict({**own, **{name: weights[name] for name in wanted}})
