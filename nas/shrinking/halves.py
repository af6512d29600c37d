"""Do networks that follow a set of rules beat those that do not? A test for spaces the rules were not learned in.

Both halves are fresh uniform draws; each candidate counts once, by its score within the seeds and starts that it was
trained in. A candidate that failed is worse than any that finished, as in a confirmation: it stays in its half and in
the test, and is in no mean. Nothing here knows rules or spaces: who follows what was decided before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu
from statsmodels.stats.multitest import multipletests

from nas.results.columns import MAP
from nas.results.intervals import Floats
from nas.shrinking.draws import read_draws
from nas.shrinking.equivalence import mean_difference

HalvesVerdict = Literal["hold", "mislead", "no difference shown", "not enough data"]

MIN_HALF = 5
"""Candidates of each half below which nothing is said: the exact test of 5 against 5 reaches p = 0.008, which Holm's
correction over up to six backbones leaves below 0.05; of 4 against 4 it reaches 0.029, which two backbones use up."""


@dataclass(frozen=True)
class HalvesTest:
    """What the halves of one backbone say.

    Attributes:
        name: what was tested, such as the backbone.
        verdict: whether the rules hold there; by the order of all candidates, failed ones last.
        following, rest: candidates of each half, failed ones too.
        failed_following, failed_rest: how many of them failed.
        mean_following, mean_rest: mean mAP of those that finished.
        difference: mean mAP of the finished that follow minus that of the finished rest.
        low, high: its 95 % interval (Welch).
        p: two-sided Mann-Whitney over all candidates.
        p_adjusted: Holm over all that were tested together.
        unit: of the difference.
    """

    name: str
    verdict: HalvesVerdict
    following: int
    rest: int
    failed_following: int = 0
    failed_rest: int = 0
    mean_following: float | None = None
    mean_rest: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    unit: str = MAP.suffix

    def sentence(self) -> str:
        """One sentence with the numbers."""
        if self.p_adjusted is None:
            return f"{self.name}: not enough data ({self.following} networks follow the rules, {self.rest} do not)."
        said = {
            "hold": "the rules hold",
            "mislead": "the rules mislead",
            "no difference shown": "no difference is shown",
            "not enough data": "not enough data",
        }[self.verdict]
        counts = f"{self.following} and {self.rest} networks, adjusted p = {self.p_adjusted:.2g}"
        return f"{self.name}: {said}: {self._failures()}{self._difference()} ({counts})."

    def _failures(self) -> str:
        if not self.failed_following + self.failed_rest:
            return ""
        return (
            f"{self.failed_following} of {self.following} that follow them failed and {self.failed_rest} of "
            f"{self.rest} others, which ranks them last; "
        )

    def _difference(self) -> str:
        if self.difference is None:
            return "too few finished to compare them"
        who = "those that finished" if self.failed_following + self.failed_rest else "networks that follow them"
        interval = "" if self.low is None or self.high is None else f" [{self.low:+.4f}, {self.high:+.4f}]"
        return f"{who} reach {self.difference:+.4f} {self.unit}{interval} against the rest"

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {**asdict(self), "sentence": self.sentence()}


def compare_halves(
    tables: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], *, alpha: float = 0.05, unit: str = MAP.suffix
) -> list[HalvesTest]:
    """Tests each pair of halves, all p values adjusted together.

    Args:
        tables: by name, the trainings of those that follow the rules and of the rest (columns `notation`, `map`,
            `status`).
        alpha: family-wise error rate.
        unit: of what they are judged by.
    """
    sides = {name: read_draws(following, rest) for name, (following, rest) in tables.items()}
    halves = {name: (following.error, rest.error) for name, (following, rest) in sides.items()}
    p = {name: _order(*pair)[1] for name, pair in halves.items() if min(map(len, pair)) >= MIN_HALF}
    adjusted = dict(zip(p, multipletests(list(p.values()), method="holm")[1], strict=True)) if p else {}
    return [_test(name, a, b, p.get(name), adjusted.get(name), alpha) for name, (a, b) in halves.items()]


def _order(following: Floats, rest: Floats) -> tuple[float, float]:
    """By how much those that follow come first (above 0: more often than not), and the p value of that."""
    a, b = (np.where(np.isfinite(error), error, np.inf) for error in (following, rest))
    both = np.concatenate([a, b])
    if both.min() == both.max():  # all failed: infinite, so no range
        return 0.0, 1.0
    found = mannwhitneyu(b, a, alternative="two-sided")
    return float(found.statistic) - len(a) * len(b) / 2, float(found.pvalue)


def _test(
    name: str, following: Floats, rest: Floats, p: float | None, adjusted: float | None, alpha: float
) -> HalvesTest:
    counts = len(following), len(rest), int(np.isinf(following).sum()), int(np.isinf(rest).sum())
    if p is None or adjusted is None:
        return HalvesTest(name, "not enough data", *counts)
    first = _order(following, rest)[0] > 0
    verdict: HalvesVerdict = "no difference shown" if adjusted > alpha else "hold" if first else "mislead"
    a, b = (1 - error[np.isfinite(error)] for error in (following, rest))
    found = HalvesTest(name, verdict, *counts, p=p, p_adjusted=float(adjusted))
    if not len(a) or not len(b):
        return found
    gain = mean_difference(a, b)
    low, high = (None if end != end else end for end in gain.interval())
    means = float(a.mean()), float(b.mean())
    return HalvesTest(name, verdict, *counts, *means, gain.value, low, high, p, float(adjusted))
