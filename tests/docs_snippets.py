"""Takes the code blocks out of Markdown pages, runs them, or checks that what they say exists.

A comment before a block says what it is when that cannot be seen: `<!-- snippet: KIND, file NAME: REASON -->`.

- shell (`console`, `bash`): run, and the output that follows a `$` command compared (`...` stands for anything);
  `numbers vary` compares it without its numbers; `parse: REASON` only checks that each `nas` command and every option
  of it exist.
- `python`: run, all blocks of a page in one namespace; `parse: REASON` compiles it and resolves its imports.
- `yaml`: checked as the file it is, or as a part of one; `plain: REASON` is only read.
- `file NAME` puts the block into the page's folder; `<!-- setup ... -->` is Python that readers need not see.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import typer.main
import yaml

from nas.cli.main import build_app, main
from nas.files.yaml_source import parse_yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "reference" not in path.parent.name
)
SHELLS = ("console", "bash", "sh")
PLAIN_COMMANDS = ("cd", "cp", "mkdir", "ls", "cat", "head")
"""Commands besides `nas` that a page may run: they need nothing and harm nothing."""

_BLOCK = re.compile(
    r"(?:^<!-- snippet: (?P<note>[^\n]*?) -->\n\n?)?^(?P<fence>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """One block of a page.

    Attributes:
        language: as written after the fence; `setup` for code that readers do not see.
        text: the block.
        line: its first line in the page.
        kind: what the comment says it is; empty for what its language says.
        file: name it is saved under, if any.
        reason: why it is not run, if it is not.
    """

    language: str
    text: str
    line: int
    kind: str = ""
    file: str | None = None
    reason: str = ""


def snippets(page: Path) -> list[Snippet]:
    """All blocks of a page, in order."""
    return [_snippet(found, page.read_text(encoding="utf-8")) for found in _BLOCK.finditer(page.read_text("utf-8"))]


def _snippet(found: re.Match[str], page: str) -> Snippet:
    line = page[: found.start()].count("\n") + 1
    if found["setup"] is not None:
        return Snippet("setup", found["setup"], line)
    head, _, reason = (found["note"] or "").partition(": ")
    kind, _, file = head.partition("file ")
    return Snippet(found["language"], found["text"], line, kind.strip(" ,"), file.strip() or None, reason.strip())


@dataclass
class Runner:
    """Runs the blocks of one page in a folder of its own.

    Attributes:
        folder: a project as `nas init` lays it out.
        names: the namespace of the page's Python.
    """

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})

    def run(self, snippet: Snippet) -> None:
        """Runs or checks one block; an AssertionError says what is wrong with it."""
        if snippet.file is not None:
            target = self.folder / snippet.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(snippet.text, encoding="utf-8")
        if snippet.language in SHELLS:
            self._shell(snippet)
        elif snippet.language in ("python", "setup"):
            self._python(snippet)
        elif snippet.language == "yaml":
            check_yaml(snippet)
        elif snippet.language in READ:
            READ[snippet.language](snippet.text)
        else:
            assert snippet.language, "say what language this block is in (`text` for output)"

    def _python(self, snippet: Snippet) -> None:
        code = compile(snippet.text, f"<line {snippet.line}>", "exec")
        if snippet.kind == "parse":
            assert snippet.reason, "say why this block is not run"
            resolve_imports(snippet.text)
        elif snippet.file is None:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, self.names)

    def _shell(self, snippet: Snippet) -> None:
        if snippet.kind == "parse":
            assert snippet.reason, "say why this block is not run"
            for words in nas_commands(snippet.text):
                check_command(words)
            return
        for command, expected in sessions(snippet):
            printed = self._command(command)
            if expected.strip():
                assert same(expected, printed, numbers=snippet.kind != "numbers vary"), f"{command} printed:\n{printed}"

    def _command(self, command: str) -> str:
        words = shlex.split(command, comments=True)
        if not words:
            return ""
        if words[0] == "nas":
            return run_nas(words[1:])
        assert words[0] in PLAIN_COMMANDS, f"{words[0]} is not run here; mark the block `parse: REASON`"
        if words[0] == "cd":
            os.chdir(words[1])
            return ""
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def run_nas(words: list[str]) -> str:
    """Runs one command in this process; returns what it prints to stdout and stderr.

    `|| echo "exit code $?"` behind it says that it does not end with 0.
    """
    target, fails = None, "||" in words
    if fails:
        words = words[: words.index("||")]
    if ">" in words:
        words, target = words[: words.index(">")], Path(words[-1])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out if target is None else err):
        code = main(words)
    assert bool(code) == fails, f"nas {' '.join(words)} ended with {code}:\n{out.getvalue()}{err.getvalue()}"
    if target is not None:
        target.write_text(out.getvalue(), encoding="utf-8")
        return err.getvalue()
    return out.getvalue() + (f"exit code {code}\n" if fails else "")


def sessions(snippet: Snippet) -> Iterator[tuple[str, str]]:
    """Commands with the output that the page shows for them."""
    if snippet.language != "console":
        yield from ((line, "") for line in snippet.text.replace("\\\n", " ").splitlines())
        return
    for part in re.split(r"^\$ ", snippet.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        more = next((i for i, line in enumerate(lines[1:], 1) if not line.startswith("> ")), len(lines))
        command = "".join(line.removeprefix("> ") for line in lines[:more]).replace("\\\n", " ")
        yield command, "".join(lines[more:])


def same(expected: str, printed: str, *, numbers: bool) -> bool:
    """Whether the page shows what was printed, apart from spaces, `...`, and numbers where they vary."""
    if not numbers:
        expected, printed = (re.sub(r"[-+]?\d[\d.,]*", "#", text) for text in (expected, printed))
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, options)


def nas_commands(text: str) -> Iterator[list[str]]:
    """The `nas` commands in a piece of shell, wherever they stand."""
    plain = re.sub(r"\\\n(> )?", " ", text)
    for line in plain.splitlines():
        code = re.sub(r"(^|\s)#.*", "", line)
        for found in re.finditer(r"(?:^|[\s\"'=;|])nas ((?:\"[^\"]*\"|'[^']*'|[^\"'&|;>()])*)", code):
            words = shlex.split(found[1])
            if words:
                yield words


@cache
def application() -> Any:
    """The command tree."""
    return typer.main.get_command(build_app())


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that some words name, and the words left over."""
    command, rest = application(), list(words)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command nas {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    return command, rest


def check_command(words: list[str]) -> None:
    """A whole command line: the command exists, and takes these arguments and options."""
    command, rest = find_command(words)
    try:
        command.make_context("nas", rest)
    except typer.Exit:
        return  # --help and its like
    except Exception as error:
        raise AssertionError(f"nas {' '.join(words)}: {getattr(error, 'message', error)}") from error


def check_mention(words: list[str]) -> None:
    """A command as a sentence mentions it: the command exists, and so do the options named."""
    command, rest = find_command(words)
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
    for word in rest:
        assert not word.startswith("--") or word.split("=")[0] in known, f"nas {' '.join(words)}: no option {word}"


def mentions(page: Path) -> list[list[str]]:
    """The commands that a page names in running text and tables."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [shlex.split(code) for code in re.findall(r"`nas ((?![A-Z ])[^`]*)`", text)]


def resolve_imports(text: str) -> None:
    """Imports what a piece of Python imports from nas."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nas":
            module = importlib.import_module(node.module or "")
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert not missing, f"{node.module} has no {', '.join(missing)}"


READ: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "json": json.loads}
"""Languages that are only read."""

