"""The static report as a reader opens it: from a file, without a network, on a desk and on a telephone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from reporting_builders import empty_study, full_study, hostile_study

from nas.reporting import write_report
from nas.reporting.study_data import StudyData

Reports = Callable[[str], str]
Open = Callable[..., Any]
STUDIES: dict[str, Callable[[], StudyData]] = {"empty": empty_study, "hostile": hostile_study}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Addresses of reports of three studies, each written when it is first asked for."""
    folder = tmp_path_factory.mktemp("reports")

    @cache
    def written(name: str) -> str:
        plotlyjs = "directory" if name == "beside" else "inline"
        data = STUDIES.get(name, full_study)()
        return write_report(data, folder / name, ("html",), plotlyjs=plotlyjs)["html"].as_uri()

    return written


def read_through(page: Any) -> None:
    """Scrolls to each figure, as a reader does, and waits until it is drawn."""
    for figure in page.locator(".plot").all():
        figure.evaluate("(plot) => plot.scrollIntoView({ behavior: 'instant', block: 'center' })")
        figure.locator(".main-svg").first.wait_for(state="attached")


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", ["full", *(pytest.param(n, marks=pytest.mark.slow) for n in ("empty", "hostile", "beside"))]
)
def test_a_report_opens_offline(name: str, width: int, reports: Reports, open_page: Open) -> None:
    page = open_page(reports(name), width=width, offline=True)
    read_through(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    expected = {"full": 16, "hostile": 15, "beside": 16, "empty": 1}
    assert page.locator(".plot .main-svg").count() >= expected[name]


def test_the_theme_follows_the_reader(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full"), theme="dark", fresh=True)
    figure = page.locator(".plot").first
    figure.scroll_into_view_if_needed()
    paper = "document.querySelector('.plot .main-svg')?.style.background"
    page.wait_for_function(f"{paper} === 'rgb(20, 24, 31)'")
    page.get_by_role("button", name="Light theme").click()
    page.wait_for_function(f"{paper} === 'rgb(255, 255, 254)'")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 254)"


def test_no_button_shares_a_figure(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full"))
    page.locator(".plot").first.scroll_into_view_if_needed()
    page.wait_for_selector(".modebar-btn", state="attached")
    titles = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title || b.title)")
    assert titles
    assert not [title for title in titles if title and ("Share" in title or "Plotly" in title)]
    assert page.locator(".modebar-btn--logo").count() == 0


def test_tables_sort_by_number_and_keep_missing_last(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full"))
    table = page.locator("table.candidates_val_e60")
    table.get_by_role("button", name="ms per batch").click()
    cells = table.locator("tbody td:nth-child(7)").all_inner_texts()
    numbers = [float(cell.replace("\u202f", "")) for cell in cells if cell != "–"]
    assert numbers == sorted(numbers)
    assert cells[-1] == "–"


def test_links_of_the_contents_lead_to_their_sections(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full"))
    page.get_by_role("navigation").get_by_role("link", name="Rules, with evidence and verdicts").click()
    page.wait_for_function("Math.abs(document.querySelector('#rules').getBoundingClientRect().top) < 120")
    assert page.locator("#provenance dl").is_hidden()
    page.get_by_role("navigation").get_by_role("link", name="Provenance").click()
    page.locator("#provenance dl").wait_for(state="visible")


def test_long_tables_end_at_a_row_and_open(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full"))
    rows = page.locator("table.candidates_val_e60 tbody tr")
    assert [row.is_visible() for row in rows.all()].count(True) == 15 < rows.count()
    page.get_by_role("button", name=f"Show all {rows.count()} rows").click()
    rows.last.wait_for(state="visible")


def test_why_a_training_failed_can_be_read_on_a_telephone(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full") + "#failures", width=390)
    why = page.locator("table.failures tbody td:nth-child(5)").first
    assert why.bounding_box()["width"] > 230
    assert page.locator("header.top > :not(button)").bounding_box()["width"] > 330


def test_the_front_stands_beside_the_map(reports: Reports, open_page: Open) -> None:
    page = open_page(reports("full"), width=1440)
    box = "(name) => document.getElementById(`fig-${name}`).getBoundingClientRect().toJSON()"
    front, beside = page.evaluate(f"['pareto_front', 'placement_map'].map({box})")  # both before anything moves
    assert front["right"] <= beside["left"]
    assert front["top"] == beside["top"]
