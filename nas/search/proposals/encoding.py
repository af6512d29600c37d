"""Candidates as Optuna sees them: one categorical parameter a site, one a recipe value.

Choices are strings in sorted order (`none` first), because Optuna freezes the choices of a study.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.errors import SpaceError
from nas.spaces import Candidate, DesignSpace

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
        self.options = {site: space.options_at(site) for site in space.sites}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by parameter name."""
        from optuna.distributions import CategoricalDistribution

        found: dict[str, BaseDistribution] = {"backbone": CategoricalDistribution(sorted(self.backbones))}
        for site, options in self.options.items():
            found[site_name(site)] = CategoricalDistribution([EMPTY, *sorted(options)])
        for key, domain in self._space.recipe.items():
            found[f"recipe.{key}"] = _distribution(domain)
        return found

    def encode(self, candidate: Candidate) -> dict[str, Any] | None:
        """Parameters of a candidate, or None when the space has no such values."""
        baseline = candidate.baseline.notation
        if baseline not in self.backbones or not set(candidate.sites) <= set(self.options):
            return None
        params: dict[str, Any] = {"backbone": baseline}
        for site, options in self.options.items():
            placement = candidate.at(site)
            value = EMPTY if placement is None else option_name(placement.block, dict(placement.params))
            if value != EMPTY and value not in options:
                return None
            params[site_name(site)] = value
        values = dict(candidate.recipe)
        if set(values) != set(self._space.recipe):
            return None
        return params | {f"recipe.{key}": values[key] for key in self._space.recipe}

    def decode(self, params: Mapping[str, Any]) -> Candidate | None:
        """The candidate that parameters stand for (rules not checked), or None when it cannot be built."""
        base = self.backbones[params["backbone"]]
        placements = [
            (site, *options[params[site_name(site)]])
            for site, options in self.options.items()
            if params[site_name(site)] != EMPTY
        ]
        recipe = {key: params[f"recipe.{key}"] for key in self._space.recipe}
        try:
            return Candidate.make(base.backbone, placements, dict(base.backbone_params), recipe)
        except SpaceError:
            return None


def site_name(site: int) -> str:
    """Parameter name of a site, e.g. `site08`."""
    return f"site{site:02d}"


def option_name(block: str, params: Mapping[str, Any]) -> str:
    """A placement without its site, as the notation writes it, defaults left out."""
    from nas.spaces.notation import format_placement

    return format_placement(block, params)


def _distribution(domain: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if domain.choices is not None:
        return CategoricalDistribution(list(domain.choices))
    return FloatDistribution(domain.low, domain.high, log=domain.log)
