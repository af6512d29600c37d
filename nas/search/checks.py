"""Finds what is wrong with a study before anything is written or trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas import networks, training
from nas.data.records import DISTRACTOR, image_keys
from nas.data.views import identity_share, prepared_id
from nas.errors import StudyError, TrainingError, unknown_name
from nas.latency.backends import get_backend
from nas.results.columns import RESULTS
from nas.search.context import FINAL, SELECT, StudyParts, training_device
from nas.search.definition import ConfirmStage, RuleTestStage, RungStage, StageDefinition, StudyDefinition
from nas.search.far_device import check_far_device
from nas.search.proposals import SAMPLERS
from nas.search.stages.base import epochs_of
from nas.search.stages.rule_test import given_rules
from nas.search.stages.shrink import band_of, check_answerable
from nas.search.stages.start import plain_networks
from nas.search.stages.sweep import check_sweep
from nas.search.stages.tune import check_tunable
from nas.search.starts import checkpoint_starts, start_file
from nas.spaces import Candidate
from nas.spaces.notation import format_block
from nas.spaces.plugins import find_part, metric_name

if TYPE_CHECKING:
    from nas.storage import Repository
    from nas.training import Checkpoint, Recipe


def check_study(
    definition: StudyDefinition,
    repository: Repository | None = None,
    *,
    fetch: bool = True,
    begin: Callable[[str], object] = lambda words: None,
) -> None:
    """Loads every part that a user can get wrong: space, recipe, protocol, data, weights, samplers, candidates.

    Args:
        definition: the study.
        repository: where studies are that hand it something; None: where it is not known yet.
        fetch: download published weights that are not on this machine; a dry run takes them for granted.
        begin: called with the words of each step as it begins.

    Raises:
        NasError: one sentence on the first thing that is wrong.
    """
    begin("reading space and recipe")
    context = StudyParts(definition, repository)
    _ = context.space, context.recipe, context.reference
    context.recipe.with_overrides({key: domain.first for key, domain in context.space.recipe.items()})
    _check_head(context)
    begin("looking at what its stages can answer")
    _check_stages(context)
    begin("asking what this machine can train and time")
    training_device(definition)
    if context.times:
        _check_latency(context)
    begin("reading the code and tables that it names")
    if context.replay is not None:
        _ = context.replay.costs
        _check_table_start(context)
    if context.trainer is not None:
        context.trainer.check()
    _check_metrics(context)
    if not context.trains:
        return
    if any(stage.kind != "profile" for stage in definition.named_stages()):
        begin("reading the weights that trainings start from")
        _check_starts(context)
        _check_weights(context, fetch)
        begin("reading the lists of its data")
        _check_data(context)
        _check_teachers(context)


def _check_head(context: StudyParts) -> None:
    """Networks are timed and counted once an architecture, with the one head that they are deployed with."""
    varied = sorted({"head", "pooling"} & set(context.space.recipe))
    if varied and context.has_one_head:
        raise StudyError(
            f"recipe: {varied[0]} cannot vary in a space: times and sizes are of one head for the whole study",
            "write a study for each, and compare them with `nas compare`",
        )


def _check_metrics(context: StudyParts) -> None:
    """Metrics of one's own are there, and are called as nothing else is."""
    names = context.definition.metrics
    if names and not context.trains:
        raise StudyError("metrics: networks are not trained here", "declare them: objective: {..., metrics: [...]}")
    taken = {column.name for column in RESULTS}
    for name in names:
        find_part("metric", name, {})
        column = metric_name(name)
        if column in taken:
            raise StudyError(f"metrics: {column} is the name of another column", "give the function another name")
        taken.add(column)


def _check_table_start(context: StudyParts) -> None:
    """A table's trainings started where the study says."""
    replay, definition = context.replay, context.definition
    if replay is None or replay.is_warm in (None, definition.is_warm):
        return
    said = "trained plain networks" if replay.is_warm else "scratch"
    raise StudyError(
        f"the trainings of {replay.name} start from {said}, those of the study do not",
        "write start: plain" if replay.is_warm else "write start: scratch",
    )


def _check_stages(context: StudyParts) -> None:
    shrunk = False  # what a stage behind a shrink draws from is not known yet
    for stage in context.definition.named_stages():
        shrunk = shrunk or stage.kind in ("shrink", "auto_shrink")
        if stage.kind == "sweep" and not shrunk:
            check_sweep(context.space, stage.settings, stage.name)
        if stage.kind == "search" and stage.settings.sampler not in SAMPLERS:
            raise StudyError(f"stage {stage.name!r}: " + unknown_name("sampler", stage.settings.sampler, SAMPLERS))
        if stage.kind == "search" and stage.settings.sampler == "placement" and context.definition.more_costs:
            further = ", ".join(context.definition.more_costs)
            raise StudyError(
                f"stage {stage.name!r}: the sampler placement weighs mAP against one cost, not {further} too",
                "set sampler: nsga3, nsga2, tpe, gp or random",
            )
        listed = getattr(stage.settings, "candidates", None)
        for text in [*(listed if isinstance(listed, list) else ()), *getattr(stage.settings, "named", ())]:
            Candidate.parse(text)
        if stage.kind == "tune":
            check_tunable(context, stage.name, stage.settings)
        if stage.kind == "test_rules":
            _check_rule_test(context, stage)
        if getattr(stage.settings, "rungs", None):
            _check_rungs(context, stage.name, stage.settings)
        if stage.kind == "shrink":
            check_answerable(context, context.searched, stage.name, stage.settings)
    _check_pretraining(context)
    _check_question(context)


