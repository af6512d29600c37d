"""Every form of a rule set shows every finding and its numbers."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from nas.files.yaml_source import parse_yaml
from nas.spaces import Evidence, Finding, RuleSet
from nas.spaces.rule_formats import FORMATS
from nas.spaces.rules import rule_from_dict
from nas.spaces.ruleset import Provenance

RULES = RuleSet(
    (
        Finding(
            rule=rule_from_dict({"sites": {"block": "cnl", "sites": [6, 8, 14]}}),
            evidence=Evidence(effect=0.0021, low=0.0012, high=0.003, p_adjusted=0.004, trainings=51, stage="singles"),
        ),
        Finding(
            rule=rule_from_dict({"mix": {"min_families": 2}, "strength": "preference"}),
            evidence=Evidence(effect=0.0009, latency_ms=3.1),
            verdict="rejected",
            reason="not worth it under 5 % slow-down | at 3.1 ms & more_or_less",
        ),
        Finding(rule=rule_from_dict({"max_blocks": 3}), verdict="not enough data", reason="no quadruples"),
    ),
    Provenance(study="market1501", backbone="resnet50", data="market1501", split="val", trainings=51),
    "market1501",
)


@pytest.mark.parametrize("name", ["text", "md", "latex"])
def test_people_see_every_finding(name: str) -> None:
    text = FORMATS[name](RULES)
    for words in ("C-NL: positions 6, 8, 14 (of 17)", "+0.0021 [+0.0012, +0.0030]", "0.004", "51"):
        assert words in text
    for words in ("two families of block rather than one", "no more than 3 blocks", "no quadruples", "+3.1"):
        assert words in text
    assert text.index("Adopted") < text.index("Rejected") < text.index("Not enough data")


def test_text() -> None:
    assert FORMATS["text"](RULES).splitlines()[:5] == [
        "market1501: study market1501, ResNet-50, market1501 (val), 51 trainings",
        "",
        "Adopted",
        "  C-NL: positions 6, 8, 14 (of 17): +0.0021 [+0.0012, +0.0030] mAP over the other positions",
        "      adjusted p 0.004, 51 trainings",
    ]


def test_markdown_tables_are_whole() -> None:
    rows = [line for line in FORMATS["md"](RULES).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}


def test_latex_is_escaped_and_whole() -> None:
    text = FORMATS["latex"](RULES)
    assert r"5 \% slow-down" in text
    assert r"\& more\_or\_less" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {6}


@pytest.mark.parametrize("name", ["yaml", "json"])
def test_programs_read_the_same_back(name: str) -> None:
    text = FORMATS[name](RULES)
    assert RuleSet.from_dict(parse_yaml(text).data) == RULES
    assert (json.loads if name == "json" else yaml.safe_load)(text) == RULES.to_dict()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_findings_is_fine(name: str) -> None:
    assert FORMATS[name](RuleSet()).strip()


def test_a_notebook_shows_every_finding_and_escapes_words() -> None:
    shown = RULES._repr_html_()
    for words in ("C-NL: positions 6, 8, 14 (of 17)", "+0.0021 [+0.0012, +0.0030]", "<p>Rejected</p>", "ms &amp; more"):
        assert words in shown
    hostile = RuleSet((Finding(rule=rule_from_dict({"max_blocks": 3}), reason="<script>"),), name="<b>")
    assert "<script>" not in hostile._repr_html_()
    assert "<b>" not in hostile._repr_html_()
