"""Axe, the accessibility checker, finds no serious fault: pages of the dashboard and the report, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reporting_builders import full_study

from nas.reporting import write_report

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
Open = Callable[..., Any]
STUDY = "/study/market1501"
PARTS = ("front", "rules", "compare", "positions", "spaces", "latency", "data", "candidate/resnet50%2Bcnl@6,8,14")
PAGES = (
    "",
    "/compare",
    STUDY,
    *(f"{STUDY}/{part}" for part in PARTS),
    "/study/nothing_yet",
    "/study/nothing_yet/front",
)


def faults(page: Any) -> list[str]:
    """What Axe calls serious or critical: rule, and where."""
    found = axe.Axe().run(page).response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for rule in serious
        for node in rule["nodes"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.heavy)])
def test_the_dashboard_has_no_serious_fault(theme: str, site: str, open_page: Open) -> None:
    page = open_page(site, theme=theme)
    page.get_by_role("heading", name="Studies").wait_for()
    found = {}
    for path in PAGES:
        page.goto(site + path)
        page.wait_for_selector("#page h1")
        page.wait_for_function("!document.querySelector('.dash-graph--pending')")
        if path == f"{STUDY}/front":
            page.locator("#f-blocks label").first.click()  # what React sets again is mended again
            page.wait_for_function("document.querySelector('#f-blocks input').checked")
        found[path] = faults(page)
    assert not any(found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.heavy)])
def test_the_report_has_no_serious_fault(theme: str, tmp_path: Path, open_page: Open) -> None:
    write_report(full_study(), tmp_path, ("html",))
    page = open_page((tmp_path / "report.html").as_uri(), theme=theme)
    page.locator(".plot .main-svg").first.wait_for(state="attached")
    assert faults(page) == []
