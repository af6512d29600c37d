"""Tied hyperparameters: one form of a block at all sites, in counts, draws, lists, neighbours, repairs and files."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from nas.errors import SpaceError
from nas.search.proposals.base import Request
from nas.search.proposals.registry import propose
from nas.spaces import Candidate, DesignSpace

KEYS: dict[str, Any] = {
    "name": "forms",
    "backbones": ["resnet50"],
    "sites": [6, 8, 14],
    "blocks": {"cnl": {"norm": ["softmax", "dot"], "fuse": ["add", "gate"]}, "se": {}},
}
TIE = {"tie": ["cnl.norm", "cnl.fuse"]}
FREE, TIED = DesignSpace(**KEYS), DesignSpace(**KEYS, rules=[TIE])


def one_form(candidate: Candidate) -> bool:
    """The rule in plain words."""
    forms = {tuple(dict(p.params)[name] for name in ("norm", "fuse")) for p in candidate.placements if p.block == "cnl"}
    return len(forms) <= 1


def test_a_form_at_three_sites_is_four_candidates_and_not_sixty_four() -> None:
    def all_cnl(space: DesignSpace) -> list[Candidate]:
        return [c for c in space.enumerate(3) if set(c.blocks) == {"cnl"}]

    assert (len(all_cnl(FREE)), len(all_cnl(TIED))) == (64, 4)


def test_lists_counts_and_numbers_are_those_of_the_naive_rule() -> None:
    wanted = [c for c in FREE.enumerate() if one_form(c)]
    assert set(TIED.enumerate()) == set(wanted)
    assert TIED.size_by_blocks() == dict(Counter(len(c.placements) for c in wanted))
    for number, candidate in enumerate(TIED.enumerate()):
        assert TIED.index(candidate) == number
        assert TIED.candidate(number) == candidate
    for candidate in FREE.enumerate():
        assert TIED.contains(candidate) == one_form(candidate)
        assert bool(TIED.explain(candidate)) != one_form(candidate)


def test_it_counts_together_with_other_rules() -> None:
    rules = [TIE, {"max_blocks": 2}, {"min_distance": 3}, {"mix": {"max_types": 1}}]
    free = DesignSpace(**KEYS, rules=rules[1:])
    assert set(DesignSpace(**KEYS, rules=rules).enumerate()) == {c for c in free.enumerate() if one_form(c)}


def test_draws_are_uniform() -> None:
    drawn = Counter(TIED.sample(4000, rng=random.Random(0), blocks=2, distinct=False))
    size = TIED.size_by_blocks()[2]
    assert len(drawn) == size
    chi2 = sum((n - 4000 / size) ** 2 / (4000 / size) for n in drawn.values())
    assert chi2 < 72  # the 99.9 % point at 38 degrees of freedom is 70.7


def test_a_neighbour_has_another_form_at_all_sites_at_once() -> None:
    start = Candidate.parse("resnet50+cnl(norm=softmax,fuse=add)@6,8,14")
    found = TIED.neighbours(start)
    assert all(one_form(c) for c in found)
    assert sum(c.sites == start.sites and set(c.blocks) == {"cnl"} for c in found) == 3


def test_what_breaks_it_is_repaired_and_proposals_keep_to_it() -> None:
    broken = Candidate.parse("resnet50+cnl(norm=softmax,fuse=add)@6+cnl(norm=dot,fuse=gate)@8")
    mended = TIED.repair(broken)
    assert TIED.contains(mended)
    assert mended.sites == broken.sites
    (violation,) = [v for v in TIED.explain(broken) if v.path.endswith("fuse")]
    assert violation.message == "fuse of cnl is add and gate: one value at all sites: norm, fuse of C-NL"
    for sampler in ("tpe", "placement", "random"):
        proposals = propose(sampler, Request(TIED, (), 12, seed=1))
        assert len(proposals) == 12
        assert all(one_form(p.candidate) for p in proposals)


def test_it_is_written_and_read_back() -> None:
    assert TIED.to_dict()["rules"] == [TIE]
    assert DesignSpace.from_dict(TIED.to_dict()) == TIED
    assert TIED.rules[0].sentence() == "one value at all sites: norm, fuse of C-NL"
    preferred = DesignSpace(**KEYS, rules=[{**TIE, "strength": "preference"}])
    assert preferred.size() == FREE.size()


@pytest.mark.parametrize(
    ("tie", "said"),
    [
        (["cnl.nrm"], r"rules\[0\].tie: unknown hyperparameter of cnl 'nrm'; did you mean 'norm'"),
        ("se.norm", "unknown hyperparameter of se 'norm'"),
        (["norm"], "is written block.name, such as cnl.norm, not 'norm'"),
        (["xnl.norm"], "unknown block 'xnl'"),
        ([], "at least 1"),
    ],
)
def test_a_tie_over_what_is_not_there_is_one_sentence(tie: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        DesignSpace(**KEYS, rules=[{"tie": tie}])
