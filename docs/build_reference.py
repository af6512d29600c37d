"""Writes the pages below docs/reference from the code (`make reference`): every key of the YAML files, every command.

A test holds the committed pages against a fresh build, so a key or an option cannot change without its page. Prose
about the keys is their own description; explanations are left to the other pages.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import nas
from nas.cli.main import build_app
from nas.data.pedestrians.settings import PedestrianSettings
from nas.data.readers import READERS
from nas.project.schemas import Schema
from nas.results.columns import RESULTS
from nas.search.campaign import CampaignFile
from nas.search.definition import (
    STAGE_KINDS,
    Budget,
    LatencySettings,
    LoadSettings,
    ReportSettings,
    StageItem,
    StudyDefinition,
    StudyQuestion,
    SubjectSettings,
    ValidationSettings,
)
from nas.search.launchers.settings import LauncherSettings, LocalSettings, RaySettings, SlurmSettings
from nas.search.settings import MetricSettings, ObjectiveSettings
from nas.spaces.blocks import BLOCKS
from nas.spaces.candidate import BACKBONE_DEFAULTS
from nas.spaces.rules import RULE_KINDS
from nas.spaces.site_sets import SiteSet
from nas.spaces.sites import BACKBONES, STEMS, get_topology
from nas.spaces.space_file import SpaceFile
from nas.training.fidelity import Fidelity
from nas.training.named import NAMED
from nas.training.recipe import LOSS_SETUPS, Recipe

FOLDER = Path(__file__).parent / "reference"
Row = Sequence[str]


def table(headings: Row, rows: Sequence[Row]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def key_table(model: type[BaseModel], leave_out: Sequence[str] = ()) -> str:
    """One row a key of a model: name, legal values, default, meaning."""
    schema = model.model_json_schema(by_alias=True)
    rows = [
        _key_row(field.alias or name, field, schema["properties"][field.alias or name], schema.get("$defs", {}))
        for name, field in model.model_fields.items()
        if name not in leave_out
    ]
    return table(("key", "values", "default", "meaning"), rows)


def _key_row(name: str, field: FieldInfo, schema: Schema, definitions: Mapping[str, Schema]) -> Row:
    needed = field.is_required()
    default = "needed" if needed else _default(field.get_default(call_default_factory=True), schema, definitions)
    values = "[sites](#sites)" if name == "sites" else values_text(schema, definitions)
    return f"`{name}`", values, default, field.description or _about_section(field)


def _about_section(field: FieldInfo) -> str:
    """A section says itself what it is for."""
    kinds = (field.annotation, *typing.get_args(field.annotation))
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return " ".join(first_paragraph(models[0].__doc__).split()) if models else ""


def _default(value: Any, schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if isinstance(value, BaseModel):
        return "see below" if value.model_fields_set or "$ref" in str(schema) else ""
    return "`all`" if isinstance(value, SiteSet) else f"`{plain(value)}`"


def plain(value: Any) -> str:
    """A value as YAML writes it on one line.

    >>> plain((256, 128)), plain(None), plain(True), plain(""), plain(0.00035)
    ('[256, 128]', 'null', 'true', "''", '0.00035')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(plain, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "''"


_TYPES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "`true` or `false`",
    "null": "`null`",
    "object": "mapping",
    "array": "list",
}
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def values_text(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """The legal values of a JSON schema, for people.

    >>> values_text({"type": "integer", "minimum": 1}, {})
    'integer >= 1'
    >>> values_text({"anyOf": [{"enum": ["first", "last"]}, {"type": "null"}]}, {})
    '`first`, `last` or `null`'
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if "properties" in definitions[name] else _text_of(definitions[name])
    if "anyOf" in schema or "oneOf" in schema:
        parts = [values_text(part, definitions) for part in schema.get("anyOf") or schema["oneOf"]]
        return " or ".join(dict.fromkeys(parts))
    if "allOf" in schema:
        return values_text(schema["allOf"][0], definitions)
    if schema.get("type") == "array":
        return _list_text(schema, definitions)
    return _text_of(schema)


def _list_text(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(values_text(item, definitions) for item in schema["prefixItems"]) + "]"
    return f"list of {values_text(schema['items'], definitions)}" if schema.get("items") else "list"


def _text_of(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{plain(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{plain(schema['const'])}`"
    kinds: list[str] | str = schema.get("type", "any")
    kind = " or ".join(_TYPES.get(name, name) for name in (kinds if isinstance(kinds, list) else [kinds]))
    limits = " and ".join(f"{sign} {schema[key]:g}" for key, sign in _LIMITS.items() if key in schema)
    return f"{kind} {limits}".rstrip()


def section(title: str, model: type[BaseModel], *, level: int = 2, leave_out: Sequence[str] = ()) -> str:
    """A heading, the first paragraph of the model's docstring, and its keys."""
    about = " ".join(first_paragraph(model.__doc__).split())
    return f"{'#' * level} {title}\n\n{about}\n\n{key_table(model, leave_out)}"


def first_paragraph(text: str | None) -> str:
    """What a docstring says before its first empty line."""
    return (text or "").strip().split("\n\n")[0]


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(title: str, *parts: str) -> str:
    """A whole page, with the line that says who wrote it."""
    made = "<!-- Written by docs/build_reference.py from the code; change the code, then run `make reference`. -->"
    return "\n\n".join((f"# {title}", made, *(part.strip() for part in parts))) + "\n"


def space_page() -> str:
    """Every key of a space file, the rules and the blocks it can name."""
    intro = (
        "A file in `search_spaces/`. [Concepts](../concepts.md#design-space) says what a space is;\n"
        "`nas space validate FILE` checks one, `nas schema space` prints its JSON schema."
    )
    keys = section("Keys", SpaceFile, leave_out=("parent",))
    written = "`parent` is written by the program: the space that this one was cut from, and the rules that did it."
    return page("Space files", intro, keys, written, SITES_TEXT, _backbones(), _blocks(), _rules())


SITES_TEXT = """## Sites

`sites` of the space and of rules are written as numbers and ranges (`1-17`, `"1-4, 8"`, `[6, 8, 14]`), as `all`, or
relative to the backbone:

| key | values | meaning |
| --- | --- | --- |
| `stages` | integer, range or list | stage numbers; 0 is the stem |
| `place` | `first`, `last`, `all`, an integer or a list | place in the stage, from 1; -1 is the last |
| `stride` | integer or list | input pixels for one pixel there |

A value of `recipe` is a list of values, or a mapping with `values`, or `range` or `log` with two bounds (and `points`
to make it a grid), and `when: {other_key: values}` where it exists only beside values of another key."""


def _backbones() -> str:
    rows = []
    for name in BACKBONES:
        found = get_topology(name)
        ends = ", ".join(map(str, found.stage_ends))
        rows.append((f"`{name}`", found.title, str(len(found.sites)), ends))
    defaults = ", ".join(f"`{key}: {plain(value)}`" for key, value in BACKBONE_DEFAULTS.items())
    stems = ", ".join(f"`{stem}`" for stem in STEMS[1:])
    title = f"""## Backbones

Parameters of every backbone, with their defaults: {defaults}. OSNet has no other last stride; ResNets alone have
other stems, {stems}, as [networks of other projects](../how-to/published-weights.md) do. `timm:NAME` and
`module:Class` are [backbones too](../how-to/own-network.md), of width 1; `nas space sites` shows their sites."""
    return f"{title}\n\n{table(('backbone', 'name', 'sites', 'stage ends'), rows)}"


def _blocks() -> str:
    rows: list[Row] = []
    for spec in BLOCKS.values():
        rows.append((f"`{spec.name}`", "", "", "", f"**{spec.title}**: {spec.summary} {spec.source}"))
        for param in spec.settings:
            choices = ", ".join(f"`{plain(choice)}`" for choice in param.choices)
            rows.append(("", f"`{param.name}`", choices, f"`{plain(param.default)}`", param.doc))
    intro = (
        "## Blocks\n\n`{}` takes all defaults; a list of values lets the search vary them.\n"
        "`{derived: channels / 64}` computes a value from the channels of the site (at width 1) and from\n"
        "hyperparameters above it in the table, by numbers, `+ - * /`, `min`, `max` and parentheses (an expression\n"
        "with commas needs quotation marks). Nothing is rounded: the result must be one of the values."
    )
    return f"{intro}\n\n{table(('block', 'hyperparameter', 'values', 'default', 'meaning'), rows)}"


def _rules() -> str:
    parts = [RULES_TEXT]
    for kind, model in RULE_KINDS.items():
        short = f"Short form: `{kind}: {model.shorthand.upper()}`.\n\n" if model.shorthand else ""
        keys = [name for name in model.model_fields if name not in ("kind", "strength", "backbone")]
        about = first_paragraph(model.__doc__)
        switch = f"Written `{kind}: true`.\n\n" if not short and kind in ("stage_ends", "distinct_stages") else ""
        body = key_table(model, ("kind", "strength", "backbone")) if keys else ""
        parts.append(f"### {kind}\n\n{' '.join(about.split())}\n\n{short}{switch}{body}".strip())
    return "\n\n".join(parts)


RULES_TEXT = """## Rules

A rule is its kind with a value. Two keys may stand beside it: `strength: preference` makes it an order among the
admitted instead of a constraint (`hard`, the default), and `backbone: NAME` limits it to one backbone."""


def study_page() -> str:
    """Every key of a study file and of its stages."""
    intro = (
        "A file in `studies/`. What a relative path names (space, rules, data, table, weights, teachers, starts) is\n"
        "looked for beside the file, in the folder above it, then in the current folder, by every worker on its own\n"
        "machine; database and checkpoints are written from the current folder. `nas run FILE --dry-run` checks one,\n"
        "`nas schema study` prints its JSON schema."
    )
    stages = [section(f"stages: {kind}", _stage_model(StageItem, kind)) for kind in STAGE_KINDS]
    return page(
        "Study files",
        intro,
        section("Keys", StudyDefinition, leave_out=("source",)),
        section("StudyQuestion", StudyQuestion),
        section("LatencySettings", LatencySettings),
        section("SubjectSettings", SubjectSettings),
        section("LoadSettings", LoadSettings),
        section("ValidationSettings", ValidationSettings),
        section("ReportSettings", ReportSettings),
        section("ObjectiveSettings", ObjectiveSettings),
        section("MetricSettings", MetricSettings),
        section("Budget", Budget),
        *(section(model.__name__, model) for model in (LauncherSettings, LocalSettings, SlurmSettings, RaySettings)),
        _data_text(),
        _stage_item(StageItem, STAGE_KINDS),
        *stages,
        section("Fidelity", Fidelity),
        "A campaign's file lists studies; `nas run` runs them in order, to one report.",
        section("Campaign", CampaignFile),
    )


def _stage_model(item: type[BaseModel], kind: str) -> type[BaseModel]:
    """The settings model of a stage kind: the model among the types of its field."""
    kinds = typing.get_args(item.model_fields[kind].annotation)
    return next(one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel))


