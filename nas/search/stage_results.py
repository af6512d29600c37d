"""What stages leave behind: one frozen type a kind of stage, stored and read back by the names of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, TypeAdapter
from pydantic.dataclasses import dataclass

from nas.files.plain import JsonDict
from nas.shrinking.auto import AutoStep
from nas.shrinking.confirmation import Confirmation
from nas.spaces import Candidate
from nas.storage.records import StageInfo


def _candidate(written: Candidate | str) -> Candidate:
    return written if isinstance(written, Candidate) else Candidate.parse(written)


Drawn = Annotated[Candidate, PlainValidator(_candidate), PlainSerializer(lambda candidate: candidate.notation)]
"""A candidate, stored in its notation."""
Draws = Annotated[tuple[Drawn, ...], BeforeValidator(lambda written: () if isinstance(written, Mapping) else written)]
"""Fresh draws; databases of before 0.2.0 hold the space itself where no rule passed."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a stage has concluded so far.

    Attributes:
        space_id: the space it leaves to the stages after it; None where it has not decided, or decides none.
        why: the reason, in a sentence.
    """

    space_id: str | None = None
    why: str | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """The result of a stage as it is stored; None before there is one."""
        return None if stored is None else TypeAdapter(cls).validate_python(stored)

    def to_dict(self) -> JsonDict:
        """Plain data, without what is not known."""
        found: JsonDict = TypeAdapter(type(self)).dump_python(self, mode="json", exclude_none=True)
        return found


@dataclass(frozen=True, kw_only=True)
class MovedEdge:
    """A rule that was too tight, the rule with its edge moved outwards (None: dropped), and why."""

    rule: JsonDict
    relaxed: JsonDict | None = None
    p: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class ShrinkResult(StageResult):
    """A derivation of rules, with its confirmation once that is done.

    Attributes:
        alpha: false discovery rate that it was allowed; None before anything was derived.
        questions: what was asked of each family, and what could have been seen.
        parent_id, child_id: the space before and the proposed one; None when no rule passed.
        reopened: edges that were moved outwards, with why.
        parent, child: fresh draws of either side.
        confirmation: what they said.
    """

    alpha: float | None = None
    questions: tuple[JsonDict, ...] = ()
    parent_id: str | None = None
    child_id: str | None = None
    reopened: tuple[MovedEdge, ...] = ()
    parent: Draws = ()
    child: Draws = ()
    confirmation: Confirmation | None = None


@dataclass(frozen=True, kw_only=True)
class RoundResult(ShrinkResult):
    """One round of an automatic shrink: the plan that it was opened with, then what was derived."""

    plan: AutoStep


@dataclass(frozen=True, kw_only=True)
class AutoShrinkResult(StageResult):
    """The rounds of an automatic shrink; `done` when there will be no more, for the reason `why`."""

    rounds: tuple[RoundResult, ...] = ()
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class TuneResult(StageResult):
    """Recipes as candidates on one network: those tried once, and the finalists in fresh seeds.

    Attributes:
        drawn: what is tried, the recipe as it is first.
        finalists: what is trained again, likewise.
        chosen: the best finalist; None before it is known.
        means: the metric's mean over the fresh seeds.
        failed: finalists that failed in one of them.
        difference, low, high: the chosen one minus the recipe as it is, paired by seed, with its 95 % interval.
    """

    drawn: tuple[Drawn, ...] = ()
    finalists: tuple[Drawn, ...] = ()
    chosen: Drawn | None = None
    means: dict[Drawn, float] = field(default_factory=dict)
    failed: tuple[Drawn, ...] = ()
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @staticmethod
    def recipe_of(stages: Iterable[StageInfo]) -> dict[str, object] | None:
        """The recipe values that a study's `tune` stage chose; None before it has, and without one."""
        results = (TuneResult.of(stage.result) for stage in stages if stage.kind == "tune")
        recipes: Iterator[dict[str, object]] = (dict(f.chosen.recipe) for f in results if f and f.chosen)
        return next(recipes, None)


@dataclass(frozen=True, kw_only=True)
class ConfirmResult(StageResult):
    """That a confirmation has chosen its networks, which are its trainings."""

    chosen: bool = True


@dataclass(frozen=True)
class Halves:
    """Networks of one backbone: those that follow the rules, and as many that do not."""

    backbone: str
    follows: tuple[Drawn, ...] = ()
    rest: tuple[Drawn, ...] = ()


@dataclass(frozen=True)
class Sides:
    """Networks of one backbone: the plain one, some with one channel-wise block, and some with several blocks."""

    backbone: str
    plain: tuple[Drawn, ...] = ()
    single: tuple[Drawn, ...] = ()
    several: tuple[Drawn, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RuleTestResult(StageResult):
    """The rules that are tested, the networks they are tested by, and the tests once these are trained.

    `single` and `sufficient` are the networks and the tests of whether one channel-wise block is enough.
    """

    rules: JsonDict | None = None
    halves: tuple[Halves, ...] = ()
    tests: tuple[JsonDict, ...] | None = None
    single: tuple[Sides, ...] = ()
    sufficient: tuple[JsonDict, ...] = ()
