"""`nas rules` from outside: show, export, apply, admits, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nas.cli.main import build_app
from nas.errors import SpaceError
from nas.spaces import DesignSpace, Evidence, Finding, RuleSet, rule_from_dict
from nas.spaces.ruleset import Provenance


def nas(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["rules", *arguments])


def text(*arguments: str) -> str:
    result = nas(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def against(*arguments: str) -> str:
    """The answer to a question that is answered no: with exit code 2, for scripts."""
    result = nas(*arguments)
    assert result.exit_code == 2, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = nas(*arguments)
    assert isinstance(result.exception, SpaceError), result.output
    return str(result.exception)


def test_rules_of_which_none_is_adopted_say_so_when_applied(project: Path) -> None:
    rejected = Finding(rule=rule_from_dict({"max_blocks": 1}), verdict="rejected")
    RuleSet((rejected,), Provenance(study="x", backbone="resnet50"), "x").save(project / "none.yaml")
    result = nas("apply", "none.yaml", "r101.yaml", "-o", "child.yaml")
    assert "No rule of none.yaml is adopted, so the space stays as it is." in result.stderr
    assert DesignSpace.from_yaml("child.yaml").size() == DesignSpace.from_yaml("r101.yaml").size()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the report of one study and one space."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports" / "market1501").mkdir(parents=True)
    findings = (
        Finding(
            rule=rule_from_dict({"sites": {"block": "cnl", "sites": [6, 8, 14]}}),
            evidence=Evidence(effect=0.0021, low=0.001, high=0.003, trainings=51),
        ),
        Finding(rule=rule_from_dict({"max_blocks": 1}), verdict="rejected", reason="pairs are better"),
    )
    RuleSet(findings, Provenance(study="market1501", backbone="resnet50"), "market1501").save(
        tmp_path / "reports" / "market1501" / "rules.yaml"
    )
    (tmp_path / "r101.yaml").write_text(
        "name: r101\nbackbones: [resnet101]\nblocks: [cnl]\nrules:\n  - max_blocks: 2\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["market1501", "reports/market1501", "reports/market1501/rules.yaml"])
def test_show_finds_rules_by_study_folder_and_file(project: Path, name: str) -> None:
    shown = text("show", name)
    assert "C-NL: positions 6, 8, 14 (of 17)" in shown
    assert "(of 17): +0.0021 [+0.0010, +0.0030] mAP over the other positions\n      51 trainings" in shown
    assert "pairs are better" in shown
    data = json.loads(text("show", name, "--json"))
    assert len(data.pop("sentences")) == 2
    assert RuleSet.from_dict(data) == RuleSet.load(project / "reports/market1501/rules.yaml")


@pytest.mark.parametrize(
    ("form", "words"),
    [("text", "Adopted"), ("md", "## Adopted"), ("latex", r"\toprule"), ("yaml", "format: 1"), ("json", '"format": 1')],
)
def test_export_writes_every_form(project: Path, form: str, words: str) -> None:
    assert words in text("export", "market1501", "--format", form)
    text("export", "market1501", "-f", form, "-o", "out")
    assert words in (project / "out").read_text()


def test_exported_rules_load_again(project: Path) -> None:
    for form in ("yaml", "json"):
        text("export", "market1501", "-f", form, "-o", f"out.{form}")
        assert RuleSet.load(f"out.{form}") == RuleSet.load("reports/market1501/rules.yaml")


def test_apply_carries_rules_over_and_writes_a_space(project: Path) -> None:
    result = nas("apply", "market1501", "r101.yaml", "-o", "child.yaml")
    assert "on ResNet-101 C-NL: positions 6, 8, 31 (of 34)" in result.stderr
    assert "r101: 596 candidates -> r101/market1501: 7 candidates" in result.stderr
    child = DesignSpace.from_yaml("child.yaml")
    assert child.size_by_blocks() == {0: 1, 1: 3, 2: 3}
    assert child.parent_id == DesignSpace.from_yaml("r101.yaml").id
    data: Any = json.loads(text("apply", "market1501", "r101.yaml", "--json"))
    assert (data["size_before"], data["size_after"]) == (596, 7)
    assert DesignSpace.from_dict(data["space"]) == child


def test_apply_needs_to_know_where_rules_were_learned(project: Path) -> None:
    (project / "mine.yaml").write_text("rules:\n  - sites: [6, 8]\n")
    assert "--from resnet50" in refused("apply", "mine.yaml", "r101.yaml")
    assert (
        DesignSpace.from_dict(
            json.loads(text("apply", "mine.yaml", "r101.yaml", "--from", "resnet50", "--json"))["space"]
        ).size()
        == 1 + 2 + 1
    )
    assert "did you mean 'resnet50'" in refused("apply", "mine.yaml", "r101.yaml", "--from", "resnet5")


def test_admits(project: Path) -> None:
    assert text("admits", "market1501", "resnet50+cnl@6,8").strip() == "resnet50+cnl@6,8: admitted"
    said = against("admits", "market1501", "resnet50+cnl@7")
    assert "not admitted" in said
    assert "cnl@7 is against the rule: C-NL: positions 6, 8, 14 (of 17)" in said
    answer = json.loads(against("admits", "market1501", "resnet101+cnl@14", "--json"))
    assert answer["admitted"] is False
    assert "ResNet-101" in answer["notes"][0]


def test_check(project: Path) -> None:
    assert text("check", "market1501", "r101.yaml").strip() == "no contradictions"
    (project / "odd.yaml").write_text("rules:\n  - forbid: {blocks: cnl, sites: 1-33}\n  - sites: 1-3\n")
    assert "no block can be placed" in text("check", "odd.yaml", "r101.yaml")
    assert len(json.loads(text("check", "odd.yaml", "r101.yaml", "--json"))[0]["rules"]) == 2


def test_wrong_input_is_one_sentence(project: Path) -> None:
    assert "there are no rules nothing" in refused("show", "nothing")
    assert "unknown format 'html'" in refused("export", "market1501", "-f", "html")
    path = project / "reports/market1501/rules.yaml"
    path.write_text(path.read_text().replace("6, 8, 14", "6, 8"))
    assert "changed after they were written" in refused("show", "market1501")


def test_schema_is_json() -> None:
    assert json.loads(text("schema"))["title"] == "rules"
