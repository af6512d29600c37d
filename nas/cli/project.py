"""`nas init`, `nas doctor`, `nas schema`: a folder of one's own, what works on this machine, what files may say."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import project
from nas.cli.common import EXIT_OUR_FAULT, Json, console, emit_json, line, note
from nas.files.whole import write_text

if TYPE_CHECKING:
    from nas.project.diagnosis import MachineCheck

NAME_WIDTH = 36
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
    places = Counter(path.parent for path in made)
    for place in (folder / "search_spaces", folder / "studies"):
        if places[place]:
            note(f"  made {place}: {places[place]} files")
    if kept:
        note(f"  left {len(kept)} files as they were")
    steps = {f"cd {shlex.quote(str(folder))}": ""} if folder != Path() else {}
    steps["nas doctor"] = "what works on this machine"
    if planned is None:
        steps["nas run studies/quickstart.yaml"] = "a first study on generated data, 10 to 20 minutes on 2 cores"
    else:
        note(f"  made {write_text(*planned)}")
        run = f"nas run {planned[0].relative_to(folder)}"
        steps[f"{run} --dry-run"] = "what it will train, for how long, and what that can show"
        steps[f"{run} --profile smoke"] = "the whole path in minutes, with worthless numbers"
        steps[run] = "the study"
    note("Next:")
    width = max(map(len, steps))
    for command, why in steps.items():
        note(f"  {command:{width}}  {why}".rstrip())


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
