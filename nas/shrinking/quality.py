"""How good a rule set is by itself: what it admits, beside an equally large uniform draw from the parent.

Judged on held-out trainings only - those no rule was derived from - so that a rule set cannot profit from having seen
the scores. The best of more candidates is better by luck alone, so draws of equal size are compared. A study asks
`drawn_quality` of the fresh draws of every shrink; `rule_set_quality` takes any table of results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.shrinking.sample import draw_samples
from nas.spaces.candidate import Candidate
from nas.spaces.findings import Finding

Floats = npt.NDArray[np.float64]

LEAST_ADMITTED = 3
"""Held-out candidates the rules must admit before anything is said."""


@dataclass(frozen=True)
class Quality:
    """A rule set on held-out trainings.

    Attributes:
        heldout: held-out candidates.
        admitted: those the rules admit.
        failed_admitted, failed: failed candidates among both.
        mean, best: mean and best mAP of the admitted; None when too few.
        drawn_mean, drawn_best: the same of uniform draws of as many held-out candidates, on average.
        mean_gain, best_gain: the differences, each with a 95 % interval over candidates.
        beats: share of the uniform draws whose best is below the rules' best.
    """

    heldout: int
    admitted: int
    failed: int
    failed_admitted: int
    mean: float | None = None
    best: float | None = None
    drawn_mean: float | None = None
    drawn_best: float | None = None
    mean_gain: tuple[float, float, float] | None = None
    best_gain: tuple[float, float, float] | None = None
    beats: float | None = None

    def sentence(self) -> str:
        """The comparison in words."""
        if self.mean is None or self.mean_gain is None or self.best_gain is None:
            return f"the rules admit {self.admitted} of {self.heldout} held-out candidates: not enough data"
        return (
            f"of {self.heldout} held-out candidates the rules admit {self.admitted}; their mean is "
            f"{_spread(self.mean_gain)} mAP above a uniform draw, their best {_spread(self.best_gain)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def rule_set_quality(
    findings: Iterable[Finding],
    table: pd.DataFrame,
    *,
    heldout: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    draws: int = 4000,
    seed: int = 0,
) -> Quality:
    """A rule set's quality on the trainings no rule was derived from.

    Args:
        findings: the rules; adopted hard ones count.
        table: results of unbiased draws from the parent, in the columns of `Repository.results`.
        heldout: picks the held-out rows; None: those whose id is in no finding's evidence.
        draws: uniform draws, and bootstrap draws.
        seed: of the draws.
    """
    kept = list(findings)
    rows = heldout(table) if heldout else unseen_rows(kept, table)
    samples = list(draw_samples(rows).values()) if len(rows) else []
    candidates = [c for s in samples for c in s.candidates if c.placements]
    scores = np.concatenate([np.zeros(0), *(s.score[s.counts > 0] for s in samples)])
    inside = np.array([_admits(kept, candidate) for candidate in candidates], dtype=bool)
    return _compare(scores, inside, draws, np.random.default_rng(seed))


@dataclass(frozen=True)
class DrawnQuality:
    """What a rule set admits against its parent, by fresh uniform draws from both.

    Attributes:
        admitted, drawn: candidates drawn from what the rules admit, and from the parent.
        failed_admitted, failed_drawn: those of them that failed.
        mean, drawn_mean: mean mAP of either side; None when too few finished.
        best, drawn_best: best mAP of equally many of either side, on average over such choices.
        gain: difference of the means, with a 95 % bootstrap interval over candidates.
    """

    admitted: int
    drawn: int
    failed_admitted: int
    failed_drawn: int
    mean: float | None = None
    drawn_mean: float | None = None
    best: float | None = None
    drawn_best: float | None = None
    gain: tuple[float, float, float] | None = None

    def sentence(self) -> str:
        """The comparison in words."""
        if self.gain is None:
            return f"{self.admitted} and {self.drawn} fresh draws: not enough to judge what the rules admit"
        return (
            f"{self.admitted} fresh draws that the rules admit have a mean of {self.mean:.4f} mAP, "
            f"{_spread(self.gain)} above {self.drawn} uniform draws from the parent; "
            f"best of equally many {self.best:.4f} and {self.drawn_best:.4f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def drawn_quality(
    parent_table: pd.DataFrame, child_table: pd.DataFrame, *, draws: int = 4000, seed: int = 0
) -> DrawnQuality:
    """A rule set's quality on fresh uniform draws from its parent and from what it admits.

    Args:
        parent_table: trainings of the parent's draws, in the columns of `Repository.results`.
        child_table: the same of the child's.
        draws: bootstrap draws.
        seed: of these.
    """
    both = [_drawn_scores(table) for table in (child_table, parent_table)]
    own, everyone = (scores[~np.isnan(scores)] for scores in both)
    failed = [int(np.isnan(scores).sum()) for scores in both]
    counted = DrawnQuality(len(both[0]), len(both[1]), failed[0], failed[1])
    if min(len(own), len(everyone)) < LEAST_ADMITTED:
        return counted
    rng = np.random.default_rng(seed)
    spread = [side[rng.integers(0, len(side), (draws, len(side)))].mean(axis=1) for side in (own, everyone)]
    equal = min(len(own), len(everyone))
    mean, drawn_mean = float(own.mean()), float(everyone.mean())
    return replace(
        counted,
        mean=mean,
        drawn_mean=drawn_mean,
        best=_mean_best(own, equal, draws, rng),
        drawn_best=_mean_best(everyone, equal, draws, rng),
        gain=_gain(mean - drawn_mean, spread[0] - spread[1]),
    )


def _drawn_scores(table: pd.DataFrame) -> Floats:
    samples = draw_samples(table).values() if len(table) else []
    return np.concatenate([np.zeros(0), *(sample.score for sample in samples)])


def _mean_best(scores: Floats, count: int, draws: int, rng: np.random.Generator) -> float:
    """Expected best of `count` of the scores, chosen at random."""
    chosen = scores[np.argsort(rng.random((draws, len(scores))), axis=1)[:, :count]]
    return float(chosen.max(axis=1).mean())


def unseen_rows(findings: Iterable[Finding], table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose training is in no finding's evidence."""
    seen = {number for finding in findings for number in finding.evidence.training_ids}
    return table[~table["training_id"].isin(seen)]


