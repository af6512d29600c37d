"""Where a block can be placed: the sites of each backbone, as tables.

Site 1 is after the stem, then there is one after each residual block (or unit). Shapes and stages are needed to count
a space, to state rules and to carry them to another backbone, none of which should load a network; the networks
themselves are in `nas.networks`, whose tests hold these tables against the real modules.

A backbone that does not come with the package (`timm:NAME`, `module:Class`, or the entry point of an installed package)
has no table. Its sites are asked for once, of `look_at`, which the package sets to what builds the network and looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from nas.errors import SpaceError, unknown_name
from nas.spaces import own_code
from nas.spaces.own_code import TIMM
from nas.spaces.plugins import entry_point, installed


@dataclass(frozen=True)
class Site:
    """One place for a block.

    Attributes:
        number: 1 for the site after the stem, then counted through the network.
        stage: 0 for the stem, then 1, 2, ...: the blocks of one resolution (of one `layer` in a ResNet).
        place: 1 for the first site of its stage.
        stage_length: number of sites in the stage.
        channels: channels of the tensor there, at width 1.
        stride: input pixels for one pixel there.
        after: the module before the site, for people (`layer2[0]`).
        floored: the part of `stride` that poolings without padding make, which leave out a row or column left over.
    """

    number: int
    stage: int
    place: int
    stage_length: int
    channels: int
    stride: int
    after: str
    floored: int = 1

    @property
    def is_stage_end(self) -> bool:
        """Whether this is the last site of a stage; the stem is no stage."""
        return self.stage > 0 and self.place == self.stage_length

    def shape(self, height: int = 256, width: int = 128) -> tuple[int, int, int]:
        """Channels, height and width of the tensor at this site, for an input in pixels."""
        padded = self.stride // self.floored
        return self.channels, -(-height // padded) // self.floored, -(-width // padded) // self.floored


@dataclass(frozen=True)
class Topology:
    """The sites of one backbone, in order; `title` is its name for people."""

    backbone: str
    title: str
    sites: tuple[Site, ...]

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Numbers of the last site of each stage."""
        return tuple(site.number for site in self.sites if site.is_stage_end)

    @property
    def stages(self) -> tuple[int, ...]:
        """Stage numbers, the stem (0) left out."""
        return tuple(sorted({site.stage for site in self.sites} - {0}))

    def site(self, number: int) -> Site:
        """The site of that number; a `SpaceError` where the backbone has none."""
        if not 1 <= number <= len(self.sites):
            raise SpaceError(f"{self.backbone} has no site {number}; its sites are 1 to {len(self.sites)}")
        return self.sites[number - 1]

    def of_stage(self, stage: int) -> tuple[Site, ...]:
        """The sites of one stage; a `SpaceError` where the backbone has no such stage."""
        sites = tuple(site for site in self.sites if site.stage == stage)
        if not sites:
            raise SpaceError(f"{self.backbone} has no stage {stage}; its stages are 0 (stem) to {self.stages[-1]}")
        return sites

    def relative(self, number: int) -> tuple[int, float, int]:
        """A site without its number: stage, place from 0 (first) to 1 (last) in the stage, stride in pixels."""
        site = self.site(number)
        place = 1.0 if site.stage_length == 1 else (site.place - 1) / (site.stage_length - 1)
        return site.stage, place, site.stride


@dataclass(frozen=True)
class _Stage:
    """One row of a backbone's table: channels of each unit, stride of the first, and where it is in which module."""

    channels: tuple[int, ...]
    stride: int
    module: str
    first: int = 0


@dataclass(frozen=True)
class _Backbone:
    title: str
    stem_channels: int
    stem_stride: int
    stages: tuple[_Stage, ...]
    pools: bool = False
    """Between stages the map is halved by pooling, not by a strided block: the last stride is as published."""


def _resnet(title: str, depths: tuple[int, int, int, int], expansion: int) -> _Backbone:
    rows = [((64 * 2**i * expansion,) * depth, 1 if i == 0 else 2, f"layer{i + 1}") for i, depth in enumerate(depths)]
    return _Backbone(title, 64, 4, tuple(_Stage(*row) for row in rows))


def _shufflenet(title: str, channels: tuple[int, int, int]) -> _Backbone:
    rows = [((c,) * n, 2, f"stage{i}") for i, c, n in zip((2, 3, 4), channels, (4, 8, 4), strict=True)]
    return _Backbone(title, 24, 4, tuple(_Stage(*row) for row in rows))


def _osnet(title: str, stem: int, channels: tuple[int, int, int]) -> _Backbone:
    stages = tuple(_Stage((c, c), 1 if i == 2 else 2, f"conv{i}") for i, c in enumerate(channels, 2))
    return _Backbone(title, stem, 4, stages, pools=True)


def _mobilenet(title: str, stages: tuple[tuple[tuple[int, ...], int], ...]) -> _Backbone:
    rows, first = [], 1
    for channels, stride in stages:
        rows.append(_Stage(channels, stride, "features", first))
        first += len(channels)
    return _Backbone(title, 16, 2, tuple(rows))


