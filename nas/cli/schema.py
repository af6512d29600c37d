"""`nas schema`: the JSON schema of the files a person writes, for editors and other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from nas import project
from nas.cli.common import emit_json


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("schema")(schema)


def schema(kind: Annotated[str, typer.Argument(metavar="KIND", help="space, study, recipe or rules.")]) -> None:
    """Print the JSON schema of a kind of file; `nas init` writes those of spaces and studies beside them.

    Example: nas schema study > study.schema.json
    """
    emit_json(project.file_schema(kind))
