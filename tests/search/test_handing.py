"""What studies hand to each other: named networks in any stage, a tuned recipe, rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from search_builders import open_study, study_file, work

from nas.errors import NasError, StudyError
from nas.reporting.document import Paragraph, Table
from nas.reporting.loading import study_data
from nas.reporting.rules_file import write_rules
from nas.reporting.story.tuned import tuned_recipe
from nas.search import checks
from nas.search.checks import check_study
from nas.search.context import StudyContext, StudyParts
from nas.search.definition import StudyDefinition, load_study
from nas.search.runner import register
from nas.search.stage_results import TuneResult
from nas.search.stages import HANDLERS
from nas.search.stages.tune import check_tunable, conclude, draw_settings
from nas.spaces import Candidate, DesignSpace
from nas.storage import Repository, open_database
from nas.storage.records import StageInfo

TRIPLE = "resnet50+cnl@6,14"


@pytest.mark.parametrize(
    "stage",
    [
        {"sweep": {"candidates": [TRIPLE, "resnet50+hac@1"], "seeds": 2}},
        {"search": {"sampler": "random", "trainings": 3, "seeds": 2, "candidates": [TRIPLE]}},
        {"shrink": {"auto": {"trainings": 60, "candidates": [TRIPLE], "seeds": 2}}},
    ],
)
@pytest.mark.slow
def test_any_stage_trains_the_networks_it_is_given(tmp_path: Path, stage: dict[str, Any]) -> None:
    _, repository, context = open_study(study_file(tmp_path, [stage]))
    work(context)
    assert repository.status("replayed")["finished"]
    rows = repository.results("replayed")
    given = rows[rows["role"] == "given"]
    assert sorted(given.loc[given["notation"] == TRIPLE, "seed"]) == [0, 1]
    settings = context.definition.named_stages()[0].settings
    (kind,) = {s.kind for s in context.definition.named_stages()}
    preview = HANDLERS[kind].preview(context, context.space, settings)
    assert "named networks" in preview.note


@pytest.mark.slow
def test_a_shrink_derives_nothing_from_networks_that_were_given(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "exhaustive", "blocks": 1, "seeds": 3}},
        {"shrink": {"families": ["sites"], "confirm": 0, "candidates": [TRIPLE]}},
        {"confirm": {"seeds": 2}},
    ]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    told = pd.concat([pd.Series(f["evidence"]["trainings"]) for f in repository.findings(context.study_id)])
    assert told.max() <= 3 * (2 * 17 + 2)
    confirmed = repository.results("replayed").query("stage == 'confirm'")
    assert TRIPLE in set(confirmed["notation"])  # the best by far: it is on the front


def test_a_sweep_needs_a_number_or_names(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="how many `candidates` to train, or which"):
        load_study(study_file(tmp_path, [{"sweep": {"seeds": 2}}]))
    with pytest.raises(NasError, match="cnx"):
        check_study(load_study(study_file(tmp_path, [{"sweep": {"candidates": ["resnet50+cnx@3"]}}])))


SINGLE = [
    {"sweep": {"design": "exhaustive", "blocks": 1, "seeds": 3}},
    {"shrink": {"families": ["sites", "block_preference"], "confirm": 0}},
]


def handed(folder: Path, **space: Any) -> Path:
    """A second study of the same folder whose space takes rules from elsewhere."""
    stages = [{"sweep": {"blocks": 2, "candidates": 8, "prefer": True}}]
    file = study_file(folder, stages, name="second")
    data = yaml.safe_load(file.read_text())
    other = folder / "second.yaml"
    other.write_text(yaml.safe_dump({**data, "space": {"within": "space.yaml", **space}}))
    return other


def singles(folder: Path) -> Path:
    """A study that may place one block only."""
    file = study_file(folder, SINGLE)
    space = DesignSpace.from_yaml(folder / "space.yaml").restrict([{"max_blocks": 1}], "singles")
    (folder / "singles.yaml").write_text(space.to_yaml())
    file.write_text(file.read_text().replace("space.yaml", "singles.yaml"))
    return file


@pytest.mark.slow
def test_rules_of_singles_are_preferences_for_pairs(tmp_path: Path) -> None:
    _, _, context = open_study(singles(tmp_path))
    work(context)
    _, repository, second = open_study(handed(tmp_path, study="replayed"))
    space = second.space
    assert any(rule.kind == "sites" and not rule.is_hard for rule in space.rules)
    assert space.contains("resnet50+cnl@1,17")  # nothing is forbidden
    assert "that study 'replayed' adopted" in space.description
    work(second)
    drawn = repository.results("second").query("role == 'candidate'")["notation"]
    assert {site for text in drawn for site in Candidate.parse(text).sites} <= {6, 8, 14}
    again = open_study(handed(tmp_path, study="replayed"))[2]
    assert again.space.id == space.id
    written = write_rules(study_data(repository, "replayed"), tmp_path / "rules.yaml")
    read = StudyParts(load_study(handed(tmp_path, rules=written.name))).space
    assert {rule.sentence() for rule in read.rules} == {rule.sentence() for rule in space.rules}
    assert read.contains("resnet50+cnl@1,17")  # a file of these rules forbade it


def test_without_the_study_the_fallback_holds_and_is_said(tmp_path: Path) -> None:
    file = handed(tmp_path, study="replayed", fallback=[{"sites": {"sites": "6-14"}}])
    _, _, context = open_study(file)
    assert not context.space.contains("resnet50+cnl@3")
    assert "was not run in this database" in context.space.description


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"study": "replayed"}, "was never run in this database"),
        ({"study": "a", "rules": "b.yaml"}, "no such file"),
        ({"study": "a", "rule": []}, "key 'rule'"),
        ({}, "rules are handed on by"),
    ],
)
def test_what_is_not_handed_on_is_one_sentence(tmp_path: Path, space: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        check_study(load_study(handed(tmp_path, **space)))


def test_a_study_that_has_not_ended_hands_nothing_on(tmp_path: Path) -> None:
    open_study(singles(tmp_path))
    with pytest.raises(StudyError, match="has not ended"):
        open_study(handed(tmp_path, study="replayed"))


def tunable(**changes: Any) -> StudyDefinition:
    data = {
        "name": "tuned",
        "space": {
            "name": "s",
            "backbones": ["resnet50"],
            "blocks": ["hac"],
            "recipe": {"base_lr": {"log": [1e-4, 1e-3]}, "triplet.weight": [0.5, 1.0]},
        },
        "stages": [{"tune": {"trainings": 6}}],
    }
    return StudyDefinition.model_validate({**data, **changes})


def test_drawn_recipes_are_in_their_domains_beside_the_recipe_as_it_is() -> None:
    import random

    space = DesignSpace.from_dict(tunable().space)  # type: ignore[arg-type]
    plain = Candidate.parse("resnet50")
    drawn = draw_settings(space, plain, 6, random.Random(1))
    assert drawn[0] == plain
    assert len(set(drawn)) == 6
    for candidate in drawn[1:]:
        assert 1e-4 <= dict(candidate.recipe)["base_lr"] <= 1e-3  # type: ignore[operator]


def test_only_fresh_seeds_decide_which_recipe_is_handed_on() -> None:
    maps = {"resnet50": [0.60, 0.62, 0.61], "resnet50[base_lr=0.0005]": [0.63, 0.66, 0.63]}
    rows = [
        {"notation": name, "seed": seed, "map": value, "status": "finished"}
        for name, values in maps.items()
        for seed, value in enumerate(values)
    ]
    plan = TuneResult(finalists=tuple(map(Candidate.parse, maps)))
    told = conclude(plan, pd.DataFrame(rows))
    assert told.chosen == plan.finalists[1]
    assert told.difference == pytest.approx(0.03)
    # paired by seed: differences .03, .04, .02; sd .01, t(2) 4.303
    assert told.low == pytest.approx(0.03 - 4.302653 * 0.01 / 3**0.5, abs=1e-6)
    worse = pd.DataFrame(rows).assign(map=[0.7, 0.7, 0.7, 0.6, 0.6, 0.6])
    assert conclude(plan, worse).chosen == plan.finalists[0]


def test_a_recipe_that_failed_in_a_seed_is_not_chosen_for_those_that_it_survived() -> None:
    """Seed 2 is good to all: its mean over the one seed that it finished would be the best."""
    kept, broken = "resnet50[base_lr=0.0005]", "resnet50[base_lr=0.001]"
    maps: dict[str, list[float | None]] = {
        "resnet50": [0.60, 0.62, 0.70],
        kept: [0.61, 0.63, 0.71],
        broken: [None, None, 0.69],
    }
    rows = [
        {"notation": name, "seed": seed, "map": value, "status": "failed" if value is None else "finished"}
        for name, values in maps.items()
        for seed, value in enumerate(values)
    ]
    plan = TuneResult(finalists=tuple(map(Candidate.parse, maps)))
    told = conclude(plan, pd.DataFrame(rows)).to_dict()
    assert (told["chosen"], told["failed"]) == (kept, [broken])
    assert told["difference"] == pytest.approx(0.01)
    # Where the recipe as it is failed, others are compared with it in its other seeds only.
    lost = pd.DataFrame(rows).assign(status=["failed", *["finished"] * 5, *["failed"] * 2, "finished"])
    assert conclude(plan, lost).to_dict()["means"] == pytest.approx({"resnet50": 0.66, kept: 0.67})


def test_what_a_tuning_stage_left_before_is_read_and_one_cut_short_tuned_nothing() -> None:
    """Databases of before hold the recipe beside the candidate that has it; a spent budget leaves its words alone."""
    chosen = "resnet50[base_lr=0.0005]"
    before: dict[str, Any] = {"plain": "resnet50", "drawn": ["resnet50", chosen], "finalists": ["resnet50", chosen]}
    before |= {"chosen": chosen, "recipe": {"base_lr": 0.0005}, "means": {"resnet50": 0.6, chosen: 0.7}, "failed": []}
    stage = StageInfo(1, 1, 0, "0-tune", "tune", {}, "finished", None, before, None, None)
    assert TuneResult.recipe_of([stage]) == {"base_lr": 0.0005}
    read = TuneResult.of(before)
    assert read is not None
    assert read.drawn == read.finalists == (Candidate.parse("resnet50"), Candidate.parse(chosen))
    assert read.means[read.finalists[1]] == 0.7
    assert TuneResult.recipe_of([replace(stage, result={"stopped": "its budget is spent"})]) is None


def test_the_persons_that_recipes_are_chosen_on_are_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that selects on the test split still tunes on validation identities: both must serve a batch."""
    looked_at: list[str] = []
    monkeypatch.setattr(StudyParts, "dataset", lambda _self, view: looked_at.append(view) or view)
    monkeypatch.setattr(checks, "_check_batches", lambda *_: None)
    monkeypatch.setattr(checks, "_trained_on", lambda *_: 8)
    monkeypatch.setattr("nas.data.inspection.require_evaluation", lambda _view: None)
    stages = [{"tune": {"trainings": 6}}, {"sweep": {"candidates": 3}}]
    checks._check_data(StudyParts(tunable(stages=stages, select_on="test")))
    assert set(looked_at) == {"select", "final"}


