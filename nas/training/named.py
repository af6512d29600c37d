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
    # Seconds on two cores for a narrow network from random weights on 64x32 images.
    "quickstart": {
        "weights": None,
        "input": (64, 32),
        "epochs": 20,
        "base_lr": 1e-3,
        "schedule": "cosine",
        "per": "step",
        "warmup_epochs": 2,
        "images": 4,
        "identities": 16,
        "loss": "cross_entropy+triplet",
        "precision": "auto",
    },
}
