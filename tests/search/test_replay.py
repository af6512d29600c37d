"""Tables in place of trainings: candidates in notation or one column a site, replicates, costs, clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from search_builders import open_study, study_file, true_ms, work

from nas.errors import StudyError
from nas.search.checks import check_study
from nas.search.context import StudyContext
from nas.search.cost_model import CostModel
from nas.search.definition import load_study
from nas.search.joining import stored_definition
from nas.search.replay import ReplayTable
from nas.spaces import Candidate


def test_a_table_beside_the_study_is_found_by_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They read the study from the database, and stand where it was started."""
    (tmp_path / "study").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = study_file(tmp_path / "study", [{"sweep": {"candidates": 2}}])
    _, repository, context = open_study(file)
    stored = stored_definition(repository.study("replayed").definition)
    worker = StudyContext(stored, repository, context.study_id)
    assert worker.replay is not None
    assert worker.table_id == context.table_id


def table(folder: Path, *lines: str) -> ReplayTable:
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    return ReplayTable.read(folder / "results.csv")


def test_seeds_are_looked_up_by_value(tmp_path: Path) -> None:
    """They used to be positions, modulo how many there are."""
    lines = ["candidate,seed,mAP,latency_ms", '"resnet50+cnl@6,8",11,0.88,39', '"resnet50+cnl@8,6",4,0.87,38']
    read = table(tmp_path, *lines)
    candidate = Candidate.parse("resnet50+cnl@6,8")
    assert read.seeds(candidate) == [4, 11]
    assert [read.lookup(candidate, seed) for seed in (4, 11, 0, 1)] == [0.87, 0.88, None, None]
    assert read.costs == {"latency_ms": {candidate.notation: 38.5}}
    assert read.lookup(Candidate.parse("resnet50"), 4) is None


