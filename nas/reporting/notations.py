"""What the notation of a candidate says: which blocks sit at which sites, and how sites are called.

Reading is cached because tables repeat notations; the grammar itself is `nas.spaces`'.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.spaces.blocks import PUBLISHED, START
from nas.spaces.candidate import Candidate
from nas.spaces.labels import MIXED, NO_BLOCK, split_groups
from nas.spaces.sites import Topology, get_topology


@lru_cache(maxsize=65536)
def placements_of(notation: str) -> tuple[tuple[int, str], ...]:
    """(site, block) of every placement, sorted by site; empty for a notation that no longer reads.

    >>> placements_of("resnet50+cnl@6,14+hac@8")
    ((6, 'cnl'), (8, 'hac'), (14, 'cnl'))
    """
    try:
        candidate = Candidate.parse(notation)
    except NasError:  # an own block that is not installed here: its numbers are still worth showing
        return ()
    return tuple((placement.site, placement.block) for placement in candidate.placements)


@lru_cache(maxsize=65536)
def has_default_params(notation: str) -> bool:
    """Whether every hyperparameter of blocks and recipe has its default: then the notation names none.

    >>> has_default_params("resnet50(width=0.25)+cnl@8"), has_default_params("resnet50+cnl(fuse=add)@8")
    (True, False)
    """
    return all("(" not in group and "[" not in group for group in split_groups(notation)[1:])


def block_label(notation: str) -> str:
    """The one block type of a candidate, `mixed` for several, `none` for a backbone alone."""
    kinds = {block for _, block in placements_of(notation)}
    return NO_BLOCK if not kinds else next(iter(kinds)) if len(kinds) == 1 else MIXED


def add_placements(table: pd.DataFrame) -> pd.DataFrame:
    """The table with columns `block` (one type, `mixed` or `none`) and `sites` (tuple of site numbers)."""
    notations = table["notation"].astype(str)
    blocks = [block_label(n) for n in notations]
    sites = pd.Series([tuple(site for site, _ in placements_of(n)) for n in notations], index=table.index, dtype=object)
    return table.assign(block=blocks, sites=sites)


def exploded_placements(table: pd.DataFrame) -> pd.DataFrame:
    """One row a placement: the table's columns with `site` and `block` of each."""
    pairs = pd.Series([list(placements_of(str(n))) for n in table["notation"]], index=table.index, dtype=object)
    rows = table.assign(_pair=pairs).explode("_pair").dropna(subset=["_pair"])
    site = [pair[0] for pair in rows["_pair"]]
    block = [pair[1] for pair in rows["_pair"]]
    return rows.drop(columns="_pair").assign(site=site, block=block)


@lru_cache(maxsize=65536)
def _start_of(notation: str) -> tuple[str, object]:
    """The lone block of a candidate and how it is put in; nothing for a notation that no longer reads."""
    placed = placements_of(notation)
    return (placed[0][1], Candidate.parse(notation).placements[0].value(START)) if placed else ("", None)


def as_published(singles: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which candidates with one block are put in as published although their block is put in as the identity, too.

    Forms are never mixed: the one is a change of a trained network, the other is none.
    """
    starts = [_start_of(str(notation)) for notation in singles["notation"]]
    both = {block for block, start in starts if start not in (None, PUBLISHED)}
    return np.array([start == PUBLISHED and block in both for block, start in starts], dtype=bool)


def topology_of(backbone: str) -> Topology | None:
    """The backbone's table of sites, None for an unknown backbone."""
    try:
        return get_topology(backbone)
    except NasError:
        return None


def site_count(backbone: str) -> int:
    """How many sites a backbone has; 17 (ResNet-50) when it is unknown."""
    topology = topology_of(backbone)
    return len(topology.sites) if topology else 17
