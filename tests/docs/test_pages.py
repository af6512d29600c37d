"""Links of the documentation lead somewhere; the reference is what the code says; the index leads to every page."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from docs_snippets import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def builder() -> ModuleType:
    """The script that writes the reference."""
    spec = importlib.util.spec_from_file_location("build_reference", DOCS / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^(```+).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page point."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page) if "://" not in link}
    assert set((DOCS / "images").iterdir()) <= shown


def test_files_named_in_the_architecture_exist() -> None:
    named = re.findall(r"`((?:nas|tests|benchmarks)/[\w/.]+)`", (DOCS / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_room_is_in_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = [folder.name for folder in (ROOT / "nas").iterdir() if (folder / "__init__.py").exists()]
    assert not [room for room in rooms if f"`nas/{room}/`" not in page]


def test_the_reference_is_what_the_code_says() -> None:
    for name, text in builder().pages().items():
        assert (DOCS / "reference" / name).read_text(encoding="utf-8") == text, f"{name} is old: run `make reference`"


def test_every_key_of_the_yaml_files_has_a_meaning() -> None:
    for name in ("space-file.md", "study-file.md", "recipe.md"):
        rows = re.findall(r"^\| (`.*) \|$", builder().pages()[name], flags=re.MULTILINE)
        assert rows
        assert not [row for row in rows if not re.split(r" (?<!\\)\| ", row)[-1].strip()], name


def test_every_page_is_found_from_the_index() -> None:
    found, new = set(), {DOCS / "index.md"}
    while new:
        page = new.pop()
        found.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link}
        new |= {target for target in targets if target.suffix == ".md" and target.is_relative_to(DOCS)} - found
    assert {page.resolve() for page in DOCS.rglob("*.md")} <= {page.resolve() for page in found}


def test_the_site_has_every_page() -> None:
    told = re.findall(
        r"^ +- (?:[^:\n]+: )?([\w/-]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE
    )
    pages = [page for kind in ("*.md", "*.ipynb") for page in DOCS.rglob(kind)]
    assert sorted(told) == sorted(page.relative_to(DOCS).as_posix() for page in pages)


def test_notebooks_are_kept_without_what_they_printed() -> None:
    for path in (DOCS / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")], path.name


def test_every_environment_variable_is_documented() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "nas").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"\bNAS_[A-Z]+(?:_[A-Z]+)*\b", text)}
    read = {name for text in sources for name in re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", text)}
    ours = {"PYTHONPATH", "SLURM_CPUS_PER_TASK", "XDG_CONFIG_HOME", "CUBLAS_WORKSPACE_CONFIG"}  # set or told by others
    assert "NAS_LOCKS" in named & read
    assert set(builder().VARIABLES) == (named | read) - ours
