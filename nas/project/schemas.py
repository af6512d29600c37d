"""JSON schemas of the files a person writes: spaces, studies, recipes and rules, for editors and other programs.

The models that check the files make them, so an editor knows the keys that `nas` knows. Short forms that the readers
unfold before checking (a stage as a plain word, `shrink: auto`) are added here by hand; tests hold the shipped files
against the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic.json_schema import JsonSchemaValue as Schema
from pydantic.json_schema import models_json_schema

from nas.data.pedestrians.settings import PedestrianSettings
from nas.data.readers import READERS
from nas.errors import NasError, unknown_name
from nas.latency.backends import BACKENDS
from nas.latency.protocol import AUTO
from nas.search.campaign import CampaignFile
from nas.search.definition import STAGE_KINDS, StudyDefinition
from nas.search.proposals import SAMPLERS
from nas.spaces import DesignSpace, RuleSet
from nas.spaces.space_file import SpaceFile
from nas.training.named import NAMED
from nas.training.recipe import Recipe

_OWN_NAME = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schema(kind: str) -> Schema:
    """The JSON schema of a kind of file, a name of `FILE_KINDS`; a `NasError` for any other."""
    if kind not in FILE_KINDS:
        raise NasError(unknown_name("kind of file", kind, FILE_KINDS))
    return {"$schema": DIALECT, **FILE_KINDS[kind]()}


def schema_text(kind: str) -> str:
    """The schema as a file holds it."""
    return json.dumps(file_schema(kind), indent=1, ensure_ascii=False) + "\n"


def _recipe() -> Schema:
    definitions = _definitions(Recipe)
    recipe = definitions.pop("Recipe")
    return {**_recipe_changes(recipe), "title": "recipe", "$defs": definitions}


def _study() -> Schema:
    definitions = _definitions(StudyDefinition, SpaceFile, Recipe, PedestrianSettings)
    study, item = definitions.pop("StudyDefinition"), definitions["StageItem"]
    definitions["Recipe"] = _recipe_changes(definitions["Recipe"])
    definitions["Data"] = _data()
    own: Schema = {"pattern": _OWN_NAME}
    definitions["LatencySettings"]["properties"]["backend"] |= {"anyOf": [{"enum": [AUTO, *BACKENDS]}, own]}
    definitions["SearchStage"]["properties"]["sampler"]["enum"] = list(SAMPLERS)
    definitions["StageItem"] = _stage(item)
    for name in NAMING_STAGES:
        _allow_names(definitions[name]["properties"])
    keys = {**study["properties"], **_named_files(study["properties"])}
    study["properties"] = keys
    keys["profiles"] = {
        "description": keys["profiles"]["description"],
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {key: value for key, value in keys.items() if key != "profiles"},
            "additionalProperties": False,
        },
    }
    return {**study, "title": "study", "$defs": definitions}


def _definitions(*models: Any) -> dict[str, Schema]:
    _, whole = models_json_schema([(model, "validation") for model in models], by_alias=True)
    definitions: dict[str, Schema] = whole["$defs"]
    definitions.get("StudyDefinition", {"properties": {}})["properties"].pop("source", None)  # set by the program
    return definitions


def _recipe_changes(recipe: Schema) -> Schema:
    """A recipe as a file writes it: what it extends, and what changes, sections too by `section.key`."""
    names = {"enum": list(NAMED), "description": "the named recipe that the keys beside it change"}
    study = {"type": "string", "description": "in a study file: the study whose tuned values are taken"}
    properties = {"extends": names, "study": study, **recipe["properties"]}
    loss = properties["loss"]
    properties["loss"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], **_about(loss)}
    return {
        **{key: value for key, value in recipe.items() if key != "required"},
        "properties": properties,
        "patternProperties": {r"^[a-z_]+\.[a-z_.]+$": {}},
    }


_ABOUT = ("default", "description", "title")


def _about(schema: Schema) -> Schema:
    return {key: schema[key] for key in _ABOUT[:2] if key in schema}


def _named_files(keys: Mapping[str, Schema]) -> dict[str, Schema]:
    """The keys that name a file or hold its content."""
    recipe = [{"enum": list(NAMED)}, {"$ref": "#/$defs/Recipe"}]
    space: list[Schema] = [{"type": "string"}, {"$ref": "#/$defs/SpaceFile"}]
    return {
        "space": {**_about(keys["space"]), "anyOf": [*space, _handed(space)]},
        "recipe": {**_about(keys["recipe"]), "anyOf": recipe},
        "data": {**_about(keys["data"]), "$ref": "#/$defs/Data"},
    }


def _handed(space: list[Schema]) -> Schema:
    """A space under the rules of another study, or of a file."""
    rules = {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "object"}]}
    properties = {"within": {"anyOf": space}, "study": {"type": "string"}, "rules": rules, "fallback": rules}
    return {"type": "object", "properties": properties, "required": ["within"], "additionalProperties": False}


def _data() -> Schema:
    """A set, a list of sets, or one to train on and one to test on."""
    generated = {
        "type": "object",
        "properties": {"generated": {"anyOf": [{"$ref": "#/$defs/PedestrianSettings"}, {"type": "null"}]}},
        "required": ["generated"],
        "additionalProperties": False,
    }
    own = {"type": "object", "not": {"propertyNames": {"not": {"pattern": _OWN_NAME}}}}  # one key is module:name
    sets = [generated, own, *(_data_set(name, reader.title, reader.options) for name, reader in READERS.items())]
    one_or_more = [*sets, {"type": "array", "items": {"anyOf": sets}, "minItems": 1}]
    cross = {
        "type": "object",
        "properties": {side: {"anyOf": one_or_more} for side in ("train", "test")},
        "required": ["train", "test"],
        "additionalProperties": False,
    }
    return {"anyOf": [*one_or_more, cross]}


_OPTION = {"type": ["string", "number", "boolean", "array"], "items": {"type": "string"}}
"""An option of a reader: which of these it takes, and what it must be, the reader says."""


def _data_set(name: str, title: str, options: tuple[str, ...]) -> Schema:
    path = {"type": "string", "description": f"where {title} lies"}
    return {
        "type": "object",
        "properties": {name: path, **dict.fromkeys(options, _OPTION)},
        "required": [name],
        "additionalProperties": False,
    }


def _stage(item: Schema) -> Schema:
    """A stage in all the forms a file may use: a mapping, a plain word, `shrink: auto`."""
    properties = dict(item["properties"])
    for kind in STAGE_KINDS:
        properties[kind] = {"anyOf": [_reference(properties[kind]), {"type": "null"}], **_about(properties[kind])}
        properties[kind].pop("default", None)
    auto = _reference(item["properties"]["auto_shrink"])
    budget = {"type": "object", "properties": {"auto": auto}, "required": ["auto"], "additionalProperties": False}
    properties["shrink"]["anyOf"] += [{"const": "auto"}, budget]
    one_kind = {"oneOf": [{"required": [kind]} for kind in STAGE_KINDS]}
    return {"anyOf": [{"enum": list(STAGE_KINDS)}, {**item, "properties": properties, **one_kind}]}


NAMING_STAGES = ("SweepStage", "ShrinkStage", "AutoShrinkStage", "SearchStage", "RuleTestStage")
"""Stages whose `candidates` may be a list of networks too."""


def _allow_names(properties: Schema) -> None:
    """`candidates: [...]` beside what a stage's own key of that name may be."""
    own, names = properties.get("candidates"), {"type": "array", "items": {"type": "string"}}
    forms = [] if own is None else own.get("anyOf", [{k: v for k, v in own.items() if k not in _ABOUT}])
    properties["candidates"] = {**_about(own or properties["named"]), "anyOf": [*forms, names]}


def _reference(schema: Schema) -> Schema:
    """The model behind an optional field."""
    return next(part for part in schema.get("anyOf", [schema]) if "$ref" in part)


FILE_KINDS: Mapping[str, Callable[[], Schema]] = {
    "space": DesignSpace.json_schema,
    "study": _study,
    "campaign": CampaignFile.model_json_schema,
    "recipe": _recipe,
    "rules": RuleSet.json_schema,
}
"""The kinds of file that have a schema."""
