"""CUHK03 in the new protocol (CUHK03-NP): Market-1501's folders below `labeled/` and `detected/`.

Li et al., CVPR 2014; protocol of Zhong et al., CVPR 2017. Boxes were drawn by hand (`labeled`) or by
a detector (`detected`).
"""

from __future__ import annotations

from pathlib import Path

from nas.data.listing import read_folders
from nas.data.records import ReidDataset
from nas.errors import DataError, unknown_name

VARIANTS = ("labeled", "detected")


def read_cuhk03(root: Path, variant: str = "labeled") -> ReidDataset:
    """Read one variant; `DataError` for an unknown one, a missing folder or a wrong name."""
    if variant not in VARIANTS:
        raise DataError(unknown_name("variant of cuhk03", str(variant), VARIANTS))
    return read_folders(root / variant, f"cuhk03_{variant}", example="0001_c1_1.png")
