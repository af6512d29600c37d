"""YAML files that a person wrote: read strictly, with the line and column of every value kept.

Duplicate keys are refused, numbers like `1e-4` are numbers, `1:30` and `2024-01-01` stay text, and only `true` and
`false` are switches. `validate` turns what a pydantic model says of the data into one sentence with file, line and
column. Which keys a file has is left to the models: design spaces here, studies and recipes on higher floors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.reader import ReaderError

from nas.errors import NasError, SpaceError
from nas.spaces.model_errors import Location, sentence_for

Mark: TypeAlias = tuple[int, int]
Model = TypeVar("Model", bound=BaseModel)

_MAX_VALUES = 50_000
_MAX_CHARACTERS = 10_000_000


@dataclass(frozen=True)
class YamlSource:
    """The content of a YAML file and where each value stands.

    Attributes:
        name: the file as the user wrote it, for messages.
        data: plain dictionaries, lists and scalars.
        marks: line and column (from 1) of the value at each location; of its key, where it has one.
        path: the file, or None for text.
    """

    name: str
    data: Any
    marks: Mapping[Location, Mark] = field(default_factory=dict, repr=False)
    path: Path | None = None

    @property
    def base(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent if self.path else Path()

    def where(self, location: Location = ()) -> str:
        """`file:line:column` of the value at a location, or of the nearest value around it."""
        place = self.resolve(location)
        if place not in self.marks:
            return self.name
        line, column = self.marks[place]
        return f"{self.name}:{line}:{column}"

    def resolve(self, location: Location) -> Location:
        """The parts of a location that are in the file; names of union members are left out."""
        found: Location = ()
        for part in location:
            found = (*found, part) if (*found, part) in self.marks else found
        return found


def load_yaml(path: str | Path, error: type[NasError] = SpaceError) -> YamlSource:
    """Reads one YAML file.

    Raises:
        NasError: of the type `error`, when the file is missing, is no UTF-8 text, is not valid YAML or repeats a key.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MAX_CHARACTERS + 1)  # a device would give zeros without end
    except FileNotFoundError as problem:
        raise error(f"there is no file {path}", "Check the path.") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not a text file in UTF-8") from problem
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from problem
    except ValueError as problem:  # a null byte in the path
        raise error(f"{str(path)!r} is no path") from problem
    if len(text) > _MAX_CHARACTERS:
        raise error(f"{path} is too long for a YAML file: more than {_MAX_CHARACTERS // 1_000_000} million characters")
    return parse_yaml(text, str(path), error, file)


def parse_yaml(
    text: str, name: str = "<text>", error: type[NasError] = SpaceError, path: Path | None = None
) -> YamlSource:
    """Reads YAML from text; `name` stands for it in messages.

    >>> parse_yaml("lr: 1e-4").data
    {'lr': 0.0001}

    Raises:
        NasError: of the type `error`, as for `load_yaml`.
    """
    try:
        loader = _Loader(text)
    except ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        raise error(f"{name}:{line}: {chr(problem.character)!r} must not stand in a YAML file") from problem
    try:
        node = loader.get_single_node()
        if node is None:
            raise error(f"{name} is empty")
        builder = _Builder(loader, name, error)
        return YamlSource(name, builder.build(node, ()), builder.marks, path)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise error(f"{where}: not valid YAML: {problem.problem or problem.context}") from problem
    except yaml.YAMLError as problem:
        raise error(f"{name}: not valid YAML: {str(problem).splitlines()[0]}") from problem
    except RecursionError as problem:
        raise error(f"{name}: values are nested too deeply to be read") from problem
    finally:
        loader.dispose()


def validate(model: type[Model], source: YamlSource, error: type[NasError] = SpaceError) -> Model:
    """The data of a file as a pydantic model.

    Raises:
        NasError: of the type `error`, one sentence with file, line, column and key for the first thing that is wrong.
    """
    if not isinstance(source.data, dict):
        raise error(f"{source.where()}: expected keys and values, not {_kind(source.data)}")
    try:
        return model.model_validate(source.data)
    except ValidationError as problem:
        sentence, location = sentence_for(problem, model, source.resolve)
        others = problem.error_count() - 1
        hint = f"{others} more problem{'s' * (others > 1)} in this file." if others else None
        raise error(f"{source.where(location)}: {sentence}", hint) from problem


def dump_yaml(data: Any) -> str:
    """Data as YAML that `parse_yaml` reads back; innermost lists and mappings stand on one line."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True))


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


class _Builder:
    """Builds plain data from YAML nodes and notes where each value stands."""

    def __init__(self, loader: _Loader, name: str, error: type[NasError]) -> None:
        self.loader = loader
        self.name = name
        self.error = error
        self.marks: dict[Location, Mark] = {}
        self.open: list[yaml.Node] = []

    def build(self, node: yaml.Node, location: Location) -> Any:
        self.marks.setdefault(location, self.mark(node))
        if len(self.marks) > _MAX_VALUES:
            raise self.error(f"{self.name} has more than {_MAX_VALUES} values")
        if node in self.open:
            raise self.fail(node, "an alias must not refer to a value that contains it")
        self.open.append(node)
        value = self.value(node, location)
        self.open.pop()
        return value

    def value(self, node: yaml.Node, location: Location) -> Any:
        if node.tag not in _TAGS:
            raise self.fail(node, f"the tag {node.tag} is not allowed")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*location, i)) for i, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except ValueError as problem:
            raise self.fail(node, f"{node.value!r} cannot be read: {problem}") from problem

    def mapping(self, node: yaml.MappingNode, location: Location) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = self.merge(value_node, location) | merged
                continue
            key = self.key(key_node)
            if key in own:
                first = self.marks[*location, key][0]
                raise self.fail(key_node, f"the key {key!r} is given twice; it is already in line {first}")
            self.marks[*location, key] = self.mark(key_node)
            own[key] = self.build(value_node, (*location, key))
        return merged | own

    def merge(self, node: yaml.Node, location: Location) -> dict[Any, Any]:
        value = self.build(node, (*location, "<<"))
        if not isinstance(value, dict):
            raise self.fail(node, "<< needs a mapping")
        return value

    def key(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self.fail(node, "a key must be text or a number")
        return self.loader.construct_object(node)

    def fail(self, node: yaml.Node, sentence: str) -> NasError:
        line, column = self.mark(node)
        return self.error(f"{self.name}:{line}:{column}: {sentence}")

    @staticmethod
    def mark(node: yaml.Node) -> Mark:
        return node.start_mark.line + 1, node.start_mark.column + 1


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars, so that files mean what they look like."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back as the same value."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null"))
_SCALARS = (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", ["~", "n", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
)
_Loader.yaml_implicit_resolvers = {}
# The writer keeps YAML 1.1's scalars as well: text that an older reader takes for a switch or a date is quoted.
for _class in (_Loader, _Dumper):
    for _tag, _pattern, _first in _SCALARS:
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


def _represent_tuple(dumper: yaml.SafeDumper, value: tuple[Any, ...]) -> yaml.Node:
    return dumper.represent_list(value)


_Dumper.add_representer(tuple, _represent_tuple)
