"""Candidates as Optuna sees them: one categorical parameter a site, one a recipe value.

Choices are strings in sorted order (`none` first), because Optuna freezes the choices of a study.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optuna.distributions import CategoricalDistribution, FloatDistribution

from nas.errors import SpaceError
from nas.spaces import Candidate, DesignSpace, Placement
from nas.spaces.domains import Domain
from nas.spaces.notation import format_block
from nas.spaces.values import ParamValue

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

EMPTY = "none"


class Encoding:
    """Translates between candidates of a space and Optuna's parameters.

    Parameters are named `backbone`, `site01` .. `site17` and `recipe.<key>`; a site's value is `none`
    or a placement in notation without its site, such as `agw(inner=one)`.
    """

    def __init__(self, space: DesignSpace) -> None:
        self._space = space
        self.backbones = {c.notation: c for c in space.baselines()}
        self.options: dict[int, dict[str, Placement]] = {}
        for backbone in space.backbones:
            for site, placements in space.options(backbone).items():
                named = {option_name(p): p for p in placements}
                self.options[site] = {**self.options.get(site, {}), **named}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by parameter name."""
        found: dict[str, BaseDistribution] = {"backbone": CategoricalDistribution(sorted(self.backbones))}
        for site, options in self.options.items():
            found[site_name(site)] = CategoricalDistribution([EMPTY, *sorted(options)])
        for key, domain in self._space.recipe.items():
            found[f"recipe.{key}"] = _distribution(domain)
        return found

    def encode(self, candidate: Candidate) -> dict[str, ParamValue] | None:
        """Parameters of a candidate, or None when the space has no such values."""
        baseline = candidate.baseline.notation
        if baseline not in self.backbones or not set(candidate.sites) <= set(self.options):
            return None
        params: dict[str, ParamValue] = {"backbone": baseline}
        for site, options in self.options.items():
            placement = candidate.at(site)
            value = EMPTY if placement is None else option_name(placement)
            if value != EMPTY and value not in options:
                return None
            params[site_name(site)] = value
        values = dict(candidate.recipe)
        if not set(values) <= set(self._space.recipe):
            return None
        # A conditional value that is not active still needs a place in Optuna's flat space.
        return params | {f"recipe.{key}": values.get(key, domain.first) for key, domain in self._space.recipe.items()}

    def decode(self, params: Mapping[str, ParamValue]) -> Candidate | None:
        """The candidate that parameters stand for (rules not checked), or None when it cannot be built."""
        base = self.backbones[str(params["backbone"])]
        placements = [
            options[str(params[site_name(site)])]
            for site, options in self.options.items()
            if params[site_name(site)] != EMPTY
        ]
        recipe = self._active({key: params[f"recipe.{key}"] for key in self._space.recipe})
        try:
            return Candidate.make(base.backbone, placements, dict(base.backbone_params), recipe)
        except SpaceError:
            return None

    def _active(self, recipe: dict[str, ParamValue]) -> dict[str, ParamValue]:
        return {key: value for key, value in recipe.items() if self._space.recipe[key].is_active(recipe)}


def site_name(site: int) -> str:
    """Parameter name of a site, e.g. `site08`."""
    return f"site{site:02d}"


def option_name(placement: Placement) -> str:
    """A placement without its site, as the notation writes it, defaults left out."""
    return format_block(placement.block, placement.params)


def _distribution(domain: Domain) -> BaseDistribution:
    if domain.is_finite:
        return CategoricalDistribution(list(domain.values))
    return FloatDistribution(domain.low, domain.high, log=domain.scale == "log")
