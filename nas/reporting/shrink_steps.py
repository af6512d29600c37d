"""The steps by which a study shrank its space: one a `shrink` stage, one a round of `shrink: auto`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nas.reporting.study_data import StudyData


@dataclass(frozen=True)
class ShrinkStep:
    """One derivation with its confirmation.

    Attributes:
        name: the stage, with the number of the round where there are several.
        before, after: candidates in the space before, and in the space left; None when not known.
        proposed: candidates in the proposed child; None when no rule passed.
        kept: whether the child was kept; None while it is not decided.
        why: the decision's reason.
        reopened: sentences about edges that were moved outwards.
    """

    name: str
    before: int | None
    after: int | None
    proposed: int | None
    kept: bool | None
    why: str
    reopened: tuple[str, ...]


def shrink_results(result: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What each step left in a stage's result; empty for stages that shrink nothing."""
    result = result or {}
    rounds = result.get("rounds")
    return [step for step in (rounds if isinstance(rounds, list) else [result]) if isinstance(step, Mapping)]


def shrink_steps(data: StudyData) -> list[ShrinkStep]:
    """All steps of a study, in order; those that have not derived anything yet are left out."""
    sizes = {str(space.get("id")): space.get("size") for space in data.spaces}
    return [
        _step(name, result, sizes)
        for stage in data.stages
        if stage.get("kind") in ("shrink", "auto_shrink")
        for name, result in _named(stage)
        if "space_id" in result or "child_id" in result
    ]


def _named(stage: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    results = shrink_results(stage.get("result"))
    several = stage.get("kind") == "auto_shrink"
    for number, result in enumerate(results, start=1):
        yield f"{stage.get('name')}{f', round {number}' if several else ''}", result


def _step(name: str, result: Mapping[str, Any], sizes: Mapping[str, Any]) -> ShrinkStep:
    left, child = result.get("space_id"), result.get("child_id")
    before = result.get("parent_id") or left
    return ShrinkStep(
        name=name,
        before=_size(sizes, before),
        after=_size(sizes, left),
        proposed=_size(sizes, child),
        kept=None if child is None or left is None else left == child,
        why=str(result.get("why") or ""),
        reopened=tuple(str(edge.get("reason") or "") for edge in result.get("reopened") or ()),
    )


def _size(sizes: Mapping[str, Any], space_id: object) -> int | None:
    size = sizes.get(str(space_id))
    return None if size is None else int(size)


def endings(data: StudyData) -> dict[str, str]:
    """Why each finished `shrink: auto` ended, by stage."""
    return {
        str(stage.get("name")): str(result["why"])
        for stage in data.stages
        if stage.get("kind") == "auto_shrink" and (result := stage.get("result") or {}).get("why")
    }