def _check_rungs(context: StudyParts, name: str, settings: RungStage) -> None:
    """No rung stands beyond the end of a training; what is confirmed is trained to it."""
    epochs = epochs_of(context, settings, settings.fidelity)  # type: ignore[attr-defined]
    last = settings.rungs[-1] if settings.rungs is not None and context.replay is None else epochs
    if last > epochs or (last < epochs and isinstance(settings, ConfirmStage)):
        where = "beyond" if last > epochs else "before the end of"
        raise StudyError(
            f"stage {name!r}: the last of its rungs {settings.rungs} is {where} its {epochs} epochs",
            f"end them at {epochs}, or give it fidelity: {{epochs: {last}}}",
        )


def _check_question(context: StudyParts) -> None:
    """Blocks that are compared are blocks of the space."""
    question = context.definition.question
    if isinstance(question, str):
        return
    for name in question.compare:
        if name not in context.space.blocks:
            raise StudyError("question: compare: " + unknown_name("block of the space", name, context.space.blocks))
    if len(set(question.compare)) < 2:
        raise StudyError("question: compare names one block twice", "write compare: [se, cnl]")


def _check_starts(context: StudyParts) -> None:
    """What trainings start from must be there, whole, trained to its end, and fit every backbone."""
    if not context.definition.is_warm:
        return
    starts = checkpoint_starts(context)
    if context.recipe.transfer is not None and starts:
        raise StudyError("transfer and a start both say where a training begins", "give one of them, or start: plain")
    if context.recipe.keep == "none":
        raise StudyError("a start needs a recipe that keeps weights", "set keep: last")
    for start in starts:
        path = start_file(start)
        saved = training.load_checkpoint(path)
        for stage in context.definition.named_stages():
            if start in context.definition.starts_of(stage.settings):
                _check_start_file(context, stage, path, saved)


def _check_start_file(context: StudyParts, stage: StageDefinition, path: Path, saved: Checkpoint) -> None:
    view, fidelity = context.view_of(stage), _fidelity_of(stage)
    size, seed = fidelity.input or context.recipe.input, context.definition.validation.seed
    identities = _trained_on(context, view, fidelity)
    for baseline in plain_networks(context, stage):
        training.check_start(saved, baseline, identities, str(path), size)
    if saved.dataset_id != prepared_id(context.dataset(view), size, fidelity.identities_share, seed):
        raise StudyError(
            f"start: {path} was trained on other images than stage {stage.name!r} trains on",
            "give a start that was trained on the same data; to go on with other data, see transfer",
        )
    _check_unseen(context, saved, view, f"start: {path}")


def _fidelity_of(stage: StageDefinition) -> training.Fidelity:
    return getattr(stage.settings, "fidelity", None) or training.Fidelity()


def _trained_on(context: StudyParts, view: str, fidelity: training.Fidelity) -> int:
    """How many identities trainings of a stage see."""
    seed = context.definition.validation.seed
    records = identity_share(context.dataset(view).train, fidelity.identities_share, seed)
    return len({record.identity for record in records})


def insertion_warnings(definition: StudyDefinition, repository: Repository | None = None) -> list[str]:
    """One sentence for each block of the space that changes a network when it is put in, under a warm start.

    A block that the space offers as the identity too is meant to be compared.
    """
    context = StudyParts(definition, repository)
    if not context.definition.is_warm or not context.trains:
        return []
    found: dict[str, str] = {}
    compared: defaultdict[str, bool] = defaultdict(bool)  # blocks whose identity form is in the space too
    for candidate in context.space.singles():
        (placement,) = candidate.placements
        name = format_block(placement.block, placement.params)
        if name in found:
            continue
        changed = networks.check_insertion(candidate, context.recipe.input)
        found[name] = "" if changed.is_identity else changed.sentence()
        compared[placement.block] |= changed.is_identity
    return [
        f"{name} is no identity when it is put in: it {sentence}; what that spoils of trained features is part of its"
        " differences, which `start: identity` for it would keep out"
        for name, sentence in found.items()
        if sentence and not compared[name.partition("(")[0]]
    ]


def _check_rule_test(context: StudyParts, stage: StageDefinition) -> None:
    settings: RuleTestStage = stage.settings
    context.rule_test_spaces(settings.spaces)
    given = given_rules(context, settings)
    before = [s for s in context.definition.named_stages() if s.position < stage.position]
    bands = {tuple(band_of(context, s).items()) for s in before if s.kind in ("shrink", "auto_shrink")} - {()}
    if given is None and len(bands) > 1:
        raise StudyError(
            f"stage {stage.name!r}: rules of different bands of costs are not tested together",
            "`nas rules export STUDY --stage NAME -o FILE` writes those of one; name them: rules: FILE",
        )


