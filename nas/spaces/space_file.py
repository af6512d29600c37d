"""The keys of a design-space file, checked: what `search_spaces/*.yaml` may hold.

The model knows what each key may be and turns it into domains, sites and rules; what a space can do is left to
`nas.spaces.space`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from nas.errors import SpaceError, unknown_name
from nas.files.model_errors import Location, at_location
from nas.spaces.blocks import BLOCKS, Params, UnloadedSpec, get_block_spec
from nas.spaces.candidate import BACKBONE_DEFAULTS, Candidate
from nas.spaces.derived import CHANNELS, DERIVED
from nas.spaces.domains import BlockDomain, Domain
from nas.spaces.recipes import RecipeSpace
from nas.spaces.rules import AnyRule, Tie
from nas.spaces.site_sets import Sites, SiteSet
from nas.spaces.sites import BACKBONES, Site, Topology, be_told, get_topology, is_foreign, tell_sites


@dataclass(frozen=True)
class BackboneDomain:
    """A backbone of a design space, with the values of each of its parameters that is given."""

    name: str
    params: tuple[tuple[str, tuple[object, ...]], ...] = ()

    @classmethod
    def of(cls, name: str, data: object) -> BackboneDomain:
        """A backbone's domain from what a person wrote: for each parameter a value or a list.

        Raises:
            SpaceError: for an unknown backbone or parameter, or an illegal value.
        """
        get_topology(name)
        given = data or {}
        if not isinstance(given, Mapping):
            raise SpaceError(f"backbone {name!r} needs parameters with their values, or {{}}, not {data!r}")
        for key in given:
            if key not in BACKBONE_DEFAULTS:
                raise SpaceError(unknown_name("backbone parameter", str(key), BACKBONE_DEFAULTS))
        domain = cls(name, tuple(sorted((str(key), Domain.of(values).values) for key, values in given.items())))
        domain.variants()
        return domain

    def variants(self) -> tuple[Params, ...]:
        """All settings, complete and canonical."""
        names = [name for name, _ in self.params]
        settings = itertools.product(*(values for _, values in self.params))
        made = (Candidate.make(self.name, backbone_params=dict(zip(names, row, strict=True))) for row in settings)
        return tuple(dict.fromkeys(candidate.backbone_params for candidate in made))

    def topologies(self) -> tuple[Topology, ...]:
        """The backbone's sites, once for each last stride."""
        return tuple(self.by_last_stride().values())

    def by_last_stride(self) -> dict[int, Topology]:
        """The backbone's sites by last stride."""
        strides = dict.fromkeys(int(dict(params)["last_stride"]) for params in self.variants())
        return {stride: get_topology(self.name, stride) for stride in strides}

    def to_data(self) -> dict[str, object]:
        """As a space file writes it."""
        return {name: values[0] if len(values) == 1 else list(values) for name, values in self.params}


def _backbones(data: object) -> object:
    return _made(BackboneDomain, data, BACKBONES, "one backbone, like [resnet50] or {resnet50: {width: 0.5}}")


def _blocks(data: object) -> object:
    return _made(BlockDomain, data, BLOCKS, "one block, like {cnl: {}} or [cnl, hac]")


def _made(kind: type[BackboneDomain] | type[BlockDomain], data: object, known: Iterable[str], least: str) -> object:
    """Domains by name, shipped ones first, from a name, a list of them, or names with their values."""
    if isinstance(data, str):
        data = [data]
    if isinstance(data, (list, tuple)):
        data = {_text(item, i): {} for i, item in enumerate(data)}
    if not isinstance(data, Mapping) or not data:
        raise ValueError(f"name at least {least}")
    made = {str(name): _domain(kind, str(name), body) for name, body in data.items()}
    return {name: made[name] for name in dict.fromkeys([*known, *sorted(made)]) if name in made}


def _recipe(data: object) -> object:
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise ValueError("the recipe needs names with their values, like {loss: [ce, circle]}")
    domains = {}
    for key in sorted(data, key=str):
        try:
            domains[str(key)] = Domain.of(data[key])
        except SpaceError as error:
            raise at_location(error, (str(key),), data[key]) from error
    try:
        RecipeSpace.ordered(domains)
    except SpaceError as error:
        raise ValueError(error.message) from error
    return domains


def _domain(kind: type[BackboneDomain] | type[BlockDomain], name: str, body: object) -> BackboneDomain | BlockDomain:
    """A domain; what is wrong with one of its keys is said at that key."""
    if isinstance(body, kind):
        return body
    parts: list[tuple[Location, object]] = [((name,), {} if isinstance(body, Mapping) else body)]
    parts += [((name, str(key)), {key: value}) for key, value in body.items()] if isinstance(body, Mapping) else []
    for location, part in parts:
        try:
            kind.of(name, part)
        except SpaceError as error:
            raise at_location(error, location, part) from error
    return kind.of(name, body)


def _text(item: object, position: int) -> str:
    if not isinstance(item, str):
        raise at_location(SpaceError(f"a name is needed here, not {item!r}"), (position,), item)
    return item


_VALUE_SCHEMA = {"type": ["string", "number", "boolean"]}
_VALUES_SCHEMA = {"anyOf": [_VALUE_SCHEMA, {"type": "array", "items": _VALUE_SCHEMA, "minItems": 1}]}
_PARAMS_SCHEMA = {"type": ["object", "null"], "additionalProperties": _VALUES_SCHEMA}
_DERIVED_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [DERIVED],
    "properties": {DERIVED: {"type": ["string", "number"]}},
}
_BLOCK_PARAMS_SCHEMA = {
    "type": ["object", "null"],
    "additionalProperties": {"anyOf": [*_VALUES_SCHEMA["anyOf"], _DERIVED_SCHEMA]},
}
_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_BOUNDS_SCHEMA = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_DOMAIN_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "values": _VALUES_SCHEMA,
        "range": _BOUNDS_SCHEMA,
        "log": _BOUNDS_SCHEMA,
        "points": {"type": "integer", "minimum": 2},
        "when": {"type": "object", "additionalProperties": _VALUES_SCHEMA},
    },
}


