"""Looks at the machine: what works, what is missing, what to install."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas import search
from nas.errors import NasError
from nas.latency import available_backends

State = Literal["ok", "missing", "broken"]
LEAST_FREE_GB = 5.0


@dataclass(frozen=True)
class MachineCheck:
    """One finding: `missing` is optional equipment, `broken` keeps studies from running."""

    name: str
    state: State
    detail: str
    advice: str = ""


def diagnose() -> Iterator[MachineCheck]:
    """All checks, needed things first, each when it is made: some load libraries and take seconds."""
    for look in (_python, _torch, _gpu, _database, _disk, _browser, *map(_optional, OPTIONAL)):
        yield _safely(look)
    yield from _launchers()
    yield from _latency_backends()


def _safely(look: Callable[[], MachineCheck]) -> MachineCheck:
    try:
        return look()
    except Exception as error:
        # A doctor must finish the round whatever one organ does.
        return MachineCheck(getattr(look, "__name__", "check").strip("_"), "broken", f"{type(error).__name__}: {error}")


def _python() -> MachineCheck:
    good = sys.version_info >= (3, 11)
    advice = "" if good else "3.11 or newer is needed"
    return MachineCheck("Python", "ok" if good else "broken", platform.python_version(), advice)


def _torch() -> MachineCheck:
    torch = importlib.import_module("torch")
    vision = importlib.import_module("torchvision")
    detail = f"{torch.__version__}, torchvision {vision.__version__}, {torch.get_num_threads()} threads"
    return MachineCheck("torch", "ok", detail)


def _gpu() -> MachineCheck:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        advice = "fine for the quickstart, slow for real data"
        return MachineCheck("GPU", "missing", "no CUDA device; networks train on the CPU", advice)
    free, total = torch.cuda.mem_get_info()
    memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return MachineCheck("GPU", "ok", f"{torch.cuda.get_device_name()}, {memory}")


def _database() -> MachineCheck:
    return MachineCheck("SQLite", "ok", sqlite3.sqlite_version)


def _disk() -> MachineCheck:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    state: State = "ok" if free > LEAST_FREE_GB else "missing"
    writable = os.access(Path.cwd(), os.W_OK)
    if not writable:
        return MachineCheck("disk", "broken", "this folder cannot be written", "change to a folder of yours")
    return MachineCheck("disk", state, f"{free:.0f} GB free here", "" if state == "ok" else "studies need a few GB")


def _browser() -> MachineCheck:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("BROWSER_PATH") or next((p for p in map(shutil.which, names) if p), None)
    if path is None:
        return MachineCheck(
            "browser", "missing", "no Chromium: reports come without PNG and SVG stills", "install chromium"
        )
    return MachineCheck("browser", "ok", str(path))


# (name, module, what it is for, extra of the package)
OPTIONAL = (
    ("dashboard", "dash", "nas dashboard", "dashboard"),
    ("PostgreSQL", "psycopg", "studies on many machines", "postgres"),
    ("ONNX", "onnx", "nas export --format onnx", "latency"),
    ("stills", "kaleido", "PNG and SVG figures", "stills"),
    ("parquet", "pyarrow", "nas extract to parquet", "parquet"),
    ("importances", "sklearn", "hyperparameter importances in reports", "importances"),
)


def _optional(entry: tuple[str, str, str, str]) -> Callable[[], MachineCheck]:
    name, module, purpose, extra = entry

    def look() -> MachineCheck:
        try:
            found = importlib.import_module(module)
        except ImportError:
            return MachineCheck(name, "missing", f"needed for {purpose}", f"pip install 'nas-reid[{extra}]'")
        return MachineCheck(name, "ok", f"{module} {getattr(found, '__version__', '')}".strip())

    look.__name__ = name
    return look


def _launchers() -> list[MachineCheck]:
    """Where `nas run --on` can start workers from here."""
    return [
        MachineCheck(f"workers on {name}", "ok" if why is None else "missing", "available" if why is None else why)
        for name, why in search.launchers_here().items()
    ]


def _latency_backends() -> list[MachineCheck]:
    """What can time networks on the CPU and, where there is one, on the GPU: a backend may be there for one of them."""
    import torch

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    try:
        found = {device: available_backends(device) for device in devices}
    except NasError as error:
        return [MachineCheck("latency", "broken", str(error))]
    return [
        MachineCheck(
            f"latency: {name} on {device}", "ok" if why is None else "missing", "available" if why is None else why
        )
        for device in devices
        for name, why in found[device].items()
    ]
