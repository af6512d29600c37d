"""Fresh draws of two sides: how they are drawn, and one error a candidate within its seeds and starts.

Who failed is worse than whoever finished, everywhere: it stays in the count and ranks last. What is concluded is left
to `nas.shrinking.confirmation` and `nas.shrinking.halves`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from nas.results.columns import failed, finished
from nas.results.intervals import Floats
from nas.results.noise import block_effects
from nas.results.placement_costs import Times, time_of
from nas.shrinking.edf import Draws
from nas.spaces.candidate import Candidate
from nas.spaces.space import DesignSpace, Randomness

FAILED = 2.0
"""Stands for the error of a failed candidate where only order counts: errors of finished ones are at most 1."""


def fresh_draws(space: DesignSpace, count: int, rng: Randomness, numbers: Collection[int] = ()) -> list[Candidate]:
    """Distinct draws from a space, uniform at each number of blocks, about as many at each.

    Uniform draws from the whole space would nearly all have the largest number, and say nothing of the others.

    Args:
        space: what is drawn from.
        count: draws in all; fewer where the space has not as many.
        rng: what is drawn with.
        numbers: of blocks, those that were looked at before; empty, or none of them in the space: all but 0.
    """
    held = {number: size for number, size in space.size_by_blocks().items() if number > 0}
    chosen = {number: size for number, size in held.items() if number in numbers} or held
    if not chosen:
        return space.sample(min(count, space.size()), rng)
    most = count if space.continuous else min(count, sum(chosen.values()))
    return space.stratified(most, rng, sorted(chosen))


def read_draws(first: pd.DataFrame, second: pd.DataFrame, latency: Times | None = None) -> tuple[Draws, Draws]:
    """One error and one latency a candidate of either side.

    The error is 1 - mAP, the mean over its finished trainings with the shifts of their seeds and starts taken out (as
    far as candidates of both sides tell them); when half or more of its trainings failed, the candidate counts as
    failed, so that lost trainings do not hide in a mean.

    Args:
        first, second: results tables of the two sides, of one level (columns `notation`, `map`, `status`).
        latency: known latencies, for rows without one of their own.
    """
    sides = without_blocks(first, second)
    return _draws(sides[0], latency), _draws(sides[1], latency)


def without_blocks(*sides: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables with what seeds and starts move for all alike taken out of `map`, as far as all of them tell it."""
    # Ids of trainings may repeat between tables that were made apart.
    both = pd.concat([side.drop(columns="training_id", errors="ignore") for side in sides], ignore_index=True)
    if both.empty:
        return list(sides)
    moved, found, begin = block_effects(both), [], 0
    for side in sides:
        found.append(side.assign(map=side["map"] - moved[begin : begin + len(side)]))
        begin += len(side)
    return found


def _draws(table: pd.DataFrame, latency: Times | None) -> Draws:
    """One row a candidate, in the order of their notations."""
    done, lost = finished(table), failed(table)
    counted = pd.DataFrame({"finished": done["notation"].value_counts(), "failed": lost["notation"].value_counts()})
    counted = counted.fillna(0).sort_index()
    mean = done.groupby("notation")["map"].mean().reindex(counted.index)
    hopeless = counted["failed"] >= counted["finished"].clip(lower=1)
    return Draws(
        np.where(hopeless, np.inf, 1 - mean).astype(np.float64),
        _latencies([str(name) for name in counted.index], table, latency),
    )


def _latencies(names: list[str], table: pd.DataFrame, latency: Times | None) -> Floats:
    """(names,) latency from the table, and where it has none, what is known besides; NaN where nothing is."""
    known: dict[str, float] = {}
    if "latency_ms" in table:
        last = table.dropna(subset="latency_ms").groupby("notation")["latency_ms"].last()
        known = {str(name): float(ms) for name, ms in last.items()}
    missing = [name for name in names if name not in known] if latency is not None else []
    for name in missing:
        time = time_of(Candidate.parse(name), latency)
        known |= {} if time is None or time.value is None else {name: time.value}
    return np.array([known.get(name, np.nan) for name in names], dtype=np.float64)
