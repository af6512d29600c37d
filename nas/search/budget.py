"""Budgets of a study and its stages: whether another training may begin, and what happens when it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.search.definition import Budget

if TYPE_CHECKING:
    from nas.search.context import StudyContext
    from nas.storage import StageInfo
    from nas.storage.control import Spent

CUT = "stopped"
"""Key of a stage's result under which it says which budget ended it."""


def used_up(budget: Budget, spent: Spent) -> str | None:
    """Which part of a budget is spent, as a clause; None while more may begin."""
    for name, unit in (("trainings", "trainings"), ("hours", "hours of training"), ("gpu_hours", "GPU hours")):
        limit, used = getattr(budget, name), getattr(spent, name)
        if limit is not None and used >= limit:
            return f"the budget of {limit:g} {unit} is spent ({used:.4g})"
    return None


def failed_too_often(budget: Budget, spent: Spent) -> str | None:
    """Why a study ends by its failures; None while they are put up with."""
    if budget.failures is None or spent.failures <= budget.failures:
        return None
    return f"{spent.failures} trainings failed and the budget allows {budget.failures} ({spent.failure})"


def _is_set(budget: Budget | None) -> bool:
    return budget is not None and budget != Budget()


def stage_budget(context: StudyContext, stage: StageInfo) -> Budget | None:
    """The budget of a stage, None without one."""
    named = {s.name: s.settings for s in context.definition.named_stages()}
    budget: Budget | None = getattr(named.get(stage.name), "budget", None)
    return budget if _is_set(budget) else None


def close_if_spent(context: StudyContext, stage: StageInfo, budget: Budget | None) -> bool:
    """Ends a stage whose budget is spent as soon as nothing of it runs; True when nothing more of it may be planned."""
    if budget is None:
        return False
    repository = context.repository
    spent = repository.spent(context.study_id, stage.id)
    why = used_up(budget, spent)
    if why is None:
        return False
    dropped = repository.drop_waiting(stage.id)
    if not spent.running:
        left = f"; {dropped} trainings that it had asked for were not begun" if dropped else ""
        repository.set_stage(stage.id, status="finished", result={**(stage.result or {}), CUT: why + left})
    return True


def may_begin(context: StudyContext) -> bool:
    """Whether another training may begin; wishes the end of a study whose budget is spent while there is work left."""
    repository, study_id = context.repository, context.study_id
    whole, parts = context.definition.budget, _parts(context)
    if not _is_set(whole) and not parts:
        return True
    spent = repository.spent(study_id)
    why, failed = failed_too_often(whole, spent), True
    for stage, budget in parts:
        why = why or failed_too_often(budget, repository.spent(study_id, stage.id))
        if stage.status == "running":
            close_if_spent(context, stage, budget)
    if why is None:
        why, failed = used_up(whole, spent), False
    open_stages = (s for s in repository.stages(study_id) if repository.has_open_trainings(s.id))
    if why is None or not (failed or any(open_stages)):
        return why is None
    repository.set_wish(study_id, "stop", why=why, failed=failed)
    return False


def _parts(context: StudyContext) -> list[tuple[StageInfo, Budget]]:
    if not any(_is_set(getattr(s.settings, "budget", None)) for s in context.definition.named_stages()):
        return []
    stages = [(stage, stage_budget(context, stage)) for stage in context.repository.stages(context.study_id)]
    return [(stage, budget) for stage, budget in stages if budget is not None]
