"""Milliseconds a network needs on a device: measured, tabulated by placement, predicted.

`measure` times one network by a `LatencyProtocol`; `nas.latency.placements` times every block at every site of a
design space; `nas.latency.prediction` adds the parts up; `nas.latency.agent` and `nas.latency.exchange` bring a
device elsewhere into a study. Names are loaded when first used, so nothing here imports torch by itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.latency.backends import available_backends as available_backends
    from nas.latency.isolation import exclusive_measurement as exclusive_measurement
    from nas.latency.isolation import training_presence as training_presence
    from nas.latency.measuring import measure as measure
    from nas.latency.prediction import AdditiveModel as AdditiveModel
    from nas.latency.protocol import LatencyProtocol as LatencyProtocol
    from nas.latency.record import LatencyRecord as LatencyRecord

_LAZY = {
    "AdditiveModel": "nas.latency.prediction",
    "LatencyProtocol": "nas.latency.protocol",
    "LatencyRecord": "nas.latency.record",
    "available_backends": "nas.latency.backends",
    "exclusive_measurement": "nas.latency.isolation",
    "measure": "nas.latency.measuring",
    "training_presence": "nas.latency.isolation",
}

__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nas.latency' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
