"""How heavy is the house, and how deep are its stairs?

    python benchmarks/house.py --label 0.2.0 --out benchmarks/results/house

Counts on the sources: lines in `nas/` and how many of them are code (neither blank, comment nor docstring), imports
inside functions, `dict[str, Any]` and `Any` where a type is written (names that stand for either count at each use,
imports do not), circles of files that import each other (imports inside functions count, those for types do not), and
files with over 300 lines. Two stairs are walked rather than read: the frames of ours on the stack, the first and the
last counted, when a Pareto figure asks which candidates are on the front, and when a worker's command sends the SQL
that claims a training.

With `--out`, a row of an earlier label stays in the table, so that versions stand beside each other.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from types import FrameType

import networkx
import sqlalchemy

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nas"
LONG = 300
REASONS = {
    "nas/networks/export/__init__.py": "one export from network to checked file, the formats beside each other",
    "nas/latency/protocol.py": "the protocol of timing: a key a line with its description, and what makes two equal",
    "nas/search/definition.py": "the study file: a model a stage, each key with its description",
    "nas/training/recipe.py": "the recipe: one key a line with its description, range and check",
    "nas/commands/networks.py": "train, evaluate, extract, export: signatures and docstrings of the public face",
    "nas/search/worker.py": "one state machine: whose fault an end was is decided beside what leads to it",
    "nas/storage/models.py": "the tables, a column a line with its meaning",
    "nas/cli/latency.py": "options: typer wants each command's in its own signature",
    "nas/search/stages/base.py": "what stages share: the wish, its training, and how both are asked for",
    "nas/spaces/space.py": "the space's public face: counts, draws, children, text",
    "nas/storage/claims.py": "leases: all statements that change an owner, beside each other",
    "nas/search/context.py": "what stages and workers ask of a study, each made when first asked for",
    "nas/spaces/blocks.py": "the table of shipped blocks with sources",
    "nas/networks/sites.py": "one trace and what is read from it",
    "nas/latency/exchange.py": "the exchange folder from the study's side, both directions",
    "nas/reporting/dashboard/pages/explorer.py": "one page: its filters, their callbacks, its table",
    "nas/data/inspection.py": "checks of a data set, a function a cause with its sentence",
    "nas/spaces/sites.py": "the tables of sites of the shipped backbones",
    "nas/cli/run.py": "options: typer wants each command's in its own signature",
    "nas/testing/planted.py": "planted landscapes and the rules that they hold",
    "nas/search/objectives.py": "one's own trainer, a function or a command: called, stopped and read alike",
    "nas/training/run.py": "a training from start to result, in order",
    "nas/spaces/domains.py": "what a value may be: one class and its arithmetic",
    "nas/shrinking/analysis.py": "one backbone's sample, its fits, and the verdict that all families share",
    "nas/shrinking/design.py": "the regression's columns, a function a group",
    "nas/files/yaml_source.py": "YAML with positions: a constructor, a representer and resolver of ruamel's",
    "nas/search/stages/shrink.py": "derive, draw, confirm: one stage's steps, resumable between any two",
    "nas/search/replay.py": "a table in place of trainings: read, checked, a sentence a cause, and answered",
    "nas/search/launchers/base.py": "what launchers share: a job, its states, and the words for where a study stands",
    "nas/results/answer.py": "the answer of a study: one rule, and the sentence of each case",
    "nas/reporting/study_data.py": "a study as all media read it: each question of theirs answered once",
    "nas/reporting/figures/pareto_front.py": "one figure: dots, front, baselines, names, and what its caption says",
    "nas/search/estimate.py": "a dry run's estimate, a stage kind a function",
    "nas/storage/database.py": "opening, for two engines: options, locks, what a read-only folder needs",
    "nas/training/trainer.py": "one training's loop and its checkpoint",
    "nas/networks/weights.py": "files of weights: what is read, how names are matched, what is said",
    "nas/search/checks.py": "what keeps a study from starting, a function a cause",
}
"""Why a file over that length is one file."""

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


@dataclass(frozen=True)
class House:
    """The numbers of one version; `None` where a stair could not be walked."""

    label: str
    date: str
    lines: int
    code_lines: int
    function_imports: int
    any_dictionaries: int
    any_types: int
    circles: list[list[str]]
    frames_to_front: int | None
    frames_to_claim: int | None
    long_files: dict[str, int]


WORDS = {
    "lines": "lines in `nas/`",
    "code_lines": "of code",
    "function_imports": "imports inside functions",
    "any_dictionaries": "`dict[str, Any]`",
    "any_types": "`Any`",
    "circles": "circles of files",
    "frames_to_front": "frames from a figure to the front",
    "frames_to_claim": "frames from the worker's command to the claim's SQL",
    "long_files": f"files over {LONG} lines",
}


class Imports(ast.NodeVisitor):
    """The imports of a file: those inside functions, and the modules that it needs when it runs."""

    def __init__(self, module: str, modules: set[str]) -> None:
        self.module, self.modules = module, modules
        self.depth = self.inside = 0
        self.needs: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.inside += self.depth > 0
        self.needs |= {alias.name for alias in node.names} & self.modules

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.inside += self.depth > 0
        for alias in node.names:
            below = f"{node.module}.{alias.name}"
            self.needs |= {below if below in self.modules else str(node.module)} & self.modules


def name_of(file: Path) -> str:
    """The name that Python imports a file by."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def code_lines(text: str, tree: ast.Module) -> int:
    """Lines that hold anything but blanks, comments and docstrings."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def aliases(trees: list[ast.Module]) -> tuple[set[str], set[str]]:
    """Names that stand for `dict[str, Any]`, and names that stand for another type with `Any` in it."""
    dictionaries, others = set(), set()
    for tree in trees:
        for node in tree.body:
            value = getattr(node, "value", None)
            target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
            if not isinstance(target, ast.Name) or not isinstance(value, ast.Subscript | ast.Name):
                continue
            written = ast.unparse(value)
            if written == "dict[str, Any]":
                dictionaries.add(target.id)
            elif isinstance(value, ast.Subscript) and "Any" in written.replace("[", " ").replace("]", " ").split():
                others.add(target.id)
    return dictionaries, others


def any_types(tree: ast.Module, dictionaries: set[str], others: set[str]) -> tuple[int, int]:
    """How often a file writes `dict[str, Any]`, and `Any` altogether."""
    found = anything = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]":
            found += 1
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found += node.id in dictionaries
            anything += node.id == "Any" or node.id in dictionaries or node.id in others
    return found, anything


def measure(label: str) -> House:
    """Counts and walks this checkout."""
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(PACKAGE.rglob("*.py"))}
    trees = {file: ast.parse(text) for file, text in texts.items()}
    modules = {name_of(file) for file in texts}
    graph, inside = networkx.DiGraph(), 0
    for file, tree in trees.items():
        imports = Imports(name_of(file), modules)
        imports.visit(tree)
        inside += imports.inside
        graph.add_edges_from((imports.module, needed) for needed in imports.needs if needed != imports.module)
    circles = [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1]
    dictionaries, others = aliases(list(trees.values()))
    counts = [any_types(tree, dictionaries, others) for tree in trees.values()]
    lengths = {str(file.relative_to(ROOT)): text.count("\n") for file, text in texts.items()}
    return House(
        label,
        date.today().isoformat(),
        sum(lengths.values()),
        sum(code_lines(text, trees[file]) for file, text in texts.items()),
        inside,
        sum(count for count, _ in counts),
        sum(count for _, count in counts),
        sorted(circles),
        frames_to_front(),
        frames_to_claim(),
        {f: n for f, n in sorted(lengths.items(), key=lambda item: -item[1]) if n > LONG},
    )


def ours(frame: FrameType | None) -> Iterator[str]:
    """The functions of the package on a stack, innermost first."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(str(PACKAGE)):
            yield frame.f_code.co_qualname
        frame = frame.f_back


