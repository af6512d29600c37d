"""Readers: one file a set, each turning its layout into a `ReidDataset`.

`READERS` is the table of all sets that a study's `data:` key can name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nas.data.readers.csv_file import read_csv
from nas.data.readers.cuhk03 import read_cuhk03
from nas.data.readers.duke import read_duke
from nas.data.readers.folders import read_market_folders
from nas.data.readers.market1501 import read_market1501
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

    def __call__(self, path: Path, options: Mapping[str, object]) -> ReidDataset:
        """Read the set at `path`."""
        return self.read(path, **options)


READERS: dict[str, Reader] = {
    "market1501": Reader(
        "Market-1501",
        read_market1501,
        published={"market1501": {"train": (751, 12_936), "query": (750, 3_368), "gallery": (750, 15_913)}},
    ),
    "duke": Reader(
        "DukeMTMC-reID",
        read_duke,
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
        "Omniglot, characters as identities",
        read_omniglot,
        options=("alphabets", "cameras", "test_share", "download"),
    ),
    "folders": Reader("own images in Market-1501-style folders", read_market_folders),
    "csv": Reader("own images listed in one CSV", read_csv),
}

PUBLISHED: dict[str, SplitSizes] = {name: sizes for r in READERS.values() for name, sizes in r.published.items()}
