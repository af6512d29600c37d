"""The paper's second open question, asked on every backbone that rules are tested on: is one channel-wise block enough?

Plain networks, networks with one channel-wise block, and networks with two blocks or more, each a uniform draw, are
trained in the same seeds; two differences of means say what one block brings and what more bring beside it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nas.files.plain import JsonDict
from nas.search.definition import RuleTestStage
from nas.search.stage_results import Sides
from nas.search.stages.base import Wish, replicated
from nas.shrinking.equivalence import mean_difference
from nas.spaces import Candidate, DesignSpace, get_block_spec

if TYPE_CHECKING:
    from nas.results.intervals import Floats

PLAIN, SINGLE, SEVERAL = "plain", "single", "several"
SIDES = (PLAIN, SINGLE, SEVERAL)
CHANNEL_WISE = "channel-wise"


def draw_sides(space: DesignSpace, count: int, rng: random.Random) -> Sides:
    """Networks of one backbone by side; fewer where the space has not as many.

    Args:
        space: a space of one backbone.
        count: networks with one block, and with several.
        rng: what is drawn with.
    """
    cheap = [name for name in space.blocks if get_block_spec(name).family == CHANNEL_WISE]
    singles = [c for c in space.singles() if c.placements[0].block in cheap]
    sizes = space.size_by_blocks()
    several = [n for n in sorted(sizes) if n > 1]
    room = min(count, sum(sizes[n] for n in several))
    return Sides(
        next(iter(space.backbones)),
        plain=tuple(space.baselines()),
        single=tuple(rng.sample(singles, min(count, len(singles)))),
        several=tuple(space.stratified(room, rng, several)) if several else (),
    )


def wishes_of(sides: Sequence[Sides], settings: RuleTestStage) -> list[Wish]:
    """Every network in the stage's seeds; the plain one, on which every gain rests, in as many as the singles have."""
    found = []
    for side in SIDES:
        for drawn in sides:
            seeds = max(settings.seeds, settings.single) if side == PLAIN else settings.seeds
            wishes = [
                Wish(candidate=c, role=side, sampler="random", fidelity=settings.fidelity) for c in getattr(drawn, side)
            ]
            found += replicated(wishes, seeds)
    return found


def compare_sides(sides: Sequence[Sides], rows: pd.DataFrame, unit: str) -> list[JsonDict]:
    """What one channel-wise block brings on each backbone, and what more blocks bring beyond it."""
    return [_compare(drawn, rows, unit) for drawn in sides]


def _compare(drawn: Sides, rows: pd.DataFrame, unit: str) -> JsonDict:
    plain, single, several = (_scores(getattr(drawn, side), rows, side) for side in SIDES)
    told: dict[str, object] = {"backbone": drawn.backbone}
    told |= {f"mean_{side}": _mean(values) for side, values in zip(SIDES, (plain, single, several), strict=True)}
    helps, more = _difference(single, plain), _difference(several, single)
    told |= {"gain": helps, "more": more}
    if helps is None or helps["low"] is None:
        verdict, why = "not enough data", "too few trainings finished"
    elif helps["low"] <= 0:
        verdict, why = "no gain shown", "one block is not shown to help"
    elif more is not None and more["low"] is not None and more["low"] > 0:
        verdict, why = "not sufficient", "one block helps, and more help further"
    else:
        verdict, why = "sufficient", "one block helps, and more are not shown to help further"
    numbers = "; ".join(
        f"{words} {_words(found, unit)}"
        for words, found in (("one block", helps), ("more blocks beyond it", more))
        if found
    )
    sentence = f"{drawn.backbone}: {why}" + (f" ({numbers})." if numbers else ".")
    return {**told, "verdict": verdict, "sentence": sentence}


def _scores(networks: Sequence[Candidate], rows: pd.DataFrame, side: str) -> Floats:
    """One score a network; of the plain one, where it is alone, one a training."""
    named = {network.notation for network in networks}
    mine = rows[(rows["role"] == side) & rows["notation"].isin(named) & (rows["status"] == "finished")]
    scores = mine["map"] if side == PLAIN and len(named) == 1 else mine.groupby("notation")["map"].mean()
    return np.asarray(scores, dtype=np.float64)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _difference(a: Floats, b: Floats) -> dict[str, float | None] | None:
    if not len(a) or not len(b):
        return None
    found = mean_difference(a, b)
    low, high = (None if end != end else float(end) for end in found.interval())
    return {"value": float(found.value), "low": low, "high": high}


def _words(found: Mapping[str, float | None], unit: str) -> str:
    if found["low"] is None:
        return f"{found['value']:+.4f} {unit}"
    return f"{found['value']:+.4f} {unit} [{found['low']:+.4f}, {found['high']:+.4f}]"