def test_one_column_a_site_without_seeds_or_costs(tmp_path: Path) -> None:
    read = table(tmp_path, "site06;site_8;site14;map_percent", "cnl;;hac;88", "-;0;;86", "-;0;;86")
    assert read.lookup(Candidate.parse("resnet50+cnl@6+hac@14"), 0) == 0.88
    assert read.lookup(Candidate.parse("resnet50"), 0) == 0.86
    assert read.seeds(Candidate.parse("resnet50")) == [0]
    assert read.costs == {}
    assert list(read.given["latency_ms"]) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["candidate,rank1", "resnet50,0.9"], "no column `map`; it has candidate, rank1"),
        (["map,latency_ms", "0.9,3"], "needs a column `candidate` or columns `site01`"),
        (["root:*:19000:0:99999:7:::"], "no column `map`; it has none with a name"),
        (
            ["candidate,map,latency_ms", "resnet50,.8,30", 'resnet101,.8,"30,5"'],
            "row 2, column 'latency_ms': '30,5' is not",
        ),
        (["candidate,map,latency_ms", "resnet50,.8,30.0 ms"], "row 1, column 'latency_ms': '30.0 ms' is not a number"),
        (["candidate,map,params", "resnet50,.8,-1"], "row 1, column 'params': '-1' is no cost"),
        (["candidate,map", "resnet50,82"], "row 1, column 'map': '82' is not a fraction between 0 and 1"),
        (["candidate,map", "resnet50,"], "row 1, column 'map': '' is not a number"),
        (["candidate,map_percent", "resnet50,820"], "column 'map_percent': '820' is not between 0 and 100"),
        (["candidate,map,seed", "resnet50,.8,first"], "row 1, column 'seed': 'first' is not a number"),
        (["candidate,map,seed", "resnet50,.8,1.5"], "row 1, column 'seed': '1.5' is not a whole number"),
        (["candidate,map", "resnet50+cnl@99,.8"], "row 1: "),
        (
            ["candidate,map,seed", "resnet50,.8,1", "resnet50,.7,1"],
            "rows 1 and 2 contradict each other: .* with seed 1",
        ),
        (["candidate,map", "resnet50,.8", "resnet18,.7", "resnet50,.9"], "rows 1 and 3 contradict each other"),
        (["candidate,map,cost,latency_ms", "resnet50,.8,1,2"], "both columns 'cost' and 'latency_ms'"),
        (["candidate,notation,map", "resnet50,resnet18,.8"], "both columns 'notation' and 'candidate'"),
        (["candidate,map,mAP", "resnet50,.8,.2"], "two columns 'map'"),
        (["site1,site01,map", "se,cnl,.2"], "two columns of one site"),
        (["candidate,seed,map", "resnet50,0,0,8"], "row 1: more cells than columns"),
        (["candidate,seed,map", "resnet50,99999999999999999999,.8"], "'99999999999999999999' is not a whole number"),
        (["candidate,seed,map", "resnet50,9007199254740993,.8"], "'9007199254740993' is not a whole number below 2"),
        (["candidate,map_percent", "resnet50,.8"], "column 'map_percent': no value is above 1 %"),
        (["candidate,map"], "holds no results"),
    ],
)
def test_every_value_is_read_or_named(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        table(tmp_path, *lines)


@pytest.mark.parametrize(("encoding", "end"), [("utf-16", "\r\n"), ("utf-8-sig", "\r"), ("utf-8", "\n")])
def test_tables_as_other_programs_write_them(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(["sep=;", "candidate;map;note;", "resnet50;.8;a\u2028b;", ""])
    (tmp_path / "results.csv").write_bytes(text.encode(encoding))
    assert ReplayTable.read(tmp_path / "results.csv").lookup(Candidate.parse("resnet50"), 0) == 0.8


def test_an_edited_table_is_another_one(tmp_path: Path) -> None:
    lines = ["candidate,map,params", "resnet50,.8,25"]
    before = table(tmp_path, *lines).id
    assert table(tmp_path, "\ufeffcandidate\tparams\tmap", "resnet50\t25.0\t0.80").id == before
    assert table(tmp_path, *lines[:1], "resnet50,.8,26").id != before


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no table"):
        ReplayTable.read(tmp_path / "none.csv")


@pytest.mark.parametrize("sampler", ["placement", "tpe"])
@pytest.mark.slow
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


SWEEP = {"sweep": {"candidates": 6, "seeds": 2}}


def test_a_study_does_not_go_on_with_an_edited_table(tmp_path: Path) -> None:
    """It used to mix the values of both."""
    path = study_file(tmp_path, [SWEEP])
    _, _, context = open_study(path)
    work(context)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    (tmp_path / "table.csv").write_text("\n".join([*lines[:-1], lines[-1] + "1"]) + "\n")
    with pytest.raises(StudyError, match="holds other values than when 'replayed' began"):
        open_study(path)
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    open_study(path)


def test_results_hold_the_tables_seeds_costs_and_level(tmp_path: Path) -> None:
    """Costs used to be missing, seeds to be the study's, and levels those of trainings that never were."""
    _, repository, context = open_study(study_file(tmp_path, [SWEEP, {"confirm": {"seeds": 5, "max_candidates": 2}}]))
    work(context)
    results = repository.results("replayed")
    assert set(results["status"]) == {"finished"}
    assert set(results["split"]) == {"table"}
    assert results["epochs"].isna().all()
    assert set(results.loc[results["stage"] == "sweep", "seed"]) == {0, 1}
    # the table has three seeds a candidate, so five are not to be had; the first two are the sweep's own
    assert set(results.loc[results["stage"] == "confirm", "seed"]) == {0, 1, 2}
    assert results["latency_ms"].tolist() == [true_ms(Candidate.parse(n)) for n in results["notation"]]
    assert results["batches_per_s"].tolist() == pytest.approx((1000 / results["latency_ms"]).tolist())
    assert set(results["latency_how"]) == {"table"}
    model = CostModel.of(context)
    assert [model.cost(Candidate.parse(n)) for n in results["notation"]] == results["latency_ms"].tolist()
    assert model.cost(Candidate.parse("resnet50+cnl@1,3,5")) is None  # neither in the table nor predicted


WARM = [
    "notation,role,start,seed,map,failure",
    "resnet50,start,scratch,1000000,.8,",
    "resnet50,control,plain:0a,1,.80,",
    "resnet50,control,plain:0a+1,1,.81,",
    "resnet50+cnl@6,candidate,plain:0a,1,.82,",
    "resnet50+cnl@8,candidate,plain:0a,1,,diverged",
    "resnet50+cnl@6,candidate,plain:0b,1,.83,",
    "resnet50+cnl@6,candidate,plain:0b,2,.84,",
]


def test_starts_controls_and_failures_of_a_results_table_are_read(tmp_path: Path) -> None:
    read = table(tmp_path, *WARM)
    plain, cnl = Candidate.parse("resnet50"), Candidate.parse("resnet50+cnl@6")
    assert read.is_warm
    assert [read.lookup(plain, 1, moved) for moved in (0, 1, 2)] == [0.80, 0.81, None]
    assert read.seeds(cnl) == [1, 2, 10_001], "a seed of another start is another block"
    assert read.starts == {1: "plain:0a", 2: "plain:0b", 10_001: "plain:0b"}
    assert read.lookup(cnl, 10_001) == 0.83
    failed = Candidate.parse("resnet50+cnl@8")
    assert read.lookup(failed, 1) != read.lookup(failed, 1)
    assert read.failure(failed, 1) == "diverged"
    assert read.seeds(plain) == [1], "the start's own training is no control"


def test_what_a_study_says_of_trainings_without_a_result_is_read(tmp_path: Path) -> None:
    """`Study.results()` has `status` and `failure_kind`; a value beside a failure was taken for a result."""
    names = {"se@1": "finished,,.8", "se@2": "failed,diverged,", "se@3": "failed,,.3", "se@4": "running,,"}
    read = table(tmp_path, "notation,status,failure_kind,map", *(f"resnet50+{n},{row}" for n, row in names.items()))
    found = [read.lookup(Candidate.parse(f"resnet50+{name}"), 0) for name in names]
    assert found == pytest.approx([0.8, np.nan, np.nan, None], nan_ok=True)
    assert [read.failure(Candidate.parse(f"resnet50+se@{n}"), 0) for n in (2, 3)] == ["diverged", "failed"]


def test_sources_are_not_the_networks_that_are_fine_tuned_from_them(tmp_path: Path) -> None:
    read = table(
        tmp_path,
        "notation,role,split,seed,map",
        "resnet50,source,transfer,3,.5",
        "resnet50,baseline,test,3,.7",
        "resnet50,baseline,test,4,.8",
    )
    plain = Candidate.parse("resnet50")
    assert read.seeds(plain) == [3, 4]
    assert [read.lookup(plain, 3, source=source) for source in (True, False)] == [0.5, 0.7]
    assert read.lookup(plain, 4, source=True) is None


def test_sources_have_seeds_of_their_own(tmp_path: Path) -> None:
    """A source was asked for in the seeds of what is fine-tuned from it, which the table has not."""
    lines = ["notation,role,seed,map", "resnet50,source,1,.5", "resnet50,baseline,101,.7", "resnet50,baseline,102,.8"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    stages = [
        {"pretrain": {"data": {"generated": {"seed": 3}}, "candidates": ["resnet50"], "seeds": 1}},
        {"confirm": {"front": False, "baselines": ["resnet50"], "candidates": [], "seeds": 2}},
    ]
    recipe = {"extends": "quickstart", "transfer": {"from": "pretrained", "head_epochs": 1}}
    _, repository, context = open_study(study_file(tmp_path, stages, recipe=recipe))
    work(context)
    results = repository.results("replayed")
    assert dict(zip(results["seed"], results["map"], strict=True)) == {1: 0.5, 101: 0.7, 102: 0.8}


def test_times_of_two_machines_are_those_of_one(tmp_path: Path) -> None:
    """Their mean said that a block saves a third of the time; a network without attention is its own plain one."""
    read = table(
        tmp_path,
        "notation,seed,map,latency_ms,latency_p95_ms,time_ratio",
        "resnet50[base_lr=0.001],1,.7,12,13.2,",
        "resnet50[base_lr=0.001],2,.7,8,8.8,1.0",
        "resnet50+hac@8[base_lr=0.001],1,.7,,,",
        "resnet50+hac@8,2,.7,8.8,9.6,1.1",
        "resnet50+hac@9,2,.7,8.8,9.6,",
        "resnet101,2,.7,17,18,1.7",
    )
    times = {
        "resnet50[base_lr=0.001]": (10.0, 11.0),
        "resnet50+hac@8": (11.0, 12.0),
        "resnet101": (17.0, 18.0),
    }
    assert read.costs["latency_ms"] == pytest.approx({name: ms for name, (ms, _) in times.items()})
    assert read.costs["latency_p95_ms"] == pytest.approx({name: ms for name, (_, ms) in times.items()})


@pytest.mark.parametrize("plain", ["resnet50,1,.7,,1.0", "resnet101,1,.7,10,1.0"])
def test_ratios_are_over_a_time_that_the_table_has(tmp_path: Path, plain: str) -> None:
    """All times were silently left out."""
    lines = ["notation,seed,map,latency_ms,time_ratio", plain, "resnet50+hac@8,1,.7,11,1.1"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    with pytest.raises(StudyError, match="there is no time of resnet50, over which its ratios are"):
        check_study(load_study(study_file(tmp_path, [{"sweep": {"candidates": 1}}])))


def test_a_study_begun_before_ratios_were_read_goes_on_as_it_began(tmp_path: Path) -> None:
    lines = ["notation,seed,map,latency_ms", "resnet50,1,.7,10", "resnet50+cnl@8,1,.7,11"]
    written = tmp_path / "table.csv"
    written.write_text("\n".join(lines))
    file = study_file(tmp_path, [{"sweep": {"candidates": ["resnet50+cnl@8"]}}])
    _, repository, context = open_study(file)
    work(context)
    ratios = (",time_ratio", ",1.0", ",1.5")
    written.write_text("\n".join(line + ratio for line, ratio in zip(lines, ratios, strict=True)))
    again = StudyContext(load_study(file), repository, context.study_id)
    assert again.table_id == context.table_id
    assert again.replay is not None
    assert again.replay.costs == {"latency_ms": {"resnet50": 10.0, "resnet50+cnl@8": 11.0}}
    new = ReplayTable.read(written)
    assert new.costs == {"latency_ms": {"resnet50": 10.0, "resnet50+cnl@8": 15.0}}
    assert new.id != again.replay.id, "a table with other ratios is another one"


def test_a_warm_table_is_replayed_with_its_blocks(tmp_path: Path) -> None:
    cnl = "resnet50+cnl(fuse=gate2)"
    lines = [
        WARM[0],
        *(f"{n},c,plain:0a,{s},.8{s}{i}," for i, n in enumerate((cnl + "@6", cnl + "@8")) for s in (4, 5)),
    ]
    lines += [f"resnet50,control,plain:0a{move},{s},.7{s}," for s in (4, 5) for move in ("", "+1")]
    lines[2] = f"{cnl}@6,c,plain:0a,5,,out of memory"
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    space = {
        "name": "two",
        "backbones": ["resnet50"],
        "sites": [6, 8],
        "blocks": {"cnl": {"fuse": "gate2"}},
        "rules": [{"max_blocks": 1}],
    }
    stages = [{"sweep": {"design": "exhaustive", "seeds": 2}}]
    path = study_file(tmp_path, stages, space=space, start="plain", max_attempts=1)
    check_study(load_study(path))
    _, repository, context = open_study(path)
    work(context)
    results = repository.results("replayed")
    assert set(results["start"]) == {"plain:0a", "plain:0a+1"}
    assert sorted(results["seed"].unique()) == [4, 5]
    assert results["role"].value_counts().to_dict() == {"control": 4, "candidate": 4}
    assert results["status"].value_counts().to_dict() == {"finished": 7, "failed": 1}


def test_a_table_is_of_one_kind_of_training(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="from scratch beside others from plain:0a"):
        table(tmp_path, *WARM, "resnet50,control,scratch,3,.8,")
    with pytest.raises(StudyError, match="of several kinds, column 'fidelity': e4, full"):
        table(tmp_path, "candidate,map,fidelity", "resnet50,.8,e4", "resnet18,.8,full")
    with pytest.raises(StudyError, match="row 2, column 'map': '' is not a number"):
        table(tmp_path, "notation,role,map", "resnet50,start,.8", "resnet18,candidate,")


def test_a_study_starts_where_its_table_does(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("\n".join(WARM) + "\n")
    study = load_study(study_file(tmp_path, [{"sweep": {"candidates": 1}}]))
    with pytest.raises(StudyError, match=r"start from trained plain networks, those of the study do not"):
        check_study(study)
