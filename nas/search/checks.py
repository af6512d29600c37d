"""Finds what is wrong with a study before anything is written or trained."""

from __future__ import annotations

from nas.errors import StudyError, unknown_name
from nas.search.context import FINAL, StudyContext, training_device
from nas.search.definition import StudyDefinition


def check_study(definition: StudyDefinition) -> None:
    """Loads every part that a user can get wrong: space, recipe, protocol, data, samplers, candidates.

    Raises:
        NasError: one sentence on the first thing that is wrong.
    """
    context = StudyContext(definition, None, 0)  # type: ignore[arg-type]
    _ = context.space, context.recipe, context.reference
    context.recipe.with_overrides({key: domain.first for key, domain in context.space.recipe.items()})
    _check_stages(context)
    training_device(definition)
    if context.replay is not None:
        return
    _check_latency(context)
    if any(stage.kind != "profile" for stage in definition.named_stages()):
        _check_weights(context)
        context.dataset(FINAL)
        _check_batches(context, len({r.identity for r in context.dataset(context.search_view).train}))


def _check_stages(context: StudyContext) -> None:
    from nas.search.proposals import SAMPLERS
    from nas.spaces import Candidate

    for stage in context.definition.named_stages():
        if stage.kind == "search" and stage.settings.sampler not in SAMPLERS:
            raise StudyError(f"stage {stage.name!r}: " + unknown_name("sampler", stage.settings.sampler, SAMPLERS))
        if stage.kind == "confirm":
            for text in stage.settings.candidates:
                Candidate.parse(text)


def _check_latency(context: StudyContext) -> None:
    from nas.latency.backends import get_backend

    if not context.measures_here:
        from nas.search.far_device import check_far_device

        check_far_device(context)
    else:
        reason = get_backend(context.protocol.backend).unavailable(context.protocol)
        if reason is not None:
            raise StudyError(
                f"latency: backend {context.protocol.backend!r} is not available: {reason}", "see `nas doctor`"
            )


def _check_weights(context: StudyContext) -> None:
    """Pretrained weights of every backbone, the reference's too, are found and seen to fit before anything starts."""
    from nas.training.pretrained import require_pretrained

    if context.recipe.transfer is None:
        require_pretrained((*context.baselines, context.reference), context.recipe)


def _check_batches(context: StudyContext, identities: int) -> None:
    if identities < context.recipe.identities:
        raise StudyError(
            f"the recipe's batches hold {context.recipe.identities} identities, but only {identities} are trained on",
            "set recipe: {extends: ..., identities: N} to fewer, or hold fewer out with validation: {share: ...}",
        )