def _stage_item(item: type[BaseModel], kinds: Sequence[str]) -> str:
    about = " ".join(first_paragraph(item.__doc__).split())
    rows = [("`name`", item.model_fields["name"].description or "")]
    for kind in kinds:
        what = " ".join(first_paragraph(_stage_model(item, kind).__doc__).split())
        rows.append((f"[`{kind}`](#stages-{kind})", f"{what} {item.model_fields[kind].description or ''}".strip()))
    return f"## StageItem\n\n{about}\n\n{table(('key', 'meaning'), rows)}"


def _data_text() -> str:
    rows = [(f"`{name}: PATH`", _words(reader.options), reader.title) for name, reader in READERS.items()]
    intro = (
        "## data\n\nOne of these, a list of them (joined for training), or `{train: ..., test: ...}` to train on one\n"
        "and evaluate on another. Layouts: [own images](../how-to/own-images.md)."
    )
    generated = f"`generated` takes a mapping:\n\n{key_table(PedestrianSettings)}"
    return f"{intro}\n\n{table(('set', 'options', 'what'), rows)}\n\n{generated}"


def recipe_page() -> str:
    """Every key of a recipe and its sections."""
    intro = (
        "What `recipe:` of a study holds, and the file that `nas train --recipe FILE` takes: a name, or\n"
        "`{extends: NAME, key: value}`. A key of a section is also written `section.key`, as in\n"
        "`--set triplet.margin=0.5`. `nas schema recipe` prints the JSON schema."
    )
    named = [
        (f"`{name}`", ", ".join(f"`{k}: {plain(v)}`" for k, v in c.items()) or "the defaults")
        for name, c in NAMED.items()
    ]
    setups = [(f"`{name}`", " + ".join(f"`{term}`" for term in terms)) for name, terms in LOSS_SETUPS.items()]
    sections = dict.fromkeys(_sections(Recipe))
    return page(
        "Recipes",
        intro,
        f"## Named recipes\n\n{table(('recipe', 'changes from the defaults'), named)}",
        section("Keys", Recipe),
        f"## Losses\n\nA set-up, or terms joined by `+`.\n\n{table(('set-up', 'terms'), setups)}",
        *(section(model.__name__, model) for model in sections),
    )


