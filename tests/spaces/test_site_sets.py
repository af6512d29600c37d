"""Sets of sites: what people write, what it means on a backbone, how it is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.spaces import BACKBONES, SiteSet, get_topology
from nas.spaces.site_sets import compact, join_words, runs

R50 = get_topology("resnet50")


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        (8, {8}),
        ("1-4, 8", {1, 2, 3, 4, 8}),
        ([6, "8", "13-14"], {6, 8, 13, 14}),
        ("all", set(range(1, 18))),
        ({"stages": [2, 3], "place": "last"}, {8, 14}),
        ({"stages": "2-3", "place": "first"}, {5, 9}),
        ({"place": "last"}, {4, 8, 14, 17}),
        ({"stages": 3, "place": [1, -2]}, {9, 13}),
        ({"stages": 0}, {1}),
        ({"stride": 8}, {5, 6, 7, 8}),
        ({"stages": 4, "stride": 8}, set()),
        ([1, {"stages": 4}], {1, 15, 16, 17}),
        ({}, set(range(2, 18))),
    ],
)
def test_meaning_on_resnet50(written: Any, numbers: set[int]) -> None:
    assert SiteSet.of(written).resolve(R50) == numbers


site_data = st.one_of(
    st.integers(1, 40),
    st.just("all"),
    st.lists(st.integers(1, 40), min_size=1).map(compact),
    st.lists(st.integers(1, 40) | st.just({"place": "last"}) | st.just({"stages": [1, 2]}), min_size=1),
    st.fixed_dictionaries(
        {},
        optional={
            "stages": st.integers(0, 4),
            "place": st.sampled_from(["first", "last", 2, [-1, 1]]),
            "stride": st.just(8),
        },
    ),
)


@given(site_data)
def test_written_form_reads_back(data: Any) -> None:
    sites = SiteSet.of(data)
    again = SiteSet.of(sites.to_data())
    assert again == sites
    assert hash(again) == hash(sites)
    assert again.resolve(R50) == sites.resolve(R50)
    assert sites.sentence()


@given(st.lists(st.integers(1, 60)))
def test_runs_and_compact_lose_nothing(numbers: list[int]) -> None:
    assert sorted({n for first, last in runs(numbers) for n in range(first, last + 1)}) == sorted(set(numbers))
    if numbers:
        assert SiteSet.of(compact(numbers)).numbers == tuple(sorted(set(numbers)))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "x",
        "4-1",
        "0",
        "1-",
        [],
        True,
        1.5,
        None,
        {"stage": 1},
        {"place": "end"},
        {"place": 0},
        {"stages": "x"},
        {"stages": -1},
        "1-99999999",
        [[1]],
    ],
)
def test_what_is_no_set_of_sites_is_refused(written: Any) -> None:
    with pytest.raises(SpaceError):
        SiteSet.of(written)


def test_check_refuses_what_a_backbone_lacks() -> None:
    resnet18 = get_topology("resnet18")
    for written, words in [("1-17", "no site 10"), ({"stages": 5}, "no stage 5"), ({"stride": 64}, "no such site")]:
        with pytest.raises(SpaceError, match=words):
            SiteSet.of(written).check(resnet18)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_last_places_are_the_stage_ends_everywhere(backbone: str) -> None:
    topology = get_topology(backbone)
    assert SiteSet.of({"place": "last"}).resolve(topology) == set(topology.stage_ends)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("6, 8, 14", "positions 6, 8, 14"),
        (8, "position 8"),
        ("1-4", "positions 1-4"),
        ("all", "all positions"),
        ({"stages": [2, 3], "place": "last"}, "the last site of stages 2 and 3"),
        ({"place": [1, -1]}, "the last and first site of each stage"),
        ({"stages": 0}, "the sites of the stem"),
        ({"stride": 8}, "the sites of each stage at 1/8 of the resolution"),
    ],
)
def test_sentences(written: Any, sentence: str) -> None:
    assert SiteSet.of(written).sentence() == sentence


def test_join_words() -> None:
    assert [join_words(list("abc")[:n], "or") for n in range(4)] == ["", "a", "a or b", "a, b or c"]
