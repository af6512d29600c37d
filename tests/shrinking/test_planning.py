"""What a design can answer and see: before it is trained, and beside what trainings then show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from search_builders import study_file
from shrinking.conftest import make_landscape

from nas.errors import StudyError
from nas.progress import duration
from nas.search.checks import check_study
from nas.search.definition import load_study
from nas.shrinking.derive import derive
from nas.shrinking.planning import PlannedSweep, answerable, answered, planned_sights
from nas.shrinking.settings import RuleFamily, ShrinkSettings
from nas.shrinking.sight import Sight
from nas.spaces import DesignSpace
from nas.testing.landscapes import landscape_table

Sweep = Callable[..., pd.DataFrame]
FAMILIES: tuple[RuleFamily, ...] = ("cost", "sites", "block_preference", "distance", "count")


def test_the_number_needed_answers_and_one_fewer_does_not(space: DesignSpace) -> None:
    for family in ("sites", "count"):
        needed = answerable(space, [PlannedSweep("stratified", 10)], [family])[family]
        assert needed is not None
        plans = [PlannedSweep("stratified", n).draw(space, 0) for n in (needed, needed - 1)]
        tables = [landscape_table(make_landscape(), [*space.baselines(), *drawn]) for drawn in plans]
        enough, short = (derive(table, space, families=[family]) for table in tables)
        assert enough.sights[0].questions > 0
        assert short.sights[0].questions == 0


def test_single_placements_never_tell_a_distance(space: DesignSpace) -> None:
    needed = answerable(space, [PlannedSweep("exhaustive", blocks=1)], FAMILIES)
    assert needed["cost"] == 0, "measured times need no training"
    assert needed["sites"] == 68
    assert needed["distance"] is None
    assert needed["count"] is None
    several = [PlannedSweep("exhaustive", blocks=1), PlannedSweep("stratified", 60)]
    assert answerable(space, several, ["distance"])["distance"] == 60


@pytest.mark.parametrize(("starts", "told"), [(0, True), (1, False), (2, True)])
def test_a_whole_space_tells_its_sites_from_several_starts_only(starts: int, told: bool) -> None:
    """What is foreseen is what will be told: from one start, seeds do not tell what another start would say."""
    data = {"name": "singles", "backbones": ["resnet50"], "blocks": {"hac": {}}, "rules": [{"max_blocks": 1}]}
    one = DesignSpace.from_dict(data)
    plan = PlannedSweep("exhaustive", blocks=1, seeds=4, starts=starts)
    assert bool(answered(one, [plan], ["sites"])) == told
    assert answerable(one, [plan], ["sites"])["sites"] == (17 if told else None)


@pytest.mark.slow
def test_what_a_sweep_sees_is_what_trainings_show(space: DesignSpace, sweep: Sweep) -> None:
    """Of landscapes with a block as good as is said to be seen, 80 % find it."""
    plan = PlannedSweep("stratified", 80)
    (sight,) = planned_sights(space, [plan], ["block_preference"], noise=0.001)
    assert sight.questions == 6
    assert sight.visible is not None
    found, seen = [], []
    for seed in range(30):
        gains = np.array([0.003, 0.003, 0.003, 0.003 + sight.visible])
        table = sweep(make_landscape(block_gain=gains, seed=seed), n=80, seed=seed)
        derived = derive(table, space, families=["block_preference"], margin=0.0)
        found += [f.adopted for f in derived.findings if "cnl" in (f.rule.better, f.rule.worse)]
        seen.append(derived.sights[0].visible)
    assert np.mean(found) > 0.75
    assert np.median(seen) == pytest.approx(sight.visible, rel=0.2)


def test_which_questions_are_asked_depends_on_candidates_not_on_scores(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(), n=60)
    other = table.assign(map=np.random.default_rng(1).uniform(size=len(table)))
    asked = [[(s.family, s.questions, s.untold) for s in derive(t, space).sights] for t in (table, other)]
    assert asked[0] == asked[1]


def test_more_questions_see_less(sweep: Sweep, space: DesignSpace) -> None:
    table = sweep(make_landscape(), n=80)
    alone, among = (derive(table, space, families=families).sights for families in (["count"], FAMILIES))
    assert alone[0].visible is not None
    assert among[-1].visible is not None
    assert alone[0].visible < among[-1].visible


def test_not_enough_data_says_what_it_would_take(space: DesignSpace, sweep: Sweep) -> None:
    """With as many candidates as was said, an effect worth having is seen."""
    noisy = make_landscape(seed_sd=0.002)
    first = derive(sweep(noisy, n=60), space, families=["block_preference"]).findings
    short = [f for f in first if f.verdict == "not enough data"]
    assert short
    assert all("`candidates: " in f.reason and "to see 0.001" in f.reason for f in short)
    needed = max(int(f.reason.split("`candidates: ")[1].split("`")[0]) for f in short)
    later = derive(sweep(noisy, n=needed, seed=5), space, families=["block_preference"]).findings
    assert {f.verdict for f in later} <= {"adopted", "rejected"}


def test_not_enough_data_says_how_long_it_would_take(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(seed_sd=0.002), n=60).assign(seconds=36.0)
    reasons = [f.reason for f in derive(table, space, families=["block_preference"]).findings]
    (short, *_) = [reason for reason in reasons if "`candidates: " in reason]
    needed = int(short.split("`candidates: ")[1].split("`")[0])
    assert f"`candidates: {needed}`, about {duration(36 * (needed - 60))} more of training)" in short


def test_no_more_candidates_are_asked_for_than_the_space_has() -> None:
    """Where all are trained only more seeds help; 3 400 candidates of a space of 40 used to be asked for."""
    space = DesignSpace.from_dict(
        {
            "name": "few",
            "backbones": ["resnet50"],
            "sites": "1-8",
            "blocks": ["cnl", "se"],
            "rules": [{"max_blocks": 1}],
        }
    )
    singles = [*space.baselines(), *space.enumerate(1)]
    assert space.size() == 17
    rows = landscape_table(make_landscape(seed_sd=0.005), singles, seeds=[1, 2]).assign(seconds=36.0)
    (finding,) = derive(rows, space, families=["block_preference"]).findings
    assert finding.verdict == "not enough data"
    needed = int(finding.reason.split("`seeds: ")[1].split("`")[0])
    assert needed > 2
    assert f"the space has 17 candidates: each in about {needed} seeds" in finding.reason
    assert f"about {duration(36 * (17 * needed - 34))} more of training" in finding.reason


def test_a_space_with_values_from_an_interval_has_no_last_candidate() -> None:
    """Its size counts the rest only; 17 were said to be all there are."""
    few = {"name": "few", "backbones": ["resnet50"], "sites": "1-8", "blocks": ["cnl", "se"]}
    space = DesignSpace.from_dict(few | {"rules": [{"max_blocks": 1}], "recipe": {"base_lr": {"log": [1e-4, 1e-3]}}})
    rows = landscape_table(make_landscape(seed_sd=0.005), space.sample(34, 1), seeds=[1])
    (finding,) = derive(rows, space, families=["block_preference"]).findings
    assert "`candidates: " in finding.reason


def test_more_seeds_give_more_trainings_where_all_candidates_are_trained() -> None:
    """The candidates were said to be too few to tell it, which a second seed of each puts right."""
    few = {"name": "few", "backbones": ["resnet50"], "sites": "1-8", "blocks": ["cnl", "se"]}
    space = DesignSpace.from_dict(few | {"rules": [{"max_blocks": 1}]})
    singles = [*space.baselines(), *space.enumerate(1)]
    rows = landscape_table(make_landscape(seed_sd=0.005), singles, seeds=[1])
    (finding,) = derive(rows, space, families=["block_preference"], settings=ShrinkSettings(min_trainings=12)).findings
    assert finding.reason.startswith("8 trainings tell of it; the space has 17 candidates: each in about 2 seeds")


def test_a_sweep_is_planned_in_the_part_that_it_draws_from(space: DesignSpace) -> None:
    """Two sites, swept whole, can say nothing of the other fifteen; the whole space used to answer for them."""
    two = PlannedSweep("exhaustive", blocks=1, rules=[{"sites": [4, 8]}, {"blocks": ["cnl"]}])
    assert {str(c).split("+")[1] for c in two.draw(space, 0)} == {"cnl@4", "cnl@8"}
    assert answerable(space, [two], ["block_preference"])["block_preference"] is None


def test_more_of_the_same_is_not_asked_for_where_it_would_not_help(space: DesignSpace) -> None:
    singles = landscape_table(make_landscape(), [*space.baselines(), *space.enumerate(1)])
    (finding,) = derive(singles, space, families=["distance"]).findings
    assert finding.verdict == "not enough data"
    assert "other candidates are needed" in finding.reason


def test_what_varies_in_too_few_candidates_is_no_family_that_varies_nowhere(space: DesignSpace) -> None:
    """It has a row, "not enough data", and was counted as if nothing of it varied."""
    names = [f"resnet50+se(reduction={4 + 4 * (site % 2)})@{site}" for site in range(1, 7)]
    table = pd.DataFrame(
        {"notation": names, "map": np.linspace(0.5, 0.6, 6), "status": "finished", "training_id": range(6)}
    )
    found = derive(table, space, families=["hyperparameters"])
    assert [finding.verdict for finding in found.findings] == ["not enough data"]
    assert [sight.sentence() for sight in found.sights] == ["hyperparameters: not asked, these candidates cannot tell"]


def test_where_nothing_has_two_blocks_no_limit_of_their_number_is_looked_at(space: DesignSpace) -> None:
    """Of a space of single placements it said "no more than 1 block: the 2nd adds +1.70 ms", and asked for others."""
    names = [f"resnet50+se@{site}" for site in range(1, 18)]
    table = pd.DataFrame(
        {"notation": names, "map": np.linspace(0.5, 0.6, 17), "status": "finished", "training_id": range(17)}
    )
    found = derive(table, space, families=["count", "count_per_type"])
    assert found.findings == []
    assert {sight.sentence().partition(": ")[2] for sight in found.sights} == {
        "not asked, all candidates are alike in it"
    }


def test_placements_judged_by_time_alone_are_not_said_to_be_as_fast_as_the_reference(space: DesignSpace) -> None:
    """A rule was adopted, "slower, judged by time alone", beside "no placement is known to be slower"."""
    nothing = pd.DataFrame({"notation": [], "map": [], "status": []})
    times = {"resnet50": 36.9, "resnet101": 53.5, "resnet50+agw@3": 60.0}
    found = derive(nothing, space, families=["cost"], latency=times, reference="resnet101")
    assert [finding.verdict for finding in found.findings] == ["adopted"]
    assert [(sight.questions, sight.untold) for sight in found.sights] == [(0, 1)]


def test_sights_in_words() -> None:
    assert Sight("mix", 0, 1, None).sentence() == "mix: not asked, these candidates cannot tell"
    assert Sight("mix", 0, 0, None).sentence() == "mix: not asked, all candidates are alike in it"
    slower = "no placement is known to be slower than the reference"
    assert Sight("cost", 0, 0, None).sentence() == f"cost: not asked, {slower}"
    assert Sight("count", 1, 2, 0.00149).sentence() == "count: 1 question, sees an effect of 0.0015 mAP with 80 % power"


def test_a_sweep_that_can_answer_nothing_is_refused_before_it_starts(tmp_path: Path) -> None:
    def study(candidates: int, families: list[str]) -> Path:
        sweep = {"sweep": {"design": "stratified", "candidates": candidates}}
        return study_file(tmp_path, [sweep, {"shrink": {"families": families, "confirm": 6}}])

    with pytest.raises(StudyError, match="the 6 candidates of the sweep before it cannot answer any") as refused:
        check_study(load_study(study(6, ["sites", "count"])))
    assert refused.value.hint is not None
    number = int(refused.value.hint.split("`candidates: ")[1].split("`")[0])
    check_study(load_study(study(number, ["sites", "count"])))
    check_study(load_study(study(6, ["sites", "cost"])))
