"""Sets of sites, by number or relative to the backbone, as people write them and as sentences say them.

    1-17   |   [6, 8, 14]   |   "1-4, 8"   |   all   |   {stages: [2, 3], place: last}   |   {stride: 8}

A relative set has a meaning on every backbone; which numbers it has on one is asked with `resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema

from nas.errors import SpaceError, unknown_name
from nas.spaces.sites import Site, Topology

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?\Z")
_PLACES = {"first": (1,), "last": (-1,), "all": ()}
_KEYS = ("stages", "place", "stride")
_LEGAL = "Write 1-17, [6, 8, 14], all, or {stages: [2, 3], place: last}."


@dataclass(frozen=True, order=True)
class RelativeSites:
    """Sites by where they are in a backbone; an empty tuple means "any".

    Attributes:
        stages: stage numbers; 0 is the stem, which "any" leaves out.
        places: places in the stage, from 1, or from its end: -1 is the last.
        strides: input pixels for one pixel there (8 is a resolution of 32 x 16 for an input of 256 x 128).
    """

    stages: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    @property
    def is_portable(self) -> bool:
        """Whether it means the same on every backbone: it names no stage or resolution."""
        return not self.stages and not self.strides

    def holds(self, site: Site) -> bool:
        """Whether a site is meant."""
        stage = site.stage in self.stages if self.stages else site.stage > 0
        place = not self.places or site.place in self.places or site.place - site.stage_length - 1 in self.places
        return stage and place and (not self.strides or site.stride in self.strides)

    def to_data(self) -> dict[str, object]:
        """As a space file writes it."""
        names: dict[tuple[int, ...], str] = {(1,): "first", (-1,): "last"}
        data: dict[str, object] = {"stages": list(self.stages)} if self.stages else {}
        if self.places:
            data["place"] = names.get(self.places, list(self.places))
        if self.strides:
            data["stride"] = list(self.strides)
        return data or {"place": "all"}

    def sentence(self) -> str:
        """As a person says it: "the last site of stages 2 and 3"."""
        where = f"at {join_words([f'1/{stride}' for stride in self.strides])} of the resolution" if self.strides else ""
        stage = self._stage_words()
        if not self.places:
            return " ".join(part for part in (f"the sites of {stage}", where) if part)
        places = join_words([_ordinal(place) for place in self.places])
        return " ".join(part for part in (f"the {places} site of {stage}", where) if part)

    def _stage_words(self) -> str:
        if not self.stages:
            return "each stage"
        if self.stages == (0,):
            return "the stem"
        return f"stage{'s' * (len(self.stages) > 1)} {join_words([str(stage) for stage in self.stages])}"


@dataclass(frozen=True)
class SiteSet:
    """A set of sites.

    Attributes:
        numbers: absolute site numbers, ascending.
        everything: all sites of any backbone.
    """

    numbers: tuple[int, ...] = ()
    relative: tuple[RelativeSites, ...] = ()
    everything: bool = False

    @classmethod
    def of(cls, value: object) -> SiteSet:
        """A set of sites from what a person wrote.

        >>> SiteSet.of("1-3, 8").numbers
        (1, 2, 3, 8)

        Raises:
            SpaceError: when it cannot be read as one, or is empty.
        """
        if isinstance(value, SiteSet):
            return value
        items = value if isinstance(value, (list, tuple, set, frozenset, range)) else [value]
        parts = [_part(item) for item in items]
        if not parts:
            raise SpaceError("a set of sites is empty", _LEGAL)
        everything = any(part.everything for part in parts)
        numbers = sorted({number for part in parts for number in part.numbers})
        relative = tuple(sorted({row for part in parts for row in part.relative}))
        return cls((), (), True) if everything else cls(tuple(numbers), relative)

    def resolve(self, topology: Topology) -> frozenset[int]:
        """Numbers of the sites that are meant on a backbone; numbers it lacks are left out."""
        return _resolve(self, topology)

    def check(self, topology: Topology) -> None:
        """Refuses what means nothing on a backbone.

        Raises:
            SpaceError: when a number is beyond the last site, a stage does not exist, or no site is left.
        """
        for number in self.numbers:
            topology.site(number)
        for part in self.relative:
            for stage in part.stages:
                topology.of_stage(stage)
        if not self.resolve(topology):
            raise SpaceError(f"{self.sentence()}: {topology.backbone} has no such site")

    @property
    def is_portable(self) -> bool:
        """Whether the set means the same on every backbone: it names no number, stage or resolution."""
        return not self.numbers and all(part.is_portable for part in self.relative)

    def to_data(self) -> object:
        """As a space file writes it; `of` reads it back."""
        if self.everything:
            return "all"
        if not self.relative:
            return compact(self.numbers) if len(self.numbers) > 1 else self.numbers[0]
        parts: list[object] = [compact(self.numbers)] if self.numbers else []
        parts += [part.to_data() for part in self.relative]
        return parts[0] if len(parts) == 1 else parts

    def sentence(self) -> str:
        """As a person says it: "positions 6, 8, 14"."""
        if self.everything:
            return "all positions"
        numbers = [f"position{'s' * (len(self.numbers) > 1)} {compact(self.numbers)}"] if self.numbers else []
        return " and ".join(numbers + [part.sentence() for part in self.relative])


def compact(numbers: Iterable[int]) -> str:
    """Numbers as text, runs of three and more joined.

    >>> compact([1, 2, 3, 8, 14, 15])
    '1-3, 8, 14, 15'
    """
    parts = []
    for first, last in runs(numbers):
        parts += [f"{first}-{last}"] if last - first >= 2 else [str(n) for n in range(first, last + 1)]
    return ", ".join(parts)


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Words as a list in a sentence.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


@lru_cache(maxsize=4096)
def _resolve(sites: SiteSet, topology: Topology) -> frozenset[int]:
    return frozenset(
        site.number
        for site in topology.sites
        if sites.everything or site.number in sites.numbers or any(part.holds(site) for part in sites.relative)
    )


def _part(item: object) -> SiteSet:
    if isinstance(item, Mapping):
        return SiteSet(relative=(_relative(item),))
    if item == "all":
        return SiteSet(everything=True)
    if isinstance(item, int) and not isinstance(item, bool):
        return SiteSet(numbers=_numbers(str(item)))
    if isinstance(item, str):
        numbers = sorted({number for piece in item.split(",") for number in _numbers(piece)})
        return SiteSet(numbers=tuple(numbers))
    raise SpaceError(f"{item!r} is no set of sites", _LEGAL)


def _numbers(piece: str) -> tuple[int, ...]:
    match = _RANGE.match(piece)
    if match is None or len(piece) > 12:
        raise SpaceError(f"{piece.strip()!r} is no set of sites", _LEGAL)
    first, last = int(match[1]), int(match[2] or match[1])
    if first < 1:
        raise SpaceError("sites are counted from 1")
    if last < first or last > 10_000:
        raise SpaceError(f"the sites {piece.strip()} are no range from a lower to a higher number")
    return tuple(range(first, last + 1))


def _relative(item: Mapping[object, object]) -> RelativeSites:
    for key in item:
        if key not in _KEYS:
            raise SpaceError(unknown_name("key of relative sites", str(key), _KEYS))
    return RelativeSites(
        _whole_numbers(item.get("stages", ()), "stages", 0),
        _places(item.get("place", ())),
        _whole_numbers(item.get("stride", ()), "stride", 1),
    )


def _whole_numbers(value: object, key: str, low: int) -> tuple[int, ...]:
    if isinstance(value, str):
        value = _numbers(value)
    items = value if isinstance(value, (list, tuple)) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int) or item < low:
            raise SpaceError(f"{key} must be whole numbers from {low}, not {item!r}")
    return tuple(sorted(set(items)))


def _places(value: object) -> tuple[int, ...]:
    if isinstance(value, str) and value in _PLACES:
        return _PLACES[value]
    places: list[int] = []
    for item in value if isinstance(value, (list, tuple)) else [value]:
        named = _PLACES.get(item) if isinstance(item, str) else None
        if named:
            places += named
        elif isinstance(item, int) and not isinstance(item, bool) and item != 0:
            places.append(item)
        else:
            raise SpaceError(f"place must be first, last, all or numbers (-1 is the last), not {item!r}")
    return tuple(sorted(set(places)))


def _ordinal(place: int) -> str:
    names = {1: "first", 2: "second", 3: "third", -1: "last", -2: "last but one"}
    return names.get(place, f"{place}th" if place > 0 else f"{-place}th from last")


def _read(value: object) -> SiteSet:
    try:
        return SiteSet.of(value)
    except SpaceError as error:
        raise ValueError(error.message + (f". {error.hint}" if error.hint else "")) from error


_NUMBERS = {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}
_PLACE = {"anyOf": [{"enum": ["first", "last", "all"]}, {"type": "integer"}, {"type": "array"}]}
_ONE_PART = [
    {"type": "integer", "minimum": 1},
    {"type": "string", "pattern": r"^(all|[0-9 ,-]+)$"},
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {"stages": _NUMBERS, "place": _PLACE, "stride": _NUMBERS},
    },
]
SITES_SCHEMA: dict[str, object] = {
    "description": "1-17, [6, 8, 14], all, or {stages: [2, 3], place: last, stride: 8}",
    "anyOf": [*_ONE_PART, {"type": "array", "items": {"anyOf": _ONE_PART}, "minItems": 1}],
}

Sites = Annotated[
    InstanceOf[SiteSet],
    BeforeValidator(_read),
    PlainSerializer(lambda sites: sites.to_data()),
    WithJsonSchema(SITES_SCHEMA),
]
"""A `SiteSet` as a field of a pydantic model."""
