"""Do networks that follow a set of rules beat those that do not? A test for spaces the rules were not learned in.

Both halves are fresh uniform draws; each candidate counts once, with the mean of its trainings. Nothing here knows
rules or spaces: who follows what was decided before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import mannwhitneyu
from statsmodels.stats.multitest import multipletests

Floats = npt.NDArray[np.float64]
HalvesVerdict = Literal["hold", "mislead", "no difference shown", "not enough data"]

MIN_HALF = 5
"""Candidates of each half below which nothing is said: fewer cannot reach a p of 0.05 on both sides."""


@dataclass(frozen=True)
class HalvesTest:
    """What the halves of one backbone say.

    Attributes:
        name: what was tested, such as the backbone.
        verdict: whether the rules hold there.
        following, rest: candidates of each half with a finished training.
        mean_following, mean_rest: mean mAP of each.
        difference: mean mAP of those that follow minus that of the rest.
        low, high: its 95 % bootstrap interval.
        p: two-sided Mann-Whitney.
        p_adjusted: Holm over all that were tested together.
    """

    name: str
    verdict: HalvesVerdict
    following: int
    rest: int
    mean_following: float | None = None
    mean_rest: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None

    def sentence(self) -> str:
        """One sentence with the numbers."""
        if self.difference is None:
            return f"{self.name}: not enough data ({self.following} networks follow the rules, {self.rest} do not)."
        said = {
            "hold": "the rules hold",
            "mislead": "the rules mislead",
            "no difference shown": "no difference is shown",
            "not enough data": "not enough data",
        }[self.verdict]
        return (
            f"{self.name}: {said}: networks that follow them reach {self.difference:+.4f} mAP "
            f"[{self.low:+.4f}, {self.high:+.4f}] against the rest "
            f"({self.following} and {self.rest} networks, adjusted p = {self.p_adjusted:.2g})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "sentence": self.sentence()}


def compare_halves(
    tables: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    *,
    alpha: float = 0.05,
    bootstrap: int = 2000,
    seed: int = 0,
) -> list[HalvesTest]:
    """Tests each pair of halves, all p values adjusted together.

    Args:
        tables: by name, the trainings of those that follow the rules and of the rest (columns `notation`, `map`,
            `status`).
        alpha: family-wise error rate.
        bootstrap: draws of the bootstrap.
        seed: of the bootstrap.
    """
    halves = {name: (scores(left), scores(right)) for name, (left, right) in tables.items()}
    enough = {name: pair for name, pair in halves.items() if min(map(len, pair)) >= MIN_HALF}
    p = {name: float(mannwhitneyu(a, b, alternative="two-sided").pvalue) for name, (a, b) in enough.items()}
    adjusted = dict(zip(p, multipletests(list(p.values()), method="holm")[1], strict=True)) if p else {}
    rng = np.random.default_rng(seed)
    return [
        _test(name, *pair, p[name], float(adjusted[name]), alpha, bootstrap, rng)
        if name in enough
        else HalvesTest(name, "not enough data", len(pair[0]), len(pair[1]))
        for name, pair in halves.items()
    ]


def scores(table: pd.DataFrame) -> Floats:
    """(candidates,) mean mAP of the finished trainings of each candidate."""
    if table.empty:
        return np.zeros(0)
    finished = table[(table["status"] == "finished") & table["map"].notna()]
    return finished.groupby("notation")["map"].mean().to_numpy(dtype=np.float64)


def _test(
    name: str, a: Floats, b: Floats, p: float, adjusted: float, alpha: float, bootstrap: int, rng: np.random.Generator
) -> HalvesTest:
    difference = float(a.mean() - b.mean())
    draws = [rng.choice(x, (bootstrap, len(x))).mean(axis=1) for x in (a, b)]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    shown = adjusted <= alpha
    verdict: HalvesVerdict = "no difference shown" if not shown else "hold" if difference > 0 else "mislead"
    means = float(a.mean()), float(b.mean())
    return HalvesTest(name, verdict, len(a), len(b), *means, difference, float(low), float(high), p, adjusted)
