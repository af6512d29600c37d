"""A study in each state that a person may find it in: its pages at a desk or on a telephone, light or dark, in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_builders import AS_ANOTHER, give_away
from private_postgres import until_it_listens
from reporting_builders import begin_training, empty_study, full_study, large_results, store_study
from storage_builders import outcome

from nas.reporting.study_data import StudyData
from nas.storage import Repository, open_database

PARTS = ("", "front", "rules", "compare", "positions", "spaces", "latency", "data")
HUGE = 10_000


def running() -> StudyData:
    """A study in its search; what it trains now is claimed in the database."""
    study = full_study("running")
    begun = study.results["stage"].isin(["2-sweep", "3-shrink"])
    states = {"search": {"status": "running", "result": None}, "confirm": {"status": "waiting", "result": None}}
    stages = [stage | states.get(stage["kind"], {}) for stage in study.stages]
    return replace(study, results=study.results[begun], stages=stages, epochs=None)


def failed() -> StudyData:
    """A study of which every training failed, and which was given up."""
    study = full_study("failed")
    rows = study.results[study.results["stage"] == "2-sweep"]
    lost = dict.fromkeys(("map", "rank1", "minp"), np.nan)
    kinds = np.where(np.arange(len(rows)) % 3 == 0, "diverged", "out_of_memory")
    rows = rows.assign(**lost, status="failed", failure_kind=kinds)
    stages = [
        stage | {"status": "running" if stage["kind"] == "sweep" else "waiting", "result": None, "space_id": "space0"}
        for stage in study.stages[1:]
    ]
    none = study.latencies.iloc[:0]
    return replace(
        study, results=rows, stages=stages, findings=[], latencies=none, epochs=None, spaces=study.spaces[:1]
    )


def huge() -> StudyData:
    """10 000 trainings."""
    study, results = full_study("huge"), large_results(HUGE)
    stages = [stage for stage in study.stages if stage["kind"] in ("sweep", "search")]
    return replace(study, results=results.assign(study="huge"), stages=stages, findings=[], epochs=None)


STATES = {
    "finished": (lambda: full_study("finished"), "finished with failures"),
    "not_begun": (lambda: empty_study("not_begun"), "not begun"),
    "running": (running, "running"),
    "failed": (failed, "stopped"),
    "huge": (huge, "finished"),
}
"""Studies, and what the dashboard calls their state."""


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The database of a study in a state."""

    @cache
    def stored(state: str) -> Path:
        path = tmp_path_factory.mktemp("states") / f"{state}.db"
        with open_database(f"sqlite:///{path}") as database:
            repository = Repository(database)
            study_id = store_study(repository, STATES[state][0]())
            if state == "running":
                claim = begin_training(repository, state, "resnet50+cnl@3+se@4")
                epoch = {"lr": 1e-3, "losses": {"total": 3.0}, "seconds": 14.0, "images": 12936}
                repository.record_epochs(claim.id, [{**epoch, "epoch": number} for number in (1, 2, 3)])
            if state == "failed":
                repository.set_wish(study_id, "stop", why="all of its trainings failed", failed=True)
        return path

    return stored


MANY = ("running", "huge")
"""States whose pages are those of a finished study, with more or fewer rows; test_pages.py has that in every view."""
LOOKED_AT = [
    pytest.param(state, marks=[pytest.mark.heavy] * (state in MANY)) for state in STATES if state != "finished"
]


@pytest.mark.slow
@pytest.mark.parametrize("state", LOOKED_AT)
def test_every_page_in_every_state(
    state: str, file_of: Callable[[str], Path], site_of: Callable[[Path], str], pictures: Any
) -> None:
    site = site_of(file_of(state))
    parts = PARTS[:4] if state in MANY else PARTS
    for number, part in enumerate(("studies", *parts), start=list(STATES).index(state)):
        address = site if part == "studies" else f"{site}/study/{state}/{part}".rstrip("/")
        said = pictures.of_page(f"{state} {part}", address, number)
        if part in ("studies", ""):
            assert STATES[state][1] in said.lower()
        if part == "" and state == "failed":
            assert "all of its trainings failed" in said


