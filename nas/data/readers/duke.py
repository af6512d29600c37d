"""DukeMTMC-reID: Market-1501's folders with names like `0005_c2_f0046985.jpg`.

Zheng et al., ICCV 2017. Its owners have withdrawn the set; this reads copies that already exist.
"""

from __future__ import annotations

from pathlib import Path

from nas.data.listing import read_folders
from nas.data.records import ReidDataset


def read_duke(root: Path) -> ReidDataset:
    """Read the three folders below `root`; `DataError` names a missing folder or a wrong name."""
    return read_folders(root, "duke", example="0005_c2_f0046985.jpg")
