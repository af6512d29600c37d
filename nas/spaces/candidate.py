"""A candidate: one backbone, the blocks placed in it, and the recipe's hyperparameters that vary.

Candidates are canonical - sorted, defaults filled in - so equal networks are equal values with equal ids. How a
candidate is written is left to `nas.spaces.notation`; whether it belongs to a design space, to `nas.spaces.space`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any, TypeAlias

from nas.errors import SpaceError, unknown_name
from nas.files.hashes import hash_of_data
from nas.spaces.blocks import BLOCKS, PUBLISHED, START, Params, get_block_spec
from nas.spaces.plugins import code_names
from nas.spaces.sites import (
    BACKBONES,
    STEMS,
    Topology,
    check_backbone,
    find_topology,
    is_foreign,
    require_last_stride,
    require_stem,
)
from nas.spaces.values import ParamValue, canonical_value

BACKBONE_DEFAULTS: Mapping[str, ParamValue] = {"last_stride": 1, "width": 1, "stem": STEMS[0]}
"""What may vary in a backbone, and the value that is meant when nothing is written."""


@dataclass(frozen=True, order=True)
class Placement:
    """A block at a site.

    Attributes:
        block: name of the block, or `module:Class`.
        params: all active hyperparameters, defaults filled in, sorted by name.
    """

    site: int
    block: str
    params: Params = ()

    @classmethod
    def make(cls, site: int, block: str, params: Mapping[str, object] | None = None) -> Placement:
        """A canonical placement, with defaults; a `SpaceError` where block, hyperparameter or value does not exist."""
        return cls(int(site), block, get_block_spec(block).complete(params or {}))

    @property
    def family(self) -> str:
        """The block's family: channel-wise, non-local or mixed."""
        return get_block_spec(self.block).family

    @property
    def is_identity(self) -> bool:
        """Whether it leaves a trained network as it is when it is put in, by its form or as published."""
        return get_block_spec(self.block).is_identity(dict(self.params))

    def value(self, param: str) -> ParamValue | None:
        """A hyperparameter's value; of `start` also where none is written; None where it is not active.

        A block that is the identity as published starts as that whatever is asked for, so it has no `start`.

        >>> Candidate.parse("resnet50+se@4").placements[0].value("start")
        'published'
        >>> Candidate.parse("resnet50+cnl(fuse=gate2)@4").placements[0].value("start") is None
        True
        """
        known = dict(self.params)
        if param != START or param in known:
            return known.get(param)
        return None if ":" not in self.block and get_block_spec(self.block).is_identity(known) else PUBLISHED

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {"site": self.site, "block": self.block, "params": dict(self.params)}


Placed: TypeAlias = tuple[int, str] | tuple[int, str, Mapping[str, object]]
"""A placement as a person gives it: site, block, and values of its hyperparameters."""