def _sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        for kind in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield kind


VARIABLES = {
    "NAS_DATABASE": ("database of every command that takes `--db`, with its password", "the study's `database`"),
    "NAS_CACHE": ("folder of packed images", "`.nas/cache` in the current folder"),
    "NAS_PACKS": (
        "folder or fsspec address from which machines take packed images; the first that packs brings them there",
        "each machine packs its own",
    ),
    "NAS_HOME": ("folder of checkpoints and logs", "`.nas` in the current folder"),
    "NAS_LOCKS": (
        "folder of the locks by which measurements and trainings of one machine wait for each other; whoever shares a "
        "machine shares it",
        "`nas-locks` in the system's temporary folder",
    ),
    "NAS_LAUNCHER": (
        "user-wide file of where workers start",
        "`nas/launcher.yaml` in `$XDG_CONFIG_HOME`, or in `~/.config`",
    ),
    "NAS_DASHBOARD_TOKEN": ("token that `nas dashboard` asks its readers for", "one is made where one is needed"),
    "NAS_WHO": (
        "who is named as having run a study, in its database and the head of its reports; empty: nobody",
        "user and machine, `user@host`",
    ),
    "NAS_DEBUG": ("anything: a fault of the program shows its traceback", "one sentence"),
    "BROWSER_PATH": ("browser that draws PNG, SVG, PDF and the slide", "the first Chromium or Chrome found"),
    "RAY_ADDRESS": ("Ray cluster of `--on ray`", "this machine"),
    "CUDA_VISIBLE_DEVICES": ("cards that torch may use, as everywhere", "all"),
    "CC": ("compiler of the latency backend `compile`", "`cc`, `gcc` or `clang`"),
}
"""Environment variables that a person may set: meaning, and what holds where they are not set."""


