"""`nas init`, `nas doctor`, `nas schema`: a folder of one's own, what works on this machine, what files may say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import project
from nas.cli.common import EXIT_OUR_FAULT, Json, console, emit_json, line, note
from nas.files.whole import write_text

if TYPE_CHECKING:
    from nas.project.diagnosis import MachineCheck

NAME_WIDTH = 28
MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[bold red]broken[/]"}


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to lay out; default: this one.")] = Path(),
    own: Annotated[
        str | None,
        typer.Option("--data", metavar="SET", help="Your images, as after `nas data check`: a study sized to them."),
    ] = None,
) -> None:
    """Lay out a project: search spaces, studies and reports, with the shipped files to start from.

    Example: nas init my-robot --data frames/labels.csv
    """
    planned = None if own is None else project.own_study(own, folder)
    made, kept = project.lay_out(folder)
    for path in made:
        note(f"  made {path}")
    if kept:
        note(f"  left {len(kept)} files as they were")
    study = Path("studies/quickstart.yaml")
    if planned is not None:
        note(f"  made {write_text(*planned)}")
        study = planned[0].relative_to(folder)
    note("Next:")
    if folder != Path():
        note(f"  cd {folder}")
    note("  nas doctor                        what works on this machine")
    if own is None:
        note("  nas run studies/quickstart.yaml   a first study on generated data, 10 to 20 minutes on 2 cores")
        return
    note(f"  nas run {study} --dry-run   what it will train, for how long, and what that can show")
    note(f"  nas run {study}")


def doctor(json: Json = False) -> None:
    """Tell what works on this machine and what to install for the rest.

    Example: nas doctor
    """
    broken = []
    found = []
    for check in project.diagnose():
        found.append(check)
        if check.state == "broken":
            broken.append(check.name)
        if not json:
            _show(check)
    if json:
        emit_json([check.__dict__ for check in found])
    else:
        line(f"Put right first: {', '.join(broken)}." if broken else "You can start: nas run studies/quickstart.yaml")
    if broken:
        raise typer.Exit(EXIT_OUR_FAULT)


def schema(kind: Annotated[str, typer.Argument(metavar="KIND", help="space, study, recipe or rules.")]) -> None:
    """Print the JSON schema of a kind of file; `nas init` writes those of spaces and studies beside them.

    Example: nas schema study > study.schema.json
    """
    emit_json(project.file_schema(kind))


def _show(check: MachineCheck) -> None:
    out = console(stderr=False)
    out.print(f"{check.name:<{NAME_WIDTH}}  {MARKS[check.state]}  ", end="")
    out.print(check.detail, markup=False)
    if check.advice:
        out.print(" " * (NAME_WIDTH + 2) + check.advice, style="dim", markup=False)
