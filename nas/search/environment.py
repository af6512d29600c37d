"""What every number was made with: package, commit, libraries, machine."""

from __future__ import annotations

import getpass
import os
import platform
import sys
from importlib.metadata import entry_points

import nas
from nas.latency.device_agent.machine import cpu_model
from nas.latency.environment import git_commit, library_versions
from nas.spaces.plugins import GROUPS

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "optuna", "SQLAlchemy", "pandas", "scipy")


def environment(device: str = "cpu") -> dict[str, object]:
    """Facts about this process: versions (of packages with own blocks and parts too), commit, CPU, GPU and driver.

    Args:
        device: `cpu`, `cuda` or `cuda:N`, where it trains.
    """
    facts: dict[str, object] = {
        "nas": nas.__version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "device": device,
        "libraries": library_versions(LIBRARIES) | _providers(),
    }
    if device.startswith("cuda"):
        import torch

        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return facts


def who() -> str:
    """Who runs this: `$NAS_WHO` (empty: nobody is named), or the user and the machine."""
    named = os.environ.get("NAS_WHO")
    if named is not None:
        return " ".join(named.split())
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):  # a container's user may have no name
        return platform.node()


def _threads() -> int | None:
    """Threads of torch where it is loaded; a study that replays a table does without."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _providers() -> dict[str, str]:
    """Versions of the installed packages that offer blocks or parts by entry points."""
    found = entry_points()  # read once: every call looks into all installed packages
    points = [point for group in GROUPS.values() for point in found.select(group=group)]
    return {point.dist.name: point.dist.version for point in points if point.dist is not None}
