"""Lays out a project folder from the files that come with the package."""

from __future__ import annotations

from pathlib import Path

import nas
from nas.errors import NasError
from nas.project.schemas import schema_text
from nas.search.campaign import is_campaign

CONTENT_FOLDERS = ("search_spaces", "studies")
EMPTY_FOLDERS = ("reports", "data")
SCHEMAS = {"search_spaces": "space", "studies": "study"}
SCHEMA_FILE, CAMPAIGN_SCHEMA_FILE = ".schema.json", ".campaign-schema.json"
EDITOR_HINT = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
"""First line of a laid-out file: editors with a YAML language server then complete keys and mark mistakes, offline."""
IGNORED = "# made by nas runs\n.nas/\n*.db\n*.db-wal\n*.db-shm\n/reports/\n/data/\n"


def shipped(folder: str) -> Path:
    """The shipped folder of that name: in the wheel, or in a checkout.

    Raises:
        NasError: the package was installed without its files.
    """
    package = Path(nas.__file__).resolve().parent
    for place in (package / "shipped" / folder, package.parent / folder):
        if place.is_dir():
            return place
    raise NasError(f"this installation of nas lacks its {folder} files", "install it again from a wheel or a checkout")


def lay_out(target: Path) -> tuple[list[Path], list[Path]]:
    """Makes folders and copies shipped YAML files; nothing that exists is touched but the schemas beside them.

    Returns:
        The files made and the files left as they were.

    Raises:
        NasError: `target` is a file.
    """
    if target.exists() and not target.is_dir():
        raise NasError(f"{target} is a file", "name a folder")
    made: list[Path] = []
    kept: list[Path] = []
    for folder in CONTENT_FOLDERS:
        (target / folder).mkdir(parents=True, exist_ok=True)
        (target / folder / SCHEMA_FILE).write_text(schema_text(SCHEMAS[folder]), encoding="utf-8")
        for source in sorted(shipped(folder).glob("*.yaml")):
            copy = target / folder / source.name
            (kept if copy.exists() else made).append(copy)
            if not copy.exists():
                text = source.read_text(encoding="utf-8")
                hint = EDITOR_HINT.replace(SCHEMA_FILE, CAMPAIGN_SCHEMA_FILE) if is_campaign(source) else EDITOR_HINT
                copy.write_text(hint + text, encoding="utf-8")
    (target / "studies" / CAMPAIGN_SCHEMA_FILE).write_text(schema_text("campaign"), encoding="utf-8")
    for folder in EMPTY_FOLDERS:
        (target / folder).mkdir(exist_ok=True)
    ignore = target / ".gitignore"
    if not ignore.exists():
        ignore.write_text(IGNORED)
        made.append(ignore)
    return made, kept
