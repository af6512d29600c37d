"""What a person sees of results: the answer in one sentence everywhere, who is quoted, captions that are true."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting_builders import ResultsBuilder
from scipy.stats import ttest_ind

from nas.reporting.figures import Hypervolume, Importances, ParetoFront
from nas.reporting.files import pareto_table
from nas.reporting.story import tell
from nas.reporting.story.elsewhere import rules_elsewhere
from nas.reporting.story.question import question
from nas.reporting.story.results import front, tables
from nas.reporting.study_data import StudyData
from nas.reporting.tables import loss_of, systems_rows
from nas.shrinking.halves import compare_halves


def selected_on_test() -> StudyData:
    """Seven candidates in one seed each, of which one and the plain network are confirmed in three, at one level."""
    build = ResultsBuilder()
    for name in ("resnet50", *(f"resnet50+se@{site}" for site in range(1, 7))):
        build.add(name, stage="1-sweep", kind="sweep", split="test")
    build.add("resnet50+hac@1", stage="1-sweep", kind="sweep", split="test", status="failed", map=math.nan)
    for name in ("resnet50", "resnet50+se@3"):
        build.add(name, stage="2-confirm", kind="confirm", split="test", seed_from=2, seeds=2)
    table = build.table()
    shared = table[table["notation"].isin(["resnet50", "resnet50+se@3"]) & (table["seed"] == 1)]
    again = shared.assign(stage="2-confirm", stage_kind="confirm")  # the sweep's trainings are not repeated
    results = pd.concat([table, again], ignore_index=True)
    return StudyData("x", definition={"select_on": "test"}, results=results)


def test_the_sentence_is_the_same_wherever_it_is_shown(full: StudyData) -> None:
    sentence = full.answer.sentence
    assert sentence in str(question(full).blocks)
    assert sentence in str(tell(full).sections[0].blocks)
    assert full.answer.kind == "better"
    assert full.answer.low is not None
    assert full.answer.high is not None
    assert full.answer.difference is not None
    assert full.answer.low < full.answer.difference < full.answer.high


def test_one_seed_rows_of_the_choice_do_not_stand_beside_confirmed_ones_to_quote() -> None:
    data = selected_on_test()
    assert set(systems_rows(data)["notation"]) == {"resnet50", "resnet50+se@3"}
    table = pareto_table(data).set_index("notation")
    assert table["quoted"].sum() == 2
    assert set(table.index[table["on_front"]]) <= {"resnet50", "resnet50+se@3"}
    assert table.loc["resnet50+se@3", "seeds"] == 3
    assert table.loc["resnet50+se@1", "seeds"] == 1
    assert "2 candidates. The 5 other candidates of this set, in grey" in str(front(data).blocks)
    assert "5 candidates in grey" in ParetoFront().caption(ParetoFront().table(data))


def test_candidates_that_failed_stay_in_the_tables_last_and_counted() -> None:
    data = selected_on_test()
    table = pareto_table(data)
    assert table["notation"].iloc[-1] == "resnet50+hac@1"
    assert table["failed"].iloc[-1] == 1
    assert math.isnan(table["map_mean"].iloc[-1])
    section = tables(data)
    assert section is not None
    assert "resnet50+hac@1" in str(section.blocks)


@pytest.mark.parametrize(
    ("recipe", "notation", "loss"),
    [
        ("agw", "resnet50+se@1", "agw"),
        ("quickstart", "resnet50+se@1", "cross_entropy+triplet"),
        ("strong_baseline", "resnet50", "ce"),
        ({"extends": "strong_baseline", "loss": "circle"}, "resnet50", "circle"),
        ("strong_baseline", "resnet50+se@1[loss=circle]", "circle"),
        ("a recipe that is gone", "resnet50", "–"),
    ],
)
def test_the_loss_in_table_one_is_the_recipes(recipe: object, notation: str, loss: str) -> None:
    assert loss_of(notation, StudyData("x", definition={"recipe": recipe})) == loss


def test_the_hypervolumes_caption_says_what_stood_in(full: StudyData) -> None:
    figure = Hypervolume()
    assert "the plain backbone's accuracy and the reference network's cost" in figure.caption(figure.table(full))
    bare = replace(full, results=full.results[full.results["n_blocks"] > 0])
    said = figure.caption(figure.table(bare))
    assert "the worst accuracy seen (the plain backbone was not trained here)" in said
    assert "the largest cost seen (the reference network was not trained here)" in said
    assert "the plain backbone's accuracy" not in said


def singles(effect: float, seed: int = 0) -> StudyData:
    """Sixty candidates with three of twelve sites taken; site 1 is worth `effect`, all else is noise."""
    rng = np.random.default_rng(seed)
    build = ResultsBuilder(seed=seed)
    drawn: dict[str, float] = {}
    while len(drawn) < 60:
        sites = sorted(int(site) for site in rng.choice(np.arange(1, 13), 3, replace=False))
        drawn["resnet50+se@" + ",".join(map(str, sites))] = 0.8 + effect * (1 in sites) + rng.normal(0, 0.002)
    for name, value in drawn.items():
        build.add(name, stage="1-sweep", kind="sweep", map=value)
    return StudyData("x", results=build.table())


def test_importances_are_drawn_only_where_something_passes_what_chance_gives() -> None:
    figure = Importances()
    told, noise = figure.table(singles(0.05)), figure.table(singles(0.0))
    assert told.iloc[0]["parameter"] == "site 1"
    assert told.iloc[0]["importance"] > told.iloc[0]["chance"]
    assert not isinstance(figure.draw(told), str)
    assert (noise["importance"] <= noise["chance"]).all()
    assert "accounts for more of mAP than shuffled scores do" in str(figure.draw(noise))


def test_the_spread_of_one_seed_is_not_drawn_as_zero() -> None:
    drawing = ParetoFront()(selected_on_test())
    assert not isinstance(drawing, str)
    bars = [trace.error_y.array for trace in drawing.data if trace.error_y.array is not None]
    assert not any((np.asarray(array) == 0).any() for array in bars)


def test_the_interval_of_rules_tested_elsewhere_is_called_what_it_is() -> None:
    """It was called a bootstrap's."""
    follow, rest = [0.70, 0.72, 0.71, 0.74, 0.73], [0.61, 0.68, 0.64, 0.60, 0.63]
    names = pd.DataFrame({"notation": [f"n{i}" for i in range(5)], "status": "finished"})
    [test] = compare_halves({"resnet101": (names.assign(map=follow), names.assign(map=rest))})
    welch = ttest_ind(follow, rest, equal_var=False).confidence_interval()
    assert (test.low, test.high) == pytest.approx((welch.low, welch.high))
    stage = {"name": "6-test", "kind": "test_rules", "status": "finished", "result": {"tests": [test.to_dict()]}}
    told = str(rules_elsewhere(StudyData("x", stages=[stage])))
    assert "95 % interval (Welch)" in told
    assert "bootstrap" not in told
