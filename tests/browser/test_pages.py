"""Every page in a real browser: wide and narrow, dark and light, empty, hostile, without a word to the outside."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from reporting_builders import hostile_study

from nas.storage import Repository, open_database

Serve = Callable[..., str]
Open = Callable[..., Any]
PAGES = {
    "/": "Studies",
    "/study/market1501": "market1501",
    "/study/market1501/front": "Pareto front",
    "/study/market1501/rules": "Rules",
    "/study/market1501/compare": "Compare",
    "/compare": "Several studies",
    "/study/market1501/positions": "Positions",
    "/study/market1501/spaces": "Spaces",
    "/study/market1501/latency": "Latency",
    "/study/market1501/data": "Data",
    "/study/market1501/candidate/" + quote("resnet50+cnl@6,8,14", safe=""): "C-NL @ 6,8,14",
    "/study/nothing_yet": "nothing_yet",
    "/study/nothing_yet/front": "Pareto front",
    "/study/nothing_yet/rules": "Rules",
    "/study/nothing_yet/spaces": "Spaces",
    "/study/nothing_yet/latency": "Latency",
    "/study/nothing_yet/data": "Data",
}


GO = "(path) => window.dash_clientside.set_props('url', { pathname: path, search: '' })"
ALL_DRAWN = """() => !document.querySelector('.dash-graph--pending')
  && [...document.querySelectorAll('.dash-graph')].every((plot) => plot.querySelector('.main-svg'))"""


def wait_until_drawn(page: Any) -> None:
    """Until a heading is there and every plot has its axes."""
    page.wait_for_selector("#page h1")
    page.wait_for_function(ALL_DRAWN)


def look_at(page: Any, path: str, width: int, theme: str) -> None:
    """Waits for one of the pages; nothing may stick out of it."""
    page.get_by_role("heading", name=PAGES[path], level=1).wait_for()
    wait_until_drawn(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width, path
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    if path == "/study/market1501":
        page.wait_for_function("document.querySelectorAll('figure .js-plotly-plot .main-svg').length >= 2")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), pytest.param("dark", 390, marks=pytest.mark.slow)])
def test_every_page_is_drawn(theme: str, width: int, site: str, open_page: Open) -> None:
    page = open_page(site, width=width, theme=theme)
    page.get_by_role("heading", name="Studies").wait_for()
    for path in PAGES:
        page.evaluate(GO, path)
        look_at(page, path, width, theme)


def test_a_telephone_shows_where_one_is_and_whole_words(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/study/market1501/data", width=390)
    why = page.locator("table.failures tbody td:nth-child(5)").first
    assert why.bounding_box()["width"] > 230
    link = page.locator("nav a.here")
    assert link.inner_text() == "Data"
    box = link.bounding_box()
    assert 0 <= box["x"] <= 390 - box["width"]


@pytest.mark.parametrize("path", [path for path in PAGES if path.endswith(("front", "spaces", "14"))])
def test_a_page_opens_from_a_link(path: str, site: str, open_page: Open) -> None:
    look_at(open_page(site + path), path, 1280, "light")


def content_of(database_file: Path) -> str:
    """All that an SQLite database says, its write-ahead log included."""
    with closing(sqlite3.connect(database_file)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


@pytest.mark.slow
def test_looking_never_writes(serve: Serve, open_page: Open, database_file: Path, tmp_path: Path) -> None:
    before = content_of(database_file)
    page = open_page(serve(database_file))
    page.get_by_role("heading", name="Studies").wait_for()
    for path, heading in PAGES.items():
        page.evaluate(GO, path)
        page.get_by_role("heading", name=heading, level=1).wait_for()
        wait_until_drawn(page)
    assert content_of(database_file) == before
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(database_file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with open_database(str(copy)) as database:  # what is compared would show a write, also one in the log alone
        Repository(database).ensure_device("new")
        assert content_of(copy) != before


def test_a_hostile_name_stays_text(site: str, open_page: Open) -> None:
    name = hostile_study().name
    page = open_page(site)
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, level=1).wait_for()
    for title, heading in {
        "Rules": "Rules",
        "Front": "Pareto front",
        "Spaces": "Spaces",
        "Data": "Data",
    }.items():
        page.get_by_role("navigation").get_by_role("link", name=title).click()
        page.get_by_role("heading", name=heading, level=1).wait_for()
        wait_until_drawn(page)
    assert "script" in page.url


def test_the_list_of_studies_is_searched_and_ordered(site: str, open_page: Open) -> None:
    page = open_page(site)
    page.wait_for_selector("table.studies tbody tr")
    page.wait_for_function("!document.querySelector('table.studies').textContent.includes('being read')")
    page.get_by_label("Search").fill("nothing_yet")
    shown = "[...document.querySelectorAll('table.studies tbody tr')].filter((row) => row.offsetParent).length"
    page.wait_for_function(f"{shown} === 1")
    page.get_by_label("Search").fill("")
    page.wait_for_function(f"{shown} === 3")
    page.locator("table.studies").get_by_role("button", name="finished").click()
    assert page.locator("table.studies tbody tr").last.inner_text().startswith("market1501")


def test_two_candidates_are_compared_by_address_and_by_choice(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/study/market1501/compare?first=resnet50%2Bcnl%408&second=resnet50")
    page.locator("#compare-body").get_by_text("first minus second").wait_for()
    assert "first=resnet50%2Bcnl%408" in page.url
    wait_until_drawn(page)
    page.get_by_role("button", name="Make them").click()
    page.locator("#compare-lists .problem").wait_for()  # no weights were kept
    assert "no checkpoint of resnet50+cnl@8 was kept" in page.inner_text("#compare-lists")


def test_an_empty_database_says_how_to_begin(serve: Serve, open_page: Open, tmp_path: Path) -> None:
    from nas.storage import open_database

    open_database(f"sqlite:///{tmp_path}/new.db").close()
    page = open_page(serve(tmp_path / "new.db"))
    page.get_by_text("There is no study here yet.").wait_for()
    assert "nas run" in page.inner_text("#page")


@pytest.mark.slow
def test_studies_of_one_name_in_two_databases_are_each_reached(
    serve: Serve, pictures: Any, open_page: Open, stored_file: Path, database_file: Path, tmp_path: Path
) -> None:
    with open_database(f"sqlite:///{database_file}") as database:
        Repository(database).note("market1501", "resnet50+cnl@8", comment="of the copy")
    later = tmp_path / "later.db"
    later.write_bytes(b"no database at all" * 100)
    address = serve(stored_file, database_file, later, refresh_s=5)
    assert "later.db is passed over" in pictures.of_page("two databases", address, 0)
    pictures.of_page("two databases", address, 3)
    page = open_page(address)
    row = page.locator("table.studies tr", has_text=str(database_file)).filter(has_text="market1501")
    row.get_by_role("link", name="market1501").click()
    page.get_by_text(f"Database {database_file}").wait_for()
    page.get_by_role("navigation").get_by_role("link", name="Front").click()
    page.get_by_label("Notation or note contains").fill("of the copy")
    page.locator("#front-table tr", has_text="of the copy").get_by_role("link").click()
    page.locator(".noted").get_by_text("of the copy").wait_for()
    pictures.of_page("two databases overview", page.url.rpartition("/candidate")[0], 0)
    pictures.of_page("two databases compare", f"{address}/compare", 0)


def test_a_broken_database_is_told_and_recovered_from(serve: Serve, open_page: Open, database_file: Path) -> None:
    page = open_page(serve(database_file) + "/study/market1501/front")
    wait_until_drawn(page)
    whole = database_file.read_bytes()
    database_file.write_bytes(b"no database any more" * 1000)
    page.locator("#trouble .problem").wait_for()
    assert page.locator("#trouble").inner_text().count("database") >= 1
    assert page.locator("#front-plot").is_visible()
    database_file.write_bytes(whole)
    page.locator("#trouble .problem").wait_for(state="detached")


def test_a_token_opens_the_door_once(serve: Serve, open_page: Open, stored_file: Path) -> None:
    address = serve(stored_file, token="secret")
    page = open_page(f"{address}/?token=secret", fresh=True)
    page.get_by_role("heading", name="Studies").wait_for()
    assert "secret" not in page.url
    stranger = open_page(f"{address}/study/market1501", fresh=True, refused=True)
    assert "Token needed" in stranger.inner_text("body")


def test_an_unknown_study_names_the_known_ones(site: str, open_page: Open) -> None:
    page = open_page(site + "/study/market1510")
    page.get_by_text("did you mean 'market1501'").wait_for()


def test_the_keyboard_reaches_everything(site: str, open_page: Open) -> None:
    page = open_page(site + "/study/market1501/front")
    wait_until_drawn(page)
    page.wait_for_selector("#front-table tbody tr")
    page.wait_for_selector("#front-plot .scatterlayer")
    page.evaluate("document.activeElement.blur()")
    reached: list[str] = []
    heading = "!!document.activeElement.closest('#front-table thead')"
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(() => { const e = document.activeElement; return e.id || e.textContent.slice(0, 24); })()")
        )
        if page.evaluate(heading):
            break
    for wanted in ("Skip to the page", "Overview", "Rules", "theme", "f-sites", "f-max_ms", "front-clear", "front-csv"):
        assert any(wanted in name for name in reached), (wanted, reached)
    before = page.locator("#front-table th[aria-sort]").get_attribute("aria-sort")
    page.keyboard.press("Enter")
    page.wait_for_function(
        f"document.querySelector('#front-table th[aria-sort]').getAttribute('aria-sort') !== '{before}'"
    )


@pytest.mark.slow
def test_the_theme_is_remembered(site: str, open_page: Open) -> None:
    page = open_page(site + "/study/market1501/positions", fresh=True)
    wait_until_drawn(page)
    page.get_by_role("button", name="Dark theme").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.wait_for_function("document.querySelector('.main-svg').style.background.includes('rgb(20, 24, 31)')")
    page.reload()
    wait_until_drawn(page)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
