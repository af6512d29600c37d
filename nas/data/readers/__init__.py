"""Readers: each turns the layout of a set into a `ReidDataset`; those that need more than a line are files beside.

`READERS` is the table of all sets that a study's `data:` key can name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from nas.data.listing import read_folders
from nas.data.readers.csv_file import read_csv
from nas.data.readers.cuhk03 import read_cuhk03
from nas.data.readers.msmt17 import read_msmt17
from nas.data.readers.omniglot import read_omniglot
from nas.data.records import ReidDataset

SplitSizes = Mapping[str, tuple[int | None, int]]
"""Split -> (persons, images); None where no number was published."""


@dataclass(frozen=True)
class Reader:
    """A kind of set: how it is read, which options it takes, and what its publication counts.

    published: by name of the set as read, because variants differ.
    """

    title: str
    read: Callable[..., ReidDataset]
    options: tuple[str, ...] = ()
    published: Mapping[str, SplitSizes] = field(default_factory=dict)


READERS: dict[str, Reader] = {
    # Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015: identity 0 are distractors, -1 junk
    # detections that never enter an evaluation.
    "market1501": Reader(
        "Market-1501",
        partial(read_folders, name="market1501", example="0002_c1s1_000451_03.jpg"),
        published={"market1501": {"train": (751, 12_936), "query": (750, 3_368), "gallery": (750, 15_913)}},
    ),
    # Zheng et al., ICCV 2017. Its owners have withdrawn the set; this reads copies that already exist.
    "duke": Reader(
        "DukeMTMC-reID",
        partial(read_folders, name="duke", example="0005_c2_f0046985.jpg"),
        published={"duke": {"train": (702, 16_522), "query": (702, 2_228), "gallery": (1_110, 17_661)}},
    ),
    "cuhk03": Reader(
        "CUHK03-NP",
        read_cuhk03,
        options=("variant", "protocol"),
        published={
            "cuhk03_labeled": {"train": (767, 7_368), "query": (700, 1_400), "gallery": (700, 5_328)},
            "cuhk03_detected": {"train": (767, 7_365), "query": (700, 1_400), "gallery": (700, 5_332)},
        },
    ),
    "msmt17": Reader(
        "MSMT17",
        read_msmt17,
        published={"msmt17": {"train": (1_041, 32_621), "query": (3_060, 11_659), "gallery": (3_060, 82_161)}},
    ),
    "omniglot": Reader(
        "Omniglot, characters as identities", read_omniglot, options=("alphabets", "cameras", "test_share", "download")
    ),
    # Without test folders it can be trained and selected on, not reported on; without a training folder evaluated on.
    "folders": Reader(
        "own images in Market-1501-style folders",
        partial(read_folders, name="folders", example="0012_c3_000001.jpg", optional=True),
    ),
    "csv": Reader("own images listed in one CSV", read_csv),
}

PUBLISHED: dict[str, SplitSizes] = {name: sizes for r in READERS.values() for name, sizes in r.published.items()}
