"""A study may grow: what may be raised, or appended, when a study file is run again under its name.

What is there stays, what is new is added. Another seed, space, recipe, data set or kind of stage is another study;
words, and other ways to write the same, never are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas import training
from nas.errors import NasError, StudyError
from nas.search.definition import EXECUTION_KEYS, StageDefinition, StudyDefinition
from nas.search.stage_results import AutoShrinkResult
from nas.spaces import DesignSpace

if TYPE_CHECKING:
    from nas.storage import Repository

GROWS: Mapping[str, tuple[str, ...]] = {
    "sweep": ("candidates", "seeds", "named"),
    "shrink": ("confirm", "seeds", "named"),
    "auto_shrink": ("trainings", "hours", "rounds", "named"),
    "search": ("trainings", "seeds", "named"),
    "confirm": ("max_candidates", "seeds", "candidates", "named"),
    "start": ("plain",),
}
"""Settings of a stage that may be raised: numbers upwards, lists by what is appended."""
DERIVED = ("shrink", "confirm", "test_rules")
"""Stages whose results were drawn from those before: they are done again when one of these has grown."""
LIMITS = ("budget", "stagnation")
"""Settings that say when a stage is to end: they may change either way."""
_DATA = frozenset({"data", "objective"})
_APART = frozenset({"stages", "space", "recipe"})


@dataclass(frozen=True)
class Growth:
    """How a study file differs from what was run under its name.

    Attributes:
        words: what was raised or appended, one sentence each; empty when nothing was.
        stages: positions of the stages that have more to do.
    """

    words: tuple[str, ...] = ()
    stages: tuple[int, ...] = ()


def growth(known: StudyDefinition, now: StudyDefinition, same_data: Callable[[], bool]) -> Growth:
    """What a study has grown by.

    Args:
        known: as it was run last.
        now: as the file says.
        same_data: whether data that are written otherwise have the same content; asked only where it matters.

    Raises:
        StudyError: the new file means another study; says what differs.
    """
    changed = _changed_keys(known, now, same_data)
    if "seed" in changed:
        raise StudyError(
            f"study {now.name!r} was begun with seed {known.seed}, not {now.seed}: a study grows with its own seed",
            "raise `seeds` of a stage for more trainings a candidate, or give this study another name",
        )
    before, after = known.named_stages(), now.named_stages()
    changed += [problem for a, b in zip(before, after, strict=False) for problem in _other_meaning(a, b)]
    changed += ["stages left out"] if len(after) < len(before) else []
    if changed:
        raise StudyError(
            f"the database holds a study {now.name!r} made from another file (changed: {', '.join(changed)})",
            "give this one another name (finished trainings are shared, not repeated), or delete that one;"
            " what may grow: candidates, seeds, trainings, confirm, and stages appended at the end",
        )
    raised = [(b.position, words) for a, b in zip(before, after, strict=False) for words in _raised(a, b)]
    raised += [(stage.position, f"stage {stage.name} appended") for stage in after[len(before) :]]
    return Growth(tuple(words for _, words in raised), tuple(position for position, _ in raised))


def _changed_keys(known: StudyDefinition, now: StudyDefinition, same_data: Callable[[], bool]) -> list[str]:
    """Keys of the file that mean something else now."""
    plain, other = (
        d.model_dump(mode="json", exclude={"source", "profiles", "workers", "database"}) for d in (known, now)
    )
    keys = [key for key in plain if key not in EXECUTION_KEYS | _APART and plain[key] != other[key]]
    if set(keys) & _DATA and same_data():
        keys = [key for key in keys if key not in _DATA]
    keys += [] if _same_space(known.space, now.space) else ["space"]
    return keys + ([] if training.load_recipe(known.recipe).id == training.load_recipe(now.recipe).id else ["recipe"])


def _same_space(known: Any, now: Any) -> bool:
    """Whether two spaces hold the same candidates with the same numbers, whatever they are called."""
    if known == now:
        return True
    try:
        return DesignSpace.from_dict(known).id == DesignSpace.from_dict(now).id
    except NasError:
        return False


def _other_meaning(known: StageDefinition, now: StageDefinition) -> list[str]:
    """Settings of a stage that were changed otherwise than by raising what may grow."""
    if (known.name, known.kind) != (now.name, now.kind):
        return [f"stage {known.position + 1} was {known.name}, now it is {now.name}"]
    free = GROWS.get(now.kind, ())
    old, new = known.stored(), now.stored()
    return [
        f"{now.name}.{key}"
        for key in new
        if old.get(key) != new[key] and key not in LIMITS and not (key in free and _is_more(old.get(key), new[key]))
    ]


def _is_more(old: Any, new: Any) -> bool:
    """Whether a number was raised, or a list appended to."""
    if isinstance(old, list) and isinstance(new, list):
        return new[: len(old)] == old
    numbers = not any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in (old, new))
    return numbers and new > old


def _raised(known: StageDefinition, now: StageDefinition) -> list[str]:
    old, new = known.stored(), now.stored()
    return [f"{now.name}.{key}: {old.get(key)} to {new[key]}" for key in new if old.get(key) != new[key]]


def reopen(repository: Repository, study_id: int, grown: Growth) -> None:
    """Lets stages that have more to do go on, and those that were concluded from them be concluded again."""
    if not grown.stages:
        return
    for stage in repository.stages(study_id):
        later = stage.position > min(grown.stages) and stage.kind in DERIVED
        if (later or stage.position in grown.stages) and stage.status != "waiting":
            kept = AutoShrinkResult.of(stage.result) if stage.kind == "auto_shrink" else None
            left = None if kept is None else AutoShrinkResult(rounds=kept.rounds).to_dict()
            repository.set_stage(stage.id, status="waiting", result=left)
