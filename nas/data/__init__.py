"""Data: readers, views, the packed image store, batched augmentation, PK sampling, the generated set, checks.

Names load on first use, so that the torch-free half (settings, readers, views) stays without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.data.augment import BatchAugmenter
    from nas.data.augmentation import Augmentation
    from nas.data.load import load_dataset
    from nas.data.prepared import PackedSplit, PreparedData, prepare
    from nas.data.records import ImageRecord, ReidDataset
    from nas.data.sampler import PKSampler
    from nas.data.views import dataset_view

_MODULES = {
    "Augmentation": "augmentation",
    "BatchAugmenter": "augment",
    "ImageRecord": "records",
    "PKSampler": "sampler",
    "PackedSplit": "prepared",
    "PreparedData": "prepared",
    "ReidDataset": "records",
    "dataset_view": "views",
    "load_dataset": "load",
    "prepare": "prepared",
}

__all__ = [
    "Augmentation",
    "BatchAugmenter",
    "ImageRecord",
    "PKSampler",
    "PackedSplit",
    "PreparedData",
    "ReidDataset",
    "dataset_view",
    "load_dataset",
    "prepare",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"nas.data.{_MODULES[name]}"), name)
