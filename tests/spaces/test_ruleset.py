"""Rule sets: files, hashes, admission, order, application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_builders import make_space, rules

from nas.errors import SpaceError
from nas.spaces import BACKBONES, Evidence, Finding, RuleSet, rule_from_dict
from nas.spaces.rules import Rule
from nas.spaces.ruleset import Provenance

LEARNED = Provenance(study="market1501", backbone="resnet50", space="resnet50_attention", trainings=220)


def finding(data: dict[str, Any], **fields: Any) -> Finding:
    return Finding(rule=rule_from_dict(data), **fields)


def paper_rules() -> RuleSet:
    return RuleSet(
        (
            finding(
                {"sites": {"block": "cnl", "sites": [6, 8, 14]}}, evidence=Evidence(effect=0.002, low=0.001, high=0.003)
            ),
            finding({"min_distance": 2}, evidence=Evidence(effect=0.001, trainings=80, training_ids=(1, 2))),
            finding({"stage_ends": True, "strength": "preference"}),
            finding({"max_blocks": 1}, verdict="rejected", reason="pairs are better"),
            finding({"distinct_stages": True}, verdict="not enough data", reason="3 pairs"),
        ),
        LEARNED,
        "market1501",
    )


@pytest.mark.parametrize("name", ["rules.yaml", "rules.json"])
def test_files_read_back(tmp_path: Path, name: str) -> None:
    made = paper_rules()
    path = made.save(tmp_path / name)
    assert RuleSet.load(path) == made
    assert RuleSet.load(path).hash == made.hash
    assert [file.name for file in tmp_path.iterdir()] == [name]


@given(st.lists(rules(), max_size=4), st.sampled_from([None, *BACKBONES]))
def test_plain_data_reads_back(some: list[Rule], backbone: str | None) -> None:
    made = RuleSet.of(some, Provenance(backbone=backbone))
    back = RuleSet.from_dict(json.loads(json.dumps(made.to_dict())))
    assert back == made
    assert back.hash == made.hash
    assert back.rules == tuple(some)


def test_only_adopted_rules_count() -> None:
    assert [rule.kind for rule in paper_rules().rules] == ["sites", "min_distance", "stage_ends"]
    assert len(paper_rules()) == 5


def test_a_file_written_by_hand_needs_rules_only(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rules:\n  - max_blocks: 2\n  - stage_ends: true\n    strength: preference\n")
    made = RuleSet.load(path)
    assert [str(rule) for rule in made.rules] == ["no more than 2 blocks", "prefer the last site of a stage"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("min_distance: 2", "min_distance: 3"), "changed after they were written"),
        (lambda text: text.replace("format: 1", "format: 2"), "format"),
        (lambda text: text.replace("verdict: rejected", "verdict: unsure"), "findings[3].verdict"),
        (lambda text: text.replace("stage_ends", "stage_end"), "did you mean 'stage_ends'"),
        (lambda text: text + "rules: [{max_blocks: 1}]\n", "either rules or findings"),
        (lambda text: text + "extra: 1\n", "unknown key 'extra'"),
    ],
)
def test_changed_and_wrong_files_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    path = paper_rules().save(tmp_path / "rules.yaml")
    path.write_text(change(path.read_text()))
    with pytest.raises(SpaceError) as caught:
        RuleSet.load(path)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"{path}:")


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpaceError, match="cannot be written"):
        paper_rules().save(tmp_path / "file" / "rules.yaml")


def test_admission_says_why_not() -> None:
    made = paper_rules()
    assert made.admits("resnet50+cnl@6,8,14")
    assert str(made.admits("resnet50")) == "admitted"
    said = made.admits("resnet50+cnl@7,8")
    assert not said
    assert said.reasons == (
        "cnl@7 is against the rule: C-NL: positions 6, 8, 14 (of 17)",
        "sites 7 and 8 are 1 apart, and the rule is: blocks at least 2 sites apart",
    )
    assert [violation.path for violation in said.violations] == ["placements[0].site", "placements[1].site"]
    assert str(said).startswith("not admitted: cnl@7")


def test_candidates_on_other_backbones_are_judged_by_carried_rules() -> None:
    made = paper_rules()
    assert made.admits("resnet101+cnl@6,31")
    said = made.admits("resnet101+cnl@14")
    assert not said
    assert "positions 6, 8, 31 (of 34)" in said.reasons[0]
    assert any("on ResNet-101 C-NL" in note for note in said.notes)
    assert made.admits("resnet50").notes == ()


def test_order_puts_admitted_and_preferred_first() -> None:
    texts = ["resnet50+cnl@7", "resnet50+cnl@6", "resnet50+cnl@8,14", "resnet50+cnl@6,8"]
    ordered = [str(candidate) for candidate in paper_rules().rank(texts)]
    assert ordered == ["resnet50+cnl@8,14", "resnet50+cnl@6,8", "resnet50+cnl@6", "resnet50+cnl@7"]


def test_application_and_contradictions_use_adopted_rules() -> None:
    space = make_space(backbones=["resnet50"], sites="all", blocks=["cnl"])
    child = paper_rules().apply(space).space
    assert {c.sites for c in child.enumerate()} == {
        (),
        (6,),
        (8,),
        (14,),
        (6, 8),
        (6, 14),
        (8, 14),
        (6, 8, 14),
    }
    assert child.name == "small/market1501"
    assert paper_rules().contradictions(space) == []
    odd = RuleSet.of([rule_from_dict({"sites": 1}), rule_from_dict({"forbid": {"sites": 1}})])
    assert [row.sentence for row in odd.contradictions(space)] == ["no block can be placed"]


def test_files_follow_their_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = RuleSet.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(paper_rules().to_dict(), schema)
    jsonschema.validate({"rules": [{"max_blocks": 2}, {"sites": {"stages": [2], "place": "last"}}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"rules": [{"max_block": 2}]}, schema)
