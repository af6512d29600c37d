"""`test_rules`: do the rules hold in spaces they were not learned in? Those that follow them against the rest.

For each backbone of the given spaces, uniform draws that follow all rules (constraints and preferences, carried over by
relative sites) and uniform draws that do not. Both sides have the same numbers of blocks: what is tested is where they
are and which, not how many.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nas import shrinking
from nas.files.plain import JsonDict
from nas.search.context import StudyContext, StudyParts
from nas.search.cost_model import Limits
from nas.search.definition import RuleTestStage
from nas.search.handing import as_findings
from nas.search.proposals.base import random_draws
from nas.search.stage_results import Halves, RuleTestResult, Sides
from nas.search.stages.base import (
    Preview,
    Wish,
    all_terminal,
    ask,
    controls,
    epochs_of,
    replicated,
    stage_rows,
    started,
)
from nas.search.stages.single_test import compare_sides, draw_sides, wishes_of
from nas.spaces import Candidate, DesignSpace, Rule, RuleSet, rule_from_dict
from nas.spaces.ruleset import Provenance

if TYPE_CHECKING:
    import pandas as pd

    from nas.storage import StageInfo

FOLLOWS, REST = "follows", "rest"
NOTHING = "no rule was adopted, so there is nothing to test"
TRIES = 4000
"""Uniform draws a backbone among which both halves are looked for: rules that one candidate in 150 follows still find
24 of them."""


class RuleTest:
    """Handler of `test_rules` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: RuleTestStage) -> bool:
        """Draws both halves once, trains them, compares them once."""
        plan = RuleTestResult.of(stage.result)
        if plan is None:
            plan = self._plan(context, stage, settings)
            context.repository.set_stage(stage.id, result=plan.to_dict())
        if plan.tests is not None:
            return True
        for role in (FOLLOWS, REST):
            named = [c for half in plan.halves for c in (half.follows if role == FOLLOWS else half.rest)]
            wishes = [Wish(candidate=c, role=role, sampler="random", fidelity=settings.fidelity) for c in named]
            if role == FOLLOWS:
                baselines = list(dict.fromkeys(c.baseline for c in named))
                wishes += controls(context, settings, baselines, 2 * len(named), fidelity=settings.fidelity)
            ask(context, stage, started(context, settings, replicated(wishes, settings.seeds)))
        ask(context, stage, started(context, settings, wishes_of(plan.single, settings)))
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        unit = context.metric.suffix
        tests, sufficient = _compare(plan, rows, settings.alpha, unit), tuple(compare_sides(plan.single, rows, unit))
        context.repository.set_stage(stage.id, result=replace(plan, tests=tests, sufficient=sufficient).to_dict())
        return True

    def preview(self, context: StudyParts, space: DesignSpace, settings: RuleTestStage) -> Preview:
        """Both halves of every backbone, at most."""
        plain = [b for space in context.rule_test_spaces(settings.spaces) for b in space.baselines()]
        backbones, each = [b.backbone for b in plain], 2 * settings.candidates * settings.seeds
        if settings.single:
            each += 2 * settings.single * settings.seeds + max(settings.seeds, settings.single)
        each += len(controls(context, settings, plain[:1], 2 * settings.candidates)) * settings.seeds
        on = {b: each for b in plain if b != context.baselines[0]}
        trainings, epochs = each * len(plain), epochs_of(context, settings, settings.fidelity)
        note = f"at most {settings.candidates} networks that follow the rules and as many that do not, on "
        return Preview(trainings, epochs, note=note + ", ".join(backbones), on=on, networks=trainings // settings.seeds)

    def _plan(self, context: StudyContext, stage: StageInfo, settings: RuleTestStage) -> RuleTestResult:
        rules = rules_to_test(context, settings)
        if not rules.rules and not settings.single:
            return RuleTestResult(tests=(), why=NOTHING)
        if not rules.rules:
            return RuleTestResult(why=NOTHING, single=_sides(context, stage, settings))
        rng = random_draws(context.definition.seed, stage.position, "halves")
        spaces = context.rule_test_spaces(settings.spaces)
        limits = Limits.of(context, settings)
        halves = [
            draw_halves(one, rules, settings.candidates, rng, limits) for space in spaces for one in by_backbone(space)
        ]
        single = _sides(context, stage, settings)
        return RuleTestResult(rules=rules.to_dict(), halves=tuple(halves), single=single)


def _sides(context: StudyContext, stage: StageInfo, settings: RuleTestStage) -> tuple[Sides, ...]:
    """Networks that tell whether one channel-wise block is sufficient, a backbone each."""
    if not settings.single:
        return ()
    rng = random_draws(context.definition.seed, stage.position, "single")
    spaces = [one for space in context.rule_test_spaces(settings.spaces) for one in by_backbone(space)]
    return tuple(draw_sides(space, settings.single, rng) for space in spaces)


def rules_to_test(context: StudyContext, settings: RuleTestStage) -> RuleSet:
    """The rules of the file, or what the study has adopted so far."""
    given = given_rules(context, settings)
    if given is not None:
        return given
    findings = as_findings(context.repository.findings(context.study_id))
    return _learned_here(context, [finding.rule for finding in findings if finding.adopted])


def given_rules(context: StudyParts, settings: RuleTestStage) -> RuleSet | None:
    """The rules that the study file names or holds; None when it leaves them to the study.

    Raises:
        SpaceError: something is wrong in them.
    """
    if settings.rules is None:
        return None
    if isinstance(settings.rules, str):
        return RuleSet.load(context.definition.beside(settings.rules))
    if isinstance(settings.rules, dict):
        return RuleSet.from_dict(settings.rules)
    return _learned_here(context, [rule_from_dict(data) for data in settings.rules])


def _learned_here(context: StudyParts, rules: list[Rule]) -> RuleSet:
    name = context.definition.name
    return RuleSet.of(rules, Provenance(study=name, backbone=context.baselines[0].backbone), name)


def by_backbone(space: DesignSpace) -> list[DesignSpace]:
    """The space of each backbone alone."""
    data = space.to_dict()
    backbones = data["backbones"]
    assert isinstance(backbones, dict)
    return [
        DesignSpace.from_dict({**data, "name": f"{space.name}-{name}", "backbones": {name: backbones[name]}})
        for name in space.backbones
    ]


def draw_halves(
    space: DesignSpace, rules: RuleSet, count: int, rng: random.Random, limits: Limits | None = None
) -> Halves:
    """Draws from both sides, with the same number of blocks on either side, pair by pair.

    Args:
        space: a space of one backbone.
        rules: what is to be followed.
        count: networks of each half; fewer where the space has not as many.
        rng: what is drawn with.
        limits: on what networks cost.
    """
    backbone = next(iter(space.backbones))
    drawn = [c for c in space.sample(min(TRIES, space.size()), rng, distinct=True) if c.placements]
    drawn = [c for c in drawn if limits is None or limits.admit(c)]
    sides: dict[bool, list[Candidate]] = {True: [], False: []}
    for candidate in drawn:
        sides[follows(rules, candidate)].append(candidate)
    pairs = _paired(sides[True], sides[False])[:count]
    return Halves(backbone, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def follows(rules: RuleSet, candidate: Candidate) -> bool:
    """Whether a candidate keeps every constraint and every preference."""
    said = rules.admits(candidate)
    return bool(said) and said.score >= 1.0


def _paired(left: Sequence[Candidate], right: Sequence[Candidate]) -> list[tuple[Candidate, Candidate]]:
    """Pairs with equal numbers of blocks, in the order of the draws."""
    waiting: defaultdict[int, deque[Candidate]] = defaultdict(deque)
    for candidate in right:
        waiting[len(candidate.placements)].append(candidate)
    return [(c, partners.popleft()) for c in left if (partners := waiting[len(c.placements)])]


def _compare(plan: RuleTestResult, rows: pd.DataFrame, alpha: float, unit: str) -> tuple[JsonDict, ...]:
    def of(side: Sequence[Candidate]) -> pd.DataFrame:
        return rows[rows["candidate_id"].isin({candidate.id for candidate in side})]

    tables = {half.backbone: (of(half.follows), of(half.rest)) for half in plan.halves}
    return tuple(test.to_dict() for test in shrinking.compare_halves(tables, alpha=alpha, unit=unit))
