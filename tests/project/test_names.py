"""Names mean one thing: a class is found by its name, whoever looks for it."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

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
