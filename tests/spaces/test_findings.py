"""Findings: evidence in words and in files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nas.errors import SpaceError
from nas.spaces import Evidence, Finding, get_topology
from nas.spaces.rules import MaxBlocks, SitesRule, rule_from_dict
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
        "C-NL: positions 6, 8 (of 17): +0.0011 [+0.0004, +0.0018] mAP, -1.20 ms a batch, adjusted p 0.0042, "
        "96 trainings (adopted: also confirmed)"
    )


def test_what_was_not_measured_is_not_said() -> None:
    finding = Finding(rule=MaxBlocks(count=3), verdict="not enough data", reason="4 trainings of 20 needed")
    assert finding.sentence() == "no more than 3 blocks (not enough data: 4 trainings of 20 needed)"
    assert not finding.adopted
    assert Evidence().sentence() == ""
    assert Evidence(effect=0.0, trainings=1).sentence() == "+0.0000 mAP, 1 training"


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
    for change, words in [
        ({"verdict": "maybe"}, "'adopted', 'rejected' or 'not enough data'"),
        ({"rul": 1}, "did you mean 'rule'"),
    ]:
        with pytest.raises(SpaceError, match=words):
            Finding.from_dict({**good, **change})
