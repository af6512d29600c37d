"""The tables of sites."""

from __future__ import annotations

import pytest

from nas.errors import SpaceError
from nas.spaces import BACKBONES, get_topology
from nas.spaces.sites import last_strides

PAPER = {1: (64, 64, 32), 2: (256, 64, 32), 5: (512, 32, 16), 9: (1024, 16, 8), 15: (2048, 16, 8), 17: (2048, 16, 8)}


def test_resnet50_is_the_papers_table() -> None:
    topology = get_topology("resnet50")
    assert len(topology.sites) == 17
    assert topology.stage_ends == (4, 8, 14, 17)
    assert {number: topology.site(number).shape() for number in PAPER} == PAPER
    assert topology.site(6).after == "layer2[1]"


@pytest.mark.parametrize(
    ("backbone", "sites", "ends"),
    [
        ("resnet18", 9, (3, 5, 7, 9)),
        ("resnet34", 17, (4, 8, 14, 17)),
        ("resnet101", 34, (4, 8, 31, 34)),
        ("resnet152", 51, (4, 12, 48, 51)),
        ("shufflenet_v2_x1_0", 17, (5, 13, 17)),
        ("shufflenet_v2_x2_0", 17, (5, 13, 17)),
        ("mobilenet_v3_small", 12, (2, 4, 9, 12)),
        ("mobilenet_v3_large", 16, (2, 4, 7, 13, 16)),
        ("resnet50_ibn_a", 17, (4, 8, 14, 17)),
        ("osnet_x0_25", 7, (3, 5, 7)),
    ],
)
def test_number_of_sites_and_stage_ends(backbone: str, sites: int, ends: tuple[int, ...]) -> None:
    topology = get_topology(backbone)
    assert (len(topology.sites), topology.stage_ends) == (sites, ends)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_tables_are_consistent(backbone: str) -> None:
    for last_stride in last_strides(backbone):
        topology = get_topology(backbone, last_stride)
        assert [site.number for site in topology.sites] == list(range(1, len(topology.sites) + 1))
        assert topology.sites[0].stage == 0
        assert all(a.stride <= b.stride for a, b in zip(topology.sites, topology.sites[1:], strict=False))
        for stage in topology.stages:
            places = [site.place for site in topology.of_stage(stage)]
            assert places == list(range(1, len(places) + 1))
            assert {site.stage_length for site in topology.of_stage(stage)} == {len(places)}
            assert len({site.stride for site in topology.of_stage(stage)}) == 1


def test_last_stride_changes_only_the_last_stage() -> None:
    kept, halved = get_topology("resnet50", 1), get_topology("resnet50", 2)
    assert [site.shape() for site in kept.sites[:14]] == [site.shape() for site in halved.sites[:14]]
    assert halved.site(17).shape() == (2048, 8, 4)


def test_odd_inputs_round_up_like_padded_convolutions() -> None:
    assert get_topology("resnet50").site(17).shape(250, 125) == (2048, 16, 8)


def test_relative_place() -> None:
    topology = get_topology("resnet50")
    assert topology.relative(8) == (2, 1.0, 8)
    assert topology.relative(5) == (2, 0.0, 8)
    assert topology.relative(1) == (0, 1.0, 4)


def test_wrong_names_and_numbers_are_refused() -> None:
    with pytest.raises(SpaceError, match="did you mean 'resnet50'"):
        get_topology("resnet05")
    with pytest.raises(SpaceError, match="sites are 1 to 17"):
        get_topology("resnet50").site(18)
    with pytest.raises(SpaceError, match="no stage 5"):
        get_topology("resnet50").of_stage(5)
    with pytest.raises(SpaceError, match="1 or 2"):
        get_topology("resnet50", 3)
