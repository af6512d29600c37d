"""What the Pareto explorer shows: filters as a value, from and to a web address, and as a mask of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pandas as pd

from nas.errors import StudyError
from nas.reporting.notations import placements_of
from nas.reporting.study_data import StudyData
from nas.results.costs import COSTS
from nas.results.levels import SCRATCH, Level

MOST_SITES = 1000
"""A longer range of positions is cut: no backbone has as many, and the address is anybody's to write."""


@dataclass(frozen=True)
class Filters:
    """Which candidates are shown; empty fields let everything through.

    Args:
        level: `split:fidelity` of the comparable set; the most trusted one when empty.
        blocks: comma-separated block names; a candidate may have no others.
        sites: comma-separated sites; a candidate may use no others.
        counts: comma-separated numbers of blocks.
        stage: name of a stage that trained the candidate.
        max_ms: the most that a candidate may cost, in the unit of what the study pays with: ms a batch, ...
        text: part of the notation, or of what was noted (`★` for the starred ones).
        speed: the horizontal axis, a key of `SPEEDS`; what the study pays with when empty.
    """

    level: str = ""
    blocks: str = ""
    sites: str = ""
    counts: str = ""
    stage: str = ""
    max_ms: str = ""
    text: str = ""
    speed: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Filters:
        """The filters of an address; unknown keys are left alone."""
        return cls(**{field.name: query[field.name] for field in fields(cls) if field.name in query})

    def chosen_level(self, data: StudyData) -> Level | None:
        """The comparable set these filters speak of."""
        found = {level_key(level): level for level in data.levels}
        return found.get(self.level) or default_level(data)

    def mask(self, summary: pd.DataFrame, data: StudyData) -> pd.Series:
        """Which candidates of a summary are shown; networks without blocks stay, as what to compare with."""
        if summary.empty:
            return pd.Series(dtype=bool)
        shown = pd.Series(True, index=summary.index)
        if self.blocks:
            shown &= _only(summary, set(self.blocks.split(",")), place=1)
        if sites := _numbers(self.sites):
            shown &= _only(summary, sites, place=0)
        if counts := _numbers(self.counts):
            shown &= summary["n_blocks"].astype(int).isin(counts)
        shown |= summary["n_blocks"] == 0
        if self.stage:
            inside = data.results.loc[data.results["stage"] == self.stage, "candidate_id"]
            shown &= summary["candidate_id"].isin(inside)
        if (limit := _number(self.max_ms)) is not None:
            shown &= summary[data.cost] / COSTS[data.cost].scale <= limit
        if self.text:
            told = summary["notation"] + "\n" + summary["note"]
            shown &= told.str.contains(self.text, case=False, regex=False)
        return shown


def default_level(data: StudyData) -> Level | None:
    """The most trusted level, unless it holds few of many candidates: an explorer shows what was tried."""
    trusted, widest = data.quoted, data.widest
    if trusted is None or widest is None:
        return trusted or widest
    return trusted if 5 * trusted.candidates >= widest.candidates else widest


def level_key(level: Level) -> str:
    """A level in an address."""
    return ":".join([level.split, level.fidelity, *([level.start] if level.start != SCRATCH else [])])


def _only(summary: pd.DataFrame, allowed: set[object], *, place: int) -> pd.Series:
    """Whether all sites (place 0) or blocks (place 1) of a candidate are among the allowed ones."""
    placed = (placements_of(str(notation)) for notation in summary["notation"])
    return pd.Series([bool(pairs) and all(pair[place] in allowed for pair in pairs) for pairs in placed], summary.index)


def _numbers(text: str) -> set[object]:
    """Whole numbers and ranges: `6,8,14` or `5-8`.

    >>> sorted(_numbers("5-7, 14"))
    [5, 6, 7, 14]
    """
    found: set[object] = set()
    for part in filter(None, map(str.strip, text.replace(";", ",").split(","))):
        low, dash, high = part.partition("-")
        if not (low.isdecimal() and (high.isdecimal() or not dash)):
            raise StudyError(f"the positions {part!r} are no numbers", "Write them as 6,8,14 or 5-8.")
        found.update(range(int(low), min(int(high or low), int(low) + MOST_SITES) + 1))
    return found


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    if math.isnan(value):
        raise StudyError(f"{text!r} is no number of milliseconds", "Write the limit as 40 or 39.5.")
    return value
