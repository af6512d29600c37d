"""`nas rules`: show and export what studies found, carry it to another space, ask what it admits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import reporting, search, spaces
from nas.cli.common import EXIT_USER, Force, Json, Notation, emit, emit_json, note
from nas.cli.space import Space, open_space
from nas.errors import SpaceError, StudyError, unknown_name
from nas.files.outputs import check_outputs
from nas.files.whole import write_text
from nas.files.yaml_source import FILE_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from nas.spaces import RuleSet

Rules = Annotated[
    str, typer.Argument(metavar="RULES", help="Rules file (YAML or JSON), a report's folder, or a study's name.")
]
Format = Annotated[str, typer.Option("--format", "-f", help="text, md, yaml, json or latex.")]
Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="Take the rules of a study from a database instead of its report."),
]
Stage = Annotated[
    str | None,
    typer.Option("--stage", metavar="NAME", help="Only what this stage found, as of one band of costs."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write; default: stdout.")]


def show(rules: Rules, format: Format = "text", db: Db = None, stage: Stage = None, json: Json = False) -> None:
    """Show rules with their evidence and verdicts.

    Example: nas rules show reports/quickstart/rules.yaml
    """
    write = _writer(format)
    found = open_rules(rules, db, stage)
    if json:
        sentences = [finding.sentence() for finding in found]
        emit_json({**found.to_dict(), "sentences": sentences})
    else:
        emit(write(found))


def export(
    rules: Rules,
    format: Format = "text",
    output: Output = None,
    db: Db = None,
    stage: Stage = None,
    force: Force = False,
) -> None:
    """Write rules as text, Markdown, YAML, JSON or LaTeX.

    Example: nas rules export quickstart --format latex -o rules.tex
    """
    check_outputs((output,), (Path(rules), _file(rules)), force=force)
    _write(_writer(format)(open_rules(rules, db, stage)), output)


def _writer(name: str) -> Callable[[RuleSet], str]:
    if name not in spaces.FORMATS:
        raise SpaceError(unknown_name("format", name, spaces.FORMATS))
    return spaces.FORMATS[name]


def apply(
    rules: Rules,
    space: Space,
    source: Annotated[
        str | None, typer.Option("--from", metavar="BACKBONE", help="Where the rules were learned, if they do not say.")
    ] = None,
    output: Output = None,
    stage: Stage = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Narrow a space by rules, carried over to its backbones where they were learned on another one.

    The child space is written as a file that a study can name; what was done with each rule is said on stderr.

    Example: nas rules apply quickstart resnet101.yaml -o resnet101_by_rules.yaml
    """
    if source is not None:
        spaces.check_backbone(source)
    check_outputs((output,), (_file(rules), Path(space)), force=force)
    parent = open_space(space)
    given = open_rules(rules, stage=stage)
    result = given.apply(parent, source)
    child = result.space
    if not given.rules:
        note(f"No rule of {rules} is adopted, so the space stays as it is.")
    if json:
        steps = [
            {"rule": row.source.to_dict(), "carried": [rule.to_dict() for rule in row.rules], "sentence": row.sentence}
            for row in result.carried
        ]
        emit_json({"size_before": parent.size(), "size_after": child.size(), "steps": steps, "space": child.to_dict()})
    else:
        for sentence in result.sentences:
            note(f"  {sentence}")
        note(f"{parent.name}: {parent.size():,} candidates -> {child.name}: {child.size():,} candidates")
    if output is not None or not json:
        _write(child.to_yaml(), output)


def admits(rules: Rules, candidate: Notation, stage: Stage = None, json: Json = False) -> None:
    """Say whether the adopted rules admit a candidate, and why not; the exit code is 2 when they do not.

    Example: nas rules admits quickstart resnet50+cnl@6,8,14
    """
    said = open_rules(rules, stage=stage).of_one_band().admits(candidate)
    if json:
        rows = [violation.to_dict() for violation in said.violations]
        notes = list(said.notes)
        emit_json({"admitted": said.admitted, "score": said.score, "violations": rows, "notes": notes})
    else:
        for sentence in said.notes:
            note(f"  {sentence}")
        emit(f"{candidate}: {'admitted' if said else 'not admitted'}")
        for reason in said.reasons:
            emit(f"  {reason}")
    if not said:
        raise typer.Exit(EXIT_USER)


def check(rules: Rules, space: Space, stage: Stage = None, json: Json = False) -> None:
    """Look for rules that cannot hold together in a space.

    Example: nas rules check quickstart resnet50_attention
    """
    found = open_rules(rules, stage=stage).of_one_band().contradictions(open_space(space))
    if json:
        emit_json([{"sentence": row.sentence, "rules": [rule.to_dict() for rule in row.rules]} for row in found])
        return
    for row in found:
        emit(f"{row.sentence}: {'; '.join(rule.sentence() for rule in row.rules)}")
    if not found:
        emit("no contradictions")


def schema() -> None:
    """Print the JSON schema of a rules file.

    Example: nas rules schema > rules.schema.json
    """
    emit_json(spaces.RuleSet.json_schema())


def open_rules(name: str, db: str | None = None, stage: str | None = None) -> spaces.RuleSet:
    """The rules of a file, of a report's folder, of a study's report in `reports/`, or as they stand in a database.

    Raises:
        SpaceError: the stage that is named has none.
    """
    found = _all_rules(name, db)
    return found if stage is None else found.of_stage(stage)


def _all_rules(name: str, db: str | None) -> spaces.RuleSet:
    if db is not None:
        return reporting.Study.open(db, name).rules()
    if (path := _file(name)) is not None:
        return spaces.RuleSet.load(path)
    if Path(name).suffix in (*FILE_ENDINGS, ".json") and not Path(name).exists():
        raise SpaceError(f"there are no rules {name}", "Give a rules file, a report's folder, or a study's name.")
    try:
        study, url = search.find_study(name, os.environ.get("NAS_DATABASE"))
    except StudyError as error:
        raise SpaceError(f"there are no rules {name}: {error.message}", error.hint) from error
    note(f"Rules of study {study!r} as they stand in its database.")
    return reporting.Study.open(url, study).rules()


def _file(name: str) -> Path | None:
    """The file that a name of rules means."""
    places = (Path(name), Path(name) / "rules.yaml", Path("reports") / name / "rules.yaml")
    return next((path for path in places if path.is_file()), None)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        emit(text)
        return
    write_text(output, text)
    note(f"written: {output}")