SMALLEST_STUDY: dict[str, Any] = {"name": "page", "space": {}, "stages": [{"profile": {}}]}
SMALLEST_SPACE: dict[str, Any] = {"name": "page", "backbones": ["resnet50"], "blocks": ["cnl"]}


def check_yaml(snippet: Snippet) -> None:
    """A YAML block, as the file it is or a part of one."""
    if snippet.kind == "plain":
        assert snippet.reason, "say what this block is"
        list(yaml.safe_load_all(snippet.text))
        return
    data = parse_yaml(snippet.text).data
    kind = snippet.kind or guess_kind(data)
    assert kind in CHECKS, f"say what this block is: one of {', '.join(CHECKS)}, or `plain: REASON`"
    CHECKS[kind](data)


def guess_kind(data: Any) -> str:
    """What a block of YAML is, by its keys."""
    from nas.search.definition import StudyDefinition
    from nas.spaces.space_file import SpaceFile

    keys = set(data) if isinstance(data, dict) else set()
    if {"stages", "space", "name"} <= keys:
        return "study"
    if {"backbones", "blocks", "name"} <= keys:
        return "space"
    if keys and keys <= set(StudyDefinition.model_fields):
        return "part of study"
    return "part of space" if keys and keys <= set(SpaceFile.model_fields) else ""


def _check_study(data: dict[str, Any]) -> None:
    from nas.search.definition import StudyDefinition
    from nas.training import load_recipe

    StudyDefinition.model_validate(data)
    load_recipe(data.get("recipe", "strong_baseline"))
    _check_schema("study", data)


def _check_space(data: dict[str, Any]) -> None:
    from nas.spaces import DesignSpace

    DesignSpace.from_dict(data)
    _check_schema("space", data)


def _check_recipe(data: dict[str, Any]) -> None:
    from nas.training import load_recipe

    load_recipe(data)
    _check_schema("recipe", data)


def _check_rules(data: Any) -> None:
    from nas.spaces import rule_from_dict

    for rule in data:
        rule_from_dict(rule)


def _check_schema(kind: str, data: Any) -> None:
    _validator(kind).validate(data)


@cache
def _validator(kind: str) -> Any:
    """What checks a kind of file; `jsonschema.validate` would check the schema too, every time."""
    import jsonschema

    from nas.project.schemas import file_schema

    return jsonschema.Draft202012Validator(file_schema(kind))


CHECKS = {
    "study": _check_study,
    "space": _check_space,
    "recipe": _check_recipe,
    "list of rules": _check_rules,
    "part of study": lambda data: _check_study({**SMALLEST_STUDY, "space": SMALLEST_SPACE, **data}),
    "part of space": lambda data: _check_space({**SMALLEST_SPACE, **data}),
}