def _check_pretraining(context: StudyParts) -> None:
    """Fine-tuning needs sources, and sources are for fine-tuning."""
    transfer = context.recipe.transfer
    wanted = transfer is not None and transfer.from_pretraining
    if wanted and context.pretraining is None:
        raise StudyError("recipe: transfer from pretrained needs a `pretrain` stage", "or name a checkpoint file")
    if context.pretraining is None:
        return
    if not wanted:
        raise StudyError(
            "a `pretrain` stage needs a recipe that goes on from it",
            "write recipe: {extends: ..., transfer: {from: pretrained, head_epochs: 10}}",
        )
    if context.source_recipe.transfer is not None:
        raise StudyError("the recipe of the pretrain stage has a `transfer` of its own", "leave it out")


def _check_latency(context: StudyParts) -> None:
    if not context.measures_here:
        check_far_device(context)
    else:
        reason = get_backend(context.protocol.backend).unavailable(context.protocol)
        if reason is not None:
            raise StudyError(
                f"latency: backend {context.protocol.backend!r} is not available: {reason}", "see `nas doctor`"
            )


def _check_weights(context: StudyParts, fetch: bool) -> None:
    """Pretrained weights of every backbone, the reference's too, are found and seen to fit before anything starts."""
    recipe = context.here(context.recipe if context.pretraining is None else context.source_recipe)
    if recipe.transfer is not None and not recipe.transfer.from_pretraining:
        if "{id}" not in str(recipe.transfer.source):  # else each candidate has its own
            source, said = recipe.transfer.source, f"recipe: transfer: {recipe.transfer.source}"
            for view in _views(context):
                _check_unseen(context, training.finished_source(source), view, said)
    elif recipe.transfer is None:
        stages = context.definition.named_stages()
        plain = [*(network for stage in stages for network in plain_networks(context, stage)), context.reference]
        training.require_pretrained(plain, recipe, fetch=fetch)


def _check_unseen(context: StudyParts, saved: Checkpoint, view: str, what: str) -> None:
    """A network that hands on what it learned was not trained on images that candidates are judged on.

    Persons whom it knows from other images are not found. An image that lies in both splits of the set tells nothing.
    """
    dataset = context.dataset(view)
    if saved.seen is None:  # of before 0.2, or of published networks: only a whole set can be told
        found = view == SELECT and saved.dataset_id == prepared_id(context.dataset(FINAL), saved.input_size)
    else:
        judged = tuple(r for r in (*dataset.query, *dataset.gallery) if r.identity != DISTRACTOR)
        alone = np.setdiff1d(image_keys(judged, dataset.cache), image_keys(dataset.train, dataset.cache))
        found = bool(np.isin(alone, saved.seen.numpy()).any())
    if found:
        told = "selected on" if view == SELECT else "judged on"
        own = "train it with `nas train --view select`, which holds out validation: {share: 0.25, seed: 0}"
        raise StudyError(
            f"{what} was trained on the persons that candidates are {told}",
            own if view == SELECT else "train it on other data",
        )


def _views(context: StudyParts) -> list[str]:
    """Views that the study trains on, and reads its candidates on."""
    stages = context.definition.named_stages()
    return list(dict.fromkeys(context.view_of(stage) for stage in stages if stage.kind != "profile"))


def _check_data(context: StudyParts) -> None:
    """Every view that is trained on has persons enough for a batch, and can be evaluated on."""
    from nas.data.inspection import require_evaluation

    for view in _views(context):
        _check_batches(context.recipe_of(view), _trained_on(context, view, training.Fidelity()))
        require_evaluation(context.dataset(view))
    for stage in context.definition.named_stages():
        if (fidelity := _fidelity_of(stage)).identities_share < 1:
            view = context.view_of(stage)
            _check_batches(context.recipe_of(view), _trained_on(context, view, fidelity), f"stage {stage.name!r}: ")


def _check_teachers(context: StudyParts) -> None:
    """Teachers are there and can teach at every stage; none has seen the persons that candidates are selected on."""
    for stage in context.definition.named_stages():
        view = context.view_of(stage)
        recipe = context.recipe_of(view)
        if stage.kind == "profile" or recipe.distil is None:
            continue
        fidelity = _fidelity_of(stage)
        size, seed = fidelity.input or recipe.input, context.definition.validation.seed
        data_id = prepared_id(context.dataset(view), size, fidelity.identities_share, seed)
        try:
            teachers = training.check_teachers(context.here(recipe), data_id, size)
        except TrainingError as error:
            raise StudyError(f"stage {stage.name!r}: {error.message}", error.hint) from error
        for teacher in teachers:
            _check_unseen(context, teacher, view, f"stage {stage.name!r}: a teacher")


def _check_batches(recipe: Recipe, identities: int, where: str = "") -> None:
    if identities < recipe.identities:
        raise StudyError(
            f"{where}the recipe's batches hold {recipe.identities} identities, but only {identities} are trained on",
            "set recipe: {extends: ..., identities: N} to fewer, or hold fewer out with validation: {share: ...}",
        )