@pytest.mark.slow
def test_thousands_of_candidates_keep_no_browser_busy(
    file_of: Callable[[str], Path], serve: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    """The lists hold the best ones, and what is typed finds the others; else nothing gets drawn between two looks."""
    page = open_page(f"{serve(file_of('huge'))}/study/huge/compare")
    page.locator("#page").get_by_text("best 100 of 5,000 candidates").wait_for()
    page.wait_for_function("document.querySelectorAll('.dash-graph .main-svg').length >= 1")
    page.locator("#compare-first").click()
    assert page.locator(".dash-dropdown-options [role=option]").count() <= 101
    page.locator(".dash-dropdown-search").fill("hac@1,2")
    page.wait_for_function("document.querySelector('.dash-dropdown-options')?.innerText.includes('hac@1,2')")


@pytest.mark.slow
def test_an_empty_database(tmp_path: Path, serve: Callable[..., str], pictures: Any) -> None:
    open_database(f"sqlite:///{tmp_path}/new.db").close()
    assert "no study here yet" in pictures.of_page("empty database", serve(tmp_path / "new.db"))


@pytest.mark.parametrize("part", ["", "front"])
def test_a_page_that_waits_says_so(part: str, site: str, open_page: Callable[..., Any]) -> None:
    page = open_page(f"{site}/study/market1501/data", fresh=True)
    page.wait_for_function("document.querySelector('#body')?.hasChildNodes()")
    held: list[Any] = []

    def hold(route: Any) -> None:
        """The page's frame comes; what it reads from the database does not."""
        if "page.children" in route.request.post_data:
            route.continue_()
        else:
            held.append(route)

    page.route("**/_dash-update-component", hold)
    go = "(path) => window.dash_clientside.set_props('url', { pathname: path, search: '' })"
    page.evaluate(go, f"/study/market1501/{part}".rstrip("/"))
    words = "getComputedStyle([...document.querySelectorAll('#body, #front-table')].at(-1), '::before').content"
    page.wait_for_function(f"document.querySelector('#body, #front-table') && {words}.includes('Being read')")
    page.unroute("**/_dash-update-component")
    for route in held:
        route.continue_()
    page.wait_for_function("!document.querySelector('#body:empty, #front-table:empty')")


@pytest.fixture
def locked_away(file_of: Callable[[str], Path]) -> Iterator[Path]:
    """A copy of the database in a folder that its reader may not write into."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    shutil.copy(file_of("running"), folder / "study.db")
    folder.chmod(0o755)
    yield folder / "study.db"
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which(AS_ANOTHER[0]) is None, reason="needs to become another user")
def test_a_reader_who_may_not_write_sees_what_goes_on(locked_away: Path, pictures: Any, open_page: Any) -> None:
    give_away(locked_away.parent)
    command = [*AS_ANOTHER, sys.executable, "-m", "nas", "dashboard", "--db", f"sqlite:///{locked_away}", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = next(word for line in process.stderr for word in line.split() if word.startswith("http"))
        address = address.rstrip("/.")
        until_it_listens(int(address.rpartition(":")[2]), process)
        pictures.of_page("read only", f"{address}/study/running")
        page = open_page(f"{address}/study/running")
        page.wait_for_selector(".tile strong")
        before = int(page.locator(".tile strong").first.inner_text())
        with open_database(f"sqlite:///{locked_away}") as database:
            repository = Repository(database)
            (row,) = repository.status("running")["running"]
            assert repository.finish_training(row["training_id"], "worker-1", outcome(0.85))
        page.wait_for_function(f"document.querySelector('.tile strong').textContent === '{before + 1}'")
        page.close()
    finally:
        process.terminate()
        process.wait()