_BACKBONES: Mapping[str, _Backbone] = MappingProxyType(
    {
        "resnet18": _resnet("ResNet-18", (2, 2, 2, 2), 1),
        "resnet34": _resnet("ResNet-34", (3, 4, 6, 3), 1),
        "resnet50": _resnet("ResNet-50", (3, 4, 6, 3), 4),
        "resnet101": _resnet("ResNet-101", (3, 4, 23, 3), 4),
        "resnet152": _resnet("ResNet-152", (3, 8, 36, 3), 4),
        "shufflenet_v2_x1_0": _shufflenet("ShuffleNet v2 1.0x", (116, 232, 464)),
        "shufflenet_v2_x2_0": _shufflenet("ShuffleNet v2 2.0x", (244, 488, 976)),
        # Stages of MobileNet v3 are its runs of equal resolution: (channels of each block, stride of the first).
        "mobilenet_v3_small": _mobilenet(
            "MobileNet v3 small", (((16,), 2), ((24, 24), 2), ((40, 40, 40, 48, 48), 2), ((96, 96, 96), 2))
        ),
        "mobilenet_v3_large": _mobilenet(
            "MobileNet v3 large",
            (((16,), 1), ((24, 24), 2), ((40, 40, 40), 2), ((80, 80, 80, 80, 112, 112), 2), ((160, 160, 160), 2)),
        ),
        "resnet50_ibn_a": _resnet("ResNet-50 IBN-a", (3, 4, 6, 3), 4),
        "resnet50_ibn_b": _resnet("ResNet-50 IBN-b", (3, 4, 6, 3), 4),
        "osnet_x1_0": _osnet("OSNet 1.0x", 64, (256, 384, 512)),
        "osnet_x0_75": _osnet("OSNet 0.75x", 48, (192, 288, 384)),
        "osnet_x0_5": _osnet("OSNet 0.5x", 32, (128, 192, 256)),
        "osnet_x0_25": _osnet("OSNet 0.25x", 16, (64, 96, 128)),
        "osnet_ain_x1_0": _osnet("OSNet-AIN 1.0x", 64, (256, 384, 512)),
    }
)

BACKBONES: tuple[str, ...] = tuple(_BACKBONES)
"""Names of the backbones with a table of sites."""
_TIMM_NAME = re.compile(TIMM + r"[A-Za-z_][\w.]*")


look_at: Callable[[str, int | None], Topology] | None = None
"""The sites of a backbone without a table, for a last stride or None; it may load the network, and keeps the result."""


def last_strides(backbone: str) -> tuple[int, ...]:
    """The last strides that a backbone can be asked for.

    >>> last_strides("resnet50"), last_strides("osnet_x1_0")
    ((1, 2), (1,))
    """
    return (1,) if backbone in _BACKBONES and _BACKBONES[backbone].pools else (1, 2)


STEMS = ("standard", "no_relu", "no_padding")
"""Stems of a ResNet: torchvision's; without the ReLU; with a pooling that is not padded but rounds sizes up."""


def require_stem(backbone: str, stem: object) -> None:
    """Refuses a stem that a backbone does not have; the `SpaceError` names those that it has."""
    known = STEMS if backbone in _BACKBONES and backbone.startswith("resnet") else STEMS[:1]
    if stem not in known:
        raise SpaceError(f"stem of {backbone} must be {' or '.join(known)}, not {stem!r}")


def require_last_stride(backbone: str, last_stride: object) -> int:
    """The last stride, where a backbone can be asked for it; the `SpaceError` names those it can be asked for."""
    known = last_strides(backbone)
    if isinstance(last_stride, bool) or not isinstance(last_stride, int) or last_stride not in known:
        raise SpaceError(f"last_stride of {backbone} must be {' or '.join(map(str, known))}, not {last_stride!r}")
    return last_stride


def is_foreign(backbone: str) -> bool:
    """Whether a name is of a backbone that does not come with the package, known here or not.

    >>> is_foreign("timm:resnet50d"), is_foreign("my_nets:Trunk"), is_foreign("resnet50")
    (True, True, False)
    """
    if _TIMM_NAME.fullmatch(backbone) is not None or own_code.is_own(backbone):
        return True
    return backbone not in _BACKBONES and (backbone in _told or _is_installed(backbone))


def _is_installed(backbone: str) -> bool:
    return entry_point("backbone", backbone) is not None


def foreign_title(backbone: str) -> str:
    """A foreign backbone's name for people, which does not load it.

    >>> foreign_title("timm:resnet50d"), foreign_title("my_nets:Trunk")
    ('resnet50d (timm)', 'Trunk')
    """
    name = backbone.rpartition(":")[2]
    return f"{name} (timm)" if backbone.startswith(TIMM) else name


