"""Additive prediction: recovers planted costs, and finds in the paper's figures the misfit the paper's figures have."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import LatencyError
from nas.results.additive import AdditiveModel, cross_validate, part_of
from nas.spaces import Candidate, get_topology

BASELINE_MS = 1000 / 27.0878  # 36.917 ms, paper.md
PAPER_SPEEDS = {  # batches a second at 8 (AGW at 7), at 8,14 and at 6,8,14: Table I of the paper
    "hac": (25.17, 25.06, 24.93),
    "agw": (22.59, 21.09, 19.88),
    "cnl": (26.70, 25.91, 25.89),
}
PAPER_INCREMENTS = {"cnl": (0.54, 1.68, 1.71), "hac": (2.81, 2.99, 3.20), "agw": (7.35, 10.50, 13.39)}
PAPER_MISFIT = {"cnl": 1.3, "hac": 6.5, "agw": 8.9}


def paper_rows(block: str, *, triple: bool) -> list[tuple[str, float]]:
    single, pair, three = (1000 / speed for speed in PAPER_SPEEDS[block])
    site = 7 if block == "agw" else 8
    rows = [("resnet50", BASELINE_MS), (f"resnet50+{block}@{site}", single), (f"resnet50+{block}@8,14", pair)]
    return rows + [(f"resnet50+{block}@6,8,14", three)] * triple


@pytest.mark.parametrize("block", PAPER_SPEEDS)
def test_the_papers_increments_come_out(block: str) -> None:
    rows = paper_rows(block, triple=True)
    found = [ms - BASELINE_MS for _, ms in rows[1:]]
    assert found == pytest.approx(PAPER_INCREMENTS[block], abs=0.03)


@pytest.mark.parametrize("block", PAPER_SPEEDS)
def test_the_papers_triples_are_overestimated_by_its_misfit(block: str) -> None:
    model = AdditiveModel.fit(paper_rows(block, triple=False))
    single, pair, _ = PAPER_INCREMENTS[block]
    at_8, at_14 = (
        model.increments[part_of(c, c.placements[0])]
        for c in (Candidate.parse(f"resnet50+{block}@{site}") for site in (8, 14))
    )
    assert at_8 == pytest.approx(single, abs=0.03)
    assert at_14 == pytest.approx(pair - single, abs=0.05)
    error = model.error(paper_rows(block, triple=True)[3:])
    assert error is not None
    assert error.bias_percent == pytest.approx(PAPER_MISFIT[block], abs=0.06)


def test_all_nine_speeds_together() -> None:
    rows = paper_rows("cnl", triple=False) + paper_rows("hac", triple=False) + paper_rows("agw", triple=False)
    triples = [paper_rows(block, triple=True)[3] for block in PAPER_SPEEDS]
    error = AdditiveModel.fit(rows).error(triples)
    assert error is not None
    assert error.worst_percent == pytest.approx(8.9, abs=0.06)
    assert error.mean_percent == pytest.approx((1.3 + 6.5 + 8.9) / 3, abs=0.06)
    assert error.bias_percent > 0


@pytest.mark.parametrize("block", PAPER_SPEEDS)
def test_a_cost_once_a_network_explains_the_misfit(block: str) -> None:
    rows = paper_rows(block, triple=True)
    model = AdditiveModel.fit(rows, once="network")
    for notation, ms in rows:
        assert model.predict(notation) == pytest.approx(ms, abs=1e-6)
    # Sites 6 and 8 have equal shapes: what the second one adds is the increment, the rest of the first is paid once.
    assert model.once_ms[""] == pytest.approx(PAPER_MISFIT[block] / 100 * rows[3][1], abs=0.04)


def test_equal_shapes_share_an_increment() -> None:
    model = AdditiveModel.fit([("resnet50", 30.0), ("resnet50+cnl@5", 31.0)])
    assert [model.predict(f"resnet50+cnl@{site}") for site in (5, 6, 7, 8)] == pytest.approx([31.0] * 4)
    assert model.predict("resnet50+cnl@5,8") == pytest.approx(32.0)


@pytest.mark.parametrize("unknown", ["resnet50+cnl@9", "resnet50+hac@5", "resnet101", "resnet50+cnl(norm=dot)@5"])
def test_what_was_never_measured_is_none(unknown: str) -> None:
    assert AdditiveModel.fit([("resnet50", 30.0), ("resnet50+cnl@5", 31.0)]).predict(unknown) is None


@pytest.mark.parametrize("once", ["network", "block"])
def test_a_cost_that_cannot_be_told_from_increments_is_not_fitted(once: str) -> None:
    rows = [("resnet50", 30.0), ("resnet50+cnl@5", 31.0), ("resnet50+hac@9", 32.0)]
    model = AdditiveModel.fit(rows, once)  # type: ignore[arg-type]
    assert model.once_ms == {}
    assert model.predict("resnet50+cnl@5+hac@9") == pytest.approx(33.0)


def test_the_recipe_does_not_matter() -> None:
    model = AdditiveModel.fit([("resnet50", 30.0), ("resnet50+cnl@5", 31.0)])
    assert model.predict("resnet50+cnl@5[loss=circle]") == pytest.approx(31.0)


def test_a_missing_baseline_is_said() -> None:
    with pytest.raises(LatencyError, match="resnet50 was not measured without blocks"):
        AdditiveModel.fit([("resnet50+cnl@5", 31.0)])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["none", "network", "block"]))
def test_planted_costs_are_recovered(seed: int, once: str) -> None:
    """A planted additive device, many networks: every prediction exact, by a sum in plain loops."""
    rng = random.Random(seed)
    topology = get_topology("resnet50")
    cost = {(b, s.channels): rng.uniform(0.1, 3) for b in ("se", "hac", "cnl") for s in topology.sites}
    extra = {block: rng.uniform(0.2, 2) for block in ("se", "hac", "cnl")}
    network_cost = rng.uniform(0.2, 2)

    def truth(candidate: Candidate) -> float:
        total = 20.0
        for placement in candidate.placements:
            total += cost[placement.block, topology.site(placement.site).channels]
        if once == "network" and candidate.placements:
            total += network_cost
        if once == "block":
            for block in set(candidate.blocks):
                total += extra[block]
        return total

    def draw(blocks: int) -> Candidate:
        sites = rng.sample(range(1, 18), blocks)
        return Candidate.make("resnet50", [(site, rng.choice(["se", "hac", "cnl"])) for site in sites])

    singles = [Candidate.make("resnet50", [(s, b)]) for b in ("se", "hac", "cnl") for s in (1, 2, 5, 9, 15)]
    several = [draw(k) for k in (2, 3, 4, 5) for _ in range(12)]
    rows = [(c, truth(c)) for c in [Candidate.make("resnet50"), *singles, *several]]
    model = AdditiveModel.fit(rows, once=once)  # type: ignore[arg-type]
    for candidate in [draw(k) for k in (0, 1, 2, 3, 6)]:
        assert model.predict(candidate) == pytest.approx(truth(candidate), abs=1e-6)
    assert model.residual_sd_ms == pytest.approx(0.0, abs=1e-6)


def test_cross_validation_never_sees_the_network_it_judges() -> None:
    rng = np.random.default_rng(0)
    rows: list[tuple[str, float]] = [("resnet50", 30.0)]
    rows += [(f"resnet50+cnl@{s}", 30.0 + c) for s, c in ((1, 1.0), (2, 1.2), (5, 0.8), (9, 0.6), (15, 0.5))]
    noise = rng.normal(0, 0.3, 6)
    several = ["5,9", "2,15", "1,9,15", "5,6,9", "2,5,9", "9,15"]
    cost = {1: 1.0, 2: 1.2, 5: 0.8, 6: 0.8, 9: 0.6, 15: 0.5}
    rows += [
        (f"resnet50+cnl@{sites}", 30.0 + sum(cost[int(s)] for s in sites.split(",")) + e)
        for sites, e in zip(several, noise, strict=True)
    ]
    validated = cross_validate(rows)
    expected = []
    for i in range(6, len(rows)):
        fold = AdditiveModel.fit(rows[:i] + rows[i + 1 :])
        expected.append(100 * abs(fold.predict(rows[i][0]) - rows[i][1]) / rows[i][1])  # type: ignore[operator]
    assert validated is not None
    assert validated.networks == 6
    assert validated.mean_percent == pytest.approx(np.mean(expected))
    assert cross_validate(rows[:6]) is None
