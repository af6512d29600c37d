"""Recipe values as numbers for a linear model: lists as indicators, intervals as smooth bumps on their own scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from nas.spaces import Candidate
from nas.spaces.domains import Domain
from nas.spaces.values import ParamValue, same_value

Floats = npt.NDArray[np.float64]

BUMPS = 7
"""Along an interval, each with an sd of a fifth of it: together they draw any smooth curve with a peak or two."""
_MOST_PRODUCTS = 60
"""Of pairs of recipe values; beyond, they would be more columns than a search has trainings."""


class RecipeFeatures:
    """The features of the recipe values that vary.

    Args:
        domains: by name.
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._domains = {key: domain for key, domain in sorted(domains.items()) if not _constant(domain)}

    def __call__(self, candidates: Sequence[Candidate]) -> tuple[list[tuple[str, Floats]], Floats]:
        """Groups with their (candidates, features), and the plain ones among them, for products with others."""
        if not self._domains:
            return [], np.zeros((len(candidates), 0))
        recipes = [dict(candidate.recipe) for candidate in candidates]
        plain = {key: _columns([_plain(d, r.get(key)) for r in recipes]) for key, d in self._domains.items()}
        parts = [(f"recipe {key}", values) for key, values in plain.items()]
        for key, domain in self._domains.items():
            if not domain.is_finite:
                parts.append((f"curve {key}", _columns([_bumps(domain, r.get(key)) for r in recipes])))
        together = [(a[:, :, None] * b[:, None, :]).reshape(len(a), -1) for a, b in combinations(plain.values(), 2)]
        products = np.concatenate(together, axis=1) if together else np.zeros((len(candidates), 0))
        if 0 < products.shape[1] <= _MOST_PRODUCTS:
            parts.append(("recipe pair", products))
        return parts, np.concatenate(list(plain.values()), axis=1)


def _constant(domain: Domain) -> bool:
    return domain.is_finite and len(domain.values) < 2 and not domain.when


def _plain(domain: Domain, value: ParamValue | None) -> list[float]:
    """An indicator a listed value; of an interval the position from -1 to 1. Zeros when the value is not active."""
    if domain.is_finite:
        return [float(value is not None and same_value(value, known)) for known in domain.values]
    return [0.0 if value is None else 2.0 * position(domain, value) - 1.0]


def _bumps(domain: Domain, value: ParamValue | None) -> Floats:
    """(BUMPS,) Gaussian bumps along an interval."""
    if value is None:
        return np.zeros(BUMPS)
    offset = position(domain, value) * (BUMPS - 1) - np.arange(BUMPS)
    return np.asarray(np.exp(-0.5 * (offset / 1.2) ** 2))


def position(domain: Domain, value: ParamValue) -> float:
    """Where a number lies in an interval, on its scale: 0 at the low end, 1 at the high end; 0.5 for other values."""
    if isinstance(value, (bool, str)) or domain.high <= domain.low:
        return 0.5
    to_scale = math.log if domain.scale == "log" and value > 0 else float
    low, high, at = to_scale(domain.low), to_scale(domain.high), to_scale(float(value))
    return float(min(max((at - low) / (high - low), 0.0), 1.0))


def _columns(rows: Sequence[Sequence[float] | Floats]) -> Floats:
    return np.asarray(rows, dtype=np.float64)
