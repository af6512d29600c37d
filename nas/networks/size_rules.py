"""Rules from the size of networks alone, before anything is timed or trained: no block where it makes one too large.

Sizes are counted, so there is nothing to test: a placement is over the limit or it is not. Rules about time are
`nas.latency.cost_rules`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from nas.errors import SpaceError, unknown_name
from nas.networks.complexity import Complexity, complexity
from nas.spaces.blocks import Params
from nas.spaces.candidate import Candidate, as_candidate
from nas.spaces.findings import Finding
from nas.spaces.rules import Cost
from nas.spaces.values import format_value

SIZES: Mapping[str, Callable[[Complexity], int]] = MappingProxyType(
    {
        "params": lambda found: found.params,
        "macs": lambda found: found.macs,
        "activations": lambda found: found.activation_elements,
    }
)
"""What can be limited, by the name that rules and studies use."""

_UNITS = {"params": (1e6, "M parameters"), "macs": (1e9, "GMAC"), "activations": (1e6, "M activations")}


def size_finding(
    singles: Iterable[Candidate], measure: str, limit: str | Candidate | int, input_size: tuple[int, int] = (256, 128)
) -> Finding:
    """The rule that leaves out every placement whose network is larger than a reference or a number.

    >>> finding = size_finding([as_candidate("resnet50+agw@4"), as_candidate("resnet50+agw@17")], "params", 30_000_000)
    >>> finding.reason
    'limit 30.00 M parameters; agw 31.91 M parameters'

    Args:
        singles: single placements (`DesignSpace.singles`) of one backbone.
        measure: a name of `SIZES`.
        limit: a network such as `resnet101`, or a number for one image.

    Returns:
        An adopted rule, or a rejected one when no placement is over the limit.

    Raises:
        SpaceError: for an unknown measure, or without placements.
    """
    if measure not in SIZES:
        raise SpaceError(unknown_name("size of a network", measure, SIZES))
    placed = list(dict.fromkeys(candidate.architecture for candidate in singles))
    if not placed:
        raise SpaceError("there is no placement whose size could be limited")
    counted = {candidate: SIZES[measure](complexity(candidate, input_size)) for candidate in placed}
    most = limit if isinstance(limit, int) else SIZES[measure](complexity(limit, input_size))
    over = {candidate: size for candidate, size in counted.items() if size > most}
    name = str(limit) if isinstance(limit, int) else as_candidate(limit).notation
    groups = _groups(over or counted, placed)
    placements = {pattern: sorted({candidate.placements[0].site for candidate in of}) for pattern, of in groups.items()}
    rule = Cost.model_validate({"reference": name, "measure": measure, "placements": placements})
    if not over:
        return Finding(rule=rule, verdict="rejected", reason=f"no placement is over {_size([most], measure)}")
    sizes = [f"{pattern} {_size([over[candidate] for candidate in of], measure)}" for pattern, of in groups.items()]
    return Finding(rule=rule, reason="; ".join([f"limit {_size([most], measure)}", *sizes]))


def _groups(chosen: Iterable[Candidate], placed: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """The chosen placements under the names a rule has for them.

    A block stands for all its settings in the space where these are chosen at the same sites; else each setting is
    named by what varies between them.
    """
    settings: dict[str, dict[Params, list[Candidate]]] = defaultdict(lambda: defaultdict(list))
    for candidate in placed:
        settings[candidate.placements[0].block][candidate.placements[0].params] = []
    for candidate in chosen:
        settings[candidate.placements[0].block][candidate.placements[0].params].append(candidate)
    found: dict[str, list[Candidate]] = {}
    for block, by_setting in sorted(settings.items()):
        sites = {tuple(c.placements[0].site for c in of) for of in by_setting.values()}
        if len(sites) == 1:
            found[block] = [candidate for of in by_setting.values() for candidate in of]
            continue
        common = set.intersection(*(set(params) for params in by_setting))
        varying = {key for params in by_setting for key, value in params if (key, value) not in common}
        for params, of in by_setting.items():
            shown = ", ".join(f"{key}={format_value(value)}" for key, value in params if key in varying)
            found[f"{block}({shown})"] = of
    return {pattern: of for pattern, of in found.items() if of}


def _size(values: Iterable[float], measure: str) -> str:
    """One size, or the span of several, with its unit."""
    scale, unit = _UNITS[measure]
    shown = dict.fromkeys(f"{value / scale:.2f}" for value in sorted(values))
    ends = list(shown)[:: max(len(shown) - 1, 1)]
    return f"{' to '.join(ends)} {unit}"
