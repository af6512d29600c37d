"""Names mean one thing: a class is found by its name, whoever looks for it."""

from __future__ import annotations

import ast
import importlib.util
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import nas

PACKAGE = Path(nas.__file__).parent
# A rule about costs is written `cost:` in a file; what a cost is stands in `nas.results.costs`.
PUBLIC = {"Cost"}


def test_no_two_classes_have_one_name() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for file in PACKAGE.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(file.relative_to(PACKAGE)))
    assert {name: files for name, files in found.items() if len(files) > 1 and name not in PUBLIC} == {}


def test_what_scripts_import_of_the_package_is_there() -> None:
    """Nothing else reads them whole: one imported a function that had been given another name."""
    missing = []
    for file in (PACKAGE.parent / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nas":
                module = importlib.import_module(node.module or "")
                missing += [
                    f"{file.name}: {node.module}.{name.name}" for name in node.names if not _has(module, name.name)
                ]
    assert missing == []


def _has(module: ModuleType, name: str) -> bool:
    below = hasattr(module, "__path__") and importlib.util.find_spec(f"{module.__name__}.{name}") is not None
    return hasattr(module, name) or below
