"""One sentence for what pydantic finds wrong in a file: which key, what was given, what is legal.

Reading files and line numbers are left to `yaml_source`; this only knows models and locations inside them.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from nas.errors import NasError, unknown_name
from nas.files.needed import needed

Location: TypeAlias = tuple[str | int, ...]

TAG = "kind"
"""The field that tells members of a union apart; a file writes it as a key, never as this field."""


def sentence_for(
    problem: ValidationError, model: object, in_file: Callable[[Location], Location] = lambda place: place
) -> tuple[str, Location]:
    """What is wrong first, and where in the data.

    Unknown keys come before all else: a misspelt key often makes another one missing.

    Args:
        problem: what pydantic raised.
        model: the model, or the type of a field, that was asked for.
        in_file: keeps the parts of a location that the file has, leaving out names of union members.
    """
    errors = problem.errors(include_url=False)
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    location: Location = tuple(first["loc"])
    return _sentence(first, location, model, in_file), in_file(location)


def at_location(error: NasError, location: Location, given: object = None) -> ValidationError:
    """A problem that a validator found deeper in its data, in the form that pydantic passes on with the location."""
    text = error.message + (f". {error.hint}" if error.hint else "")
    kind = PydanticCustomError("nas", "{text}", {"text": text, "error": NasError(text)})
    return ValidationError.from_exception_data("data", [InitErrorDetails(type=kind, loc=location, input=given)])


def _sentence(error: ErrorDetails, location: Location, model: object, in_file: Callable[[Location], Location]) -> str:
    if error["type"] == "extra_forbidden":
        known = {name for owner in models_at(model, location[:-1]) for name in _keys(owner)}
        return _at(in_file(location[:-1]), unknown_name("key", str(location[-1]), known))
    if error["type"] == "missing":
        return _at(in_file(location[:-1]), f"the key {location[-1]!r} is missing")
    return _at(in_file(location), _plain(error))


def _at(location: Location, message: str) -> str:
    return f"{readable(location)}: {message}" if location else message


def _plain(error: ErrorDetails) -> str:
    """What is needed, with what was given."""
    message, given = needed(error), error.get("input")
    own = error.get("ctx", {}).get("error") is not None
    return f"{message}, not {given!r}" if not own and isinstance(given, str | float | int | None) else message


def readable(location: Location) -> str:
    """A location as a person writes it.

    >>> readable(("rules", 2, "forbid", "blocks"))
    'rules[2].forbid.blocks'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def models_at(annotation: object, location: Location) -> list[type[BaseModel]]:
    """The models that data at a location can be.

    Pydantic's locations also hold names of union members, which are in no model: what matches nothing is passed over.
    """
    found = [model for kind in _alternatives(annotation) for model in _inside(kind, location)]
    return found or (models_at(annotation, location[1:]) if location else [])


def _inside(kind: object, location: Location) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not location:
            yield kind
        elif TAG in kind.model_fields and kind.model_fields[TAG].default == location[0]:
            yield from _inside(kind, location[1:])
        elif location[0] in kind.model_fields:
            yield from models_at(kind.model_fields[str(location[0])].annotation, location[1:])
    elif location:
        for inner in typing.get_args(kind):
            yield from models_at(inner, location[1:])


def _alternatives(annotation: object) -> Iterator[object]:
    """The members of a union, without `Annotated` around them."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _alternatives(member)
    else:
        yield annotation


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not field.exclude and name != TAG:
            yield field.alias or name
