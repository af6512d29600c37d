"""`tune`: values of the recipe, chosen on validation identities, for everything that the study trains afterwards.

Settings are drawn at random from the space's `recipe:` domains (Bergstra and Bengio 2012) and trained once. The best of
them are trained again in fresh seeds beside the recipe as it is, and only these trainings decide: what was chosen for
its luck is not quoted with it. The recipe stays as it is where no setting is better on average. The space that the
stage leaves varies no recipe values any more.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from nas.errors import StudyError
from nas.results.intervals import mean_interval
from nas.search.context import SELECT, StudyContext, StudyParts
from nas.search.definition import TuneStage
from nas.search.proposals.base import random_draws
from nas.search.stage_results import TuneResult
from nas.search.stages.base import TUNE, Preview, Wish, all_terminal, ask, replicated, seed_of, stage_rows
from nas.search.stages.shrink import store_space
from nas.spaces import Candidate, DesignSpace
from nas.spaces.recipes import RecipeSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo

FINAL_SEEDS = 700
"""Replicates of finalists begin here: seeds in which no setting was chosen."""
DRAWS = 50
"""Draws for each setting that is wanted, before a domain counts as having no more of them."""


class Tune:
    """Handler of `tune` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: TuneStage) -> bool:
        """Asks for the drawn settings, then for the finalists; concludes once."""
        plan = TuneResult.of(stage.result)
        if plan is not None and plan.chosen is not None:
            return True
        space, plain = context.space_of(stage), tuned_network(context, settings)
        if plan is None:
            drawn = draw_settings(space, plain, settings.trainings, _rng(context, stage, space))
            ask(context, stage, [_wish(c, settings) for c in drawn])
            plan = TuneResult(drawn=tuple(drawn))
            context.repository.set_stage(stage.id, result=plan.to_dict())
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        if not plan.finalists:
            plan = replace(plan, finalists=_best(rows, plan.drawn, settings.finalists))
            context.repository.set_stage(stage.id, result=plan.to_dict())
        finals = replicated([_wish(c, settings, batch=1) for c in plan.finalists], settings.seeds)
        wishes = [replace(wish, replicate=FINAL_SEEDS + wish.replicate) for wish in finals]
        rows = stage_rows(context, stage)
        if not (rows["batch"] == 1).any():
            ask(context, stage, wishes)
            rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        seeds = {seed_of(context, wish) for wish in wishes}
        told = conclude(plan, rows[rows["seed"].isin(seeds)])
        left = context.searched
        store_space(context.repository, left, space)
        context.repository.set_stage(stage.id, result=replace(told, space_id=left.id).to_dict())
        return True

    def preview(self, context: StudyParts, space: DesignSpace, settings: TuneStage) -> Preview:
        """Settings once, finalists and the recipe as it is in each fresh seed."""
        drawn = len(draw_settings(space, tuned_network(context, settings), settings.trainings, random.Random(0)))
        finals = min(settings.finalists + 1, drawn) * settings.seeds
        note = f"{drawn} recipes once, the best {settings.finalists} and the recipe as it is x {settings.seeds} seeds"
        return Preview(drawn + finals, context.recipe.at(settings.fidelity).epochs, note=note)


def tuned_network(context: StudyParts, settings: TuneStage) -> Candidate:
    """The network that recipes are compared on, without recipe values of its own."""
    named = context.baselines[0] if settings.network is None else Candidate.parse(settings.network)
    return named.architecture


def check_tunable(context: StudyParts, name: str, settings: TuneStage) -> None:
    """That there is something to tune, and no table in place of trainings.

    Raises:
        StudyError: there is not.
        NasError: the network cannot be read.
    """
    tuned_network(context, settings)
    if context.replay is not None:
        raise StudyError(f"stage {name!r}: a table has values of one recipe only", "leave the stage out")
    if not context.space.recipe:
        raise StudyError(
            f"stage {name!r} has nothing to tune: the space {context.space.name!r} has no `recipe:` domains",
            "write recipe: {base_lr: {log: [1.0e-4, 1.0e-3]}} in the space",
        )


def draw_settings(space: DesignSpace, plain: Candidate, count: int, rng: random.Random) -> list[Candidate]:
    """The recipe as it is, and uniform draws from the domains; fewer where these have fewer settings."""
    domains = RecipeSpace.ordered(space.recipe)
    found = {plain: None}
    for _ in range(DRAWS * count):
        if len(found) >= count:
            break
        values = dict(domains.at(rng.randrange(domains.count()), rng))
        found[Candidate.make(plain.backbone, plain.placements, dict(plain.backbone_params), values)] = None
    return list(found)


def conclude(plan: TuneResult, rows: pd.DataFrame) -> TuneResult:
    """The best finalist by mean mAP over the fresh seeds, and its difference to the recipe as it is, paired by seed.

    Means are over the seeds that the recipe as it is finished. A setting that failed in one of them is not chosen: its
    mean would be over the seeds that it survived.

    Raises:
        StudyError: the recipe as it is finished in none of the seeds.
    """
    named = {candidate.notation: candidate for candidate in plan.finalists}
    plain, *_ = named
    done = rows[(rows["status"] == "finished") & rows["notation"].isin(named)]
    done = done.pivot_table(index="seed", columns="notation", values="map")
    if plain not in done:
        raise StudyError("tune: every training of the recipe as it is failed", "see `nas status`")
    whole = done[done[plain].notna()].dropna(axis="columns")
    means = whole.mean()
    chosen = str(means.idxmax()) if means.max() > means[plain] else plain
    told = replace(
        plan,
        chosen=named[chosen],
        means={named[str(name)]: float(value) for name, value in means.items()},
        failed=tuple(candidate for name, candidate in named.items() if name not in means),
    )
    gained = whole[chosen] - whole[plain]
    if chosen == plain or len(gained) < 2:
        return told
    low, high = mean_interval(gained)
    return replace(told, difference=float(gained.mean()), low=low, high=high)


def _wish(candidate: Candidate, settings: TuneStage, batch: int = 0) -> Wish:
    return Wish(candidate=candidate, role=TUNE, sampler="random", batch=batch, fidelity=settings.fidelity, view=SELECT)


def _best(rows: pd.DataFrame, drawn: tuple[Candidate, ...], count: int) -> tuple[Candidate, ...]:
    """The recipe as it is, and the best others."""
    plain, *others = drawn
    named = {candidate.notation: candidate for candidate in others}
    done = rows[(rows["status"] == "finished") & rows["notation"].isin(named)]
    ranked = done.sort_values(["map", "notation"], ascending=[False, True])["notation"].drop_duplicates()
    return plain, *(named[name] for name in ranked.head(count))


def _rng(context: StudyContext, stage: StageInfo, space: DesignSpace) -> random.Random:
    return random_draws(context.definition.seed, stage.position, "tune")