def commands_page(command: Any) -> str:
    """Every command with its arguments and options.

    Args:
        command: the click command that typer makes of the application.
    """
    intro = (
        "`nas COMMAND --help` says the same in the terminal. `--json` writes one JSON document to stdout; messages go\n"
        "to stderr. Exit codes: 0 done, 2 the input is wrong, 1 a fault of the program, 130 interrupted."
    )
    rows = [(f"`{name}`", meaning, default) for name, (meaning, default) in VARIABLES.items()]
    variables = "## Environment variables\n\n" + table(("variable", "meaning", "where it is not set"), rows)
    return page("The command line", intro, *_commands(command, ["nas"]), variables)


def _commands(command: Any, path: list[str]) -> Iterator[str]:
    for name, inner in command.commands.items():
        if getattr(inner, "commands", None):
            yield from _commands(inner, [*path, name])
        elif not inner.hidden:
            yield _command(inner, " ".join([*path, name]))


def _command(command: Any, name: str) -> str:
    shown = [p for p in command.params if not getattr(p, "hidden", False) and "--help" not in p.opts]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    words = " ".join(_argument(p) for p in arguments)
    text = (command.help or "").replace("\f", "").strip()
    rows = [(f"`{_argument(p)}`", p.help or "", "") for p in arguments]
    rows += [(_option(p), p.help or "", _option_default(p)) for p in shown if p.param_type_name == "option"]
    body = table(("argument or option", "meaning", "default"), rows) if rows else ""
    return f"## {name}\n\n`{f'{name} {words}'.strip()}`\n\n{_with_example(text)}\n\n{body}".strip()


def _argument(param: Any) -> str:
    shown = str(param.metavar or param.name.upper()).strip("[]")
    shown += "..." if param.nargs == -1 and not shown.endswith("...") else ""
    return shown if param.required else f"[{shown}]"


def _option(param: Any) -> str:
    names = "`, `".join([*param.opts, *param.secondary_opts])
    if param.is_flag:
        return f"`{names}`"
    return f"`{names} {param.metavar or _value_word(param)}`"


def _value_word(param: Any) -> str:
    """The kind of value an option takes; typer and click name it at different places."""
    described = getattr(param, "type_descriptor", None)
    kind = described.annotation if described else param.type.name
    return _VALUE_WORDS.get(getattr(kind, "__name__", str(kind)), "TEXT")


