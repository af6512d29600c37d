"""Re-identification networks that others published, read by the structure of their files into checkpoints of ours.

torchreid's model zoo, FastReID, the strong baseline and AGW each store a trunk, a head and a classifier under names of
their own. What a file holds is seen from names and shapes; a part that no network here has is refused by name. What no
file tells is taken as its authors' code has it, and said: input 256x128; torchreid's ResNets without a layer before the
classifier with last stride 2, all others (its `resnet50_fc512` too) with 1; no ReLU in the stem of the strong
baseline's and AGW's ResNets, a pooling that is not padded in the stem of FastReID's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nas.errors import TrainingError
from nas.networks import build_network
from nas.networks.backbones import build_backbone
from nas.networks.weights import read_state
from nas.spaces.candidate import Candidate
from nas.spaces.sites import BACKBONES, get_topology, last_strides
from nas.training.recipe import Recipe

INPUT = (256, 128)
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_NON_LOCAL = re.compile(r"NL_(\d)\.(\d+)\.(g|theta|phi|W\.0|W\.1)\.(\w+)")
_OUR_NAMES = {"g": "value", "theta": "theta", "phi": "phi", "W.0": "output", "W.1": "norm"}
EARLY = "FastReID (before 1.0)"
_EARLY = "; its stem's pooling is padded in the earliest versions and not in later ones, and taken as not padded"
_FORMS = (
    "It is read where it is a torchreid, FastReID, strong baseline or AGW network: docs/how-to/published-weights.md."
)

log = logging.getLogger("nas.training")

State = Mapping[str, Tensor]


class Published(NamedTuple):
    """What a file holds.

    Attributes:
        candidate: the network, non-local blocks of AGW as `agw`.
        recipe: pooling, head and input; nothing in it says how the network was trained.
        weights: of that network, by our names; its classifier without a bias.
    """

    candidate: Candidate
    recipe: Recipe
    weights: dict[str, Tensor]
    num_classes: int


class _Parts(NamedTuple):
    trunk: State
    neck: State  # by the names of our neck
    exponent: Tensor | None  # of generalised mean pooling
    classifier: Tensor
    head: str
    last_stride: int  # of a ResNet
    project: str
    stem: str  # of a ResNet


def read_published(path: str | Path) -> Published:
    """The network in a file of weights that another project published; else a `TrainingError`."""
    path = Path(path)
    parts = _parts(_unwrapped(read_state(path)), path)
    plain = {name: value for name, value in parts.trunk.items() if not _NON_LOCAL.fullmatch(name)}
    backbone = _backbone(plain, path)
    last_stride = parts.last_stride if parts.last_stride in last_strides(backbone) else 1
    blocks = dict(_non_local(parts.trunk, backbone, path))
    candidate = Candidate.make(
        backbone,
        [(site, "agw", {"inner": inner}) for site, (inner, _) in sorted(blocks.items())],
        {"last_stride": last_stride, "stem": _stem(parts, backbone)},
    )
    recipe = Recipe(
        name="published",
        weights=None,
        pooling="gap" if parts.exponent is None else "gem",
        head={"fc": {"features": len(parts.neck["1.weight"])}} if parts.head == "fc" else parts.head,
        input=INPUT,
    )
    weights = {f"backbone.{name}": value for name, value in plain.items()}
    weights |= {f"blocks.{site}.{name}": value for site, (_, own) in blocks.items() for name, value in own.items()}
    weights |= {f"bnneck.{name}": value for name, value in parts.neck.items()}
    weights["classifier.weight"] = parts.classifier
    if parts.exponent is not None:
        weights["pool.exponent"] = parts.exponent.reshape(1)
    weights = _completed(weights, candidate, recipe, path)
    early = _EARLY if parts.project == EARLY else ""
    log.warning(
        "%s is read as %s with head %s, for images of %dx%d, as %s has it: no such file tells strides, stem and size%s",
        *(path, candidate, recipe.head_name, *INPUT, parts.project, early),
    )
    return Published(candidate, recipe, weights, len(parts.classifier))


def _unwrapped(state: State) -> State:
    while prefix := next((p for p in _WRAPPERS if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _parts(state: State, path: Path) -> _Parts:
    """The parts of a file, by the names that its project gives them."""
    if "heads.weight" in state or "heads.classifier.weight" in state:  # FastReID
        # Before its version 1 the normalisation was called bnneck.
        early, neck = _below(state, "heads.bnneck."), _below(state, "heads.bottleneck.0.")
        classifier = state.get("heads.classifier.weight", state.get("heads.weight"))
        project = EARLY if early else "FastReID"
        return _with_neck(_below(state, "backbone."), neck or early, state, classifier, path, project, "no_padding")
    if "base.conv1.weight" in state:  # strong baseline, AGW
        trunk, neck = _below(state, "base."), _below(state, "bottleneck.")
        project = "AGW" if "global_pool.p" in state else "strong baseline"
        return _with_neck(trunk, neck, state, state.get("classifier.weight"), path, project, "no_relu")
    if "classifier.weight" in state and "bottleneck.weight" not in state:  # torchreid
        trunk = {key: value for key, value in state.items() if not key.startswith(("classifier.", "fc."))}
        neck = _below(state, "fc.")
        head, last_stride = ("fc", 1) if neck else ("plain", 2)
        return _Parts(trunk, neck, None, state["classifier.weight"], head, last_stride, "torchreid", "standard")
    raise TrainingError(f"{path} holds no re-identification network with a head that is known here", _FORMS)


def _stem(parts: _Parts, backbone: str) -> str:
    """The stem of a project's ResNets; the IBN-Nets of the strong baseline and AGW have the standard one."""
    ours = not backbone.startswith("resnet") or ("ibn" in backbone and parts.stem == "no_relu")
    return "standard" if ours else parts.stem


