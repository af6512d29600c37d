"""Numbers that no training, measurement or database can hold are refused where they enter, from files and Python."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nas.errors import NasError
from nas.latency import LatencyProtocol
from nas.search.definition import study_from
from nas.training import load_recipe

STUDY: dict[str, Any] = {
    "name": "x",
    "space": {"name": "s", "backbones": ["resnet18"], "blocks": ["se"]},
    "stages": [{"sweep": {"candidates": 2}}],
}
ENDLESS = (math.inf, math.nan)
RECIPE_NUMBERS = (
    "base_lr", "weight_decay", "decay", "eps", "clip_norm", "block_lr_factor", "checkpoint_seconds", "classifier_std",
    "triplet.margin", "arcface.scale", "center.weight", "augmentation.brightness", "augmentation.mean",
    "augmentation.std", "augmentation.erasing_fill",
)  # fmt: skip


def read(data: dict[str, Any]) -> None:
    load_recipe(study_from(data).recipe)


def test_the_study_is_good_but_for_its_numbers() -> None:
    read(STUDY)


@pytest.mark.parametrize("value", ENDLESS)
@pytest.mark.parametrize("key", RECIPE_NUMBERS)
def test_a_recipe_holds_finite_numbers(key: str, value: float) -> None:
    triple = key.endswith(("mean", "std", "fill"))
    with pytest.raises(NasError, match=key.rpartition(".")[2]):
        load_recipe("quickstart").with_overrides({key: [value, 0.5, 0.5] if triple else value})


@pytest.mark.parametrize("value", ENDLESS)
@pytest.mark.parametrize(
    "changes",
    [
        lambda v: {"max_training_hours": v},
        lambda v: {"budget": {"hours": v}},
        lambda v: {"latency": {"margin": v}},
        lambda v: {"latency": {"time_budget_s": v}},
        lambda v: {"objective": {"table": "t.csv", "seconds": v}},
        lambda v: {"launcher": {"slurm": {"poll_s": v}}},
        lambda v: {"launcher": {"ray": {"resources": {"arm": v}}}},
        lambda v: {"stages": [{"sweep": {"candidates": 2, "limits": {"params": v}}}]},
        lambda v: {"stages": [{"sweep": {"candidates": 2, "fidelity": {"base_lr": v}}}]},
        lambda v: {"recipe": {"extends": "quickstart", "distil": {"teacher": "t.pt", "temperature": v}}},
    ],
)
def test_a_study_holds_finite_numbers(changes: Any, value: float) -> None:
    """PostgreSQL's JSON holds no others, and a limit that is not a number limits nothing."""
    with pytest.raises(NasError):
        read({**STUDY, **changes(value)})


@pytest.mark.parametrize(
    "changes",
    [
        {"validation": {"seed": -1}},
        {"validation": {"seed": 2**63}},
        {"priority": 2**63},
        {"recipe": {"images": 10**9}},
        {"recipe": {"augmentation": {"pad": 10**9}}},
        {"recipe": {"augmentation": {"blur_sigma": [0.1, 1e9]}}},
        {"recipe": {"head": {"pcb": {"features": 10**9}}}},
    ],
)
def test_numbers_that_would_take_the_machine_s_memory_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NasError):
        read({**STUDY, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"batch": 10**12}, {"threads": 10**9}, {"batches": 10**12}, {"warmup": 10**12}, {"time_budget_s": math.inf},
     {"time_budget_s": "x"}, {"warmup_s": "x"}, {"warmup_s": math.nan}, {"input": [10**9, 10**9]},
     {"input": [256.7, 128]}, {"load": {"network": "resnet18", "period_ms": math.inf}}],
)  # fmt: skip
def test_a_protocol_can_be_measured(changes: dict[str, Any]) -> None:
    with pytest.raises(NasError):
        LatencyProtocol.from_dict(changes)


@pytest.mark.parametrize("data", [["a"], 5, None, "x", {"a"}])
def test_what_is_no_mapping_is_no_study(data: Any) -> None:
    with pytest.raises(NasError, match="study: expected keys and values"):
        study_from(data)
