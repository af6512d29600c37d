"""Does `init: inherit` rank candidates as training from scratch does? Kendall's tau where both exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from nas.reporting.study_data import StudyData, rows_of
from nas.results.intervals import bootstrap
from nas.results.levels import Level

LEAST = 4
"""Candidates trained both ways below which no correlation is said."""
DRAWS = 1000


@dataclass(frozen=True)
class Agreement:
    """Two ways to start, compared over the candidates trained both ways at one fidelity.

    Attributes:
        level: split and fidelity, without the start.
        candidates: how many were trained both ways.
        tau: Kendall's tau-b of their mean mAP; None for fewer than `LEAST`, or when all are equal.
        low, high: 95 % bootstrap interval over candidates.
        p: probability of such a tau without any relation.
    """

    level: Level
    candidates: int
    tau: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def sentence(self) -> str:
        """The comparison in words."""
        where = f"({self.level.words})"
        if self.tau is None or self.low is None or self.high is None or self.p is None:
            return (
                f"{self.candidates} candidates were trained from the baseline's weights and from scratch too {where}: "
                "not enough to say whether both rank alike; `scratch_check` of the sweep trains more"
            )
        return (
            f"Candidates that start from the baseline's weights rank as those trained from scratch with Kendall's tau "
            f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}] over {self.candidates} candidates trained both ways, "
            f"p = {self.p:.2g} {where}"
        )


def agreements(data: StudyData) -> list[Agreement]:
    """One comparison for every fidelity at which candidates inherited weights."""
    rows = data.finished
    rows = rows[rows["n_blocks"] > 0]
    label = rows["fidelity"].astype(str)
    inherits = label.str.split("-").map(lambda parts: "inherit" in parts)
    plain = label.str.split("-").map(lambda parts: "-".join(part for part in parts if part != "inherit"))
    rows = rows.assign(inherits=inherits.astype(bool), plain_label=plain)
    wanted = rows[rows["inherits"]].groupby(["split", "plain_label"], sort=True)["epochs"].max().reset_index()
    return [_agreement(rows, str(row.split), str(row.plain_label), float(row.epochs)) for row in rows_of(wanted)]


def _agreement(rows: pd.DataFrame, split: str, fidelity: str, epochs: float) -> Agreement:
    level = Level(split, fidelity, epochs)
    here = rows[(rows["split"] == split) & (rows["plain_label"] == fidelity)]
    means = here.groupby(["candidate_id", "inherits"])["map"].mean().unstack()
    both = means.dropna().to_numpy(dtype=np.float64) if means.shape[1] == 2 else np.zeros((0, 2))
    if len(both) < LEAST:
        return Agreement(level, len(both))
    found = kendalltau(both[:, 0], both[:, 1])
    if not np.isfinite(found.statistic):
        return Agreement(level, len(both))
    rng = np.random.default_rng(0)
    low, high = bootstrap(lambda drawn: float(kendalltau(*both[drawn].T).statistic), len(both), rng, DRAWS)
    return Agreement(level, len(both), float(found.statistic), low, high, float(found.pvalue))
