"""Stages that look beyond the study's own backbone and data: rules on other networks, source networks."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest
from search_builders import open_study, small_space, study_file, work

from nas.errors import SpaceError, StudyError
from nas.search.checks import check_study
from nas.search.context import StudyContext
from nas.search.definition import load_study
from nas.search.joining import stored_definition
from nas.search.stage_results import RuleTestResult, ShrinkResult
from nas.search.stages.rule_test import by_backbone, draw_halves, follows, given_rules
from nas.spaces import DesignSpace, RuleSet, own_code, rule_from_dict
from nas.spaces.ruleset import Provenance

OTHER = {"name": "other", "backbones": ["resnet34", "resnet101"], "blocks": ["se", "cnl"], "rules": [{"max_blocks": 2}]}
STAGE_ENDS = RuleSet.of([rule_from_dict({"stage_ends": True})], Provenance(backbone="resnet50"), "ends")


@pytest.mark.parametrize(
    "space", by_backbone(DesignSpace.from_dict(OTHER)), ids=lambda space: next(iter(space.backbones))
)
def test_halves_differ_in_the_rules_and_not_in_the_number_of_blocks(space: DesignSpace) -> None:
    halves = draw_halves(space, STAGE_ENDS, 10, random.Random(3))
    assert len(halves.follows) == len(halves.rest) == 10
    assert [len(c.placements) for c in halves.follows] == [len(c.placements) for c in halves.rest]
    assert all(follows(STAGE_ENDS, c) for c in halves.follows)
    assert not any(follows(STAGE_ENDS, c) for c in halves.rest)
    assert all(space.contains(c) for c in (*halves.follows, *halves.rest))


def test_draws_are_fixed_by_the_seed() -> None:
    space = by_backbone(DesignSpace.from_dict(OTHER))[0]
    drawn = [draw_halves(space, STAGE_ENDS, 5, random.Random(3)) for _ in range(2)]
    assert drawn[0] == drawn[1]


def table_of(path: Path, spaces: list[DesignSpace], bonus: float) -> None:
    """Stage ends bring `bonus`; a little of it differs by candidate."""
    rows = []
    for space in spaces:
        for index, candidate in enumerate([*space.baselines(), *space.enumerate()]):
            at_ends = follows(STAGE_ENDS, candidate) and bool(candidate.placements)
            rows.append((candidate.notation, 0.6 + bonus * at_ends + (index % 17) / 10_000, 10.0 + index % 5))
    pd.DataFrame(rows, columns=["candidate", "map", "latency_ms"]).drop_duplicates("candidate").to_csv(
        path, index=False
    )


@pytest.mark.slow
def test_rules_are_tested_on_other_backbones(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 4}},
        {"test_rules": {"rules": [{"stage_ends": True}], "spaces": [OTHER], "candidates": 8}},
    ]
    file = study_file(tmp_path, stages)
    table_of(tmp_path / "table.csv", [small_space(), DesignSpace.from_dict(OTHER)], bonus=0.02)
    _, repository, context = open_study(file)
    work(context)
    result = repository.stages(context.study_id)[-1].result
    assert result is not None
    assert [t["name"] for t in result["tests"]] == ["resnet34", "resnet101"]
    assert {t["verdict"] for t in result["tests"]} == {"hold"}
    rows = repository.results("replayed").query("stage_kind == 'test_rules'")
    assert set(rows["role"]) == {"follows", "rest"}
    assert len(rows) == 2 * 2 * 8


def test_without_an_adopted_rule_there_is_nothing_to_test(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 4}},
        {"test_rules": {"spaces": [OTHER], "candidates": 8}},
    ]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    result = repository.stages(context.study_id)[-1].result
    assert result is not None
    assert result["tests"] == []
    assert "no rule was adopted" in result["why"]


def fine_tuning(tmp_path: Path, pretrained: list[str], **changes: object) -> Path:
    stages = [
        {"pretrain": {"data": {"generated": {"seed": 3}}, "candidates": pretrained, "seeds": 2}},
        {"confirm": {"front": False, "baselines": ["resnet50"], "candidates": ["resnet50+cnl@4"], "seeds": 3}},
    ]
    recipe = {"extends": "quickstart", "transfer": {"from": "pretrained", "head_epochs": 1}}
    return study_file(tmp_path, stages, **{"recipe": recipe, **changes})


def test_fine_tunings_start_from_their_source(tmp_path: Path) -> None:
    _, repository, context = open_study(fine_tuning(tmp_path, ["resnet50", "resnet50+cnl@4"]))
    work(context)
    results = repository.results("replayed")
    sources = results[results["role"] == "source"]
    assert set(sources["split"]) == {"transfer"}
    assert len(sources) == 4
    seeds = dict(zip(sources["training_id"], sources["seed"], strict=True))
    networks = dict(zip(sources["training_id"], sources["notation"], strict=True))
    tuned = results[results["stage_kind"] == "confirm"]
    assert len(tuned) == 6
    for row in tuned.itertuples():
        start = repository.training(int(row.training_id))["init_from_id"]  # type: ignore[index]
        assert networks[start] == row.notation
        assert seeds[start] % 2 == row.seed % 2
    assert set(tuned["split"]) == {"table"}


def test_own_code_of_the_source_s_recipe_is_part_of_its_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study's own recipe does not name it."""
    (tmp_path / "loss_of_sources.py").write_text("def flat(inputs):\n    return inputs.pooled.mean()\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = {"extends": "quickstart", "loss": "loss_of_sources:flat"}
    stages = [
        {"pretrain": {"data": {"generated": {"seed": 3}}, "candidates": ["resnet50"], "recipe": recipe}},
        {"confirm": {"front": False, "baselines": ["resnet50"], "candidates": [], "seeds": 1}},
    ]
    transfer = {"extends": "quickstart", "transfer": {"from": "pretrained", "head_epochs": 1}}
    _, repository, context = open_study(study_file(tmp_path, stages, recipe=transfer))
    work(context)
    code = repository.results("replayed").groupby("role")["code"].first()
    assert code["source"] == own_code.code_hash(["loss_of_sources:flat"])
    assert code["baseline"] == ""


def test_a_network_without_a_source_is_named(tmp_path: Path) -> None:
    _, _, context = open_study(fine_tuning(tmp_path, ["resnet50"]))
    with pytest.raises(StudyError, match=r"resnet50\+cnl@4 is fine-tuned but was not pretrained"):
        work(context)


def test_sources_and_fine_tuning_go_together(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="needs a recipe that goes on from it"):
        check_study(load_study(fine_tuning(tmp_path, ["resnet50"], recipe="quickstart")))
    alone = study_file(tmp_path, [{"sweep": {"candidates": 2}}], recipe={"transfer": {"from": "pretrained"}})
    with pytest.raises(StudyError, match="needs a `pretrain` stage"):
        check_study(load_study(alone))


def test_a_result_is_stored_in_notation_and_read_back() -> None:
    halves = draw_halves(by_backbone(DesignSpace.from_dict(OTHER))[0], STAGE_ENDS, 2, random.Random(0))
    plan = RuleTestResult(halves=(halves,))
    stored = json.loads(json.dumps(plan.to_dict()))
    assert stored["halves"][0]["follows"] == [candidate.notation for candidate in halves.follows]
    assert RuleTestResult.of(stored) == plan
    before = {"space_id": "a", "alpha": 0.1, "parent": {"sites": "1-17"}}
    assert ShrinkResult.of(before) == ShrinkResult(space_id="a", alpha=0.1)


def test_a_typo_in_a_space_is_found_before_anything_starts(tmp_path: Path) -> None:
    file = study_file(tmp_path, [{"test_rules": {"spaces": [{**OTHER, "blocks": ["sse"]}]}}])
    with pytest.raises(SpaceError, match="sse"):
        check_study(load_study(file))


def test_files_of_a_rule_test_are_read_once_and_travel_with_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers read the study from the database, in a folder of their own: no path may be left to follow there."""
    (tmp_path / "other.yaml").write_text(DesignSpace.from_dict(OTHER).to_yaml())
    STAGE_ENDS.save(tmp_path / "rules.yaml")
    stages = [{"test_rules": {"rules": "rules.yaml", "spaces": ["other.yaml"], "candidates": 3}}]
    definition, repository, context = open_study(study_file(tmp_path, stages))
    (tmp_path / "other.yaml").unlink()
    (tmp_path / "rules.yaml").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    read_back = stored_definition(repository.study(definition.name).definition)
    settings = read_back.named_stages()[0].settings
    there = StudyContext(read_back, repository, context.study_id)
    assert [s.to_dict() for s in there.rule_test_spaces(settings.spaces)] == [DesignSpace.from_dict(OTHER).to_dict()]
    given = given_rules(there, settings)
    assert given is not None
    assert given.to_dict() == STAGE_ENDS.to_dict()


def test_a_missing_file_of_a_rule_test_is_said_when_the_study_is_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no such file .*nowhere\.yaml"):
        load_study(study_file(tmp_path, [{"test_rules": {"spaces": ["nowhere.yaml"]}}]))
