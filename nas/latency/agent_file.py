"""Makes one file of `nas.latency.device_agent`, for a device that has Python and an engine but not this package.

Annotations are taken out, and with them what Python 3.6 cannot read; what the modules import of each other is in the
same file. Calls newer than Python 3.6 are the modules' own business (tests look for them).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nas
from nas.errors import LatencyError

MODULES = ("statistics", "timing", "machine", "engines", "noise", "job", "mailbox", "program")
"""In the order in which they need each other; the program, with its `if __name__`, is last."""

_OWN = "nas.latency.device_agent"
_FOR_TYPES = {"__future__", "typing", "collections.abc"}
_HEAD = '''#!/usr/bin/env python3
"""Measures networks of an exchange folder on this device: python3 device_agent.py --folder FOLDER

Made from the package nas.latency.device_agent of nas-reid {version}. Python 3.6 or later, standard library only;
ONNX Runtime or TensorRT when a network asks for them.
"""
'''


def agent_file() -> str:
    """The text of the agent as one Python file; a `LatencyError` when two modules define the same name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _sources()]
    imports = {ast.unparse(node) for tree in trees for node in tree.body if _is_import(node)}
    kept = [node for tree in trees for node in tree.body[1:] if not _is_import(node)]
    body = [node for node in (_Plain().visit(node) for node in kept if not _own_import(node)) if node is not None]
    _check_names(body)
    text = "\n\n\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in body)
    return f"{_HEAD.format(version=nas.__version__)}\n" + "\n".join(sorted(imports)) + f"\n\n\n{text}\n"


def _sources() -> Iterator[Path]:
    folder = Path(__file__).with_name("device_agent")
    return (folder / f"{name}.py" for name in MODULES)


def _is_import(node: ast.stmt) -> bool:
    """Whether a statement imports something of the standard library that is used when the file runs."""
    if isinstance(node, ast.Import):
        return True
    return isinstance(node, ast.ImportFrom) and node.module not in _FOR_TYPES and not _own_import(node)


def _own_import(node: ast.stmt) -> bool:
    """Whether a statement imports what stands in the same file, or is for annotations only."""
    return isinstance(node, ast.ImportFrom) and (node.module in _FOR_TYPES or str(node.module).startswith(_OWN))


def _check_names(body: list[ast.stmt]) -> None:
    seen: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = {node.name}
        elif isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        else:
            continue
        if names & seen:
            raise LatencyError(f"two modules of the device's agent define {', '.join(names & seen)}")
        seen |= names


class _Plain(ast.NodeTransformer):
    """Takes annotations out."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else ast.Assign([node.target], self.visit(node.value))
