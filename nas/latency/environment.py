"""Where a figure was made: machine, processor, GPU, libraries, threads, package version and commit.

Stored with every record; None for what could not be read.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import psutil

import nas
from nas.errors import LatencyError
from nas.latency.device_agent.machine import cpu_model, read_machine, read_temperatures, usable_cpus
from nas.latency.gpu import gpu_index, gpu_model, gpu_uuid, read_clocks, read_gpu
from nas.latency.protocol import LatencyProtocol

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


def read_environment(protocol: LatencyProtocol, versions: dict[str, str] | None = None) -> dict[str, object]:
    """Everything known about the machine that measures; `versions` are those of further libraries of the backend."""
    index = gpu_index(protocol.device)
    return {
        **read_machine(),
        "gpu": None
        if index is None
        else {**(read_gpu(index) or {}), "name": gpu_model(index), "uuid": gpu_uuid(index)},
        "libraries": {**library_versions(), **(versions or {})},
        "package": nas.__version__,
        "commit": git_commit(),
    }


@lru_cache(maxsize=2)
def library_versions(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Versions of those libraries that are installed; by default of those that bear on a latency."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the checkout this package runs from, with `+` when files differ from it; None outside one."""
    root = Path(nas.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--match="]
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def read_state(protocol: LatencyProtocol) -> Mapping[str, object] | None:
    """Clocks, temperatures and throttling at this moment, or None where the device shows none of them."""
    index = gpu_index(protocol.device)
    if index is not None:
        return read_clocks(index)
    state = {"cpu_mhz": _cpu_mhz(), "temperatures": read_temperatures()}
    return state if any(value is not None for value in state.values()) else None


def _cpu_mhz() -> float | None:
    try:
        found = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return None if found is None or not found.current else float(found.current)


def device_name(protocol: LatencyProtocol) -> str:
    """The name figures are compared under: the processor with its threads, or the model of the GPU.

    Figures of different cards must not look alike: a GPU whose model nothing here can tell is a `LatencyError`.

    Raises:
        LatencyError: for a GPU whose model nothing here can tell: figures of different cards must not look alike.
    """
    index = gpu_index(protocol.device)
    if index is not None:
        model = gpu_model(index)
        if model is None:
            raise LatencyError(
                f"the model of {protocol.device} cannot be read", "is there such a GPU? see `nas doctor`"
            )
        return model
    threads = protocol.threads or usable_cpus()
    return f"{cpu_model()} ({threads} thread{'s' if threads > 1 else ''})"
