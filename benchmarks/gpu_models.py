"""What `nas` uses of pydantic for recipes, for a machine without it: defaults and sections, no checking.

A benchmark's own recipes are right; whoever wants theirs checked has pydantic.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
import typing
from typing import Any

PYDANTIC = "pydantic"


class _Field:
    def __init__(self, default: Any = ...) -> None:
        self.default = default


class BaseModel:
    """Fields by annotation; a mapping for a section becomes that section, a list for a tuple that tuple."""

    model_fields: typing.ClassVar[dict[str, _Field]] = {}

    def __init_subclass__(cls) -> None:
        own = {
            name: getattr(cls, name)
            if isinstance(getattr(cls, name, None), _Field)
            else _Field(getattr(cls, name, ...))
            for name in inspect.get_annotations(cls)
            if not name.startswith("_") and name != "model_config"
        }
        cls.model_fields = {**cls.model_fields, **own}

    def __init__(self, **values: Any) -> None:
        hints = typing.get_type_hints(type(self))
        for name, field in self.model_fields.items():
            value = values.pop(name, field.default)
            if value is ...:
                raise ValueError(f"{type(self).__name__} needs {name}")
            object.__setattr__(self, name, _read(hints[name], value))
        if values:
            raise ValueError(f"{type(self).__name__} has no {', '.join(values)}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return id(type(self))

    @classmethod
    def model_validate(cls, values: Any) -> Any:
        return values if isinstance(values, cls) else cls(**values)

    def model_dump(self, *, exclude: Any = (), **_: Any) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.model_fields if name not in exclude}


def _read(hint: Any, value: Any) -> Any:
    inside = [hint, *typing.get_args(hint)]
    if isinstance(value, dict):
        sections = [kind for kind in inside if isinstance(kind, type) and issubclass(kind, BaseModel)]
        return sections[0](**value) if sections else value
    is_tuple = any(kind is tuple or typing.get_origin(kind) is tuple for kind in inside)
    return tuple(value) if isinstance(value, list) and is_tuple else value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def named(name: str) -> type:
    """A class of any name; a module has no file or path of its own here, and who looks for one shall see that."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})


def without_pydantic() -> bool:
    """Puts this in pydantic's place where it is missing; tells whether it did."""
    try:
        importlib.import_module(PYDANTIC)
        return False
    except ImportError:
        pass
    module = types.ModuleType(PYDANTIC)

    def unchanged(*_: Any, **__: Any) -> Any:
        return lambda method: method

    names: dict[str, Any] = {
        "BaseModel": BaseModel,
        "Field": lambda default=..., **_: _Field(default),
        "ConfigDict": lambda **values: values,
        "ValidationError": type("ValidationError", (ValueError,), {}),
        "field_validator": unchanged,
        "model_validator": unchanged,
        "field_serializer": unchanged,
        "model_serializer": unchanged,
    }
    vars(module).update(names)
    # Whatever else is imported by name is for study files, which no benchmark reads.
    module.__getattr__ = named  # type: ignore[method-assign]
    sys.modules[PYDANTIC] = module
    return True
