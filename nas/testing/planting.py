"""Landscapes drawn at random, by kind: what benchmarks plant, at the paper's effect sizes and noise.

Effects are 0.001 to 0.005 mAP and a training's seed noise is 0.001, as in Eisenbach et al. (2023). Kinds whose name
begins with `null` have nothing to find: any rule adopted there is a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from nas.errors import StudyError, unknown_name
from nas.spaces.sites import get_topology
from nas.spaces.space import DesignSpace
from nas.testing.landscapes import Floats, Landscape

Generator = np.random.Generator

BLOCKS = ("se", "hac", "agw", "cnl")
SMALLEST, LARGEST = 0.001, 0.005


def draw_landscape(kind: str, seed: int, backbone: str = "resnet50") -> Landscape:
    """A random landscape of a kind.

    Args:
        kind: a name of `KINDS`.
        seed: equal seeds, equal landscapes.
        backbone: whose sites.

    Raises:
        StudyError: for an unknown kind.
    """
    if kind not in KINDS:
        raise StudyError(unknown_name("kind of landscape", kind, KINDS))
    rng = np.random.default_rng([seed, *kind.encode()])
    plain = Landscape(
        backbone=backbone,
        blocks=BLOCKS,
        base=0.865,
        block_gain=np.full(len(BLOCKS), 0.003),
        site_gain=np.zeros(_sites(backbone)),
        interaction=np.zeros((len(BLOCKS), _sites(backbone))),
        # Mixing must be affordable, or no rule about it could be adopted.
        block_ms=rng.uniform(0.1, 0.6, (len(BLOCKS), _sites(backbone))),
        seed=seed,
    )
    return KINDS[kind](plain, rng)


def planted_space(kind: str, backbone: str = "resnet50", most: int = 5) -> DesignSpace:
    """The space that candidates of a kind of landscape are drawn from."""
    data: dict[str, object] = {"name": f"planted-{kind}", "backbones": [backbone], "blocks": list(BLOCKS)}
    data["rules"] = [{"max_blocks": most}]
    if kind == "hyperparameters" or kind == "null-hyperparameters":
        data["blocks"] = {
            "se": {"reduction": [1, 2, 4, 8, 16]},
            "hac": {},
            "agw": {"inner": ["half", "one"]},
            "cnl": {},
        }
        data["recipe"] = {"base_lr": {"log": [1e-4, 1e-3]}, "loss": ["ce", "circle"]}
    return DesignSpace.from_dict(data)


def _sites(backbone: str) -> int:
    return len(get_topology(backbone).sites)


def _some_sites(rng: Generator, backbone: str, number: int = 5) -> Floats:
    gain = np.zeros(_sites(backbone))
    chosen = rng.choice(len(gain), number, replace=False)
    gain[chosen] = rng.uniform(SMALLEST, LARGEST, number)
    return gain


def _ends(rng: Generator, backbone: str) -> Floats:
    gain = np.zeros(_sites(backbone))
    gain[[number - 1 for number in get_topology(backbone).stage_ends]] = rng.uniform(SMALLEST, 0.003)
    return gain


def _unequal_blocks(rng: Generator) -> Floats:
    return np.asarray(0.002 + rng.permutation([0.0, 0.001, 0.002, 0.004]))


def _near(rng: Generator) -> Floats:
    return np.full(int(rng.integers(2, 5)), rng.uniform(SMALLEST, 0.003))


def _steps(plain: Landscape, rng: Generator) -> Landscape:
    """Everything planted in steps: the reading of the paper's rules at face value."""
    return replace(
        plain,
        block_gain=_unequal_blocks(rng),
        site_gain=_some_sites(rng, plain.backbone) + _ends(rng, plain.backbone),
        near_penalty=_near(rng),
        mix_premium=rng.uniform(SMALLEST, 0.002),
        count_limit=int(rng.integers(2, 5)),
    )


def _rough(plain: Landscape, rng: Generator) -> Landscape:
    """As steps, but nothing is exact: uneven sites, own deviations, fading penalties, best-of saturation, failures."""
    near, backbone = rng.uniform(0.002, 0.004) * np.exp(-np.arange(6) / rng.uniform(1.5, 3)), plain.backbone
    return replace(
        _steps(plain, rng),
        site_gain=_some_sites(rng, backbone) + _ends(rng, backbone) + rng.normal(0, 0.0001, _sites(backbone)),
        near_penalty=np.where(near >= SMALLEST / 2, near, 0.0),
        saturation="best",
        own_sd=0.0005,
        failure_rate=0.03,
    )


def _cells(plain: Landscape, rng: Generator) -> Landscape:
    """Each block has good sites of its own."""
    own = np.stack([_some_sites(rng, plain.backbone, 3) for _ in BLOCKS])
    return replace(_steps(plain, rng), site_gain=plain.site_gain, interaction=own)


def _stages(plain: Landscape, rng: Generator) -> Landscape:
    """Blocks in one stage harm each other, whatever their distance; mixing harms too."""
    return replace(
        _steps(plain, rng),
        near_penalty=np.zeros(0),
        stage_penalty=rng.uniform(SMALLEST, 0.003),
        mix_premium=-rng.uniform(SMALLEST, 0.002),
    )


def _few(plain: Landscape, rng: Generator) -> Landscape:
    """Only good sites: all other families are null, beside a true effect."""
    return replace(plain, site_gain=_some_sites(rng, plain.backbone))


def _hyperparameters(plain: Landscape, rng: Generator) -> Landscape:
    """A block's reduction, the loss and a peaked learning rate matter; so do sites."""
    best = float(rng.uniform(-3.8, -3.2))
    rates = np.linspace(-4, -3, 11)
    lost = rng.uniform(0.002, 0.005) * ((rates - best) / 0.5) ** 2
    return replace(
        plain,
        site_gain=_some_sites(rng, plain.backbone),
        param_gain={("se", "reduction"): {1: 0.001, 2: 0.001, 4: 0.0, 8: -0.001, 16: -0.001}},
        recipe_gain={
            "loss": (("ce", 0.0), ("circle", rng.uniform(0.002, 0.005))),
            "base_lr": tuple((float(10**r), -float(loss)) for r, loss in zip(rates, lost, strict=True)),
        },
    )


def _null_flat(plain: Landscape, rng: Generator) -> Landscape:
    """Blocks bring nothing at all."""
    return replace(plain, block_gain=np.zeros(len(BLOCKS)))


def _null_additive(plain: Landscape, rng: Generator) -> Landscape:
    """Every block brings the same, wherever it is and however many there are."""
    return replace(plain, block_gain=np.full(len(BLOCKS), rng.uniform(0.001, 0.005)))


def _null_rough(plain: Landscape, rng: Generator) -> Landscape:
    """As additive, with own deviations as large as the seed noise, and failures."""
    return replace(_null_additive(plain, rng), own_sd=0.001, failure_rate=0.03)


KINDS: Mapping[str, Callable[[Landscape, Generator], Landscape]] = MappingProxyType(
    {
        "steps": _steps,
        "rough": _rough,
        "cells": _cells,
        "stages": _stages,
        "few": _few,
        "hyperparameters": _hyperparameters,
        "null-flat": _null_flat,
        "null-additive": _null_additive,
        "null-rough": _null_rough,
        "null-hyperparameters": _null_additive,
    }
)
"""How the landscapes of each kind are drawn."""
