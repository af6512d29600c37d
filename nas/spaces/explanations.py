"""Why a candidate is outside a design space: every offending value, with its path and a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nas.spaces.blocks import PUBLISHED, START, Params
from nas.spaces.candidate import BACKBONE_DEFAULTS, Candidate, Placement
from nas.spaces.derived import Derived
from nas.spaces.notation import format_block, format_placement
from nas.spaces.recipes import RecipeSpace
from nas.spaces.rules import Violation
from nas.spaces.rules.base import topology_of
from nas.spaces.site_sets import compact
from nas.spaces.space_file import SpaceFile
from nas.spaces.values import format_value, same_value


def violations(space: SpaceFile, candidate: Candidate) -> Iterator[Violation]:
    """What keeps a candidate outside: first the space's own domains, then each hard rule."""
    yield from _backbone(space, candidate)
    for i, placement in enumerate(candidate.placements):
        yield from _placement(space, candidate, i, placement)
    for key, message in RecipeSpace.ordered(space.recipe).problems(dict(candidate.recipe)):
        yield Violation(None, f"recipe.{key}", message)
    for rule in space.rules:
        if rule.is_hard:
            yield from rule.violations(candidate)


def _backbone(space: SpaceFile, candidate: Candidate) -> Iterator[Violation]:
    if candidate.backbone not in space.backbones:
        message = f"backbone {candidate.backbone} is not in this space; its backbones: {', '.join(space.backbones)}"
        yield Violation(None, "backbone", message)
        return
    variants = space.backbones[candidate.backbone].variants()
    if candidate.backbone_params not in variants:
        for key, default in BACKBONE_DEFAULTS.items():
            value = dict(candidate.backbone_params).get(key, default)
            legal = list(dict.fromkeys(dict(variant).get(key, BACKBONE_DEFAULTS[key]) for variant in variants))
            if not any(same_value(value, known) for known in legal):
                message = f"{key} is {format_value(value)}; legal here: {', '.join(map(format_value, legal))}"
                yield Violation(None, f"backbone_params.{key}", message)


def _placement(space: SpaceFile, candidate: Candidate, i: int, placement: Placement) -> Iterator[Violation]:
    numbers = space.sites.resolve(topology_of(candidate))
    if placement.site not in numbers:
        message = f"site {placement.site} is not in this space; its sites: {compact(numbers)}"
        yield Violation(None, f"placements[{i}].site", message)
    if placement.block not in space.blocks:
        message = f"block {placement.block} is not in this space; its blocks: {', '.join(space.blocks)}"
        yield Violation(None, f"placements[{i}].block", message)
        return
    domain = space.blocks[placement.block]
    # Derived values are legal at the space's own sites; elsewhere there may be none.
    if not domain.derived or (candidate.backbone in space.backbones and placement.site in numbers):
        variants = domain.variants(topology_of(candidate).site(placement.site))
        if placement.params not in variants:
            yield from _params(variants, i, placement, dict(domain.derived))


def _params(
    variants: tuple[Params, ...], i: int, placement: Placement, derived: Mapping[str, Derived]
) -> Iterator[Violation]:
    """Values that no variant has; when only their combination is missing, the first unlike the nearest variant."""
    named = format_placement(placement)
    strange = [(key, value) for key, value in placement.params if not any((key, value) in row for row in variants)]
    for key, value in strange:
        unwritten = {START: PUBLISHED} if key == START else {}
        rows = [{**unwritten, **dict(row)} for row in variants]
        legal = dict.fromkeys(format_value(row[key]) for row in rows if key in row)
        message = f"{named}: {key} is {format_value(value)}; legal here: {', '.join(legal) or 'none'}"
        message += f" ({derived[key].text})" if key in derived else ""
        yield Violation(None, f"placements[{i}].params.{key}", message)
    if not strange:
        nearest = min(variants, key=lambda row: len(set(row) ^ set(placement.params)))
        key = next((key for key, value in placement.params if (key, value) not in nearest), START)
        message = (
            f"{named}: this combination is not in the space; the nearest is {format_block(placement.block, nearest)}"
        )
        yield Violation(None, f"placements[{i}].params.{key}", message)