def test_tuning_needs_domains_and_comes_first() -> None:
    definition = tunable(space={"name": "s", "backbones": ["resnet50"], "blocks": ["hac"]})
    with pytest.raises(StudyError, match="nothing to tune"):
        check_study(definition)
    with pytest.raises(ValueError, match="before everything else"):
        tunable(stages=[{"sweep": {"candidates": 3}}, {"tune": {}}])
    assert check_tunable is not None


def test_a_planner_that_ends_before_it_asked_is_followed_by_one_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be tried stood in the stage's result, so that nobody asked for it, and nothing was tuned."""
    objective = {"python": lambda candidate, seed: {"map": 0.5}}
    definition = tunable(objective=objective, cost="params")
    repository = Repository(open_database("sqlite://"))
    context = StudyContext(definition, repository, register(definition, repository))
    (stage,) = repository.stages(context.study_id)

    def plan() -> None:
        HANDLERS["tune"].advance(context, repository.stage(stage.id), definition.stages[0].settings)

    with monkeypatch.context() as patch:
        patch.setattr("nas.search.stages.tune.ask", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            plan()
    plan()
    assert repository.stage_trainings(stage.id)["waiting"] == 6


def test_a_recipe_is_tuned_used_and_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nas

    def score(candidate: Candidate, seed: int) -> dict[str, float]:
        rate = float(dict(candidate.recipe).get("base_lr", 3.5e-4))  # type: ignore[arg-type]
        return {"map": 0.8 + 10 * min(rate, 8e-4) + 0.001 * (seed % 2)}

    monkeypatch.chdir(tmp_path)
    space = {"name": "s", "backbones": ["resnet50"], "blocks": ["hac"], "sites": [4, 8], "rules": [{"max_blocks": 1}]}
    tuned = {**space, "recipe": {"base_lr": [1e-4, 2e-4, 8e-4, 1e-3]}}
    sweep = {"sweep": {"design": "exhaustive"}}
    stages = [{"tune": {"trainings": 5, "finalists": 2, "seeds": 2}}, sweep]
    own = {"name": "own", "space": tuned, "objective": {"python": score}, "cost": "params", "stages": stages}
    nas.run(own, in_process=True, progress=False)
    repository = Repository(open_database("sqlite:///nas.db"))
    study = repository.study("own")
    result = repository.stages(study.id)[0].result
    assert result is not None
    recipe = TuneResult.recipe_of(repository.stages(study.id))
    assert recipe is not None
    assert recipe["base_lr"] in (8e-4, 1e-3)  # equally good; the recipe as it is has 3.5e-4
    assert result["drawn"][0] == result["finalists"][0] == "resnet50"
    told = tuned_recipe(study_data(repository, "own"))
    assert told is not None
    text, table, _ = told.blocks
    assert isinstance(text, Paragraph)
    assert "+0.0045 mAP against the recipe as it is, the same in every seed, so no interval is known" in text.text
    assert isinstance(table, Table)
    assert [row[2] for row in table.rows] == ["handed on", "", ""]
    assert result["difference"] == pytest.approx(0.0045)
    rows = repository.results("own")
    tried = rows[rows["role"] == "tune"]
    assert sorted(tried["batch"].value_counts()) == [5, 6]  # five once; two finalists and the recipe as it is, twice
    assert set(tried[tried["batch"] == 0]["seed"]).isdisjoint(tried[tried["batch"] == 1]["seed"])
    swept = rows[rows["stage"] == "sweep"]
    assert set(swept["notation"]) == {"resnet50", "resnet101", "resnet50+hac@4", "resnet50+hac@8"}
    used = {repository.training(int(i))["recipe"]["base_lr"] for i in swept["training_id"]}  # type: ignore[index]
    assert used == {recipe["base_lr"]}
    second = {**own, "name": "second", "space": space, "recipe": {"study": "own"}, "stages": [sweep]}
    nas.run(second, in_process=True, progress=False)
    assert repository.study("second").definition["recipe"]["base_lr"] == recipe["base_lr"]