def check_backbone(backbone: str) -> None:
    """Refuses what is no name of a backbone; whether a foreign one exists is not asked.

    Raises:
        SpaceError: for an unknown backbone.
    """
    if backbone not in _BACKBONES and not is_foreign(backbone):
        hint = "One of timm's is written timm:NAME, a class of one's own module:Class."
        known = [*BACKBONES, *(point.name for point in installed("backbone"))]
        raise SpaceError(unknown_name("backbone", backbone, known), hint)


def _can_look(backbone: str) -> bool:
    """Whether the network may and can be loaded here: own code was named, or timm, or its package, is installed."""
    if own_code.is_own(backbone):
        return own_code.is_trusted(backbone)
    return find_spec("timm") is not None if backbone.startswith(TIMM) else _is_installed(backbone)


def find_topology(backbone: str, last_stride: int | None = None) -> Topology | None:
    """As `get_topology`; None for a foreign backbone that cannot be looked at here, and is told of by none or twice."""
    if is_foreign(backbone) and not _can_look(backbone) and None in _told.get(backbone, {1: None}).values():
        return None
    return get_topology(backbone, last_stride)


def get_topology(backbone: str, last_stride: int | None = None) -> Topology:
    """The sites of a backbone.

    >>> get_topology("resnet50").stage_ends
    (4, 8, 14, 17)

    Args:
        backbone: a name of `BACKBONES`, `timm:NAME`, `module:Class`, or an entry point in `nas.backbones`.
        last_stride: stride of the first block of the last stage; 1 (usual in re-identification) keeps its resolution.
            None: 1, or as published where a foreign backbone cannot have it.

    Raises:
        SpaceError: for an unknown backbone, one that blocks cannot stand in, or a last stride that it does not have.
    """
    check_backbone(backbone)
    if last_stride is not None:
        require_last_stride(backbone, last_stride)
    if backbone in _BACKBONES:
        return _from_table(backbone, last_stride or 1)
    if backbone in _told and not _can_look(backbone):
        told = {stride: sites for stride, sites in _told[backbone].items() if sites is not None}
        if len(told) < len(_told[backbone]):
            hint = "Look at one of them at a time, or name the code of one with --trust."
            raise SpaceError(f"stored spaces that were read here tell different sites of {backbone}", hint)
        return told.get(last_stride or min(told)) or next(iter(told.values()))
    if own_code.is_own(backbone):
        own_code.require_trusted([backbone], "a candidate or space")
    if look_at is None:
        raise SpaceError(f"the sites of {backbone} are not known without nas.networks")
    return look_at(backbone, last_stride)


_told: dict[str, dict[int, Topology | None]] = {}
"""Sites of foreign backbones by last stride, as stored spaces tell them to those who cannot look; None: not alike."""


def tell_sites(topologies: Mapping[int, Topology]) -> dict[str, list[tuple[int, int, int, str]]]:
    """The sites of a backbone by last stride, as plain data that a stored space keeps."""
    return {
        str(stride): [(site.stage, site.channels, site.stride, site.after) for site in topology.sites]
        for stride, topology in topologies.items()
    }


def be_told(space: object) -> None:
    """Keeps what a stored space (or nothing) says of foreign backbones."""
    found = (space.get("found_sites") if isinstance(space, Mapping) else None) or {}
    if not isinstance(found, Mapping):
        raise SpaceError(f"the stored sites of backbones are damaged: {found!r:.100}")
    for name, tables in found.items():
        try:
            told = {int(stride): _from_rows(name, rows) for stride, rows in tables.items()}
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
            raise SpaceError(f"the stored sites of {name!r} are damaged: {tables!r:.100}") from error
        known = _told.setdefault(name, {})
        known.update({n: sites if known.get(n, sites) == sites else None for n, sites in told.items()})


def _from_rows(backbone: str, rows: Sequence[Sequence[Any]]) -> Topology:
    stages = [int(row[0]) for row in rows]
    if not stages or min(int(number) for row in rows for number in row[1:3]) < 1:
        raise ValueError("no sites")
    sites = [
        Site(i + 1, stages[i], stages[: i + 1].count(stages[i]), stages.count(stages[i]), int(c), int(s), str(after))
        for i, (_, c, s, after) in enumerate(rows)
    ]
    return Topology(backbone, foreign_title(backbone), tuple(sites))


@cache
def _from_table(backbone: str, last_stride: int) -> Topology:
    row = _BACKBONES[backbone]
    sites = [Site(1, 0, 1, 1, row.stem_channels, row.stem_stride, "stem")]
    stride = row.stem_stride
    for number, stage in enumerate(row.stages, start=1):
        stride *= last_stride if number == len(row.stages) and not row.pools else stage.stride
        floored = stride // row.stem_stride if row.pools else 1
        for place, channels in enumerate(stage.channels, start=1):
            after = f"{stage.module}[{stage.first + place - 1}]"
            sites.append(Site(len(sites) + 1, number, place, len(stage.channels), channels, stride, after, floored))
    return Topology(backbone, row.title, tuple(sites))
