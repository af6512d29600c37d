"""Data: readers, views, the packed image store, batched augmentation, PK sampling, the generated set, checks."""

from nas.data.augment import Augmentation, BatchAugmenter
from nas.data.load import load_dataset
from nas.data.prepared import PackedSplit, PreparedData, prepare
from nas.data.records import ImageRecord, ReidDataset
from nas.data.sampler import PKSampler
from nas.data.views import dataset_view

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
