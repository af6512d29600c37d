"""Parts that people bring: found by a name, as own blocks are, without a change to this package.

A name is a shipped part's, that of an entry point in the group of its kind, or `module:name`, which is imported only
when a person named it (`own_code`). What such a part must be is said where its kind is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nas.errors import SpaceError, unknown_name
from nas.spaces import own_code

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUPS: Mapping[str, str] = {
    "augmentation": "nas.augmentations",
    "backbone": "nas.backbones",
    "block": "nas.blocks",
    "head": "nas.heads",
    "latency backend": "nas.latency_backends",
    "loss": "nas.losses",
    "metric": "nas.metrics",
    "reader": "nas.readers",
    "sampler": "nas.samplers",
}
"""The group of entry points of each kind of part."""


def find_part(kind: str, name: str, shipped: Mapping[str, object]) -> Any:
    """The part of that name; a `SpaceError` where it is unknown, cannot be imported, or no person has named it here."""
    if name in shipped:
        return shipped[name]
    if own_code.is_own(name):
        return own_code.load(name, kind)
    found = entry_point(kind, name)
    if found is None:
        raise SpaceError(unknown_part(kind, name, shipped))
    return found.load()


def entry_point(kind: str, name: str) -> EntryPoint | None:
    """The entry point of a part of an installed package; None where there is none of that name."""
    return next((point for point in installed(kind) if point.name == name), None)


def code_names(kind: str, names: Iterable[str], shipped: Container[str]) -> frozenset[str]:
    """What `own_code.code_hash` takes for parts that do not ship with this package; those of packages are imported."""
    found = set()
    for name in names:
        if name in shipped:
            continue
        if own_code.is_own(name) or name.startswith(own_code.TIMM):
            found.add(name)
        elif (point := entry_point(kind, name)) is not None:
            point.load()
            found.add(f"{point.module}:{point.attr}")
    return frozenset(found)


def make_part(kind: str, name: str, shipped: Mapping[str, object], settings: Mapping[str, object], given: int) -> Any:
    """An instance of a part's class, or its function, with settings; it is called with `given` arguments.

    Raises:
        SpaceError: as `find_part`, or it does not take these settings.
    """
    part = find_part(kind, name, shipped)
    try:
        if isinstance(part, type):
            return part(**settings)
        inspect.signature(part).bind(*[None] * given, **settings)
        return partial(part, **settings)
    except (TypeError, ValueError) as error:
        raise SpaceError(f"{kind} {name} cannot be made with its settings: {error}") from error


def is_part(kind: str, name: str, shipped: Iterable[str]) -> bool:
    """Whether a name can be looked up, without importing anything."""
    return name in shipped or own_code.is_own(name) or entry_point(kind, name) is not None


def unknown_part(kind: str, name: str, shipped: Iterable[str]) -> str:
    """The sentence for a name that leads nowhere."""
    known = [*shipped, *(point.name for point in installed(kind))]
    return f"{unknown_name(kind, name, known)}; one of your own is written as module:name"


def metric_name(name: str) -> str:
    """What a metric is called in tables: its function, or entry point.

    >>> metric_name("my_metrics:mean_rank")
    'mean_rank'
    """
    return name.rpartition(":")[2]


def installed(kind: str) -> EntryPoints:
    """The entry points of a kind of part, of all installed packages."""
    # Imported here: most spaces and recipes have no such part, and the import costs more than all of `nas.spaces`.
    from importlib.metadata import entry_points

    return entry_points(group=GROUPS[kind])