@dataclass(frozen=True, repr=False)
class Candidate:
    """A network to train, and the hyperparameters of the recipe it is trained with.

    Make one with `Candidate.make` or `Candidate.parse`; the constructor expects canonical fields.

    >>> Candidate.parse("resnet50+cnl@14,6").notation
    'resnet50+cnl@6,14'

    Attributes:
        backbone: name of the backbone.
        placements: blocks, sorted by site, one a site at most.
        backbone_params: width and last stride, defaults filled in; the stem where it is not the standard one.
        recipe: hyperparameters that differ from the study's recipe, sorted by name.
    """

    backbone: str
    placements: tuple[Placement, ...] = ()
    backbone_params: Params = (("last_stride", 1), ("width", 1))
    recipe: Params = ()

    @classmethod
    def make(
        cls,
        backbone: str,
        placements: Iterable[Placement | Placed] = (),
        backbone_params: Mapping[str, object] | None = None,
        recipe: Mapping[str, object] | None = None,
    ) -> Candidate:
        """A canonical candidate.

        Args:
            backbone: name of the backbone.
            placements: `Placement`s or tuples (site, block) or (site, block, {hyperparameter: value}).
            backbone_params: `width` (channels are multiplied by it), `last_stride` (1 or 2), `stem` (of a ResNet).
            recipe: values of recipe fields; which fields exist is checked where the recipe is known.

        Raises:
            SpaceError: for unknown names, illegal values, sites the backbone lacks, or two blocks at one site.
        """
        settings, topology = _backbone_params(backbone, backbone_params or {})
        placed = sorted(item if isinstance(item, Placement) else Placement.make(*item) for item in placements)
        _check_sites(backbone, topology, placed)
        values = {str(key): canonical_value(value) for key, value in (recipe or {}).items()}
        return cls(backbone, tuple(placed), settings, tuple(sorted(values.items())))

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """A candidate from the paper's notation, e.g. `resnet50+cnl@8+agw(inner=one)@14`.

        Raises:
            SpaceError: when the text is not in the notation; names the column.
        """
        from nas.spaces.notation import parse_candidate

        return parse_candidate(text)

    @cached_property
    def notation(self) -> str:
        """The candidate as the paper writes it; `parse` reads it back."""
        from nas.spaces.notation import format_candidate

        return format_candidate(self)

    def __str__(self) -> str:
        return self.notation

    def __repr__(self) -> str:
        return f"Candidate({self.notation!r})"

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits, equal for equal candidates on every machine."""
        return hash_of_data(self.to_dict())

    @property
    def architecture(self) -> Candidate:
        """The network alone: the same candidate without recipe values. Latency depends on nothing else."""
        return self if not self.recipe else Candidate(self.backbone, self.placements, self.backbone_params)

    @property
    def baseline(self) -> Candidate:
        """The same backbone without blocks and without recipe values."""
        return Candidate(self.backbone, (), self.backbone_params)

    @property
    def sites(self) -> tuple[int, ...]:
        """Numbers of the sites that hold a block, ascending."""
        return tuple(placement.site for placement in self.placements)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks, in the order of their sites."""
        return tuple(placement.block for placement in self.placements)

    @property
    def own_code(self) -> frozenset[str]:
        """What `nas.spaces.own_code.code_hash` takes for a backbone and blocks that do not ship with this package."""
        return code_names("backbone", [self.backbone], BACKBONES) | code_names("block", self.blocks, BLOCKS)

    def at(self, site: int) -> Placement | None:
        """The placement at a site, or None."""
        return next((placement for placement in self.placements if placement.site == site), None)

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON; `from_dict` reads it back."""
        return {
            "backbone": self.backbone,
            "backbone_params": dict(self.backbone_params),
            "placements": [placement.to_dict() for placement in self.placements],
            "recipe": dict(self.recipe),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Candidate:
        """The inverse of `to_dict`.

        Raises:
            SpaceError: when a key is missing or a value is illegal.
        """
        try:
            rows = data.get("placements", ())
            placements = [(int(row["site"]), str(row["block"]), dict(row.get("params", {}))) for row in rows]
            settings, recipe = dict(data.get("backbone_params", {})), dict(data.get("recipe", {}))
            return cls.make(data["backbone"], placements, settings, recipe)
        except KeyError as error:
            raise SpaceError(f"a stored candidate lacks the key {error.args[0]!r}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise SpaceError(f"a stored candidate is damaged: {data!r:.200}") from error

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{placement.site}</td><td>{escape(placement.block)}</td>"
            f"<td>{escape(', '.join(f'{key}={value}' for key, value in placement.params))}</td></tr>"
            for placement in self.placements
        )
        head = "<tr><th>site</th><th>block</th><th>hyperparameters</th></tr>"
        return f"<p><code>{escape(self.notation)}</code></p>" + (f"<table>{head}{rows}</table>" if rows else "")


def _backbone_params(backbone: str, given: Mapping[str, object]) -> tuple[Params, Topology | None]:
    """The settings, and the sites where they are known: own code that nobody here named is not imported for them."""
    check_backbone(backbone)
    for name in given:
        if name not in BACKBONE_DEFAULTS:
            raise SpaceError(unknown_name("backbone parameter", name, BACKBONE_DEFAULTS))
    values = {name: canonical_value(given.get(name, default)) for name, default in BACKBONE_DEFAULTS.items()}
    width, last_stride = values["width"], values["last_stride"]
    if isinstance(width, (bool, str)) or not 0 < width <= 16:
        raise SpaceError(f"width of {backbone} must be a number above 0 and at most 16, not {width!r}")
    if is_foreign(backbone) and width != 1:
        raise SpaceError(f"width of {backbone} must be 1, not {width!r}: its channels come with its name")
    require_stem(backbone, values["stem"])
    if values["stem"] == BACKBONE_DEFAULTS["stem"]:
        del values["stem"]  # it came later: ids of networks without it stay
    return tuple(sorted(values.items())), find_topology(backbone, require_last_stride(backbone, last_stride))


def _check_sites(backbone: str, topology: Topology | None, placed: list[Placement]) -> None:
    previous = None
    for placement in placed:
        if topology is not None:
            topology.site(placement.site)
        if placement.site == previous:
            raise SpaceError(f"two blocks at site {placement.site} of {backbone}; a site holds one block at most")
        previous = placement.site


def as_candidate(value: Candidate | str) -> Candidate:
    """A candidate, parsed when given as text."""
    return value if isinstance(value, Candidate) else Candidate.parse(value)
