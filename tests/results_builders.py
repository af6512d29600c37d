"""Tables of planted results: candidates with known scores, seeds with known shifts, noise with a known sd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


def planted(
    scores: Mapping[str, float],
    *,
    seeds: Sequence[int] = (1, 2, 3),
    shift_sd: float = 0.0,
    noise_sd: float = 0.0,
    rng: np.random.Generator | None = None,
    **columns: Any,
) -> pd.DataFrame:
    """One finished training of each candidate in each seed: score + the seed's shift + noise."""
    draws = rng or np.random.default_rng(0)
    shift = {seed: draws.normal(0.0, shift_sd) for seed in seeds}
    rows = [
        {"notation": name, "seed": seed, "status": "finished", "map": score + shift[seed] + draws.normal(0.0, noise_sd)}
        for name, score in scores.items()
        for seed in seeds
    ]
    return pd.DataFrame(rows).assign(**columns)


def trained(notation: str, values: Sequence[float | None], *, first_seed: int = 1, **columns: Any) -> pd.DataFrame:
    """Trainings of one candidate in seeds first_seed, ...: the values given, None for a failed one."""
    rows = [
        {
            "notation": notation,
            "seed": first_seed + i,
            "status": "failed" if value is None else "finished",
            "map": np.nan if value is None else value,
        }
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**columns)