def _admits(findings: Iterable[Finding], candidate: Candidate) -> bool:
    return all(finding.rule.admits(candidate) for finding in findings if finding.adopted)


def _compare(scores: Floats, inside: npt.NDArray[np.bool_], draws: int, rng: np.random.Generator) -> Quality:
    failed = np.isnan(scores)
    counts = len(scores), int(inside.sum()), int(failed.sum()), int((failed & inside).sum())
    own, everyone = scores[inside & ~failed], scores[~failed]
    if len(own) < LEAST_ADMITTED:
        return Quality(*counts)
    drawn = everyone[np.argsort(rng.random((draws, len(everyone))), axis=1)[:, : len(own)]]
    again = own[rng.integers(0, len(own), (draws, len(own)))]
    best = drawn.max(axis=1)
    return Quality(
        *counts,
        mean=float(own.mean()),
        best=float(own.max()),
        drawn_mean=float(drawn.mean()),
        drawn_best=float(best.mean()),
        mean_gain=_gain(float(own.mean() - drawn.mean()), again.mean(axis=1) - drawn.mean(axis=1)),
        best_gain=_gain(float(own.max() - best.mean()), own.max() - best),
        beats=float((best < own.max()).mean()),
    )


def _gain(value: float, spread: Floats) -> tuple[float, float, float]:
    low, high = np.quantile(spread, [0.025, 0.975])
    return value, float(low), float(high)


def _spread(gain: tuple[float, float, float]) -> str:
    return f"{gain[0]:+.4f} [{gain[1]:+.4f}, {gain[2]:+.4f}]"
