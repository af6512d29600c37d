"""The vocabulary of rules: one class a kind, and how files write them.

A file writes a rule as its kind with a value, and two optional keys beside it:

    - max_blocks: 3
    - stage_ends: true
      strength: preference
    - sites: {block: cnl, sites: [6, 8, 14]}
      backbone: resnet50
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, TypeAlias, Union

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError

from nas.errors import SpaceError, unknown_name
from nas.files.model_errors import sentence_for
from nas.spaces.rules.base import Rule, Strength, Violation
from nas.spaces.rules.combinations import DistinctStages, MaxBlocks, MinBlocks, MinDistance, Mix
from nas.spaces.rules.positions import AllowedBlocks, BlockPreference, Cost, ForbidRule, SitesRule, StageEnds
from nas.spaces.rules.ranges import ParamsRule, RecipeRange
from nas.spaces.rules.ties import Tie

RULE_KINDS: Mapping[str, type[Rule]] = MappingProxyType(
    {
        "sites": SitesRule,
        "forbid": ForbidRule,
        "blocks": AllowedBlocks,
        "stage_ends": StageEnds,
        "block_preference": BlockPreference,
        "params": ParamsRule,
        "cost": Cost,
        "max_blocks": MaxBlocks,
        "min_blocks": MinBlocks,
        "min_distance": MinDistance,
        "distinct_stages": DistinctStages,
        "mix": Mix,
        "tie": Tie,
        "recipe_range": RecipeRange,
    }
)
"""Every kind of rule, by the name files use."""

_BESIDE = ("strength", "backbone")
_RELATIVE_KEYS = frozenset({"stages", "place", "stride"})


def _unfolded(data: object) -> object:
    """What a file writes, as the fields of the rule's class."""
    if isinstance(data, Rule):
        return data
    if not isinstance(data, Mapping):
        raise ValueError(f"a rule is a kind with a value, like max_blocks: 3, not {data!r}")
    kinds = [str(key) for key in data if key not in _BESIDE]
    if len(kinds) != 1:
        raise ValueError(f"a rule has exactly one kind; found {', '.join(kinds) or 'none'}")
    kind = kinds[0]
    if kind not in RULE_KINDS:
        raise ValueError(unknown_name("kind of rule", kind, RULE_KINDS))
    return {"kind": kind, **_fields(kind, data[kind]), **{key: data[key] for key in _BESIDE if key in data}}


def _fields(kind: str, body: object) -> dict[str, object]:
    shorthand = RULE_KINDS[kind].shorthand
    if isinstance(body, Mapping) and not (kind == "sites" and body and body.keys() <= _RELATIVE_KEYS):
        return {str(key): value for key, value in body.items()}
    if shorthand is not None:
        return {shorthand: body}
    if body is not True:
        raise ValueError(f"{kind} takes {'true' if kind in _SWITCHES else 'keys and values'}, not {body!r}")
    return {}


_SWITCHES = ("stage_ends", "distinct_stages")


class _FileForm:
    """The JSON schema of rules as files write them, in place of the classes' own fields."""

    @staticmethod
    def __get_pydantic_json_schema__(core_schema: object, handler: object) -> dict[str, object]:
        return {"description": "a kind with its value", "oneOf": [_kind_schema(kind) for kind in RULE_KINDS]}


def _kind_schema(kind: str) -> dict[str, object]:
    model = RULE_KINDS[kind]
    whole = model.model_json_schema()
    fields = {name: schema for name, schema in whole["properties"].items() if name not in ("kind", *_BESIDE)}
    required = [name for name in whole.get("required", []) if name in fields]
    body = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    short = fields[model.shorthand] if model.shorthand else {"const": True}
    beside = {name: whole["properties"][name] for name in _BESIDE}
    about = {"description": (model.__doc__ or "").split("\n")[0], "anyOf": [short, body] if fields else [short]}
    return {"type": "object", "properties": {kind: about, **beside}, "required": [kind], "additionalProperties": False}


if TYPE_CHECKING:
    AnyRule: TypeAlias = Rule
else:
    AnyRule = Annotated[
        Union[tuple(RULE_KINDS.values())],  # noqa: UP007  # one list of all kinds
        Field(discriminator="kind"),
        BeforeValidator(_unfolded),
        PlainSerializer(lambda rule: rule.to_dict()),
        _FileForm(),
    ]
    """A rule of any kind, as a field of a pydantic model."""

_ADAPTER: TypeAdapter[Rule] = TypeAdapter(AnyRule)


def rule_from_dict(data: Mapping[str, object] | Rule) -> Rule:
    """A rule from what a file writes; the inverse of `Rule.to_dict`.

    >>> rule_from_dict({"forbid": {"blocks": ["agw"], "sites": "1-4"}}).sentence()
    'no AGW non-local at positions 1-4'

    Raises:
        SpaceError: for an unknown kind or key, or an illegal value.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as problem:
        raise SpaceError(f"rule {data!r}: {sentence_for(problem, AnyRule)[0]}") from problem


__all__ = [
    "RULE_KINDS",
    "AllowedBlocks",
    "AnyRule",
    "BlockPreference",
    "Cost",
    "DistinctStages",
    "ForbidRule",
    "MaxBlocks",
    "MinBlocks",
    "MinDistance",
    "Mix",
    "ParamsRule",
    "RecipeRange",
    "Rule",
    "SitesRule",
    "StageEnds",
    "Strength",
    "Tie",
    "Violation",
    "rule_from_dict",
]
