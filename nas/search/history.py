"""From the results table to what samplers and stages need: one observation a candidate, and fronts.

Means are over the seeds at one fidelity on one view of the data; a candidate whose trainings all
failed stays, without a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from nas.results.cost_tables import parse_once
from nas.results.fronts import crowding, layers, on_front
from nas.results.noise import block_effects, noise_of
from nas.search.proposals.base import Observation
from nas.spaces import Candidate

Cost = Callable[[Candidate], float | None]


def observations(
    results: pd.DataFrame,
    cost: Cost,
    attrs: Mapping[int, Mapping[str, object]] | None = None,
    more: Sequence[Cost] = (),
) -> list[Observation]:
    """One observation a candidate, in the order in which candidates were first asked for.

    Args:
        results: rows of the results table at one fidelity; waiting and running rows are left out. What a seed or a
            start moved for all candidates alike is taken out.
        cost: cost of a candidate, None where unknown.
        attrs: what samplers noted, by training id.
        more: the study's further costs.
    """
    notes = attrs or {}
    done = results[results["status"].isin(["finished", "failed"])].drop_duplicates("training_id")
    codes, notations = pd.factorize(done["notation"])
    values = (done["map"] - block_effects(done)).to_numpy(dtype=float)
    known = done["status"].eq("finished").to_numpy() & ~np.isnan(values)
    counts = np.bincount(codes[known], minlength=len(notations)).tolist()
    sums = np.bincount(codes[known], weights=values[known], minlength=len(notations)).tolist()
    noted: dict[int, Mapping[str, object]] = {}
    for code, training in zip(codes.tolist(), done["training_id"].tolist(), strict=True):
        if training in notes:
            noted.setdefault(code, notes[training])
    found: list[Observation] = []
    for number, (notation, count, total) in enumerate(zip(notations, counts, sums, strict=True)):
        candidate = parse_once(str(notation))
        mean = total / count if count else None
        further = tuple(other(candidate) for other in more)
        found.append(Observation(candidate, mean, cost(candidate), count, noted.get(number, {}), further))
    return found


def seed_noise(results: pd.DataFrame) -> float | None:
    """sd of mAP of one training beside others of its seed and start; None where no candidate tells it."""
    noise = noise_of(results)
    known = noise.single if noise.single.known else noise.whole
    return known.sd if known.known else None


def _points(found: Iterable[Observation]) -> tuple[list[Observation], list[tuple[float, ...]], tuple[bool, ...]]:
    """The observations that have all their numbers, with them, and whether less of each is better."""
    known = [o for o in found if o.values is not None]
    points = [o.values or () for o in known]
    return known, points, (False, *[True] * (len(points[0]) - 1 if points else 1))


def front(found: Iterable[Observation]) -> list[Observation]:
    """Observations that no other beats in mAP and all costs together, cheapest first; equals share it."""
    known, points, less = _points(found)
    kept = [o for o, inside in zip(known, on_front(points, less), strict=True) if inside]
    return sorted(kept, key=lambda o: (o.cost, o.candidate.id))


def stagnant(results: pd.DataFrame, batches: int, cost: Cost, more: Sequence[Cost] = ()) -> bool:
    """Whether the last `batches` batches of ended candidates added nothing to the front.

    That is: its hypervolume did not grow from any reference point that is worse than all of them.
    """
    numbers = sorted(results["batch"].unique())
    if len(numbers) <= batches:
        return False
    earlier = set(results.loc[results["batch"] < numbers[-batches], "notation"])
    known, points, less = _points(observations(results, cost, more=more))
    before = {p for o, p in zip(known, points, strict=True) if o.candidate.notation in earlier}
    if not before:
        return False
    return {p for p, inside in zip(points, on_front(points, less), strict=True) if inside} <= before


def promoted(found: Sequence[Observation], count: int) -> list[Observation]:
    """The `count` best by non-domination rank, then by crowding distance, ends of a layer first (Deb et al. 2002)."""
    known, points, less = _points(found)
    ranks = layers(points, less)
    chosen: list[Observation] = []
    for rank in range(int(ranks.max(initial=-1)) + 1):
        layer = [i for i, own in enumerate(ranks) if own == rank]
        distance = dict(zip(layer, crowding([points[i] for i in layer]), strict=True))
        ordered = sorted(layer, key=lambda i: (-distance[i], known[i].candidate.id))
        chosen += [known[i] for i in ordered[: count - len(chosen)]]
    return chosen


def spread_over_cost(chosen: Sequence[Observation], count: int) -> list[Observation]:
    """At most `count` of a front, spread over its cost; the cheapest and the best stay.

    >>> spread_over_cost([], 3)
    []
    """
    if len(chosen) <= count:
        return list(chosen)
    picks = np.unique(np.round(np.linspace(0, len(chosen) - 1, count)).astype(int))
    return [chosen[i] for i in picks]
