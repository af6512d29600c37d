"""Small trainings for the stand-in: what is trained does not matter, what the device is asked to do does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nas.data.prepared import PackedSplit, PreparedData
from nas.data.records import ImageRecord
from nas.spaces.candidate import Candidate
from nas.training.recipe import Recipe, load_recipe
from nas.training.trainer import Trainer

SIZE = (32, 16)
CANDIDATE = "resnet18(width=0.25)"
EVERYTHING = {"brightness": 0.3, "contrast": 0.2, "saturation": 0.2, "blur": 1.0, "erasing": 1.0, "flip": 0.5}


def split(identities: Sequence[int], images: int) -> PackedSplit:
    """Random pixels, cameras 1 to 3."""
    raw = torch.tensor([i for i in identities for _ in range(images)])
    cameras = torch.arange(len(raw)) % 3 + 1
    records = tuple(
        ImageRecord(Path(f"{n}.png"), int(i), int(c)) for n, (i, c) in enumerate(zip(raw, cameras, strict=True))
    )
    generator = torch.Generator().manual_seed(len(raw))
    pixels = torch.randint(0, 256, (len(raw), *SIZE, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)
    labels = torch.unique(raw, return_inverse=True)[1]
    return PackedSplit(pixels, torch.arange(len(raw)), raw, labels, cameras, records)


def prepared() -> PreparedData:
    """Twelve persons to learn, eight others to find."""
    train, query, gallery = split(range(1, 13), 4), split(range(21, 29), 3), split(range(21, 29), 6)
    return PreparedData(train, query, gallery, 12, "random", SIZE, "random")


def recipe(**changes: Any) -> Recipe:
    """Two epochs of eight batches of six images."""
    own = {"extends": "quickstart", "input": SIZE, "epochs": 2, "warmup_epochs": 1, "identities": 3, "images": 2}
    return load_recipe({**own, "precision": "fp32", **changes})


def trainer(device: str, candidate: str = CANDIDATE, *, on_device: bool = True, **changes: Any) -> Trainer:
    """A trainer that is ready for its first step; pixels on the device, or in the machine's memory."""
    data, place = prepared(), torch.device(device)
    own = recipe(**changes)
    made = Trainer(Candidate.parse(candidate), own, data.to(place) if on_device else data, 0, place)
    made.prepare()
    return made
