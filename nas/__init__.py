"""Placement search for attention blocks in person re-identification networks.

The public face of the package. Names are loaded when first used, so that `import nas` costs
milliseconds and a table can be analysed on a machine without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.networks import build_network as build_network
    from nas.reporting.notebook import Study as Study
    from nas.spaces import Candidate as Candidate
    from nas.spaces import DesignSpace as DesignSpace
    from nas.spaces import RuleSet as RuleSet
    from nas.training import FeatureExtractor as FeatureExtractor

__version__ = "0.1.0"

_LAZY = {
    "build_network": "nas.networks",
    "Candidate": "nas.spaces",
    "DesignSpace": "nas.spaces",
    "RuleSet": "nas.spaces",
    "FeatureExtractor": "nas.training",
    "Study": "nas.reporting.notebook",
}

__all__ = ["NasError", "__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
