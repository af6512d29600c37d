"""The default strategy: what it learns, and that it holds on to its promises whatever is missing or odd."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from search_builders import small_space, true_map, true_ms

from nas.search.proposals import Observation, Request, propose
from nas.search.proposals.failures import success_chances
from nas.search.proposals.features import Features, hats
from nas.search.proposals.model import Model
from nas.search.proposals.placement import PlacementSampler
from nas.spaces import Candidate, DesignSpace
from nas.spaces.rules import MaxBlocks

Worth = Callable[[Candidate], float | None]
RICH = {
    "name": "rich",
    "backbones": {"resnet50": {"width": [1, 0.5]}, "shufflenet_v2_x1_0": {}},
    "blocks": {"se": {"reduction": [1, 4, 16]}, "agw": {"inner": ["half", "one"]}, "cnl": {}},
    "recipe": {
        "loss": ["ce", "circle"],
        "base_lr": {"log": [1e-4, 1e-3]},
        "circle_m": {"values": [0.25, 0.35], "when": {"loss": "circle"}},
    },
    "rules": [{"max_blocks": 3}, {"min_distance": 2}],
}


def trained(candidates: Sequence[Candidate], worth: Worth = true_map, cost: Worth = true_ms) -> list[Observation]:
    rng = random.Random(3)
    maps = [worth(c) for c in candidates]
    noisy = [None if m is None else m + rng.gauss(0, 0.0005) for m in maps]
    return [Observation(c, m, cost(c)) for c, m in zip(candidates, noisy, strict=True)]


def searched(space: DesignSpace, worth: Worth, batches: int, cost: Worth | None = true_ms) -> list[Observation]:
    history: list[Observation] = []
    for batch in range(batches):
        request = Request(space, tuple(history), 4, seed=1, batch=batch, cost=cost)
        history += trained([p.candidate for p in propose("placement", request)], worth, cost or (lambda c: None))
    return history


def test_it_finds_the_planted_front() -> None:
    history = searched(small_space(), true_map, 12)
    best = max(history, key=lambda o: o.map or 0.0)
    assert true_map(best.candidate) == pytest.approx(0.87)
    found = {o.candidate.notation for o in history}
    assert len(found & {"resnet50", "resnet50+cnl@6", "resnet50+cnl@8", "resnet50+cnl@14"}) >= 2


@pytest.mark.slow
def test_it_is_better_than_uniform_draws() -> None:
    space = small_space()
    drawn = np.mean([true_map(c) for c in space.sample(200, 1)])
    later = np.mean([true_map(o.candidate) for o in searched(space, true_map, 12)[16:]])
    assert later > drawn + 0.001


def test_it_gives_new_feasible_candidates() -> None:
    space = small_space()
    history = trained(space.sample(20, 2))
    request = Request(space, history, 6, seed=4, cost=true_ms)
    sampler = PlacementSampler()
    found = [p.candidate for p in sampler(request)]
    assert found == [p.candidate for p in sampler(request)]
    assert len({c.id for c in found} | request.known) == 26
    assert all(space.contains(c) for c in found)


def test_without_costs_it_maximises_map() -> None:
    history = searched(small_space(), true_map, 10, cost=None)
    assert np.mean([true_map(o.candidate) for o in history[24:]]) > 0.866
    assert max(true_map(o.candidate) for o in history) == pytest.approx(0.87)


def test_unknown_costs_beside_known_ones_do_no_harm() -> None:
    def cost(c: Candidate) -> float | None:
        return None if "hac" in c.blocks else true_ms(c)

    space = small_space()
    request = Request(space, trained(space.sample(20, 2), cost=cost), 8, seed=1, cost=cost)
    found = propose("placement", request)
    assert len(found) == 8
    # What may be as dear as anything comes after what is known to be cheap.
    assert sum(cost(p.candidate) is not None for p in found) >= 4


def test_a_history_of_single_placements_says_something_of_pairs() -> None:
    space = small_space()
    history = trained([c for c in space.enumerate() if len(c.placements) <= 1])
    found = propose("placement", Request(space, history, 4, seed=1, cost=true_ms))
    assert len({p.candidate.id for p in found}) == 4


def test_larger_networks_of_the_history_say_something_of_a_space_of_single_placements() -> None:
    space = small_space()
    history = trained(space.sample(20, 1))
    child = space.restrict([MaxBlocks(count=1)])
    found = propose("placement", Request(child, history, 4, seed=1, cost=true_ms))
    assert len({p.candidate.id for p in found}) == 4
    assert all(child.contains(p.candidate) for p in found)


def test_the_last_candidate_of_a_tiny_space_is_found() -> None:
    tiny = {"name": "tiny", "backbones": ["resnet50"], "blocks": ["se"], "sites": "6-8", "rules": [{"max_blocks": 2}]}
    space = DesignSpace.from_dict(tiny)
    *known, last = space.enumerate()
    history = [*trained(known), *trained(small_space().sample(10, 3))]
    assert [p.candidate for p in propose("placement", Request(space, history, 4, seed=1, cost=true_ms))] == [last]


def test_the_width_of_features_does_not_depend_on_the_list_asked_about() -> None:
    space = small_space()
    features = Features(space, [Candidate.parse("resnet50+se@1,5,9,12")])
    lists = ([], ["resnet50"], ["resnet50+cnl@8"], ["resnet50+cnl@8", "resnet50+se@1,5,9,12"])
    groups = [features([Candidate.parse(text) for text in texts]).groups for texts in lists]
    assert len(set(groups)) == 1


def test_rich_spaces_and_foreign_observations() -> None:
    space = DesignSpace.from_dict(RICH)
    foreign = [Candidate.parse(t) for t in ("resnet101", "resnet50+hac@8", "resnet50+se(reduction=2)@3[margin=0.3]")]
    history = trained([*space.sample(30, 3), *foreign])
    request = Request(space, history, 12, seed=1, cost=true_ms)
    found = [p.candidate for p in propose("placement", request)]
    assert len({c.id for c in found}) == 12
    assert all(space.contains(c) for c in found)
    assert found == [p.candidate for p in propose("placement", replace(request))]


def test_a_continuous_recipe_value_is_learned() -> None:
    space = small_space(recipe={"base_lr": {"log": [1e-4, 1e-3]}})

    def worth(c: Candidate) -> float:
        return true_map(c) - 0.02 * (np.log10(float(dict(c.recipe)["base_lr"])) + 3.3) ** 2

    late = searched(space, worth, 12)[24:]
    off = [abs(np.log10(float(dict(o.candidate.recipe)["base_lr"])) + 3.3) for o in late]
    assert np.median(off) < 0.15


@pytest.mark.slow
def test_what_always_fails_is_left_alone() -> None:
    def worth(c: Candidate) -> float | None:
        return None if any(p.block == "hac" and p.site <= 4 for p in c.placements) else true_map(c)

    history = searched(small_space(), worth, 14)
    failures = [o.map is None for o in history]
    assert sum(failures[-12:]) <= 3


def test_when_everything_failed_it_goes_on_drawing() -> None:
    space = small_space()
    request = Request(space, [Observation(c, None, 37.0) for c in space.sample(30, 1)], 5, seed=1, cost=true_ms)
    assert len({p.candidate.id for p in propose("placement", request)} - request.known) == 5


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_equal_values_are_no_obstacle(value: float) -> None:
    space = small_space()
    history = [Observation(c, value, 40.0) for c in space.sample(20, 1)]
    assert len(propose("placement", Request(space, history, 4, seed=1, cost=lambda c: 40.0))) == 4


def test_pending_candidates_are_neither_repeated_nor_crowded() -> None:
    space = small_space()
    request = Request(space, trained(space.sample(24, 2)), 4, seed=1, cost=true_ms)
    first = [p.candidate for p in propose("placement", request)]
    second = [p.candidate for p in propose("placement", replace(request, pending=first))]
    assert not {c.id for c in first} & {c.id for c in second}


def test_replicates_count_for_more_than_one_lucky_training() -> None:
    space = small_space()
    candidates = space.sample(40, 2)
    history = trained(candidates)
    lucky = replace(history[0], map=0.9)
    certain = replace(history[0], map=0.9, replicates=20)
    once = Model(space, [lucky, *history[1:]], noise=0.001).observed()[0]
    often = Model(space, [certain, *history[1:]], noise=0.001).observed()[0]
    assert once < often


def test_features_of_a_candidate_by_hand() -> None:
    space = DesignSpace.from_dict({"name": "s", "backbones": ["resnet50"], "blocks": ["agw", "cnl"]})
    candidates = [Candidate.parse(t) for t in ("resnet50", "resnet50+cnl@6,8", "resnet50+agw@8+cnl@14")]
    found = Features(space)(candidates)

    def columns(group: str) -> np.ndarray:
        return found.values[:, [g == group for g in found.groups]]

    assert columns("count")[:, 0].tolist() == [0, 2, 2]
    assert columns("near").sum(axis=1).tolist() == [0, 7, 3]  # distances 2 and 6, each up to 8
    assert columns("same stage")[:, 0].tolist() == [0, 1, 0]
    assert columns("mix").tolist() == [[0, 0], [0, 0], [1, 1]]
    assert columns("site").sum(axis=1).tolist() == [0, 2, 2]
    assert columns("site pair").sum(axis=1).tolist() == [0, 1, 1]
    assert columns("block pair").sum(axis=1).tolist() == [0, 1, 1]


@pytest.mark.parametrize("at", [0.0, 0.3, 1.0])
def test_hats_add_up_to_one(at: float) -> None:
    assert hats(at, 7).sum() == pytest.approx(1.0)


def test_chances_fall_only_where_trainings_failed() -> None:
    good, bad = Candidate.parse("resnet50+se@3+cnl@8"), Candidate.parse("resnet50+agw@2+cnl@8")
    history = [Observation(good, 0.8, 1.0)] * 3 + [Observation(bad, None, 1.0)] * 3
    chances = success_chances(history, [good, bad, Candidate.parse("resnet50+agw@14"), Candidate.parse("resnet50")])
    assert chances.tolist() == pytest.approx([3.3 / 6.3, 0.0, 1.0, 1.0])
