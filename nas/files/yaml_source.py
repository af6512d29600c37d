"""YAML files that a person wrote: read strictly, with the line and column of every value kept.

ruamel.yaml reads them; duplicate keys are refused, numbers like `1e-4` are numbers, `1:30` and `2024-01-01` stay text,
and only `true` and `false` are switches. `validate` turns what a pydantic model says of the data into one sentence with
file, line and column. Which keys a file has is left to the models: design spaces, studies and recipes on higher floors.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver, implicit_resolvers

from nas.errors import NasError, SpaceError
from nas.files.given import refuse_special
from nas.files.model_errors import Location, sentence_for

Mark: TypeAlias = tuple[int, int]
Model = TypeVar("Model", bound=BaseModel)

FILE_ENDINGS = (".yaml", ".yml")
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
        if not self.marks:
            return in_data(self.data)(location)
        found: Location = ()
        for part in location:
            found = (*found, part) if (*found, part) in self.marks else found
        return found


def in_data(data: Any) -> Callable[[Location], Location]:
    """Keeps the parts of a location that plain data have, leaving out names of union members.

    >>> in_data({"stages": [{"sweep": {"seeds": 0}}]})(("stages", 0, "SweepStage", "sweep", "seeds"))
    ('stages', 0, 'sweep', 'seeds')
    """

    def kept(location: Location) -> Location:
        found, here = [], data
        for part in location:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                continue
            found.append(part)
        return tuple(found)

    return kept


def load_yaml(path: str | Path, error: type[NasError] = SpaceError) -> YamlSource:
    """Reads one YAML file.

    Raises:
        NasError: of the type `error`, when the file is missing, is no UTF-8 text, is not valid YAML or repeats a key.
    """
    file = Path(path)
    try:
        refuse_special(file)
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MAX_CHARACTERS + 1)
    except FileNotFoundError as problem:
        raise error(f"there is no file {path}", _where_one_is(file)) from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not a text file in UTF-8") from problem
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from problem
    except ValueError as problem:  # a null byte in the path
        raise error(f"{str(path)!r} is no path") from problem
    if len(text) > _MAX_CHARACTERS:
        raise error(f"{path} is too long for a YAML file: more than {_MAX_CHARACTERS // 1_000_000} million characters")
    return parse_yaml(text, str(path), error, file)


def _where_one_is(missing: Path) -> str:
    """A hint: the file that is called so beside a missing one or a folder further down, with its ending."""
    name = f"{glob.escape(missing.stem)}.y*ml"
    found = sorted(file for pattern in (name, f"*/{name}") for file in missing.parent.glob(pattern) if file != missing)
    return f"Did you mean {found[0]}?" if found else "Check the path."


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
        written = _reader().load(text)
        if written is None:
            raise error(f"{name} is empty")
        walk = _Walk(name, error)
        return YamlSource(name, walk.plain(written, (), (0, 0)), walk.marks, path)
    except ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        raise error(f"{name}:{line}: {chr(problem.character)!r} must not stand in a YAML file") from problem
    except MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        sentence = problem.problem or problem.context
        raise error(
            f"{where}: {sentence if isinstance(problem, _RefusedError) else f'not valid YAML: {sentence}'}"
        ) from problem
    except YAMLError as problem:
        raise error(f"{name}: not valid YAML: {str(problem).splitlines()[0]}") from problem
    except RecursionError as problem:
        raise error(f"{name}: values are nested too deeply to be read") from problem


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
        hint = f"{others} more problem{'s' * (others > 1)} in it." if others else None
        raise error(f"{source.where(location)}: {sentence}", hint) from problem


def dump_yaml(data: object) -> str:
    """Data as YAML that `parse_yaml` reads back; innermost lists and mappings stand on one line."""
    text = io.StringIO()
    _writer().dump(data, text)
    return text.getvalue()


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


class _RefusedError(MarkedYAMLError):
    """Legal YAML that these files must not hold; its `problem` is the whole sentence."""


class _Constructor(RoundTripConstructor):
    """Knows data only: no tags but YAML's own for plain data, no key twice, no key that is a list or a mapping."""

    def construct_object(self, node: Node, deep: bool = False) -> object:
        if str(node.tag) not in _TAGS:
            raise _RefusedError(problem=f"the tag {node.tag} is not allowed", problem_mark=node.start_mark)
        if not isinstance(node, _TAGS[str(node.tag)]):
            kind = node.id  # type: ignore[attr-defined]  # declared by every kind of node, not by their base
            sentence = f"the tag {node.tag} does not fit the {kind} that it stands before"
            raise _RefusedError(problem=sentence, problem_mark=node.start_mark)
        if node in self.recursive_objects:
            sentence = "an alias must not refer to a value that contains it"
            raise _RefusedError(problem=sentence, problem_mark=node.start_mark)
        try:
            made = super().construct_object(node, deep)
            return str(made.value) if isinstance(made, TaggedScalar) else made  # `!!str 1`
        except (ValueError, KeyError) as problem:  # `!!int x`, `!!bool x`
            sentence = f"{node.value!r:.80} cannot be read as {node.tag}"
            raise _RefusedError(problem=sentence, problem_mark=node.start_mark) from problem

    def construct_mapping(  # type: ignore[override]  # ruamel.yaml's own for round trips differs from its base
        self, node: MappingNode, maptyp: CommentedMap, deep: bool = False
    ) -> None:
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise _RefusedError(problem="a key must be text or a number", problem_mark=key.start_mark)
        super().construct_mapping(node, maptyp, deep)

    def check_mapping_key(self, node: Node, key_node: Node, mapping: CommentedMap, key: object, value: object) -> bool:
        if key in mapping:
            sentence = f"the key {key!r} is given twice; it is already in line {mapping.lc.key(key)[0] + 1}"
            raise _RefusedError(problem=sentence, problem_mark=key_node.start_mark)
        return True


