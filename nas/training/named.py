"""The recipes that ship with the project: what each changes from the strong baseline, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMED: Mapping[str, Mapping[str, Any]] = {
    # Luo et al. 2019, as published: Market-1501 rank-1 94.5, mAP 85.9, mINP 59.4.
    "strong_baseline": {},
    # The same with the class-level circle loss in place of cross entropy.
    "circle": {"loss": "circle"},
    # Ye et al. 2021 without the non-local blocks, which are placements of a candidate (agw@7,8,12,13,14).
    "agw": {"loss": "agw", "pooling": "gem"},
    # CUHK03-NP has 93 iterations an epoch and needs later milestones; the number of epochs is ours.
    "cuhk03": {"epochs": 240, "milestones": (80, 160)},
    # Seconds on one or two cores: a narrow ResNet-50 from random weights on 64x32 images of the generated pedestrians.
    # Found by trying: zero residual branches and a high rate with small batches make a dozen epochs enough (mAP 0.59
    # where the strong baseline's own rate reaches 0.04); erasing costs more than it gives in so short a training.
    "quickstart": {
        "weights": None,
        "zero_residual": True,
        "input": (64, 32),
        "epochs": 12,
        "base_lr": 1e-2,
        "schedule": "cosine",
        "per": "step",
        "warmup_epochs": 1,
        "identities": 8,
        "images": 4,
        "camera_aware": True,
        "loss": "cross_entropy+triplet",
        "augmentation": {"erasing": 0.0},
    },
}
