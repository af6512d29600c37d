"""Domains of hyperparameters: of a block, of a backbone, of the recipe.

    loss: [ce, circle]                        a list
    base_lr: {log: [1e-4, 1e-3]}              any number between, uniform in its logarithm
    margin: {range: [0.1, 0.5]}               any number between, uniform
    margin: {range: [0.1, 0.5], points: 5}    five numbers, evenly spaced (with log: by a constant factor)
    circle_m: {values: [0.25, 0.35], when: {loss: circle}}      exists only with that loss

Only finite domains are counted and listed; `is_finite` tells. How domains combine is left to `nas.spaces.recipes`
and `nas.spaces.space`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from nas.errors import SpaceError, unknown_name
from nas.spaces import own_code
from nas.spaces.blocks import BlockSpec, Params, ParamSpec, UnloadedSpec, get_block_spec
from nas.spaces.derived import CHANNELS, DERIVED, Derived
from nas.spaces.sites import Site
from nas.spaces.values import ParamValue, canonical_value, format_value, same_value

_DIGITS = 6
_KEYS = ("values", "range", "log", "points", "when")
_LEGAL = "Write a list of values, {range: [low, high]} or {log: [low, high]}."


@dataclass(frozen=True)
class Domain:
    """The values one hyperparameter may take.

    Attributes:
        values: the values of a finite domain, without repeats.
        low, high: bounds of a continuous domain, both included.
        scale: `linear` or `log`, the scale on which a continuous domain is drawn uniformly.
        when: `((other, values), ...)`: the hyperparameter exists only while each other one has one of these values.
    """

    values: tuple[ParamValue, ...] = ()
    low: float = math.inf
    high: float = -math.inf
    scale: Literal["linear", "log"] = "linear"
    when: tuple[tuple[str, tuple[ParamValue, ...]], ...] = field(default=())

    @classmethod
    def of(cls, data: object) -> Domain:
        """A domain from what a person wrote; a `SpaceError` when it cannot be read as one, or is empty."""
        if isinstance(data, Domain):
            return data
        if not isinstance(data, Mapping):
            return cls(_distinct(data))
        for key in data:
            if key not in _KEYS:
                raise SpaceError(unknown_name("key of a domain", str(key), _KEYS))
        conditions = data.get("when", {})
        if not isinstance(conditions, Mapping):
            raise SpaceError(f"when needs names with their values, like {{loss: circle}}, not {conditions!r}")
        when = tuple(sorted((str(key), _distinct(values)) for key, values in conditions.items()))
        kinds = [key for key in ("values", "range", "log") if key in data]
        if len(kinds) != 1:
            raise SpaceError("a domain has exactly one of the keys values, range and log", _LEGAL)
        if kinds[0] == "values":
            return cls(_distinct(data["values"]), when=when)
        return _interval(data[kinds[0]], "log" if kinds[0] == "log" else "linear", data.get("points"), when)

    @property
    def is_finite(self) -> bool:
        """Whether the values can be counted and listed."""
        return bool(self.values) or self.low > self.high

    @property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        return not self.values and self.low > self.high

    def __contains__(self, value: object) -> bool:
        if self.values or isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
            return any(same_value(value, known) for known in self.values)  # type: ignore[arg-type]
        return self.low <= value <= self.high

    def is_active(self, others: Mapping[str, ParamValue]) -> bool:
        """Whether the hyperparameter exists beside the values of the others."""
        return all(key in others and any(same_value(others[key], v) for v in values) for key, values in self.when)

    def draw(self, rng: random.Random) -> ParamValue:
        """A value, uniform on the domain's scale; continuous ones are kept to six digits."""
        if self.values:
            return self.values[rng.randrange(len(self.values))]
        a, b = _to_scale(self.low, self.scale), _to_scale(self.high, self.scale)
        drawn = float(f"{_from_scale(rng.uniform(a, b), self.scale):.{_DIGITS}g}")
        return canonical_value(min(max(drawn, self.low), self.high))

    @property
    def first(self) -> ParamValue:
        """The first value of a finite domain, the middle of a continuous one."""
        if self.values:
            return self.values[0]
        middle = (_to_scale(self.low, self.scale) + _to_scale(self.high, self.scale)) / 2
        return canonical_value(float(f"{_from_scale(middle, self.scale):.{_DIGITS}g}"))

    def near(self, value: ParamValue, step: float = 0.1) -> list[ParamValue]:
        """Other values to try from one: all of a finite domain, two at a tenth of the length of a continuous one."""
        if self.values:
            return [known for known in self.values if not same_value(known, value)]
        if isinstance(value, (bool, str)) or value not in self:
            return []
        a, b, at = (_to_scale(x, self.scale) for x in (self.low, self.high, float(value)))
        moved = [min(max(at + sign * step * (b - a), a), b) for sign in (-1, 1)]
        rounded = [float(f"{_from_scale(x, self.scale):.{_DIGITS}g}") for x in moved]
        return [canonical_value(min(max(x, self.low), self.high)) for x in rounded if not same_value(x, value)]

    def narrowed(self, low: float | None, high: float | None) -> Domain:
        """The part between two bounds; a `SpaceError` when the values are not numbers."""
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        if not self.values:
            return Domain((), max(self.low, low), min(self.high, high), self.scale, self.when)
        for value in self.values:
            if isinstance(value, (bool, str)):
                raise SpaceError(f"a range needs numbers, and {format_value(value)} is none")
        return Domain(tuple(v for v in self.values if low <= v <= high), when=self.when)  # type: ignore[operator]

    def only(self, values: Iterable[ParamValue]) -> Domain:
        """The part that is among some values."""
        return Domain(tuple(value for value in values if value in self), when=self.when)

    def to_data(self) -> object:
        """As a space file writes it; `of` reads it back."""
        body: dict[str, object] = {}
        if self.values or self.is_empty:
            if not self.when:
                return list(self.values)
            body["values"] = list(self.values)
        else:
            body["log" if self.scale == "log" else "range"] = [self.low, self.high]
        if self.when:
            body["when"] = {key: list(values) for key, values in self.when}
        return body

    def sentence(self) -> str:
        """As a person says it: "ce or circle", "0.0001 to 0.001"."""
        words = [format_value(value) for value in self.values]
        text = ", ".join(words) if words else f"{self.low:g} to {self.high:g}{' (log)' * (self.scale == 'log')}"
        conditions = [f"{key} is {' or '.join(format_value(v) for v in values)}" for key, values in self.when]
        return f"{text}, when {' and '.join(conditions)}" if conditions else text


