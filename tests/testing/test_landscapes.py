"""Planted landscapes against a naive re-telling, and the truth that rules are scored by."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from shrinking.conftest import good_sites, make_landscape, parse

from nas.errors import NasError
from nas.spaces import Candidate, DesignSpace, get_block_spec, get_topology
from nas.spaces.rules import BlockPreference, MaxBlocks, MinDistance, Mix, RecipeRange, SitesRule, StageEnds
from nas.testing.landscapes import Landscape, landscape_table
from nas.testing.planted import Truth
from nas.testing.planting import KINDS, draw_landscape, planted_space
from nas.testing.published import published_rules


def naive_map(landscape: Landscape, candidate: Candidate) -> float:
    topology = get_topology(landscape.backbone)
    gains = []
    for placement in candidate.placements:
        block = landscape.blocks.index(placement.block)
        site = placement.site - 1
        gains.append(landscape.block_gain[block] + landscape.site_gain[site] + landscape.interaction[block, site])
    value, n, limit = sum(gains), len(gains), landscape.count_limit
    if limit is not None and n > limit:
        best = sorted(gains, reverse=True)[:limit]
        value = sum(best) if landscape.saturation == "best" else value * limit / n
    for a, b in combinations(candidate.sites, 2):
        if b - a <= len(landscape.near_penalty):
            value -= landscape.near_penalty[b - a - 1]
        if topology.site(a).stage == topology.site(b).stage:
            value -= landscape.stage_penalty
    if len({get_block_spec(block).family for block in candidate.blocks}) > 1:
        value += landscape.mix_premium
    return landscape.base + value


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "hyper" not in kind])
def test_true_map_against_a_loop(kind: str) -> None:
    landscape, space = draw_landscape(kind, 3), planted_space(kind)
    candidates = space.stratified(60, 0)
    fast = landscape.placed_map(landscape.placed(candidates))
    np.testing.assert_allclose(fast, [naive_map(landscape, c) for c in candidates])


def test_hyperparameters_count_by_placement_and_recipe() -> None:
    landscape = make_landscape(
        param_gain={("se", "reduction"): {1: 0.002}},
        recipe_gain={"loss": (("circle", 0.01),), "base_lr": ((1e-4, 0.0), (1e-3, 0.01))},
    )
    texts = (
        "resnet50+se@3",
        "resnet50+se(reduction=1)@3,5",
        "resnet50[loss=circle]",
        "resnet50[base_lr=0.000316227766]",
    )
    single, double, circle, rate = landscape.true_map(parse(*texts))
    assert double - single == pytest.approx(0.003 + 2 * 0.002)
    assert circle == pytest.approx(0.87)
    assert rate == pytest.approx(0.865, abs=1e-5)


def test_trainings_scatter_by_the_seed_noise_and_repeat_exactly() -> None:
    landscape = make_landscape()
    candidates = planted_space("few").sample(300, 0)
    scores = landscape.train(candidates, [0, 1])
    np.testing.assert_array_equal(scores, landscape.train(candidates, [0, 1]))
    assert (scores - landscape.true_map(candidates)[:, None]).std() == pytest.approx(0.001, rel=0.1)
    assert abs(np.corrcoef((scores - landscape.true_map(candidates)[:, None]).T)[0, 1]) < 0.15


def test_failures_come_at_their_rate() -> None:
    landscape = make_landscape(failure_rate=0.2)
    table = landscape_table(landscape, planted_space("few").sample(400, 0))
    assert (table["status"] == "failed").mean() == pytest.approx(0.2, abs=0.05)
    assert table.loc[table["status"] == "failed", "map"].isna().all()


def test_latency_adds_up() -> None:
    landscape = make_landscape(block_ms=np.arange(68.0).reshape(4, 17))
    assert landscape.latency_ms(parse("resnet50", "resnet50+se@2+hac@3")).tolist() == [36.917, 36.917 + 1 + 19]


def test_foreign_candidates_and_kinds_are_refused() -> None:
    with pytest.raises(NasError, match="block of this landscape"):
        make_landscape().placed(parse("resnet50+raga@3"))
    with pytest.raises(NasError, match="backbone of this landscape"):
        make_landscape().placed(parse("resnet18"))
    with pytest.raises(NasError, match="did you mean 'steps'"):
        draw_landscape("step", 0)


def score(
    landscape: Landscape, space: DesignSpace, *rules: object
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    found = Truth(landscape, space).score(rules)  # type: ignore[arg-type]
    return dict(found.claims), dict(found.false), dict(found.found)


def test_site_claims(space: DesignSpace) -> None:
    landscape = make_landscape(site_gain=good_sites([6, 8], 0.003))
    truth = Truth(landscape, space)
    assert len([c for c in truth.wanted() if c.family == "sites"]) == 2 * 4
    assert score(landscape, space, SitesRule(sites=[6, 8])) == ({"sites": 2}, {}, {"sites": 8})
    assert score(landscape, space, SitesRule(sites=[6, 9])) == ({"sites": 2}, {"sites": 1}, {"sites": 4})
    assert score(landscape, space, SitesRule(sites=[6], block="cnl")) == ({"sites": 1}, {}, {"sites": 1})
    assert score(landscape, space, SitesRule(sites="1-15")) == ({"sites": 2}, {"sites": 2}, {})


def test_every_rule_on_a_null_landscape_is_false(space: DesignSpace) -> None:
    rules = [
        SitesRule(sites=[6]),
        StageEnds(strength="preference"),
        MinDistance(distance=3),
        Mix(max_families=1),
        MaxBlocks(count=2),
        BlockPreference(better="cnl", worse="se", strength="preference"),
    ]
    for kind in ("null-flat", "null-additive", "null-rough"):
        found = Truth(draw_landscape(kind, 1), space).score(rules)
        assert found.false_share == 1.0
        assert not found.wanted


def test_distance_claims(space: DesignSpace) -> None:
    step = make_landscape(near_penalty=np.full(3, 0.002))
    assert score(step, space, MinDistance(distance=4))[2] == {"distance": 1}
    assert score(step, space, MinDistance(distance=3)) == ({"distance": 1}, {}, {})
    assert score(step, space, MinDistance(distance=5))[1] == {"distance": 1}
    fading = make_landscape(near_penalty=np.array([0.003, 0.0015, 0.0007]))
    assert all(score(fading, space, MinDistance(distance=d))[2] == {"distance": 1} for d in (3, 4))


def test_count_claims(space: DesignSpace) -> None:
    landscape = make_landscape(count_limit=3)
    assert Truth(landscape, space).limit == 3
    assert score(landscape, space, MaxBlocks(count=3))[2] == {"count": 1}
    assert score(landscape, space, MaxBlocks(count=4)) == ({"count": 1}, {}, {})
    assert score(landscape, space, MaxBlocks(count=2))[1] == {"count": 1}
    assert Truth(make_landscape(count_limit=5), space).limit is None


def test_recipe_ranges_are_true_when_the_inside_is_better() -> None:
    landscape, space = draw_landscape("hyperparameters", 0), planted_space("hyperparameters")
    best = max(landscape.recipe_gain["base_lr"], key=lambda pair: pair[1])[0]
    inside = RecipeRange(key="base_lr", low=best / 1.5, high=best * 1.5)
    assert not score(landscape, space, inside)[1]
    assert score(landscape, space, RecipeRange(key="loss", values=["ce"]))[1] == {"hyperparameters": 1}


def test_the_published_method_finds_strong_rules_and_false_ones(space: DesignSpace) -> None:
    strong = make_landscape(site_gain=good_sites([8], 0.05))
    drawn = space.stratified(200, 0)
    rules = published_rules(landscape_table(strong, drawn), space)
    assert any(isinstance(rule, SitesRule) and 8 in rule.sites.numbers for rule in rules)
    null = published_rules(landscape_table(draw_landscape("null-flat", 0), drawn), space)
    assert null
    assert published_rules(landscape_table(strong, drawn).iloc[:0], space) == []
