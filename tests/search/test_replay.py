"""Tables in place of trainings: candidates in notation or one column a site, replicates, costs, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_builders import open_study, study_file, work

from nas.errors import StudyError
from nas.search.replay import ReplayTable
from nas.spaces import Candidate


def table(folder: Path, *lines: str) -> ReplayTable:
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    return ReplayTable.read(folder / "results.csv")


def test_notation_with_seeds(tmp_path: Path) -> None:
    read = table(
        tmp_path, "candidate,seed,mAP,latency_ms", '"resnet50+cnl@6,8",1,0.88,39', '"resnet50+cnl@8,6",0,0.87,38'
    )
    candidate = Candidate.parse("resnet50+cnl@6,8")
    assert [read.lookup(candidate, seed) for seed in range(4)] == [0.87, 0.88, 0.87, 0.88]
    assert read.costs() == {candidate.notation: 38.5}
    assert read.lookup(Candidate.parse("resnet50"), 0) is None


def test_one_column_a_site_without_seeds_or_costs(tmp_path: Path) -> None:
    read = table(tmp_path, "site06,site_8,site14,map", "cnl,,hac,0.88", "cnl,none,hac,0.89", "-,0,,0.86")
    mixed = Candidate.parse("resnet50+cnl@6+hac@14")
    assert [read.lookup(mixed, seed) for seed in range(3)] == [0.88, 0.89, 0.88]
    assert read.lookup(Candidate.parse("resnet50"), 5) == 0.86
    assert read.costs() == {}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["candidate,rank1", "resnet50,0.9"], "no column `map`; it has candidate, rank1"),
        (["map,latency_ms", "0.9,3"], "needs a column `candidate` or columns `site01`"),
    ],
)
def test_what_a_table_lacks_is_said(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        table(tmp_path, *lines)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no table"):
        ReplayTable.read(tmp_path / "none.csv")


@pytest.mark.parametrize("sampler", ["placement", "tpe"])
def test_a_search_starts_from_all_earlier_results(tmp_path: Path, sampler: str) -> None:
    """The sweep's results warm the search up, so the first batch already holds good sites."""
    stages = [
        {"sweep": {"design": "stratified", "candidates": 120}},
        {"search": {"sampler": sampler, "trainings": 8, "batch": 4}},
    ]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    results = repository.results("replayed").query("status == 'finished'")
    search = results[results["stage"] == "search"]
    swept = set(results.loc[results["stage"] == "sweep", "candidate_id"])
    assert not swept & set(search["candidate_id"])
    if sampler == "placement":
        drawn = results[(results["stage"] == "sweep") & (results["role"] == "candidate")]
        assert search.loc[search["batch"] == 0, "map"].max() > drawn["map"].quantile(0.9)
