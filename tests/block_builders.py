"""Blocks for tests: every hyperparameter combination, random weights, the five shapes of the sites of ResNet-50."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

import pytest
import torch

from nas.errors import SpaceError
from nas.networks.blocks import AttentionBlock, FeatureShape, Form, get_block
from nas.spaces.blocks import BLOCKS

SITE_SHAPES = (
    FeatureShape(64, 64, 32),
    FeatureShape(256, 64, 32),
    FeatureShape(512, 32, 16),
    FeatureShape(1024, 16, 8),
    FeatureShape(2048, 16, 8),
)
SMALL = FeatureShape(16, 4, 3)


def all_settings(name: str) -> list[dict[str, Any]]:
    """Every legal combination of a block's hyperparameters."""
    spec = BLOCKS[name]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for choice in itertools.product(*(param.choices for param in spec.params)):
        given = dict(zip((param.name for param in spec.params), choice, strict=True))
        for left_out in ((), *((param.name,) for param in spec.params if param.active_if)):
            try:
                complete = spec.complete({key: value for key, value in given.items() if key not in left_out})
            except SpaceError:
                continue
            found.setdefault(complete, dict(complete))
    return list(found.values())


def cases() -> list[Any]:
    """(block, settings) of all blocks, for parametrize: every combination."""
    return [(name, settings) for name in BLOCKS for settings in all_settings(name)]


def main_cases() -> list[Any]:
    """(block, settings): defaults, and single departures from them (one other reduction is enough)."""
    rows: list[Any] = []
    for name, spec in BLOCKS.items():
        rows.append((name, {}))
        for param in spec.params:
            if param.active_if is None:
                others = [value for value in param.choices if value != param.default]
                rows += [(name, {param.name: value}) for value in (others[:1] if param.name == "reduction" else others)]
    rows.append(("cnl", {"width": "reduced", "reduction": 4}))
    return rows


def others_slow(rows: list[Any], quick: Collection[str] = tuple(BLOCKS)) -> list[Any]:
    """The same cases for parametrize: other settings than the defaults, and blocks that are not `quick`, are slow."""
    return [pytest.param(*row, marks=[pytest.mark.slow] if row[1] or row[0] not in quick else []) for row in rows]


def case_id(case: Any) -> str:
    if isinstance(case, str):
        return case
    return ",".join(f"{key}={value}" for key, value in case.items()) or "default"


def make(name: str, shape: FeatureShape = SMALL, form: Form = "fast", **settings: Any) -> AttentionBlock:
    return get_block(name).build(shape, form=form, **settings)


def randomised(block: AttentionBlock, seed: int = 0) -> AttentionBlock:
    """Every parameter and statistic away from its start, so that no factor of 0 or 1 hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        for name, buffer in block.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.2)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return block


def features(
    shape: FeatureShape = SMALL, batch: int = 2, seed: int = 1, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, shape.channels, shape.height, shape.width, generator=generator, dtype=torch.float64)
    return x.relu().to(dtype)
