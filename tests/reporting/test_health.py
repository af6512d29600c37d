"""What limits a study's numbers: one list for every place, each entry with its consequence and cure."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting_builders import ResultsBuilder

from nas.cli.main import main
from nas.reporting.health import health
from nas.reporting.story import tell
from nas.reporting.story.setting import data_section, protocol
from nas.reporting.story.tried import rungs
from nas.reporting.study_data import StudyData


def sick() -> StudyData:
    """A study with everything that can limit its numbers."""
    build = ResultsBuilder()
    for name in ("resnet50", *(f"resnet50+se@{site}" for site in range(1, 7))):
        build.add(name, stage="1-sweep", kind="sweep", seeds=2)
    build.add("resnet50+hac@1", stage="1-sweep", kind="sweep", status="failed", map=None, failure_kind="out_of_memory")
    times = pd.DataFrame(
        [
            {
                "notation": "a",
                "unknown": "other programs used 99.8% of the processors",
                "isolated": False,
                "drift": 0.0,
            },
            {"notation": "b", "unknown": "too few pairs for an interval", "isolated": True, "drift": 0.2},
            {"notation": "c", "median_ms": 3.0, "isolated": False, "drift": -0.3},
        ]
    )
    warning = {"fact": "3 of 9 queries have no right answer.", "consequence": "They are skipped."}
    dataset = {"views": [{"view": "val", "warnings": [warning]}, {"view": "test", "warnings": [warning]}]}
    findings = [{"rule": {"max_blocks": 3}, "evidence": {}, "verdict": "not enough data", "reason": ""}]
    noise = np.random.default_rng(0).normal(0, 0.002, len(build.rows))
    results = build.table().assign(map=np.where(build.table()["status"] == "finished", 0.8 + noise, np.nan))
    return StudyData("x", results=results, latencies=times, dataset=dataset, findings=findings)


def test_a_time_that_is_not_known_is_some_networks() -> None:
    facts = [limit.fact for limit in health(sick()) if limit.kind == "times"]
    assert facts == ["The times of 1 network are not known (such as: b, too few pairs for an interval)."]


def test_networks_left_at_a_rung_of_a_confirmation_are_told_and_have_not_failed() -> None:
    build = ResultsBuilder()
    for name in ("resnet50+se@1", "resnet50+se@2", "resnet50+se@3"):
        build.add(name, stage="2-confirm", kind="confirm", split="test", fidelity="full-to10", epochs=10, seeds=2)
    for name in ("resnet50", "resnet50+se@1"):
        build.add(name, stage="2-confirm", kind="confirm", split="test", fidelity="full", epochs=60, seeds=2)
    data = StudyData("x", results=build.table())
    (limit,) = [limit for limit in health(data) if limit.kind == "selection"]
    begun = "Of 3 networks that the `confirm` stage began, it ended 2 at a rung: by the test split, they were behind."
    assert limit.fact == begun
    assert not [limit for limit in health(data) if limit.kind == "failures"]
    assert "the test split is read at each rung of the `confirm` stage" in str(data_section(data))
    (table,) = rungs(data)
    assert [row[:3] for row in table.rows] == [["`2-confirm`", "10", "6"], ["`2-confirm`", "the end", "2"]]


def test_seeds_are_counted_among_trainings_that_are_alike() -> None:
    """The plain network's longer training, of another seed, was counted among the short ones."""
    build = ResultsBuilder()
    for name in ("resnet50", "resnet50+se@8"):
        build.add(name, stage="1-sweep", kind="sweep", seeds=2)
    build.add("resnet50", stage="0-start", kind="start", epochs=120, seed_from=9)
    assert "('seeds per candidate, trained alike', '`1 to 2`')" in str(protocol(StudyData("x", results=build.table())))


def test_everything_that_limits_is_told_once_with_consequence_and_cure() -> None:
    found = health(sick())
    assert [limit.kind for limit in found] == [
        *("selection", "data", "too few trainings", "too few trainings", "failures", "machine shared", "times"),
        *("machine shared", "drift"),
    ]
    assert all(part.endswith(".") for limit in found for part in (limit.fact, limit.consequence, limit.cure))
    told = {limit.kind: limit.words for limit in found}
    assert "99.8%" in found[5].fact
    assert "out_of_memory" in told["failures"]
    assert "smaller batch" in told["failures"]
    assert "GPU" not in told["failures"]
    assert "Its candidate ranks last and is never averaged." in told["failures"]
    assert "`nas studies retry x` lets it be tried again." in told["failures"]
    assert "−30 %" in told["drift"]


def test_times_in_int8_are_no_times_of_what_quality_was_measured_on() -> None:
    found = health(replace(sick(), definition={"latency": {"precision": "int8"}}))
    assert any(limit.kind == "times" and "int8" in limit.fact and "--int8" in limit.cure for limit in found)
    assert not any("int8" in limit.fact for limit in health(replace(sick(), definition={"latency": {}})))


def test_one_seed_is_told() -> None:
    build = ResultsBuilder()
    for name in ("resnet50", "resnet50+se@1", "resnet50+se@2"):
        build.add(name, stage="1-confirm", kind="confirm", split="test")
    assert [limit.kind for limit in health(StudyData("x", results=build.table()))] == ["one seed"]


def test_a_table_is_neither_trained_nor_timed_here() -> None:
    replayed = replace(sick(), definition={"objective": {"table": "t.csv"}})
    assert {limit.kind for limit in health(replayed)} == {"too few trainings", "failures"}


@pytest.mark.parametrize("kind", ["diverged", "out_of_memory", "data"])
def test_failures_of_an_own_objective_are_not_cured_in_a_recipe(kind: str) -> None:
    build = ResultsBuilder()
    build.add("resnet50", stage="1-sweep", kind="sweep", status="failed", map=None, failure_kind=kind)
    definition = {"objective": {"python": "my_trainer:nan"}}
    (limit,) = health(StudyData("x", results=build.table(), definition=definition))
    assert limit.cure.startswith("The cause lies in the study's objective")
    assert "recipe" not in limit.cure
    assert "data check" not in limit.cure


def test_nothing_is_said_of_a_study_that_has_not_begun(empty: StudyData) -> None:
    assert health(empty) == []


def test_the_list_is_the_same_wherever_it_is_shown(
    full: StudyData, stored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "market1501", "--db", stored, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["health"]
    assert said
    assert main(["status", "market1501", "--db", stored]) == 0
    terminal = " ".join(capsys.readouterr().out.split())
    for limit in said:
        words = f"{limit['fact']} {limit['consequence']} {limit['cure']}"
        assert words in terminal
    report = str(tell(full).sections[0].blocks)
    assert all(limit.words in report for limit in health(full))


def test_commands_name_a_database_that_is_not_the_folders_own() -> None:
    limits = {limit.kind: limit.words for limit in health(replace(sick(), find=["--db", "sqlite:///b.db"]))}
    assert "`nas studies retry x --db sqlite:///b.db` lets it" in limits["failures"]