class _Representer(SafeRepresenter):
    """Writes every value out, and numbers so that a reader of YAML 1.1 takes them for numbers, too."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> ScalarNode:
        # ruamel.yaml writes `?0` bare and does not read it inside braces; PyYAML reads no `?` anywhere in them.
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, None if _BARE.match(data) else "'")
        return node

    def represent_float(self, data: float) -> ScalarNode:
        node: ScalarNode = super().represent_float(data)
        if "e" in node.value and "." not in node.value:
            node.value = node.value.replace("e", ".0e")
        return node


for _kind_of, _form in ((str, _Representer.represent_str), (float, _Representer.represent_float)):
    _Representer.add_representer(_kind_of, _form)

_PLAIN_DATA = {"map": MappingNode, "seq": SequenceNode} | dict.fromkeys(
    ("str", "int", "float", "bool", "null"), ScalarNode
)
_TAGS = {f"tag:yaml.org,2002:{name}": node for name, node in _PLAIN_DATA.items()}
_BARE = re.compile(r"\w[^?]*\Z")
# Without dates, and with `True` and `0x1F` as text: a file means what it looks like.
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


Patterns: TypeAlias = dict[str, list[tuple[str, re.Pattern[str]]]]


def _patterns(*, of_older_readers: bool) -> Patterns:
    """First character -> tags and patterns of plain scalars.

    The writer knows YAML 1.1's as well: text that an older reader takes for a switch or a date is quoted.
    """
    found: Patterns = {}
    for name, pattern, first in _SCALARS:
        for character in first:
            found.setdefault(character, []).append((f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z")))
    for versions, tag, compiled, characters in implicit_resolvers if of_older_readers else ():
        for character in characters if (1, 1) in versions else ():
            found.setdefault(character, []).append((tag, compiled))  # type: ignore[arg-type]  # compiled when first used
    return found


class _ReadResolver(VersionedResolver):
    patterns = _patterns(of_older_readers=False)

    @property
    def versioned_resolver(self) -> Patterns:
        return self.patterns


class _WriteResolver(_ReadResolver):
    patterns = _patterns(of_older_readers=True)


def _reader() -> YAML:
    reader = YAML(typ="rt", pure=True)
    reader.Constructor, reader.Resolver = _Constructor, _ReadResolver
    return reader


def _writer() -> YAML:
    writer = YAML(typ="safe", pure=True)
    writer.Representer, writer.Resolver = _Representer, _WriteResolver
    writer.default_flow_style, writer.width, writer.allow_unicode = None, 110, True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return writer


class _Walk:
    """Plain data out of what ruamel.yaml read, noting where each value stands."""

    def __init__(self, name: str, error: type[NasError]) -> None:
        self.name, self.error = name, error
        self.marks: dict[Location, Mark] = {}

    def plain(self, value: object, location: Location, mark: Mark) -> object:
        self.marks[location] = (mark[0] + 1, mark[1] + 1)
        if len(self.marks) > _MAX_VALUES:
            raise self.error(f"{self.name} has more than {_MAX_VALUES} values")
        if not isinstance(value, CommentedMap | CommentedSeq):
            return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), value)
        place = value.lc
        if isinstance(value, CommentedSeq):
            return [self.plain(item, (*location, i), place.item(i)) for i, item in enumerate(value)]
        own = {key: place.key(key) for key in place.data or ()}  # merged keys stand elsewhere
        return {key: self.plain(item, (*location, key), own.get(key, mark)) for key, item in value.items()}
