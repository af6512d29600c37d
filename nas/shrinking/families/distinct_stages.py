"""Distinct stages: "no two blocks in one stage" - beyond what their distance explains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas.shrinking.analysis import Analysis, FamilyTests, Key
from nas.shrinking.design import pairs_in_one_stage
from nas.shrinking.equivalence import turned
from nas.spaces.findings import Finding
from nas.spaces.rules import DistinctStages

KEY: Key = ("distinct_stages",)


def distinct_stages(analysis: Analysis) -> FamilyTests:
    """The question and conclusion of this family."""
    gain = turned(analysis.fit.term(("same stage",)))
    p = float("nan") if gain is None else gain.p_above()

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        rows = np.asarray(pairs_in_one_stage(analysis.sample) > 0)
        evidence = analysis.evidence(rows, gain, p=p, p_adjusted=adjusted[KEY])
        return [
            analysis.finding(
                DistinctStages(backbone=analysis.scope),
                analysis.judge(gain, adjusted[KEY], evidence.trainings, "same stage"),
                evidence,
            )
        ]

    return FamilyTests({KEY: p}, conclude, {} if gain is None else {KEY: gain})
