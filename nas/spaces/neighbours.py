"""The candidates one change away from a candidate, before asking which of them are in the space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas.spaces.arms import Arm
from nas.spaces.candidate import Candidate, Placement
from nas.spaces.rules import Tie
from nas.spaces.space_file import SpaceFile


def changes(space: SpaceFile, arms: Sequence[Arm], start: Candidate) -> Iterator[Candidate]:
    """Blocks added, removed, moved, exchanged or set differently; recipe values and the backbone changed."""
    for arm in arms:
        if (arm.backbone, arm.params) == (start.backbone, start.backbone_params):
            for placements in (*_placements(arm, start.placements), *_tied(space, arm, start.placements)):
                yield Candidate(start.backbone, placements, start.backbone_params, start.recipe)
            for recipe in arm.recipe.neighbours(dict(start.recipe)):
                yield Candidate(start.backbone, start.placements, start.backbone_params, recipe)
        else:
            yield Candidate(arm.backbone, start.placements, arm.params, start.recipe)


def _placements(arm: Arm, placed: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
    options = arm.options()
    occupied = {placement.site for placement in placed}
    free = [site for site in options if site not in occupied]
    yield from (_with(placed, option) for site in free for option in options[site])
    for placement in placed:
        rest = tuple(other for other in placed if other != placement)
        yield rest
        yield from (_with(rest, option) for option in options.get(placement.site, ()))
        yield from (_with(rest, Placement(site, placement.block, placement.params)) for site in free)


def _tied(space: SpaceFile, arm: Arm, placed: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
    """Another form of a tied block, at all its sites at once; what else is set there stays as far as it can."""
    ties = [rule for rule in space.rules if isinstance(rule, Tie) and rule.is_hard and rule.applies_to(arm.backbone)]
    options = arm.options()

    def form(placement: Placement) -> tuple[object, ...]:
        return tuple(value for tie in ties for value in tie.form(placement.block, placement.params))

    for block in dict.fromkeys(p.block for p in placed if form(p)):
        sites = {p.site: p for p in placed if p.block == block}
        for wanted in dict.fromkeys(
            form(option) for site in sites for option in options[site] if option.block == block
        ):
            rows = {site: [o for o in options[site] if o.block == block and form(o) == wanted] for site in sites}
            if all(rows.values()):
                changed = [_nearest(rows[site], placement) for site, placement in sites.items()]
                yield tuple(sorted((*(p for p in placed if p.block != block), *changed)))


def _nearest(options: Sequence[Placement], placement: Placement) -> Placement:
    """The option that differs from a placement in the fewest hyperparameters."""
    return min(options, key=lambda option: len(set(option.params) ^ set(placement.params)))


def _with(placed: tuple[Placement, ...], new: Placement) -> tuple[Placement, ...]:
    return tuple(sorted((*placed, new)))
