"""Every code block of the documentation runs, or is checked to say what exists."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from docs_snippets import PAGES, ROOT, Runner, check_mention, mentions, snippets

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LONG = ("docs/how-to/exporting.md", "docs/how-to/own-device.md", "docs/how-to/own-trainer.md", "docs/tutorial.md")
"""Pages whose commands measure or train for minutes."""
RUN = [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in NAMES]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project of a reader's own, as `nas init` lays it out."""
    for folder in ("search_spaces", "studies"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    monkeypatch.delenv("NAS_CACHE", raising=False)
    return tmp_path


@pytest.mark.timeout(900)  # real, if tiny, studies: a busy machine takes many times as long as an idle one
@pytest.mark.parametrize("name", RUN)
def test_blocks(name: str, project: Path) -> None:
    runner = Runner(project)
    before = set(sys.modules)
    try:
        for snippet in snippets(ROOT / name):
            try:
                runner.run(snippet)
            except Exception as error:
                raise AssertionError(f"{name}, line {snippet.line}: {error}") from error
    finally:
        for module in set(sys.modules) - before:
            if str(project) in str(getattr(sys.modules[module], "__file__", "")):
                del sys.modules[module]


@pytest.mark.parametrize("name", NAMES)
def test_commands_named_in_the_text_exist(name: str) -> None:
    for words in mentions(ROOT / name):
        check_mention(words)
