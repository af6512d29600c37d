"""Findings: evidence in words and in files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nas.errors import SpaceError
from nas.spaces import Evidence, Finding, Rule, get_topology
from nas.spaces.rules import (
    BlockPreference,
    Cost,
    DistinctStages,
    MaxBlocks,
    MinDistance,
    Mix,
    SitesRule,
    StageEnds,
    rule_from_dict,
)
from nas.spaces.site_sets import SiteSet

FULL = Evidence(
    effect=0.0011,
    low=0.0004,
    high=0.0018,
    p=0.001,
    p_adjusted=0.0042,
    trainings=96,
    training_ids=(3, 5),
    latency_ms=-1.2,
    stage="singles",
    confirmation={"p": 0.4, "accepted": True},
    method="bootstrap over candidates",
)


def test_sentence_has_effect_interval_cost_and_verdict() -> None:
    finding = Finding(rule=SitesRule(block="cnl", sites=SiteSet.of("6, 8")), evidence=FULL, reason="also confirmed")
    assert finding.sentence(get_topology("resnet50")) == (
        "C-NL: positions 6, 8 (of 17): +0.0011 [+0.0004, +0.0018] mAP over the other positions, -1.20 ms per batch, "
        "adjusted p 0.0042, 96 trainings (adopted: also confirmed)"
    )


def test_what_was_not_measured_is_not_said() -> None:
    finding = Finding(rule=MaxBlocks(count=3), verdict="not enough data", reason="4 trainings of 20 needed")
    assert finding.sentence() == "no more than 3 blocks (not enough data: 4 trainings of 20 needed)"
    assert not finding.adopted
    assert Evidence().support() == Evidence().effect_words() == Evidence().time_words() == ""
    assert Evidence(effect=0.0, trainings=1).effect_words() == "+0.0000 mAP"
    assert Evidence(effect=0.0, trainings=1).support() == "1 training"


@pytest.mark.parametrize(
    ("rule", "evidence", "claim"),
    [
        (
            MaxBlocks(count=3),  # following it forgoes what the 4th adds
            Evidence(effect=-0.0001, low=-0.0008, high=0.0006, latency_ms=-3.1),
            "no more than 3 blocks: the 4th adds +0.0001 [-0.0006, +0.0008] mAP, +3.10 ms per batch",
        ),
        (
            StageEnds(strength="preference"),
            Evidence(effect=0.0011, low=0.0004, high=0.0018),
            "prefer the last site of a stage: +0.0011 [+0.0004, +0.0018] mAP",
        ),
        (
            BlockPreference(better="cnl", worse="hac", strength="preference"),
            Evidence(effect=0.0021, latency_ms=-1.2),
            "C-NL over HAC at equal positions: +0.0021 mAP, -1.20 ms per batch",
        ),
        (
            MinDistance(distance=4),
            Evidence(effect=0.0021, low=0.0011, high=0.0031),
            "blocks at least 4 sites apart: each nearer pair brings -0.0021 [-0.0031, -0.0011] mAP",
        ),
        (DistinctStages(), Evidence(effect=0.001), "no two blocks in one stage: each such pair brings -0.0010 mAP"),
        (
            Mix(min_families=2, strength="preference"),
            Evidence(effect=0.0009, latency_ms=3.1),
            "two families of block rather than one: +0.0009 mAP, +3.10 ms per batch",
        ),
        (
            Cost(reference="resnet101", placements={"agw": "1-4"}),
            Evidence(effect=0.0012, low=0.0002, high=0.0022, latency_ms=-9.0),
            "those left out +9.00 ms per batch on average, the best of them -0.0012 [-0.0022, -0.0002] mAP",
        ),
        (MaxBlocks(count=3), Evidence(), "no more than 3 blocks"),
    ],
)
def test_every_family_says_its_numbers(rule: Rule, evidence: Evidence, claim: str) -> None:
    said = Finding(rule=rule, evidence=evidence).claim()
    assert said == claim if not isinstance(rule, Cost) else said.endswith(f": {claim}")


def test_plain_data_reads_back_through_json() -> None:
    rule = rule_from_dict({"stage_ends": True, "strength": "preference", "backbone": "resnet50"})
    finding = Finding(rule=rule, evidence=FULL, verdict="rejected", reason="not worth it")
    assert Finding.from_dict(json.loads(json.dumps(finding.to_dict()))) == finding


def test_numbers_may_come_from_numpy_and_nan_is_not_measured() -> None:
    evidence = Evidence(effect=np.float64(0.5), low=math.nan, high=np.float32("nan"), trainings=2)
    assert (evidence.effect, evidence.low, evidence.high) == (0.5, None, None)
    assert type(evidence.model_dump()["effect"]) is float
    with pytest.raises(ValueError, match="finite"):
        Evidence(effect=math.inf)


def test_wrong_data_is_refused() -> None:
    good = Finding(rule=MaxBlocks(count=3)).to_dict()
    changes: list[tuple[dict[str, object], str]] = [
        ({"verdict": "maybe"}, "'adopted', 'rejected' or 'not enough data'"),
        ({"rul": 1}, "did you mean 'rule'"),
    ]
    for change, words in changes:
        with pytest.raises(SpaceError, match=words):
            Finding.from_dict({**good, **change})
