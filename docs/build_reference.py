"""Writes the pages below docs/reference from the code (`make reference`)."""

from __future__ import annotations

from pathlib import Path

import typer.main

from nas.cli.main import build_app
from nas.project.reference import commands_page, recipe_page, space_page, study_page

FOLDER = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """File name -> text."""
    return {
        "space-file.md": space_page(),
        "study-file.md": study_page(),
        "recipe.md": recipe_page(),
        "commands.md": commands_page(typer.main.get_command(build_app())),
    }


def main() -> None:
    """Writes all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
