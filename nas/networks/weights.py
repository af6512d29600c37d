"""Where pretrained weights come from: a torchvision enumeration by name, a local file (timm's too), or nowhere.

`require_weights` is what a study calls before anything starts: it says what is missing and where to put it, or that it
does not fit. `load_weights` reads a file into a network's backbone.
"""

from __future__ import annotations

import os
import pickle
import re
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights, list_models

from nas.errors import SourceError, TrainingError, unknown_name
from nas.files.given import zip_fault
from nas.networks.backbones import build_backbone, weight_tags
from nas.networks.survey import backbone_settings
from nas.progress import Progress
from nas.spaces.candidate import Candidate, as_candidate
from nas.spaces.sites import is_foreign

_HEADS = ("fc.", "classifier.", "avgpool.")
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "base.")
_CHUNK = 1 << 20
_LOOKED_AT = 64
_NUMBERS: list[Any] = [
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]
"""NumPy's plain numbers: torchreid and others store their scores beside the weights."""
_WANTED = (
    "A state dictionary of tensors is wanted: .safetensors, or a .pth that torch.save(net.state_dict(), ...) wrote."
)

_NO_NAMES = (
    "Download the file that its authors publish (docs/how-to/published-weights.md) and set weights to its path, or to"
    " null for random ones."
)
_OWN = "Give the path of a file with the network's own parameter names, or null for random ones."


def weight_names(backbone: str) -> tuple[str, ...]:
    """Names of the published weights of a backbone, as torchvision, or timm, calls them; () where it has none.

    >>> "IMAGENET1K_V1" in weight_names("resnet50")
    True
    """
    if is_foreign(backbone):
        return tuple(weight_tags(backbone))
    return tuple(entry.name for entry in _enumeration(backbone) or ())


def _enumeration(backbone: str) -> type[WeightsEnum] | None:
    return get_model_weights(backbone) if backbone in list_models() else None


def find_weights(backbone: str, weights: str | Path, progress: Progress | None = None) -> Path:
    """The local file of the weights; published ones are downloaded into torch's own cache when they are not there.

    Args:
        weights: `IMAGENET1K_V1` and the like, `DEFAULT`, or the path of a file; of a foreign backbone a path alone.
        progress: called with bytes read and in all.

    Raises:
        TrainingError: when a name is unknown, a file is missing, or a download fails; the sentence says how to get
            the file and where to put it.
    """
    entry = _published(backbone, weights)
    if entry is None:
        return _existing_file(backbone, weights)
    target = cached_path(entry)
    if not target.is_file():
        _download(backbone, entry, target, progress)
    return target


def require_weights(candidate: Candidate | str, weights: str | Path, progress: Progress | None = None) -> Path:
    """The local file of the weights, seen to fit the backbone of a candidate: what a study calls before it starts.

    Args:
        candidate: a candidate or its notation; only its backbone matters.

    Raises:
        TrainingError: see `find_weights`; also when the file does not fit, as published weights do at another width.
    """
    candidate = as_candidate(candidate)
    with torch.device("meta"):
        trunk = build_backbone(candidate.backbone, **backbone_settings(candidate.backbone_params))
    path = find_weights(candidate.backbone, weights, progress)
    _check_fit(trunk, _body(path, candidate.backbone, trunk), path, str(candidate.baseline))
    return path


def cached_path(entry: WeightsEnum) -> Path:
    """Where torch keeps the file of published weights (below TORCH_HOME when that is set)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urllib.parse.urlparse(entry.url).path).name


def is_here(backbone: str, weights: str | Path) -> bool:
    """Whether weights need no download: a file, whether it exists or not, or published ones in torch's cache."""
    entry = _published(backbone, weights)
    return entry is None or cached_path(entry).is_file()


def _published(backbone: str, weights: str | Path) -> WeightsEnum | None:
    """The entry of torchvision's enumeration, or None when `weights` is a path."""
    enumeration = _enumeration(backbone)
    if enumeration is None:
        return None
    if str(weights) == "DEFAULT":
        return enumeration.DEFAULT
    return enumeration.__members__.get(str(weights))


def _existing_file(backbone: str, weights: str | Path) -> Path:
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    tags = weight_tags(backbone) if is_foreign(backbone) else {}
    if str(weights) in tags:
        raise SourceError(
            f"weights {weights} of {backbone} are not on this machine, and timm's are not fetched from the network",
            f"Get model.safetensors of {tags[str(weights)]} from the hub and give its path, or set weights to null.",
        )
    names = weight_names(backbone)
    missing = _OWN if is_foreign(backbone) else _NO_NAMES
    if path.suffix or len(path.parts) > 1:
        listed = f"Published weights of {backbone}: {', '.join(names)}." if names else missing
        raise SourceError(f"no weights file at {path}", listed)
    if not names:
        raise SourceError(f"weights of {backbone} have no names, and there is no file {path}", missing)
    raise SourceError(unknown_name(f"weights of {backbone}", str(weights), names), "Or give the path of a file.")


def _download(backbone: str, entry: WeightsEnum, target: Path, progress: Progress | None) -> None:
    partial: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(entry.url, timeout=20) as source:
            _copy(source, out, target.name, progress)
        os.replace(partial, target)
    except (OSError, urllib.error.URLError) as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        reason = getattr(error, "reason", error)
        raise TrainingError(
            f"weights {entry.name} of {backbone} are not on this machine and cannot be downloaded ({reason})",
            f"On a machine with network get {entry.url} and put it at {target}; or set weights to the path of a file,"
            " or to none.",
        ) from error