@dataclass(frozen=True)
class BlockDomain:
    """A block type of a design space, with the values its hyperparameters may take.

    Attributes:
        params: for each hyperparameter that varies or is not at its default: its legal values here.
        derived: those that are computed from the site's channels and other hyperparameters.
    """

    name: str
    params: tuple[tuple[str, tuple[ParamValue, ...]], ...] = ()
    derived: tuple[tuple[str, Derived], ...] = ()

    @classmethod
    def of(cls, name: str, data: object) -> BlockDomain:
        """A block's domain from what a person wrote: for each hyperparameter a value, a list, `all` or an expression.

        Raises:
            SpaceError: for an unknown block or hyperparameter, or an illegal value.
        """
        spec = get_block_spec(name)
        if data is None:
            data = {}
        if not isinstance(data, Mapping):
            raise SpaceError(f"block {name!r} needs hyperparameters with their values, or {{}}, not {data!r}")
        computed = {str(key): _derived(spec, str(key), v) for key, v in data.items() if isinstance(v, Mapping)}
        listed = ((str(key), _choices(spec, str(key), v)) for key, v in data.items() if not isinstance(v, Mapping))
        return cls(name, tuple(sorted(listed)), tuple(sorted(computed.items())))

    def variants(self, *sites: Site) -> tuple[Params, ...]:
        """All distinct settings, complete and canonical; conditional hyperparameters only where they are active.

        Args:
            sites: where; only a domain with derived hyperparameters needs to know.

        Raises:
            SpaceError: for an own block whose class was not imported: how many there are is not known; for a derived
                value that is not legal, with its site.
        """
        spec = get_block_spec(self.name)
        if isinstance(spec, UnloadedSpec):
            own_code.require_trusted([self.name], "the space")
        places = sites if self.derived else (None,)
        return tuple(dict.fromkeys(spec.complete(given) for site in places for given in self._settings(spec, site)))

    def _settings(self, spec: BlockSpec, site: Site | None) -> Iterator[dict[str, ParamValue]]:
        settings: list[dict[str, ParamValue]] = [{}]
        domains, derived = dict(self.params), dict(self.derived)
        for param in spec.settings:
            if param.name in domains:
                settings = [
                    {**given, param.name: value} if param.is_active(_seen(spec, given)) else given
                    for given in settings
                    for value in domains[param.name]
                ]
            elif param.name in derived and site is not None:
                settings = [
                    {**given, param.name: _computed(derived[param.name], param, spec, given, site)}
                    if param.is_active(_seen(spec, given))
                    else given
                    for given in settings
                ]
        yield from settings

    def moved(self, params: Params, site: Site) -> Params | None:
        """The settings with their derived values as they are at a site; None when there are no such there."""
        if not self.derived:
            return params
        names = {name for name, _ in self.derived}
        kept = [row for row in params if row[0] not in names]
        found = (row for row in self.variants(site) if [pair for pair in row if pair[0] not in names] == kept)
        return next(found, None)

    def to_data(self) -> dict[str, object]:
        """As a space file writes it."""
        listed = {name: list(values) for name, values in self.params}
        return dict(sorted((listed | {name: derived.to_data() for name, derived in self.derived}).items()))


