"""What the notation of a candidate says: which blocks sit at which sites, and how sites are called.

Reading is cached because tables repeat notations; the grammar itself is `nas.spaces`'.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pandas as pd

from nas.errors import NasError
from nas.reporting.style import MIXED, NO_BLOCK, block_title
from nas.spaces.candidate import Candidate
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
    return all("(" not in group and "[" not in group for group in _split_groups(notation)[1:])


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


def backbone_title(backbone: str) -> str:
    """The backbone as the literature writes it, e.g. ResNet-50."""
    topology = topology_of(backbone)
    return topology.title if topology else backbone


@lru_cache(maxsize=65536)
def short_label(notation: str) -> str:
    """A candidate as the paper's tables write it.

    >>> short_label("resnet50+cnl@6,8,14"), short_label("resnet50"), short_label("resnet50+agw(inner=one)@14+hac@8")
    ('C-NL @ 6,8,14', 'ResNet-50', 'AGW (inner=one) @ 14 + HAC @ 8')
    """
    head, _, recipe = notation.partition("[")
    backbone, *groups = _split_groups(head)
    suffix = f" [{recipe}" if recipe else ""
    if not groups:
        return _with_params(backbone, backbone_title) + suffix
    return " + ".join(_group_label(group) for group in groups) + suffix


def _split_groups(text: str) -> list[str]:
    """Splits at `+` outside of parentheses (numbers like 1e+5 stay whole)."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _group_label(group: str) -> str:
    block, _, sites = group.rpartition("@")
    return f"{_with_params(block, block_title)} @ {sites}"


def _with_params(text: str, title: Callable[[str], str]) -> str:
    name, bracket, params = text.partition("(")
    return f"{title(name)} ({params}" if bracket else title(name)