def _named(value: Mapping[str, BackboneDomain]) -> dict[str, object]:
    return {name: domain.to_data() for name, domain in value.items()}


_BackboneField = Annotated[
    dict[str, InstanceOf[BackboneDomain]],
    BeforeValidator(_backbones),
    PlainSerializer(_named),
    WithJsonSchema({"anyOf": [*_NAMES_SCHEMA["anyOf"], {"type": "object", "additionalProperties": _PARAMS_SCHEMA}]}),
]
_BlockField = Annotated[
    dict[str, InstanceOf[BlockDomain]],
    BeforeValidator(_blocks),
    PlainSerializer(_named),
    WithJsonSchema(
        {"anyOf": [*_NAMES_SCHEMA["anyOf"], {"type": "object", "additionalProperties": _BLOCK_PARAMS_SCHEMA}]}
    ),
]
_RecipeField = Annotated[
    dict[str, InstanceOf[Domain]],
    BeforeValidator(_recipe),
    PlainSerializer(_named),
    WithJsonSchema({"type": "object", "additionalProperties": {"anyOf": [*_VALUES_SCHEMA["anyOf"], _DOMAIN_SCHEMA]}}),
]


class Parent(BaseModel):
    """The space a space was cut from: its id, name, number of candidates, and the rules that were added."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str
    name: str
    size: int
    rules: tuple[AnyRule, ...] = ()


class SpaceFile(BaseModel):
    """All keys of a design-space file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, title="design space")

    name: str = Field(min_length=1, description="name of the space, also in the database and in reports")
    description: str = Field("", description="what the space is for, in a sentence or two")
    backbones: _BackboneField = Field(
        description="[resnet50], or {resnet50: {width: 0.5, last_stride: 1}}; also timm:NAME, and module:Class"
    )
    sites: Sites = Field(SiteSet(everything=True), description="where blocks may stand; all sites when left out")
    blocks: _BlockField = Field(description="blocks, with the values of their hyperparameters; {} for defaults")
    recipe: _RecipeField = Field(default_factory=dict, description="values of the recipe that vary")
    rules: tuple[AnyRule, ...] = Field((), description="constraints and preferences")
    parent: Parent | None = Field(None, description="the space this one was cut from; written by the program")
    found_sites: dict[str, dict[str, list[tuple[int, int, int, str]]]] = Field(
        default_factory=dict,
        description="sites of backbones that do not come with nas, for machines without them; written by the program",
    )

    @model_validator(mode="before")
    @classmethod
    def _is_told(cls, data: object) -> object:
        be_told(data)
        return data

    @model_validator(mode="after")
    def _fits(self) -> SpaceFile:
        """Sites and rules must mean something on every backbone of the space."""
        for domain in self.backbones.values():
            _check_any(self.sites.check, domain, ("sites",))
            for i, rule in enumerate(self.rules):
                if rule.applies_to(domain.name):
                    _check_any(rule.check, domain, ("rules", i))
        self._check_derived()
        for i, rule in enumerate(self.rules):
            try:
                for key, varied in self.recipe.items():
                    rule.narrowed(key, varied)
            except SpaceError as error:
                raise at_location(error, ("rules", i)) from error
        self.found_sites.clear()
        self.found_sites.update({n: tell_sites(d.by_last_stride()) for n, d in self.backbones.items() if is_foreign(n)})
        return self

    def sites_of(self, backbones: Iterable[BackboneDomain]) -> tuple[Site, ...]:
        """The sites of backbones where blocks may stand, before rules."""
        topologies = [topology for domain in backbones for topology in domain.topologies()]
        return tuple(t.site(number) for t in topologies for number in sorted(self.sites.resolve(t)))

    def forms(self, block: str) -> tuple[Params, ...]:
        """All distinct settings of a block, at whatever site."""
        return self.blocks[block].variants(*self.sites_of(self.backbones.values()))

    def _check_derived(self) -> None:
        """A derived hyperparameter must have a legal value at every site, and none that a tie asks to be one."""
        for block in self.blocks.values():
            if not block.derived or isinstance(get_block_spec(block.name), UnloadedSpec):
                continue
            for backbone in self.backbones.values():
                try:
                    block.variants(*self.sites_of([backbone]))
                except SpaceError as error:
                    said = SpaceError(f"{backbone.name}: {error.message}", error.hint)
                    raise at_location(said, ("blocks", block.name)) from error
            differing = {f"{block.name}.{name}" for name, found in block.derived if CHANNELS in found.names}
            for i, rule in enumerate(self.rules):
                for name in differing & set(rule.params if isinstance(rule, Tie) else ()):
                    said = SpaceError(f"{name} is derived from the channels of its site, so that it cannot be tied")
                    raise at_location(said, ("rules", i))


def _check_any(check: Callable[[Topology], None], domain: BackboneDomain, location: Location) -> None:
    """Passes on what is wrong when it is wrong at every last stride that the space has."""
    errors = []
    for topology in domain.topologies():
        try:
            return check(topology)
        except SpaceError as error:
            errors.append(error)
    raise at_location(errors[0], location) from errors[0]
