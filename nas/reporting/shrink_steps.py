"""The steps by which a study shrank its space: one a `shrink` stage, one a round of `shrink: auto`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shrink_results(result: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What each step left in a stage's result; empty for stages that shrink nothing."""
    result = result or {}
    rounds = result.get("rounds")
    return [step for step in (rounds if isinstance(rounds, list) else [result]) if isinstance(step, Mapping)]


def not_asked(stages: list[Mapping[str, Any]]) -> list[str]:
    """One sentence for each family of rules that was asked for and that no step had anything to ask of."""
    questions = [question for _, step in named_steps(stages) for question in step.get("questions") or ()]
    asked = {question["family"] for question in questions if question["questions"] or question["untold"]}
    said = {question["family"]: f"Rules of {question['sentence']}." for question in questions}
    return [sentence for family, sentence in said.items() if family not in asked]


def named_steps(stages: list[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The steps that have derived something, in order, with the stage (and the round where there are several)."""
    return [
        (f"{stage.get('name')}{f', round {number}' if stage.get('kind') == 'auto_shrink' else ''}", step)
        for stage in stages
        if stage.get("kind") in ("shrink", "auto_shrink")
        for number, step in enumerate(shrink_results(stage.get("result")), start=1)
        if "space_id" in step or "child_id" in step
    ]
