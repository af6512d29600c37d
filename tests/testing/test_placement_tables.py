"""The tables of real trainings that come with the project load, mean what results tables mean, and are replayed."""

from __future__ import annotations

import pytest

from nas.errors import StudyError
from nas.results.columns import RESULT_COLUMNS
from nas.results.differences import to_controls
from nas.results.levels import levels
from nas.results.noise import noise_of
from nas.search.replay import ReplayTable
from nas.spaces import Candidate
from nas.testing import placement_table, placement_table_file


@pytest.mark.parametrize("name", ["pedestrians", "handwriting"])
def test_a_table_of_real_trainings_is_a_results_table(name: str) -> None:
    table = placement_table(name)
    assert {"notation", "status", "map", "start", "seed", "fidelity", "split", "params"} <= set(table) & set(
        RESULT_COLUMNS
    )
    tuned = table[table["role"] != "start"]
    (level,) = levels(tuned)
    assert (level.start, level.split, level.controlled) == ("plain", "test", True)
    assert 0.0005 < noise_of(tuned).single.sd < 0.01
    found = to_controls(tuned)
    assert found["difference"].notna().all()
    assert found["blocks"].ge(1).all()


def test_it_is_replayed_with_its_controls() -> None:
    read = ReplayTable.read(placement_table_file("pedestrians"), "resnet50(width=0.25)")
    plain = Candidate.parse("resnet50(width=0.25)")
    assert read.is_warm
    seed = read.seeds(plain)[0]
    controls = [read.lookup(plain, seed, moved) for moved in range(10)]
    assert len(set(controls)) == 10
    assert None not in controls


def test_the_networks_of_the_papers_tables_are_there() -> None:
    for name in ("rows", "circle", "transfer"):
        table = placement_table(name)
        assert table.groupby(["notation", "split"])["seed"].nunique().eq(3).all()
        assert set(table["status"]) == {"finished"}
    read = ReplayTable.read(placement_table_file("transfer"), "resnet50(width=0.25)")
    moved = Candidate.parse("resnet50(width=0.25)+cnl@6,8,14")
    seed = read.seeds(moved)[0]
    assert read.lookup(moved, seed, source=True) != read.lookup(moved, seed)


def test_an_unknown_table_names_those_there_are() -> None:
    with pytest.raises(StudyError, match="unknown placement table 'pedestrian'; did you mean 'pedestrians'"):
        placement_table("pedestrian")
