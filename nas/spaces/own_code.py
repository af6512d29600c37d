"""Code of one's own, named `module:Class` in space files and notations: who may run it, and which code it was.

Data never imports code. A name is looked up only when a person named it in a file or command that they run (`trust`),
or when their program has imported the module already; names in databases, archives and checkpoints are names and
nothing more. What the code *is* belongs to the identity of every training that uses it: `code_hash`. So does timm's
version, for networks of timm's.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from nas.errors import SpaceError
from nas.files.hashes import hash_of_data

TIMM = "timm:"
"""How names of timm's networks begin."""
_NAME = re.compile(rf"(?!{TIMM})[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_IN_NOTATION = re.compile(rf"(?:^|\+)({_NAME.pattern})(?=[@(+:\[]|$)")
_trusted: set[str] = set()
_FOLDERS = ("site-packages", "dist-packages")


def is_own(name: str) -> bool:
    """Whether a name has the form `module:Class`.

    >>> is_own("my_blocks:StyleGate"), is_own("cnl")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def named_in(data: object) -> frozenset[str]:
    """All `module:Class` in plain data: keys, strings, notations and sums of losses.

    >>> sorted(named_in({"blocks": {"a:B": {}}, "candidates": ["f:G(last_stride=2)+c.d:E(x=1)@8", "se", "timm:vgg11"]}))
    ['a:B', 'c.d:E', 'f:G']
    """
    return frozenset(_named(data))


def _named(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield from _IN_NOTATION.findall(data)
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _named(str(key))
            yield from _named(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _named(value)


def trust(names: Iterable[str]) -> None:
    """Allows these names (`module:Class`) to be imported: a person wrote them into what they run."""
    for name in names:
        if not is_own(name):
            raise SpaceError(f"{name!r} cannot be trusted: code of one's own is named module:Class")
        _trusted.add(name)


def is_trusted(name: str) -> bool:
    """Whether a name may be looked up: it was trusted, or this program has imported its module itself."""
    return name in _trusted or name.split(":")[0] in sys.modules


def require_trusted(names: Iterable[str], where: str) -> None:
    """Refuses code (`module:Class`) that nobody here asked for; `where` names it in the sentence: `the study`."""
    missing = sorted(name for name in names if not is_trusted(name))
    if missing:
        options = " ".join(f"--trust {name}" for name in missing)
        raise SpaceError(
            f"{where} uses code that was not named here: {', '.join(missing)}",
            f"if it is yours, give the same command {options}; from Python import the module first",
        )


def load(name: str, what: str = "block") -> Any:
    """The class, or function, that a trusted `module:Class` names; this runs its module.

    The module may be installed, or lie in the folder where the command was started.

    Raises:
        SpaceError: when the name is not trusted, the module cannot be imported, or it has no such class.
    """
    require_trusted([name], "a candidate, space or recipe")
    module_name, class_name = name.split(":")
    try:
        return attrgetter(class_name)(sys.modules.get(module_name) or _import_here(module_name))
    except ImportError as error:
        hint = "Install the module, or start the command in the folder that holds it."
        raise SpaceError(f"{what} {name!r}: module {module_name!r} cannot be imported: {error}", hint) from error
    except AttributeError as error:
        kind = "function" if what in ("objective", "metric") else "class"
        raise SpaceError(f"{what} {name!r}: module {module_name!r} has no {kind} {class_name!r}") from error


def _import_here(module_name: str) -> Any:
    """Imports a module, looking last in the current folder, which a console script does not search."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    finally:
        sys.path.remove(here)


def code_hash(names: Iterable[str]) -> str:
    """16 hex digits of the source that these names run: their modules and what those import from their own folder.

    "" when there is none. Of an installed package its own modules count; other installed packages that a module imports
    are part of the stored environment instead. A network of timm's (`timm:NAME`) is known by timm's version, which says
    what it builds under a name, and "" where timm is missing.

    Raises:
        SpaceError: as `load`.
    """
    asked = set(names)
    timms = {name for name in asked if name.startswith(TIMM)}
    files, made_by = sources(asked - timms), _timm_version() if timms else None
    if made_by is not None:
        return hash_of_data([_hash_of(files), "timm", made_by])
    return _hash_of(files) if files else ""


def _timm_version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # slow, and few spaces name a network of timm's

    try:
        return version("timm")
    except PackageNotFoundError:
        return None


def sources(names: Iterable[str]) -> dict[str, Path]:
    """The files that these names run, by module: their modules and what those import from their own folder."""
    files: dict[str, Path] = {}
    for name in sorted(set(names)):
        load(name)
        module = sys.modules[name.split(":")[0]]
        source = getattr(module, "__file__", None)
        if source is not None:
            _collect(module.__name__, Path(source), files)
    return files


def hash_of_script(path: Path) -> str:
    """16 hex digits of a script and of what it imports from its own folder."""
    files: dict[str, Path] = {}
    _collect(path.stem, path.resolve(), files)
    return _hash_of(files)


def _hash_of(files: dict[str, Path]) -> str:
    text = {name: path.read_bytes().decode("utf-8", "surrogateescape") for name, path in files.items()}
    return hash_of_data(text)


def _collect(module_name: str, path: Path, files: dict[str, Path]) -> None:
    """The module's file, then those of its folder (and folders below) that it imports, each once.

    In a folder of installed packages only its own package's.
    """
    if module_name in files:
        return
    files[module_name] = path
    if path.suffix != ".py":
        return
    root = path.parents[module_name.count(".") + (path.name == "__init__.py")]
    package = module_name.partition(".")[0] if _holds_packages(root) else None
    for imported in _imports(module_name, path, path.read_bytes()):
        if package not in (None, imported.partition(".")[0]):
            continue
        found = _file_below(root, imported)
        if found is not None:
            _collect(imported, found, files)


def _imports(module_name: str, path: Path, source: bytes) -> Iterator[str]:
    package = module_name if path.name == "__init__.py" else module_name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file_below(root: Path, module_name: str) -> Path | None:
    if not module_name:
        return None
    stem = root.joinpath(*module_name.split("."))
    return next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)


def _holds_packages(folder: Path) -> bool:
    return folder.name in _FOLDERS or any(folder.glob("*.dist-info"))
