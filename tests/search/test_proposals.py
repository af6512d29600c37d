"""Every sampler: feasible, new, the same for the same facts, and exhausting a space without hanging."""

from __future__ import annotations

import pytest
from search_builders import small_space, true_map, true_ms

from nas.errors import StudyError
from nas.search.proposals import SAMPLERS, Observation, Request, propose
from nas.search.proposals.encoding import Encoding
from nas.spaces import DesignSpace

QUICK = sorted(set(SAMPLERS) - {"gp"})  # a second and more an ask; has a test of its own


def rounds(name: str, space: DesignSpace, batches: int, count: int = 4) -> list[Observation]:
    history: list[Observation] = []
    for batch in range(batches):
        request = Request(space, tuple(history), count, seed=7, batch=batch, cost=true_ms)
        for p in propose(name, request):
            history.append(Observation(p.candidate, true_map(p.candidate), true_ms(p.candidate), attrs=p.attrs))
    return history


@pytest.mark.parametrize("name", QUICK)
def test_proposals_are_feasible_new_and_repeatable(name: str) -> None:
    space = small_space()
    first = rounds(name, space, 8)
    ids = [o.candidate.id for o in first]
    assert len(ids) == len(set(ids)) == 32
    assert all(space.contains(o.candidate) for o in first)
    assert ids == [o.candidate.id for o in rounds(name, space, 8)]


def test_gp_proposes_feasible_candidates() -> None:
    space = small_space()
    found = rounds("gp", space, 4, count=3)
    assert len({o.candidate.id for o in found}) == 12
    assert all(space.contains(o.candidate) for o in found)


@pytest.mark.parametrize("name", QUICK)
def test_a_space_is_exhausted_without_hanging(name: str) -> None:
    space = DesignSpace.from_dict(
        {
            "name": "tiny",
            "backbones": ["resnet50"],
            "blocks": ["cnl"],
            "sites": [6, 8, 14],
            "rules": [{"max_blocks": 1}],
        }
    )
    found = rounds(name, space, 4, count=3)
    assert {str(o.candidate) for o in found} == {str(c) for c in space.enumerate()}


@pytest.mark.parametrize("name", QUICK)
def test_candidates_over_the_limit_are_not_proposed(name: str) -> None:
    space = small_space()
    request = Request(space, (), 12, seed=1, cost=true_ms, max_cost=38.6)
    found = propose(name, request)
    assert len(found) == 12
    assert all(true_ms(p.candidate) <= 38.6 for p in found)


def test_encoding_is_one_to_one() -> None:
    space = small_space(recipe={"loss": ["ce", "circle"], "base_lr": {"log": [1e-4, 1e-3]}})
    encoding = Encoding(space)
    for candidate in space.sample(50, 1):
        params = encoding.encode(candidate)
        assert params is not None
        assert encoding.decode(params) == candidate
        assert all(d._contains(d.to_internal_repr(params[k])) for k, d in encoding.distributions().items())


def test_a_network_outside_the_space_has_no_encoding() -> None:
    from nas.spaces import Candidate

    assert Encoding(small_space()).encode(Candidate.parse("resnet101")) is None
    assert Encoding(small_space()).encode(Candidate.parse("resnet50+agw@8")) is None


def test_an_unknown_sampler_lists_the_known_ones() -> None:
    with pytest.raises(StudyError, match="unknown sampler 'tpee'; did you mean 'tpe'"):
        propose("tpee", Request(small_space(), (), 1, seed=0))