def _seen(spec: BlockSpec, given: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """The values that conditions can look at: the given ones, and defaults of the others."""
    return dict(spec.complete(given))


def _derived(spec: BlockSpec, key: str, data: Mapping[object, object]) -> Derived:
    """The expression of a hyperparameter; it may name what the block declares before it."""
    if set(data) != {DERIVED}:
        hint = "Put an expression with commas into quotation marks."
        raise SpaceError(f"{key} of block {spec.name!r} needs values, or {{derived: channels / 64}}, not {data}", hint)
    found, settings = Derived.of(data[DERIVED]), [param.name for param in spec.settings]
    spec.param(key)
    if not isinstance(spec, UnloadedSpec):
        known = [CHANNELS, *settings[: settings.index(key)]]
        for name in sorted(found.names - set(known)):
            raise SpaceError(unknown_name(f"name in what {key} of block {spec.name!r} is derived from", name, known))
    return found


def _computed(
    derived: Derived, param: ParamSpec, spec: BlockSpec, given: Mapping[str, ParamValue], site: Site
) -> ParamValue:
    try:
        value = derived.value({**_seen(spec, given), CHANNELS: site.channels})
        return param.choose(value, spec.name)
    except SpaceError as error:
        where = f"{param.name} = {derived.text} at site {site.number} ({site.after}, {site.channels} channels)"
        hint = "Bound it with min and max, or leave the site out of `sites`."
        raise SpaceError(f"{where}: {error.message}", hint) from error


def _choices(spec: BlockSpec, key: str, value: object) -> tuple[ParamValue, ...]:
    param = spec.param(key)
    if value == "all":
        return param.choices
    legal = [*_distinct(value)]
    if isinstance(spec, UnloadedSpec):
        return tuple(legal)
    return tuple(item if param.default_if and item == "auto" else param.choose(item, spec.name) for item in legal)


def _distinct(data: object) -> tuple[ParamValue, ...]:
    """A value or a list of them, canonical, in order, without repeats."""
    items = data if isinstance(data, (list, tuple)) else [data]
    values: list[ParamValue] = []
    for item in map(canonical_value, items):
        if not any(same_value(item, known) for known in values):
            values.append(item)
    if not values:
        raise SpaceError("a domain needs at least one value", _LEGAL)
    return tuple(values)


def _interval(
    bounds: object,
    scale: Literal["linear", "log"],
    points: object,
    when: tuple[tuple[str, tuple[ParamValue, ...]], ...],
) -> Domain:
    low, high = _bounds(bounds, scale)
    if points is None:
        return Domain((canonical_value(low),), when=when) if low == high else Domain((), low, high, scale, when)
    if isinstance(points, bool) or not isinstance(points, int) or not 2 <= points <= 1000:
        raise SpaceError(f"points must be a whole number from 2 to 1000, not {points!r}")
    a, b = _to_scale(low, scale), _to_scale(high, scale)
    inner = [_from_scale(a + (b - a) * i / (points - 1), scale) for i in range(1, points - 1)]
    return Domain(_distinct([low, *(float(f"{x:.{_DIGITS}g}") for x in inner), high]), when=when)


def _bounds(bounds: object, scale: str) -> tuple[float, float]:
    numbers = list(bounds) if isinstance(bounds, (list, tuple)) else []
    if len(numbers) != 2 or any(isinstance(n, (bool, str)) or not isinstance(n, (int, float)) for n in numbers):
        raise SpaceError(f"bounds must be two numbers [low, high], not {bounds!r}")
    low, high = (float(number) for number in numbers)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise SpaceError(f"bounds must be finite and in order, not {bounds!r}")
    if scale == "log" and low <= 0:
        raise SpaceError(f"a log scale needs bounds above 0, not {bounds!r}")
    return low, high


def _to_scale(value: float, scale: str) -> float:
    return math.log(value) if scale == "log" else value


def _from_scale(value: float, scale: str) -> float:
    return math.exp(value) if scale == "log" else value
