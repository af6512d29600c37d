"""Many hypotheses at once: Benjamini-Hochberg's false discovery rate, over all hypotheses of a stage."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from scipy.stats import false_discovery_control

Key = TypeVar("Key", bound=Hashable)


def adjust(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjusted p values: a hypothesis with adjusted p <= q is a discovery at false discovery rate q.

    >>> {k: round(p, 3) for k, p in adjust({"a": 0.01, "b": 0.04, "c": 0.5}).items()}
    {'a': 0.03, 'b': 0.06, 'c': 0.5}

    Source: Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS B 57 (1995).

    Args:
        p_values: p value by hypothesis; NaN (could not be tested) is left out of the count and stays NaN.
    """
    tested = [key for key, p in p_values.items() if not np.isnan(p)]
    adjusted = {key: float("nan") for key in p_values}
    if tested:
        values = false_discovery_control([min(max(p_values[key], 0.0), 1.0) for key in tested])
        adjusted.update(zip(tested, map(float, values), strict=True))
    return adjusted
