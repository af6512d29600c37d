"""From a results table to findings: every family's questions, one false discovery rate, every family's conclusions.

This is the whole of a shrink step's thinking; drawing fresh candidates and training them is left to the study. The
same table, space, settings and seed give the same findings.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypedDict, TypeVar, Unpack

import numpy as np
import pandas as pd
import scipy

from nas.progress import Progress, silent
from nas.results.placement_costs import Times, placement_costs, time_of
from nas.shrinking.analysis import Analysis, FamilyTests, QuestionCount, Reference
from nas.shrinking.child import keep_reach, reach_of, settle
from nas.shrinking.families import FAMILY_TESTS
from nas.shrinking.sample import FinishedTrainings, Sample, draw_samples
from nas.shrinking.settings import RuleFamily, ShrinkSettings
from nas.shrinking.sight import Sight, sights, tested
from nas.spaces.candidate import Candidate, as_candidate
from nas.spaces.findings import Finding
from nas.spaces.space import DesignSpace

H = TypeVar("H", bound=Hashable)


class Derivation(NamedTuple):
    """What a table says, and what it could have said.

    Attributes:
        findings: in the order of the families; rejected and undecided ones too.
        sights: what the questions of each family could see.
    """

    findings: list[Finding]
    sights: list[Sight]


class Options(TypedDict, total=False):
    """Keywords of `derive`."""

    families: Sequence[RuleFamily] | None
    latency: Times | None
    reference: Candidate | str | None
    alpha: float | None
    margin: float | None
    settings: ShrinkSettings | None
    stage: str | None
    seed: int
    progress: Progress


def derive_findings(table: pd.DataFrame, space: DesignSpace, **options: Unpack[Options]) -> list[Finding]:
    """The findings of `derive`, which has the same arguments."""
    return derive(table, space, **options).findings


def derive(
    table: pd.DataFrame,
    space: DesignSpace,
    *,
    families: Sequence[RuleFamily] | None = None,
    latency: Times | None = None,
    reference: Candidate | str | None = None,
    alpha: float | None = None,
    margin: float | None = None,
    settings: ShrinkSettings | None = None,
    stage: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Derivation:
    """The rules a results table speaks for, against, or cannot decide.

    Args:
        table: one row a training (columns as in `Repository.results`; `notation`, `map` and `status` at least).
        space: the space the candidates were drawn from.
        families: families of rules to test; None: those of the settings.
        latency: measured latencies, beside those in the table (a function is asked for every single placement).
        reference: the network a good placement must beat.
        alpha: false discovery rate; None: that of the settings.
        margin: mAP within which two choices count as equal; None: that of the settings.
        settings: all levels, margins and families.
        stage: name of the stage, kept with the evidence.
        seed: of permutations.
        progress: told after each family.

    Raises:
        StudyError: when the table lacks a needed column.
    """
    settings = _changed(settings or ShrinkSettings(), families, alpha, margin)
    compared = None if reference is None else as_candidate(reference)
    analyses = analyses_of(table, space, latency, compared, settings, stage, seed)
    tests = ask(analyses, progress)
    settled = settle(_conclude([test for _, test in tests]), space)
    widest = max((reach_of(analysis) for analysis in analyses), key=lambda reach: reach.useful)
    return Derivation(keep_reach(settled, space, widest), sights(tests, settings.alpha, settings.unit))


def ask(analyses: Sequence[Analysis], progress: Progress = silent) -> list[tuple[RuleFamily, FamilyTests]]:
    """All questions of a stage, family by family, backbone by backbone; which can be tested, the design decides."""
    tests: list[tuple[RuleFamily, FamilyTests]] = []
    chosen = [family for family in FAMILY_TESTS if analyses and family in analyses[0].settings.families]
    for done, family in enumerate(chosen, 1):
        tests += [(family, FAMILY_TESTS[family](analysis)) for analysis in analyses]
        progress(done, len(chosen), family)
    if analyses:
        analyses[0].asked.number = tested(test for _, test in tests)
    return tests


def adjust(p_values: Mapping[H, float]) -> dict[H, float]:
    """Adjusted p values: a hypothesis with adjusted p <= q is a discovery at false discovery rate q.

    >>> {k: round(p, 3) for k, p in adjust({"a": 0.01, "b": 0.04, "c": 0.5}).items()}
    {'a': 0.03, 'b': 0.06, 'c': 0.5}

    Source: Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS B 57 (1995).

    Args:
        p_values: p value by hypothesis; NaN (could not be tested) is left out of the count and stays NaN.
    """
    known = {key: min(max(p, 0.0), 1.0) for key, p in p_values.items() if not np.isnan(p)}
    found = scipy.stats.false_discovery_control(list(known.values())) if known else ()
    return dict.fromkeys(p_values, math.nan) | dict(zip(known, map(float, found), strict=True))


def _conclude(tests: Sequence[FamilyTests]) -> list[Finding]:
    adjusted = adjust({(number, key): p for number, test in enumerate(tests) for key, p in test.p_values.items()})
    return [
        finding
        for number, test in enumerate(tests)
        for finding in test.conclude({key: adjusted[number, key] for key in test.p_values})
    ]


def _changed(
    settings: ShrinkSettings, families: Sequence[RuleFamily] | None, alpha: float | None, margin: float | None
) -> ShrinkSettings:
    given = {"families": None if families is None else tuple(families), "alpha": alpha, "margin": margin}
    return replace(settings, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]


def analyses_of(
    table: pd.DataFrame,
    space: DesignSpace,
    latency: Times | None,
    reference: Candidate | None,
    settings: ShrinkSettings,
    stage: str | None,
    seed: int,
) -> list[Analysis]:
    """One analysis a backbone of the space; see `derive` for the arguments."""
    samples, asked = draw_samples(table), QuestionCount()
    compared = _reference(samples, reference, table, latency) if reference else None
    return [
        Analysis(
            sample=(sample := samples.get(backbone) or empty_sample(backbone)),
            space=space,
            costs=placement_costs(backbone, _asked(space, sample), table, latency),
            settings=settings,
            reference=compared,
            seed=seed,
            stage=stage,
            asked=asked,
            seconds=float(pd.to_numeric(table["seconds"]).mean()) if "seconds" in table else math.nan,
        )
        for backbone in space.backbones
    ]


def _asked(space: DesignSpace, sample: Sample) -> list[Candidate]:
    """Whose latency is of use: the baselines, every single placement, and the sample."""
    return [*space.baselines(), *space.singles(), *sample.candidates]


def empty_sample(backbone: str) -> Sample:
    """The sample of a backbone nobody trained."""
    nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
    return Sample(
        backbone, (), nothing, none, none, FinishedTrainings(none, none, nothing, none), float("nan"), nothing, ()
    )


def _reference(
    samples: Mapping[str, Sample], candidate: Candidate, table: pd.DataFrame, latency: Times | None
) -> Reference:
    sample = samples.get(candidate.backbone)
    rows = [i for i, c in enumerate(sample.candidates) if c == candidate] if sample is not None else []
    time = time_of(candidate, table, latency)
    if sample is None or not rows or not np.isfinite(sample.score[rows[0]]):
        return Reference(candidate.notation, None, 0, time)
    return Reference(candidate.notation, float(sample.score[rows[0]]), int(sample.finished[rows[0]]), time)
