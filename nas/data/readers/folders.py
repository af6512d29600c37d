"""Anyone's own images in Market-1501-style folders: names begin with identity and camera, `0012_c3*.png`.

The test folders may be missing (such a set can be trained and selected on, not reported on), or the training folder
(such a set can be evaluated on).
"""

from __future__ import annotations

from pathlib import Path

from nas.data.listing import read_folders
from nas.data.records import ReidDataset


def read_market_folders(root: Path) -> ReidDataset:
    """Read `bounding_box_train`, `query` and `bounding_box_test`, those of them that exist."""
    return read_folders(root, "folders", example="0012_c3_000001.jpg", optional=True)