_VALUE_WORDS = {"int": "INTEGER", "integer": "INTEGER", "float": "NUMBER", "Path": "PATH", "path": "PATH"}


def _option_default(param: Any) -> str:
    shown = param.default is not None and not callable(param.default) and param.default not in ((), [])
    plain_flag = param.is_flag and not param.secondary_opts
    return f"`{plain(param.default)}`" if shown and not plain_flag else ("needed" if param.required else "")


def _with_example(text: str) -> str:
    about, _, example = text.partition("Example: ")
    return f"{about.strip()}\n\nExample: `{' '.join(example.split())}`" if example else about.strip()


def results_page() -> str:
    """The columns of the results table."""
    rows = [(f"`{c.name}`", c.dtype, c.unit, f"{c.better} is better" if c.better else "", c.meaning) for c in RESULTS]
    about = (
        "One row a training and stage that asked for it: what `Study.results()` returns, what statistics read and\n"
        "what a replayed table may hold. What was not measured is empty, never 0. Trainings of different data,\n"
        "splits, recipes, fidelities or kinds of start are never averaged together: `Study.candidates()` has one row\n"
        "a candidate and such a level."
    )
    return page("Results table", about, table(("column", "type", "unit", "direction", "meaning"), rows))


def python_page() -> str:
    """The public names of Python, from their docstrings."""
    parts = [_python_name(name) for name in sorted(vars(nas)["__all__"], key=str.lower) if not name.startswith("_")]
    about = "What `import nas` gives; names load when they are first used. Scripts of a few lines are in `examples/`."
    return page("Python", about, *parts)


def _python_name(name: str) -> str:
    thing = getattr(nas, name)
    text = f"## nas.{name}\n\n{_python_call(name, thing)}{_as_list(inspect.getdoc(thing) or '')}"
    if not inspect.isclass(thing):
        return text
    pydantics = ("model_post_init",)  # made by pydantic where a model has private attributes
    members = [m for m, value in vars(thing).items() if m[0] != "_" and m not in pydantics and _is_method(value)]
    return "\n\n".join([text, *(_python_member(name, thing, member) for member in members)])


def _is_method(value: Any) -> bool:
    return isinstance(value, (property, staticmethod, classmethod)) or inspect.isfunction(value)


def _python_member(owner: str, thing: type, member: str) -> str:
    value = vars(thing)[member]
    found = value if isinstance(value, property) else getattr(thing, member)
    call = "" if isinstance(value, property) else _python_call(f"{owner}.{member}", found)
    return f"### {owner}.{member}\n\n{call}{_as_list(inspect.getdoc(found) or '')}"


def _python_call(name: str, thing: Any) -> str:
    if isinstance(thing, type) and issubclass(thing, BaseModel):
        return ""
    parameters = [p for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    words = [f"{'*' * (p.kind - 1) if p.kind in (2, 4) else ''}{p.name}{_python_default(p)}" for p in parameters]
    keyword = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if keyword is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        words.insert(keyword, "*")
    return f"`{name}({', '.join(words)})`\n\n"


def _python_default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    # A function shows its address, which is another one each time.
    return "=..." if callable(parameter.default) else f"={parameter.default!r}"


def _as_list(text: str) -> str:
    """A docstring in Markdown: sections in bold, their entries as items."""
    lines: list[str] = []
    section = False
    for line in text.splitlines():
        if line in ("Args:", "Returns:", "Raises:", "Attributes:", "Example:"):
            section, line = True, f"**{line[:-1]}**\n"
        elif section and re.match(r"    \w[\w, ]*: ", line):
            name, _, meaning = line.strip().partition(": ")
            line = f"- `{name}`: {meaning}"
        elif line.startswith("    ") and section:
            line = f"  {line.strip()}" if lines and lines[-1].startswith(("- ", "  ")) else line.strip()
        elif line.startswith((">>>", "...")) or (lines and lines[-1].startswith("    >>>")):
            line = f"    {line}"
        elif line and not line.startswith(" "):
            section = False
        lines.append(line)
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """File name -> text."""
    return {
        "space-file.md": space_page(),
        "study-file.md": study_page(),
        "recipe.md": recipe_page(),
        "results-table.md": results_page(),
        "python.md": python_page(),
        "commands.md": commands_page(typer.main.get_command(build_app())),
    }


def main() -> None:
    """Writes all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