def frames_to_front() -> int | None:
    """From the call of the Pareto figure to the function that finds the front."""
    from reporting_builders import full_study

    from nas.reporting.figures import ParetoFront

    depths: list[int] = []

    def look(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name in {"on_front", "is_nondominated", "filter_dominated"}:
            depths.append(len(list(ours(frame))))

    data = full_study()
    sys.setprofile(look)
    try:
        ParetoFront()(data)
    finally:
        sys.setprofile(None)
    return max(depths, default=None)


def frames_to_claim() -> int | None:
    """From the command `nas worker` to the statement that claims a training, on a study that replays a table."""
    from search_builders import open_study, study_file

    from nas.cli.main import main

    depths: list[int] = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        stack = list(ours(sys._getframe()))
        if statement.startswith("UPDATE nas_training") and any("claim_training" in name for name in stack):
            depths.append(len(stack) - stack[::-1].index("worker"))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", look)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        study = study_file(Path(folder), [{"sweep": {"design": "stratified", "candidates": 2}}])
        open_study(study)
        main(["worker", "replayed", "--db", f"sqlite:///{folder}/study.db"])
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", look)
    return max(depths, default=None)


def cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(len(value)) if isinstance(value, list | dict) else "unknown"


def markdown(rows: list[House]) -> str:
    """The versions beside each other, and what the last one still has too much of."""
    lines = ["# The house", "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), ""]
    lines += [f"| | {' | '.join(f'{row.label} ({row.date})' for row in rows)} |", "|---|" + "--:|" * len(rows)]
    lines += [f"| {words} | {' | '.join(cell(getattr(row, key)) for row in rows)} |" for key, words in WORDS.items()]
    last = rows[-1]
    lines += ["", f"Circles of {last.label}:", "", *(f"- {', '.join(circle)}" for circle in last.circles or [["none"]])]
    lines += ["", f"Files over {LONG} lines of {last.label}:", ""]
    told = ((file, count, REASONS.get(file, "no reason yet")) for file, count in last.long_files.items())
    lines += [f"- `{file}`: {count} ({reason})" for file, count, reason in told] or ["- none"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--label", default="this checkout")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md; rows of other labels there stay")
    options = parser.parse_args()
    rows = [measure(options.label)]
    if options.out and options.out.with_suffix(".json").exists():
        kept = [House(**row) for row in json.loads(options.out.with_suffix(".json").read_text())]
        rows = [row for row in kept if row.label != options.label] + rows
    print(markdown(rows))
    if options.out:
        options.out.with_suffix(".json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        options.out.with_suffix(".md").write_text(markdown(rows))


if __name__ == "__main__":
    main()
