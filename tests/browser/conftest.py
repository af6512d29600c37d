"""A real Chromium and a real dashboard on a database of its own; pages are watched for errors and requests outside."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reporting_builders import empty_study, full_study, hostile_study, store_study

from nas.storage import Repository, open_database

pytest.importorskip("dash", reason="the dashboard needs Dash: pip install 'nas-reid[dashboard]'")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives a browser."""
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless Chromium, the system's."""
    from nas.reporting.stills import find_browser

    path = find_browser()
    if path is None:
        pytest.skip("no Chromium found (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


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


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts dashboards on free ports; gives their addresses."""
    from werkzeug.serving import make_server

    from nas.reporting.dashboard import create_app

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    servers = []

    def start(path: Path, **options: Any) -> str:
        app = create_app(f"sqlite:///{path}", refresh_s=options.pop("refresh_s", 0.5), **options)
        server = make_server("127.0.0.1", 0, app.server, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages in contexts of their own; at the end none may have erred, asked outside, or shown a dialog."""
    contexts, complaints = [], []

    def complain(kind: str) -> Callable[[Any], None]:
        def note(event: Any) -> None:
            text = getattr(event, "text", None) or getattr(event, "url", None) or str(event)
            complaints.append(f"{kind}: {text}")
            if kind == "dialog":
                event.dismiss()

        return note

    def opened(address: str, *, width: int = 1280, theme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        home = address.split("/study")[0].split("?")[0].rstrip("/") if address.startswith("http") else "file:"
        page.on("pageerror", complain("error"))
        page.on("dialog", complain("dialog"))
        page.on("console", lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None)
        page.on(
            "request",
            lambda r: None if r.url.startswith((home, "data:", "blob:")) else complaints.append(f"outside: {r.url}"),
        )
        page.goto(address)
        return page

    opened.complaints = complaints  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    assert not complaints
