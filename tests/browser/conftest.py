"""A real Chromium and real dashboards; pages are watched for errors and requests outside.

One browser, one profile and one dashboard serve every test that only looks, so that scripts are fetched and compiled
once; tests that change something take a database, a dashboard or a profile of their own.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from reporting_builders import empty_study, full_study, hostile_study, store_study

from nas.storage import Repository, open_database

pytest.importorskip("dash", reason="the dashboard needs Dash: pip install 'nas-reid[dashboard]'")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
VIEWS = [(screen, width, theme) for screen, width in (("desk", 1280), ("phone", 390)) for theme in ("light", "dark")]
TALLEST_PX = 12_000
"""A picture shows so much of a page: a browser draws no taller one."""
DRAWN = """() => document.querySelector('h1') && !document.querySelector('.dash-graph--pending')
  && [...document.querySelectorAll('.dash-graph')].every((plot) => plot.querySelector('.main-svg'))
  && !/\\bbeing read\\b/i.test(document.body.innerText)
  && !document.querySelector(':is(#body, #rules-outcome, #compare-body, #together-body, #front-table):empty')"""
PATIENCE_MS = 120_000
"""How long a wait may take on a machine with much else to do; nothing waits longer than it needs to."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives a browser, and may be slow where the machine is."""
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless Chromium, the system's."""
    from nas.reporting.stills import find_browser

    path = find_browser()
    if path is None:
        pytest.skip("no Chromium found (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def profile(chromium: Any) -> Callable[..., Any]:
    """Browser profiles by their settings, each made once: pages in one share what was fetched and compiled."""
    made: dict[tuple[Any, ...], Any] = {}

    def of(**options: Any) -> Any:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = new_profile(chromium, **options)
        return made[key]

    return of


def new_profile(browser: Any, **options: Any) -> Any:
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(PATIENCE_MS)
    return context


@pytest.fixture(scope="session")
def stored_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with a finished, an empty and a hostile study; copied, never changed."""
    path = tmp_path_factory.mktemp("database") / "study.db"
    with open_database(f"sqlite:///{path}") as database:
        repository = Repository(database)
        store_study(repository, full_study())
        store_study(repository, empty_study())
        hostile = hostile_study()
        stage = dict(hostile.stages[0]) | {"space_id": "space0"}
        repository.ensure_study(hostile.name, dict(hostile.definition), 1, "space0")
        study_id = repository.study(hostile.name).id
        stage_id = repository.ensure_stage(study_id, 0, str(stage["name"]), "sweep", {"note": hostile.name})
        repository.store_findings(study_id, stage_id, [dict(hostile.findings[0])])
    return path


@pytest.fixture
def database_file(stored_file: Path, tmp_path: Path) -> Path:
    """A copy of the database that a test may change."""
    path = tmp_path / "study.db"
    shutil.copy(stored_file, path)
    return path


@pytest.fixture(scope="session")
def site_of() -> Iterator[Callable[[Path], str]]:
    """Addresses of the dashboards that all tests share: one a database, which never changes."""
    with ExitStack() as stack:
        yield cache(lambda path: stack.enter_context(serving(path, refresh_s=5)))


@pytest.fixture(scope="session")
def site(stored_file: Path, site_of: Callable[[Path], str]) -> str:
    """The one with a finished, an empty and a hostile study."""
    return site_of(stored_file)


@contextmanager
def serving(*paths: Path, **options: Any) -> Iterator[str]:
    """A dashboard on a free port; gives its address."""
    from werkzeug.serving import make_server

    from nas.reporting.dashboard import create_app

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    app = create_app(*[f"sqlite:///{path}" for path in paths], **options)
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts dashboards of a test's own; gives their addresses."""
    with ExitStack() as stack:
        yield lambda *paths, **options: stack.enter_context(serving(*paths, **{"refresh_s": 0.5} | options))


@pytest.fixture
def open_page(chromium: Any, profile: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Opens pages; at the end none may have erred, asked outside, or shown a dialog.

    `fresh=True` takes a profile of its own: for what a page remembers (theme, token). `refused=True` is for pages that
    the server denies: the browser's console says so, at a moment of its own.
    """
    opened_things: list[Any] = []
    complaints: list[str] = []

    def complain(kind: str) -> Callable[[Any], None]:
        def note(event: Any) -> None:
            text = getattr(event, "text", None) or getattr(event, "url", None) or str(event)
            complaints.append(f"{kind}: {text}")
            if kind == "dialog":
                event.dismiss()

        return note

    def opened(
        address: str,
        *,
        width: int = 1280,
        theme: str = "light",
        fresh: bool = False,
        refused: bool = False,
        **options: Any,
    ) -> Any:
        def note_error(said: str) -> None:
            if not (refused and "403" in said):
                complaints.append(f"console: {said}")

        context = new_profile(chromium, **options) if fresh else profile(**options)
        page = context.new_page()
        opened_things.append(context if fresh else page)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        home = "/".join(address.split("?")[0].split("/")[:3]) if address.startswith("http") else "file:"
        page.on("pageerror", complain("error"))
        page.on("dialog", complain("dialog"))
        page.on("console", lambda m: note_error(m.text) if m.type == "error" else None)
        page.on(
            "request",
            lambda r: None if r.url.startswith((home, "data:", "blob:")) else complaints.append(f"outside: {r.url}"),
        )
        page.goto(address)
        return page

    yield opened
    for thing in opened_things:
        thing.close()
    assert not complaints


class Pictures:
    """Pictures of pages and terminals, for people to look at; numbered in their order.

    Args:
        folder: where they go.
        open_page: opens a page.
    """

    def __init__(self, folder: Path, open_page: Callable[..., Any]) -> None:
        self.folder, self._open, self._number = folder, open_page, 0
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """The next file."""
        self._number += 1
        return self.folder / f"{self._number:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')[:60]}.png"

    def of_text(self, name: str, content: str) -> None:
        """A picture of a terminal's page."""
        page = self._open("about:blank")
        page.set_content(content)
        page.locator("pre").screenshot(path=self.path(name))
        page.close()

    def of_page(self, name: str, address: str, turn: int | None = None) -> str:
        """Pictures of a page at a desk and on a telephone, light and dark; nothing may stick out. Gives its words.

        Where many pages are looked at, each takes its `turn`: one of the four.
        """
        words = ""
        for screen, width, theme in VIEWS if turn is None else [VIEWS[turn % len(VIEWS)]]:
            page = self._open(address, width=width, theme=theme)
            page.wait_for_function(DRAWN)
            for plot in page.locator(".plot[data-figure]").all():
                if plot.is_visible():
                    plot.evaluate("(plot) => plot.scrollIntoView({ behavior: 'instant', block: 'center' })")
                    plot.locator(".main-svg").first.wait_for(state="attached")
            page.evaluate("window.scrollTo({ top: 0, behavior: 'instant' })")
            height = min(TALLEST_PX, int(page.evaluate("document.scrollingElement.scrollHeight")))
            clip = {"x": 0, "y": 0, "width": width, "height": height}
            page.screenshot(path=self.path(f"{name} {screen} {theme}"), full_page=True, clip=clip)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width, f"{name} at {width} px"
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            words = page.inner_text("body")
            page.close()
        return words


@pytest.fixture
def pictures(
    request: pytest.FixtureRequest, tmp_path: Path, open_page: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> Iterator[Pictures]:
    """A test's pictures, below $NAS_ARTEFACTS, else in its temporary folder; where they lie is printed."""
    kept, name = os.environ.get("NAS_ARTEFACTS"), re.sub(r"\W+", "_", request.node.name).strip("_")
    folder = Path(kept).resolve() / Path(request.node.path).stem / name if kept else tmp_path / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    yield Pictures(folder, open_page)
    with capsys.disabled():
        print(f"\n{len(list(folder.glob('*.png')))} pictures: {folder}")
