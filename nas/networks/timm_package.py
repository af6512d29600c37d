"""timm is optional, and loads slowly: its modules are imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from nas.errors import SpaceError


def timm_module(name: str, what: str) -> Any:
    """A module of timm; where it is not installed, a `SpaceError` says that `what` needs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SpaceError(f"{what} needs the package timm: {error}", "pip install 'nas-reid[timm]'") from error
