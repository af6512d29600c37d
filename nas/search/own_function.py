"""Which code an objective runs: functions of the program, `module:function`, commands; its hash, and who may run it.

A study's objective is plain data, so that a database can hold it. A function that can be imported is named as blocks
are (`nas.spaces.own_code`); one that cannot (of a script, a notebook, or inside another function) is known in the
program that made it, and nowhere else. A command in a database is run only where a person trusted it.
"""

from __future__ import annotations

import builtins
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from nas.errors import StudyError
from nas.files.hashes import hash_of_data, sha256_of
from nas.spaces import own_code

_HERE = "<here> "
_known: dict[str, Callable[..., object]] = {}
_MOST_NESTED = 50


def register(function: Callable[..., object]) -> str:
    """The name that stands for a function in a study: `module:function` where others can import it."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__qualname__)
    if module not in ("", None, "__main__") and getattr(sys.modules.get(module), name, None) is function:
        return f"{module}:{name}"
    _known[_HERE + name] = function
    return _HERE + name


def is_here(name: str) -> bool:
    """Whether a name stands for a function that only one program has."""
    return name.startswith(_HERE)


def find(name: str) -> Callable[..., object]:
    """The function behind a name.

    Raises:
        StudyError: it is another program's, cannot be imported, or is no function.
    """
    if is_here(name):
        if name not in _known:
            raise StudyError(
                f"objective: {name.removeprefix(_HERE)} is a function of the program that began this study",
                "run that program, or put the function into a module and name it module:function",
            )
        return _known[name]
    function = own_code.load(name, "objective")
    if not callable(function):
        raise StudyError(f"objective: {name} is no function")
    return function  # type: ignore[no-any-return]


def command_name(command: Sequence[str]) -> str:
    """What a person trusts when they trust a command: it begins with `nas_command:`."""
    return f"nas_command:c{hash_of_data(list(command))}"


def code_names(study: object) -> frozenset[str]:
    """Everything in a study that a person must have named before it is run: own blocks, the objective's code."""
    if not isinstance(study, Mapping):
        return own_code.named_in(study)
    names = own_code.named_in({key: value for key, value in study.items() if key != "objective"})
    objective = study.get("objective")
    if not isinstance(objective, Mapping):
        return names
    python, command = objective.get("python"), objective.get("command")
    found = {python} if isinstance(python, str) and own_code.is_own(python) else set()
    found |= {command_name([str(word) for word in command])} if isinstance(command, list) else set()
    return names | found


def code_hashes(study: Mapping[str, Any]) -> dict[str, str]:
    """The code that a study runs, by name: what must stay as it is under its name."""
    objective = study.get("objective") or {}
    python, command = objective.get("python"), objective.get("command")
    found = {name: own_code.code_hash([name]) for name in sorted(code_names({**study, "objective": None}))}
    if python or command:
        found[python or "the command"] = hash_of(python, command)
    return found


def hash_of(python: str | None, command: Sequence[str] | None) -> str:
    """16 hex digits of the code of an objective; "" where it is not known (ask and tell)."""
    if command:
        return hash_of_data([list(command), *_files(command)])
    if not python:
        return ""
    return hash_of_data(list(_sources(find(python)))) if is_here(python) else own_code.code_hash([python])


def _files(command: Sequence[str]) -> Iterator[str]:
    """Content of the files that a command names; of Python, with what they import from their own folder."""
    for word in command[1:]:
        path = Path(word)
        if path.suffix == ".py" and path.is_file():
            yield own_code.hash_of_script(path)
        elif len(word) < 4096 and path.is_file():
            yield sha256_of(path)


def _sources(function: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Source of a function, of the functions and classes of its own program that it names, and their plain values."""
    seen = set() if seen is None else seen
    function = inspect.unwrap(getattr(function, "__func__", function))
    if id(function) in seen or len(seen) > _MOST_NESTED:
        return
    seen.add(id(function))
    if isinstance(function, (int, float, str, bool, bytes, tuple, frozenset, type(None))):
        yield repr(function)
        return
    if not isinstance(function, (FunctionType, type)):
        yield from _sources(type(function), seen) if type(function).__module__ == "__main__" else ()
        return
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):
        yield from _compiled(function)
    if isinstance(function, FunctionType):
        for name, value in _names(function):
            if isinstance(value, ModuleType) or hasattr(builtins, name):
                continue
            if getattr(value, "__module__", function.__module__) == function.__module__:
                yield from _sources(value, seen)


def _names(function: FunctionType) -> Iterator[tuple[str, object]]:
    closed = inspect.getclosurevars(function)
    yield from sorted({**closed.globals, **closed.nonlocals}.items())
    for name, value in inspect.signature(function).parameters.items():
        if value.default is not inspect.Parameter.empty:
            yield name, value.default


def _compiled(function: object) -> Iterator[str]:
    code: CodeType | None = getattr(function, "__code__", None)
    if code is not None:
        yield repr((code.co_code, [c for c in code.co_consts if not isinstance(c, CodeType)], code.co_names))


def require_program(command: Sequence[str]) -> None:
    """Refuses a command whose program is not there.

    Raises:
        StudyError: names it.
    """
    if shutil.which(command[0]) is None:
        raise StudyError(f"objective: there is no program {command[0]!r}", "give its path, or install it")
