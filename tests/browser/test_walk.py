"""A newcomer's walk, with a picture of every step: what the terminal showed, and every page that it led to.

README's quickstart, the tutorial, images of one's own, a study that fails and one of 10 000 replayed trainings;
commands as they are typed, in a folder of one's own, on sizes that take minutes. The pictures are for people: they lie
below `NAS_ARTEFACTS`, else in pytest's temporary folder; pages at a desk and on a telephone, light and dark. What must
not be missing is asserted here; how it looks has to be looked at.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_snippets import ROOT, SHELLS, sessions, snippets
from fault_builders import real_definition, write_faulty_blocks
from reporting_builders import replayed_study, store_study
from terminal_builders import Said, as_page, at_terminal

from nas.storage import Repository, open_database

pytestmark = pytest.mark.slow


class Walk:
    """One person in one folder.

    Args:
        folder: where they work.
        pictures: what is kept of it.
    """

    def __init__(self, folder: Path, pictures: Any) -> None:
        self.folder, self.pictures, self.at = folder, pictures, Path()
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "NAS_LOCKS": str(folder / "locks")}
        for name in ("NAS_DATABASE", "NAS_CACHE", "NO_COLOR", "CI"):
            self._environment.pop(name, None)

    def types(self, command: str, *, code: int = 0, moment: str | None = None) -> Said:
        """Types a command; keeps what it showed, and what it showed at a moment."""
        program, *words = shlex.split(command)
        python = [sys.executable, "-P"]
        starts = {"nas": [*python, "-m", "nas"], "python": python}
        whole = [*starts.get(program, [program]), *words]
        said = at_terminal(whole, self.folder / self.at, self._environment, moment=moment)
        name = " ".join([program, *words][1:4]) or program
        if moment is not None:
            self.pictures.of_text(f"{name} meanwhile", as_page(command, said.meanwhile))
        self.pictures.of_text(name, as_page(command, said.lines))
        assert said.code == code, f"{command} ended with {said.code}:\n{said.text}"
        assert moment is None or said.meanwhile, f"{command} never showed {moment!r}:\n{said.text}"
        assert "Traceback" not in said.text
        return said

    def follows(self, page: Path) -> str:
        """Does what a page of the documentation says, block by block; gives what the last command said."""
        said = ""
        for snippet in snippets(page):
            if snippet.file is not None:
                (self.folder / snippet.file).write_text(snippet.text, encoding="utf-8")
            elif snippet.language == "python":
                (self.folder / self.at / "block.py").write_text(snippet.text, encoding="utf-8")
                self.types("python block.py")
            elif snippet.language in SHELLS:
                for line, _ in sessions(snippet):
                    command, _, refused = line.strip().partition(" || ")
                    if command.startswith("cd "):
                        self.at /= command.split()[1]
                    else:
                        said = self.types(command, code=2 if refused else 0).text
        return said

    def looks(self, name: str, address: str, turn: int | None = None) -> str:
        """Looks at a page, in all views or the one whose turn it is; gives its words."""
        return str(self.pictures.of_page(name, address, turn))

    def looks_at_report(self, study: str, turn: int | None = None) -> str:
        """Looks at a study's report."""
        page = self.folder / self.at / "reports" / study / "report.html"
        return self.looks(f"report {study}", page.as_uri(), turn)


@pytest.fixture
def walk(tmp_path: Path, pictures: Any) -> Walk:
    """A newcomer in an empty folder."""
    (tmp_path / "home").mkdir()
    return Walk(tmp_path / "home", pictures)


def test_readme(walk: Walk, serve: Callable[..., str]) -> None:
    walk.types("nas --help")
    assert "nas run studies/quickstart.yaml" in walk.types("nas init .").text
    walk.types("nas space show resnet50_attention")
    study = "studies/quickstart.yaml --profile smoke"
    assert "trainings" in walk.types(f"nas run {study} --dry-run").text
    ran = walk.types(f"nas run {study}", moment="epoch 1 of")
    assert "is finished" in ran.text
    assert "reports/quickstart-smoke/report.html" in ran.text
    assert "nothing to do" in walk.types(f"nas run {study}").text
    assert "finished" in walk.types("nas status studies/quickstart.yaml").text
    walk.types("nas rules show quickstart-smoke")
    report = walk.looks_at_report("quickstart-smoke")
    assert report.index("The answer") < report.index("Protocol")
    walk.looks("dashboard", f"{serve(walk.folder / 'smoke.db')}/study/quickstart-smoke")


