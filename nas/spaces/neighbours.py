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
            for placements in (*_placements(space, arm, start.placements), *_tied(space, arm, start.placements)):
                yield Candidate(start.backbone, placements, start.backbone_params, start.recipe)
            for recipe in arm.recipe.neighbours(dict(start.recipe)):
                yield Candidate(start.backbone, start.placements, start.backbone_params, recipe)
        else:
            moved = [_moved(space, arm, placement, placement.site) for placement in start.placements]
            kept = tuple(placement for placement in moved if placement is not None)
            if len(kept) == len(moved):
                yield Candidate(arm.backbone, kept, arm.params, start.recipe)


def _moved(space: SpaceFile, arm: Arm, placement: Placement, site: int) -> Placement | None:
    """A block at another site, or at that of another backbone; what is derived from the site follows it."""
    domain, sites = space.blocks.get(placement.block), arm.lattice.sites
    if domain is None or not domain.derived:
        return Placement(site, placement.block, placement.params)
    found = next((domain.moved(placement.params, place) for place in sites if place.number == site), None)
    return None if found is None else Placement(site, placement.block, found)


def _placements(space: SpaceFile, arm: Arm, placed: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
    options = arm.options()
    occupied = {placement.site for placement in placed}
    free = [site for site in options if site not in occupied]
    yield from (_with(placed, option) for site in free for option in options[site])
    for placement in placed:
        rest = tuple(other for other in placed if other != placement)
        yield rest
        yield from (_with(rest, option) for option in options.get(placement.site, ()))
        moved = (_moved(space, arm, placement, site) for site in free)
        yield from (_with(rest, option) for option in moved if option is not None)


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
