"""What every number was made with: package, commit, libraries, machine."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

import nas
from nas.spaces.plugins import GROUPS

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "optuna", "SQLAlchemy", "pandas", "scipy")


def environment(device: str = "cpu") -> dict[str, object]:
    """Facts about this process: versions (of packages with own blocks and parts too), commit, CPU, GPU and driver.

    Args:
        device: `cpu`, `cuda` or `cuda:N`, where it trains.
    """
    facts: dict[str, object] = {
        "nas": nas.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "device": device,
        "libraries": {name: _version(name) for name in LIBRARIES} | _providers(),
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


def commit() -> str | None:
    """The git commit of the checkout this package lies in, with `+changes` when files differ; None elsewhere."""
    root = Path(nas.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _providers() -> dict[str, str]:
    """Versions of the installed packages that offer blocks or parts by entry points."""
    points = [point for group in GROUPS.values() for point in entry_points(group=group)]
    return {point.dist.name: point.dist.version for point in points if point.dist is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
