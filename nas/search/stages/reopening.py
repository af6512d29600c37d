"""Edges that shrinking set too tightly: moved outwards again in the next proposal, and kept if fresh draws agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from nas import shrinking
from nas.files.plain import JsonDict
from nas.search.context import StudyContext
from nas.search.stage_results import MovedEdge
from nas.spaces import DesignSpace, Evidence, Finding, Rule
from nas.spaces.rules import rule_from_dict

if TYPE_CHECKING:
    from nas.shrinking import Reopening
    from nas.storage import StageInfo


def widened(
    context: StudyContext, space: DesignSpace, samples: pd.DataFrame, seed: int
) -> tuple[DesignSpace, list[Reopening]]:
    """The space with those edges moved at which its winners crowd, and which edges they are.

    Args:
        context: the study; only rules that its stages added to its own space are looked at.
        space: the space that may be too tight.
        samples: unbiased trainings.
        seed: of the permutations.
    """
    edges = shrinking.reopen(samples, context.space, space, seed=seed) if len(samples) else []
    return (shrinking.reopened_space(context.space, space, edges) if edges else space), edges


def moved_edges(edges: Sequence[Reopening]) -> tuple[MovedEdge, ...]:
    """The edges as a stage's result holds them."""
    return tuple(
        MovedEdge(
            rule=edge.rule.to_dict(),
            relaxed=None if edge.relaxed is None else edge.relaxed.to_dict(),
            p=edge.p,
            reason=edge.reason,
        )
        for edge in edges
    )


def replace_reopened(
    context: StudyContext, stage: StageInfo, batch: int, edges: Sequence[MovedEdge], band: Mapping[str, float] = {}
) -> None:
    """In a band of costs, the rules whose edges were moved no longer hold; the moved ones do. Both say why."""
    if not edges:
        return
    reasons = {rule_from_dict(edge.rule): edge.reason for edge in edges}
    rows = context.repository.findings(context.study_id)
    for stage_id in dict.fromkeys([*(row["stage_id"] for row in rows), stage.id]):
        own = [_undone(row, reasons, band) for row in rows if row["stage_id"] == stage_id]
        if stage_id == stage.id:
            opened = [(rule_from_dict(edge.relaxed), edge) for edge in edges if edge.relaxed is not None]
            own += [_moved(rule, edge, stage.name, batch, band) for rule, edge in opened]
        context.repository.store_findings(context.study_id, stage_id, own)


def _undone(row: Mapping[str, Any], reasons: Mapping[Rule, str], band: Mapping[str, float]) -> JsonDict:
    kept = {key: value for key, value in row.items() if key not in ("stage_id", "stage")}
    held = row["verdict"] == "adopted" and (row.get("evidence") or {}).get("within", {}) == band
    why = reasons.get(rule_from_dict(row["rule"])) if held else None
    return kept if why is None else {**kept, "verdict": "rejected", "reason": f"re-opened: {why}"}


def _moved(rule: Rule, edge: MovedEdge, stage: str, batch: int, band: Mapping[str, float]) -> JsonDict:
    method = "winners at the edge of a rule, permutation null"
    evidence = Evidence(p=edge.p, stage=stage, method=method, within=dict(band))
    found = Finding(rule=rule, evidence=evidence, reason=f"re-opened: {edge.reason}")
    return {**found.to_dict(), "sentence": found.sentence(), "round": batch}