def _copy(source: Any, out: Any, name: str, progress: Progress | None) -> None:
    total, done = int(source.headers.get("Content-Length") or 0), 0
    while chunk := source.read(_CHUNK):
        out.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total, name)
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def load_weights(network: nn.Module, weights: str | Path, backbone: str | None = None) -> None:
    """Loads weights into the backbone of a network; heads in the file are left out, blocks and BNNeck stay as they are.

    Args:
        network: a `ReidNetwork`, or a trunk when `backbone` names it.
        weights: `IMAGENET1K_V1` and the like, or the path of a file with a state dictionary (.pth, .pt, .safetensors).

    Raises:
        TrainingError: when the file is missing or broken, or does not fit; names the first parameters that differ.
    """
    trunk = network.backbone if hasattr(network, "backbone") else network
    name = backbone or network.candidate.backbone  # type: ignore[union-attr]
    path = find_weights(str(name), weights)
    state = _body(path, str(name), trunk)  # type: ignore[arg-type]
    _check_fit(trunk, state, path, str(name))  # type: ignore[arg-type]
    trunk.load_state_dict(state)  # type: ignore[union-attr]


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dictionary in a file; only tensors are read, no code is run, and checksums of archives are compared.

    Raises:
        SourceError: when the file is broken, is no file of weights, or needs code to be read.
    """
    try:
        return _tensors(_loaded(path), path)
    except TrainingError:
        raise
    except Exception as error:  # readers of foreign formats raise what they stumble on
        raise SourceError(f"weights file {path} cannot be read: {_reason(error)}", _WANTED) from error


def _loaded(path: Path) -> Any:
    with path.open("rb") as file:
        begin = file.read(_LOOKED_AT)
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise SourceError(f"weights file {path} is a web page, not weights", "Download it again; the address moved.")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # comes with timm, which is optional

        return load_file(path)
    if zipfile.is_zipfile(path) and (fault := zip_fault(path)) is not None:
        raise SourceError(f"weights file {path} cannot be read: {fault}", "Get it again.")
    return load_plain(path)


def load_plain(path: Path) -> Any:
    """What torch wrote, onto the CPU: tensors, plain values and NumPy's numbers, nothing that runs code."""
    with torch.serialization.safe_globals(_NUMBERS):
        return torch.load(path, map_location="cpu", weights_only=True)


_NETWORKS = ("state_dict", "model", "state_dict_ema", "model_ema", "ema")
"""Where training programs put a network, and its averaged twin."""


def _tensors(loaded: Any, path: Path) -> dict[str, Tensor]:
    held = [key for key in _NETWORKS if isinstance(loaded, Mapping) and _holds_tensors(loaded.get(key))]
    if len(held) > 1:
        raise SourceError(
            f"weights file {path} holds several networks: {', '.join(held)}",
            f"Save the one that you mean: torch.save(torch.load(FILE)[{held[-1]!r}], OTHER).",
        )
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    state = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, Mapping) else {}
    if not state:
        raise SourceError(f"weights file {path} holds no state dictionary of tensors", _WANTED)
    return state


def _holds_tensors(value: Any) -> bool:
    """Whether there are tensors in a mapping, or in the mapping in it that wrappers call module or state_dict."""
    if not isinstance(value, Mapping):
        return False
    inner = next((value[key] for key in ("module", "state_dict") if isinstance(value.get(key), Mapping)), value)
    return any(isinstance(tensor, Tensor) for tensor in inner.values())


def _reason(error: Exception) -> str:
    """What a foreign reader says, in one line: torch's advice to run the file's code is not passed on."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds an object of {found[1]}" if found else "it is no file of torch, or holds other objects"
        return f"{what}, not tensors alone"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _body(path: Path, backbone: str, trunk: nn.Module) -> dict[str, Tensor]:
    """The parameters of the backbone in a file, without heads."""
    state = read_state(path)
    if not is_foreign(backbone):
        return {key: value for key, value in _plain_names(state).items() if not key.startswith(_HEADS)}
    own = trunk.state_dict()
    plain = state if own.keys() <= state.keys() else _plain_names(state)
    heads = {key.partition(".")[0] for key in plain} - {key.partition(".")[0] for key in own}
    return {key: value for key, value in plain.items() if key.partition(".")[0] not in heads}


def _plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefixes that wrappers leave, however they are nested (`model.backbone.`, `_orig_mod.`)."""
    while True:
        prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in state)), None)
        if prefix is None:
            return state
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _check_fit(trunk: nn.Module, state: Mapping[str, Tensor], path: Path, backbone: str) -> None:
    own = trunk.state_dict()
    # Old files lack the counters of batch normalisation.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    other = [
        f"{key} is {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the network"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        *(f"{key} is missing in the file" for key in missing),
        *(f"{key} is not in the network" for key in extra),
        *other,
    ]
    if problems:
        rest = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise TrainingError(
            f"weights file {path} does not fit {backbone}: {'; '.join(problems[:3])}{rest}",
            _OWN if is_foreign(backbone.partition("(")[0]) else "Published weights fit width 1 only.",
        )
