"""Is one channel-wise block sufficient on another backbone? What is drawn, and what is said."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from nas.search.definition import RuleTestStage
from nas.search.stages.single_test import compare_sides, draw_sides, wishes_of
from nas.spaces import DesignSpace

SPACE = DesignSpace.from_dict(
    {"name": "s", "backbones": ["shufflenet_v2_x1_0"], "blocks": ["hac", "agw", "cnl"], "rules": [{"max_blocks": 3}]}
)


def test_one_cheap_block_or_several_beside_the_plain_network() -> None:
    sides = draw_sides(SPACE, 6, random.Random(1))
    assert [c.notation for c in sides.plain] == ["shufflenet_v2_x1_0"]
    singles = sides.single
    assert len(singles) == 6
    assert {c.placements[0].block for c in singles} <= {"hac", "cnl"}
    assert all(len(c.placements) > 1 for c in sides.several)
    wishes = wishes_of([sides], RuleTestStage(spaces=["x"], single=6, seeds=2))
    assert [w.role for w in wishes].count("plain") == 6
    assert [w.role for w in wishes].count("several") == 12


@pytest.mark.parametrize(
    ("single", "several", "verdict"),
    [(0.02, 0.02, "sufficient"), (0.02, 0.05, "not sufficient"), (0.0, 0.03, "no gain shown")],
)
def test_the_verdict_is_that_of_the_intervals(single: float, several: float, verdict: str) -> None:
    rng = np.random.default_rng(3)
    drawn = draw_sides(SPACE, 8, random.Random(1))
    mean = {"plain": 0.5, "single": 0.5 + single, "several": 0.5 + several}
    rows = [
        {
            "role": side,
            "notation": c.notation,
            "seed": seed,
            "status": "finished",
            "map": added + rng.normal(0, 1e-3),
        }
        for side, added in mean.items()
        for seed, c in enumerate(getattr(drawn, side) * (8 if side == "plain" else 1))
    ]
    (told,) = compare_sides([drawn], pd.DataFrame(rows), "mAP")
    assert told["verdict"] == verdict
    assert told["gain"]["value"] == pytest.approx(single, abs=2e-3)
    assert "shufflenet_v2_x1_0: " in told["sentence"]