@pytest.mark.heavy  # every command of it runs among the documentation's blocks, too
def test_tutorial(walk: Walk, serve: Callable[..., str]) -> None:
    assert "written: search_spaces/deeper_by_rules.yaml" in walk.follows(ROOT / "docs" / "tutorial.md")
    for turn, study in enumerate(("tutorial", "known")):
        assert "failed for good" not in walk.types(f"nas status studies/{study}.yaml").text
        assert "failed for good" not in walk.looks_at_report(study, turn)
        site = serve(walk.folder / walk.at / f"{study}.db")
        walk.looks(f"dashboard {study}", f"{site}/study/{study}", turn + 2)


@pytest.mark.heavy
def test_own_images(walk: Walk, serve: Callable[..., str]) -> None:
    """A folder of images, here drawn ones; then a robot's table of them, with names."""
    walk.types("nas data synth people --train-identities 16 --test-identities 6 --images 2")
    walk.types("nas data check people")
    assert "nas run studies/people.yaml" in walk.types("nas init my-robot --data people").text
    walk.at = Path("my-robot")
    walk.types("cat studies/people.yaml")
    walk.types("nas run studies/people.yaml --dry-run")
    walk.types("nas run studies/people.yaml --profile smoke", moment="1/1")
    walk.types("nas status people-smoke")
    walk.looks_at_report("people-smoke")
    walk.looks("dashboard", f"{serve(walk.folder / 'my-robot' / 'people-smoke.db')}/study/people-smoke", 1)
    walk.at = Path()
    rows = ["path,identity,camera,split"]
    for folder, split in (("bounding_box_train", "train"), ("query", "query"), ("bounding_box_test", "gallery")):
        for image in sorted((walk.folder / "people" / folder).glob("*.jpg")):
            identity, camera = image.name.split("_")[:2]
            rows.append(f"people/{folder}/{image.name},person {identity},{camera[:2]},{split}")
    (walk.folder / "robot.csv").write_text("\n".join(rows) + "\n")
    walk.types("nas data check robot.csv")
    assert "nas run studies/robot.yaml" in walk.types("nas init my-robot --data robot.csv").text


@pytest.mark.heavy  # test_states.py: thousands of candidates keep no browser busy
def test_ten_thousand_replayed_trainings(walk: Walk, serve: Callable[..., str]) -> None:
    with open_database(f"sqlite:///{walk.folder}/large.db") as database:
        store_study(Repository(database), replayed_study("large"))
    walk.types("nas studies list")
    assert "finished" in walk.types("nas status large").text
    walk.types("nas report large")
    walk.looks_at_report("large", 0)
    site = f"{serve(walk.folder / 'large.db')}/study/large"
    for turn, part in enumerate(("", "/front", "/candidate/resnet50"), start=1):
        walk.looks(f"dashboard {part}", site + part, turn)


def test_a_study_that_fails(walk: Walk, serve: Callable[..., str]) -> None:
    """Three of four blocks go wrong in every training; then the same under a limit of failures; then wrong input."""
    study = {**real_definition(1), **write_faulty_blocks(walk.folder), "max_attempts": 1, "name": "faulty"}
    file = walk.folder / "faulty.yaml"
    file.write_text(yaml.safe_dump({**study, "database": "sqlite:///faulty.db"}, sort_keys=False))
    ended = walk.types("nas run faulty.yaml")
    assert "is finished: 2 trainings, 6 more failed" in ended.text
    status = walk.types("nas status faulty").text
    for kind in ("diverged", "error", "out_of_memory"):
        assert f"failed, {kind}: 2" in status
    assert "this block always fails" in walk.looks_at_report("faulty")
    site = serve(walk.folder / "faulty.db")
    walk.looks("dashboard", f"{site}/study/faulty")
    limited = {**study, "name": "limited", "database": "sqlite:///limited.db", "budget": {"failures": 2}}
    file.write_text(yaml.safe_dump(limited, sort_keys=False))
    assert "the budget allows 2" in " ".join(walk.types("nas run faulty.yaml", code=2).text.split())
    assert "stopped: " in walk.types("nas status limited").text
    walk.types("nas report limited")
    walk.looks_at_report("limited")
    for wrong in (
        "nas run fauly.yaml",
        "nas status nobody",
        "nas run faulty.yaml --profile smok",
        "nas space show resnet50_atention",
        "nas report nobody",
        "nas train resnet50+cln@8",
    ):
        said = walk.types(wrong, code=2).text
        assert "Error" in said, said