def _with_neck(
    trunk: State, neck: State, state: State, classifier: Tensor | None, path: Path, project: str, stem: str
) -> _Parts:
    scale = neck.get("weight")
    if classifier is None or scale is None or scale.dim() != 1:
        raise TrainingError(f"{path} has another neck than batch normalisation, or no classifier", _FORMS)
    exponents = [value for key, value in state.items() if key.endswith(".p") and value.numel() == 1]
    return _Parts(trunk, neck, exponents[0] if exponents else None, classifier, "bnneck", 1, project, stem)


def _below(state: State, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _backbone(trunk: State, path: Path) -> str:
    """The backbone whose parameters these are, by name and shape."""
    offered = _shapes(trunk)
    fewest: tuple[int, str, str] | None = None
    for name in BACKBONES:
        with torch.device("meta"):
            own = _shapes(build_backbone(name).state_dict())
        differing = sorted({key for key, _ in own.items() ^ offered.items()})
        if not differing:
            return name
        if fewest is None or len(differing) < fewest[0]:
            fewest = (len(differing), name, differing[0])
    closest = f"; the closest is {fewest[1]}, which differs in {fewest[2]} and {fewest[0] - 1} more" if fewest else ""
    raise TrainingError(f"{path} holds no backbone that is known here{closest}", _FORMS)


def _shapes(state: State) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _non_local(trunk: State, backbone: str, path: Path) -> Iterator[tuple[int, tuple[str, dict[str, Tensor]]]]:
    """Non-local blocks by site: those of a stage stand after its last blocks, as in AGW and FastReID."""
    found: dict[tuple[int, int], dict[str, Tensor]] = {}
    for name, value in trunk.items():
        if match := _NON_LOCAL.fullmatch(name):
            stage, index, part, leaf = match.groups()
            found.setdefault((int(stage), int(index)), {})[f"{_OUR_NAMES[part]}.{leaf}"] = value
    for (stage, index), own in found.items():
        sites = get_topology(backbone).of_stage(stage)
        count = sum(of == stage for of, _ in found)
        hidden, channels = own["theta.weight"].shape[:2]
        inner = {1: "one", channels // 2: "half"}.get(hidden)
        if inner is None or count > len(sites):
            raise TrainingError(f"{path} has non-local blocks of a form that is not known here", _FORMS)
        yield sites[index - count].number, (inner, own)


def _completed(weights: dict[str, Tensor], candidate: Candidate, recipe: Recipe, path: Path) -> dict[str, Tensor]:
    """The weights with the counters of batches that old files lack, seen to fit."""
    with torch.device("meta"):
        own = build_network(
            candidate,
            num_classes=len(weights["classifier.weight"]),
            input_size=INPUT,
            pooling=recipe.pooling,
            head=recipe.head_name,
            head_settings=recipe.head_settings,
        ).state_dict()
    counters = {key: torch.tensor(0) for key in own if key.endswith("num_batches_tracked")}
    weights = {**counters, **weights}
    if misfits := sorted(key for key, _ in _shapes(own).items() ^ _shapes(weights).items()):
        raise TrainingError(f"{path} does not fit {candidate}: {misfits[0]} and {len(misfits) - 1} more differ", _FORMS)
    return weights
