"""CUHK03 in the new protocol (CUHK03-NP): Market-1501's folders below `labeled/` and `detected/`.

Li et al., CVPR 2014; protocol of Zhong et al., CVPR 2017. Boxes were drawn by hand (`labeled`) or by
a detector (`detected`).
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

from nas.data.listing import read_folders
from nas.data.records import ReidDataset, cameras_of
from nas.errors import DataError, unknown_name

VARIANTS = ("labeled", "detected")
NEW = "np"
CLASSIC_TEST = 100
"""Identities of a classic test set; Li et al. evaluate on 20 random ones and average."""


def read_cuhk03(root: Path, variant: str = "labeled", protocol: str = NEW) -> ReidDataset:
    """Read one variant.

    Args:
        root: folder of `labeled/` and `detected/`.
        variant: which of them.
        protocol: `np`, or `classic-N` (N from 0 to 19): the classic protocol's split number N, 100 random test
            identities, first camera against second. The authors' own 20 draws are in no folder: ours are seeded by N.
            Its score is `nas evaluate --single-shot 100`.

    Raises:
        DataError: for an unknown variant or protocol, a missing folder or a wrong name.
    """
    if variant not in VARIANTS:
        raise DataError(unknown_name("variant of cuhk03", str(variant), VARIANTS))
    found = read_folders(root / variant, f"cuhk03_{variant}", example="0001_c1_1.png")
    if protocol == NEW:
        return found
    match = re.fullmatch(r"classic-(\d+)", str(protocol))
    if match is None or int(match[1]) > 19:
        raise DataError(f"the protocol of cuhk03 is np or classic-0 to classic-19, not {protocol!r}")
    return _classic(found, int(match[1]))


def _classic(found: ReidDataset, number: int) -> ReidDataset:
    """All images dealt out anew: 100 identities that both cameras saw to test on, all others to train on."""
    # The new protocol's splits share no image, but a person may be in two of them.
    images = list(dict.fromkeys((*found.train, *found.query, *found.gallery)))
    seen = cameras_of(images)
    both = sorted(identity for identity, cameras in seen.items() if len(cameras) > 1)
    if len(both) <= CLASSIC_TEST:
        raise DataError(
            f"{found.name} has {len(both)} identities seen by two cameras; classic needs {CLASSIC_TEST + 1}"
        )
    tested = frozenset(random.Random(number).sample(both, CLASSIC_TEST))
    test = [record for record in images if record.identity in tested]
    first = {identity: min(seen[identity]) for identity in tested}
    return replace(
        found,
        name=f"{found.name}_classic{number}",
        train=tuple(record for record in images if record.identity not in tested),
        query=tuple(record for record in test if record.camera == first[record.identity]),
        gallery=tuple(record for record in test if record.camera != first[record.identity]),
    )
