"""Market-1501: three folders of images named `0002_c1s1_000451_03.jpg` (identity 2, camera 1).

Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015. Identity 0 are
distractors, -1 junk detections that never enter an evaluation.
"""

from __future__ import annotations

from pathlib import Path

from nas.data.listing import read_folders
from nas.data.records import ReidDataset


def read_market1501(root: Path) -> ReidDataset:
    """Read the three folders below `root`; `DataError` names a missing folder or a wrong name."""
    return read_folders(root, "market1501", example="0002_c1s1_000451_03.jpg")
