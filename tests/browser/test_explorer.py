"""The Pareto explorer: filters, deep links, selection, click-through, downloads, and staying put while a study runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reporting_builders import begin_training
from storage_builders import outcome

from nas import RuleSet
from nas.storage import Repository, open_database

FRONT = "/study/market1501/front?level=val:e60"
POINT = """(notation) => {
  const plot = document.querySelector('#front-plot .js-plotly-plot'), box = plot.getBoundingClientRect();
  for (const trace of plot._fullData) {
    const i = (trace.customdata || []).findIndex((row) => row[1] === notation);
    if (i >= 0 && trace.mode.includes('markers')) {
      const { xaxis, yaxis } = plot._fullLayout;
      const at = (axis, value) => axis._offset + axis.d2p(value);
      return [box.left + at(xaxis, trace.x[i]), box.top + at(yaxis, trace.y[i])];
    }
  }
}"""
RANGES = """() => {
  const layout = document.querySelector('#front-plot .js-plotly-plot')._fullLayout;
  return [...layout.xaxis.range, ...layout.yaxis.range];
}"""
DOTS = """() => {
  const traces = document.querySelector('#front-plot .js-plotly-plot').data;
  return traces.reduce((n, trace) => n + (trace.mode.includes('markers') && trace.customdata || []).length, 0);
}"""
AGREED = """({ as, unlike }) => {
  const words = ['#front-count', '#front-table-count'].map((id) => document.querySelector(id)?.textContent);
  const [figure, table] = words.map((text) => parseInt(text, 10));
  return figure === table && (as == null || figure === as) && (unlike == null || figure !== unlike);
}"""


@pytest.fixture
def explorer(site: str, open_page: Callable[..., Any]) -> Any:
    """The explorer of the finished study, drawn."""
    page = open_page(site + FRONT)
    drawn(page)
    return page


def drawn(page: Any) -> None:
    page.wait_for_selector("#front-table tbody tr")
    page.wait_for_function("document.querySelector('#front-plot .js-plotly-plot')?._fullData?.length > 3")


def agreed(page: Any, *, like: int | None = None, unlike: int | None = None) -> None:
    """Until figure and table tell the same number of candidates: this one, or another than that one."""
    page.wait_for_function(AGREED, arg={"as": like, "unlike": unlike})


def shown(page: Any) -> int:
    return int(page.inner_text("#front-count").split(" of ")[0])


@pytest.mark.slow
def test_filters_narrow_figure_table_and_address(explorer: Any) -> None:
    whole = shown(explorer)
    explorer.get_by_role("group", name="Blocks", exact=True).get_by_label("HAC").check()
    agreed(explorer, unlike=whole)
    assert 0 < shown(explorer) < whole
    cells = explorer.locator("#front-table tbody td:first-child").all_inner_texts()
    assert all("hac" in cell or "@" not in cell for cell in cells)
    assert not any(other in cell for cell in cells for other in ("cnl", "agw", "se@"))
    explorer.wait_for_function("location.search.includes('blocks=hac')")
    explorer.get_by_role("button", name="Clear filters").click()
    agreed(explorer, like=whole)


def test_a_deep_link_opens_as_it_was(explorer: Any, open_page: Callable[..., Any]) -> None:
    whole = shown(explorer)
    explorer.get_by_label("Positions").fill("6,8,14")
    explorer.get_by_label("At most, ms per batch").fill("39")
    explorer.wait_for_function("location.search.includes('max_ms=39') && location.search.includes('sites')")
    again = open_page(explorer.url)
    drawn(again)
    agreed(again)
    assert 0 < shown(again) < whole
    agreed(explorer, like=shown(again))
    assert again.get_by_label("Positions").input_value() == "6,8,14"


def test_a_click_on_a_dot_opens_its_candidate(explorer: Any) -> None:
    x, y = explorer.evaluate(POINT, "resnet50+agw@6,8,14")
    explorer.mouse.move(x, y)
    explorer.wait_for_selector(".hoverlayer .hovertext")
    assert "resnet50+agw@6,8,14" in str(explorer.text_content(".hoverlayer"))
    explorer.mouse.click(x, y)
    explorer.get_by_role("heading", name="AGW @ 6,8,14", level=1).wait_for()
    assert "/candidate/" in explorer.url
    explorer.get_by_role("link", name="← Front").click()
    drawn(explorer)


@pytest.mark.slow
def test_a_click_in_the_table_opens_its_candidate(explorer: Any) -> None:
    explorer.locator("#front-table tbody a").first.click()
    explorer.get_by_role("heading", name="In every comparable set").wait_for()


def select_box(page: Any) -> int:
    """Drags a box around the left of the plot; gives the number of selected candidates."""
    page.evaluate("Plotly.relayout(document.querySelector('#front-plot .js-plotly-plot'), { dragmode: 'select' })")
    box = page.locator("#front-plot .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] - 30, steps=8)
    page.mouse.up()
    page.wait_for_function("document.querySelector('#front-table-count').textContent.includes('selected')")
    return int(page.inner_text("#front-table-count").split()[0])


def test_a_selection_fills_the_table(explorer: Any) -> None:
    whole = shown(explorer)
    chosen = select_box(explorer)
    assert 0 < chosen < whole
    explorer.get_by_role("button", name="Clear selection").click()
    explorer.wait_for_function("document.querySelector('#front-table-count').textContent.includes('shown')")


@pytest.mark.slow
def test_the_table_downloads_whole(explorer: Any) -> None:
    whole = shown(explorer)
    explorer.get_by_role("group", name="Number of blocks").get_by_label("3").check()
    explorer.wait_for_function("location.search.includes('counts=3')")
    agreed(explorer, unlike=whole)
    wanted = shown(explorer)
    with explorer.expect_download() as download:
        explorer.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == wanted
    assert {"notation", "map_mean", "latency_ms"} <= set(rows[0])
    assert not [name for name in rows[0] if name.startswith("_")]


def finish_one(path: Path, site: int) -> None:
    """A worker's doing: one more training of the search stage is asked for, claimed and finished."""
    with open_database(f"sqlite:///{path}") as database:
        repository = Repository(database)
        claim = begin_training(repository, "market1501", f"resnet50+cnl@{site}+se@{site + 1}")
        record = {"median_ms": 37.6, "p5_ms": 37.5, "p95_ms": 37.8, "batches_per_s": 26.6}
        repository.store_latency(
            {**record, "protocol": {"batch": 16}},
            architecture_id=claim.candidate.architecture.id,
            notation=claim.candidate.notation,
            protocol_id="protocol",
            device="device",
        )
        assert repository.finish_training(claim.id, "worker-1", outcome(0.852))


@pytest.mark.slow
def test_a_running_study_moves_neither_zoom_nor_selection(
    serve: Callable[..., str], open_page: Callable[..., Any], database_file: Path
) -> None:
    explorer = open_page(serve(database_file) + FRONT)
    drawn(explorer)
    whole, dots, ranges = shown(explorer), explorer.evaluate(DOTS), explorer.evaluate(RANGES)
    box = explorer.locator("#front-plot .nsewdrag").first.bounding_box()
    explorer.mouse.move(box["x"] + 20, box["y"] + 20)
    explorer.mouse.down()
    explorer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 20, steps=8)
    explorer.mouse.up()
    explorer.wait_for_function(f"(before) => ({RANGES})().every((end, i) => end !== before[i])", arg=ranges)
    chosen = select_box(explorer)
    zoomed = explorer.evaluate(RANGES)
    for i, site in enumerate((3, 5), start=1):
        finish_one(database_file, site)
        explorer.wait_for_function(f"document.querySelector('#front-count').textContent.startsWith('{whole + i} of')")
    explorer.wait_for_function(f"(dots) => ({DOTS})() === dots", arg=dots + 2)
    explorer.wait_for_function("!document.querySelector('.dash-graph--pending')")
    assert explorer.evaluate(RANGES) == zoomed
    assert explorer.inner_text("#front-table-count") == f"{chosen} candidates selected"
    marked = explorer.evaluate(
        "document.querySelector('#front-plot .js-plotly-plot').data"
        ".reduce((n, trace) => n + (trace.selectedpoints || []).length, 0)"
    )
    assert marked == chosen


@pytest.mark.slow
def test_progress_moves_by_itself(
    serve: Callable[..., str], open_page: Callable[..., Any], database_file: Path
) -> None:
    page = open_page(serve(database_file) + "/study/market1501")
    page.wait_for_selector(".tile strong")
    before = int(page.locator(".tile strong").first.inner_text())
    page.wait_for_selector("figure .js-plotly-plot .main-svg")
    finish_one(database_file, 7)
    page.wait_for_function(f"document.querySelector('.tile strong').textContent === '{before + 1}'")
    assert page.get_by_text("worker-1").count() >= 1


def test_rules_are_chosen_and_taken_away(
    serve: Callable[..., str], open_page: Callable[..., Any], database_file: Path
) -> None:
    page = open_page(serve(database_file) + "/study/market1501/rules")
    outcome_words = page.locator("#rules-outcome p").first
    outcome_words.wait_for()
    before = outcome_words.inner_text()
    assert before.startswith("2 rules taken")
    page.get_by_text("no more than 3 blocks").first.click()
    page.wait_for_function("document.querySelector('#rules-outcome p').textContent.startsWith('3 rules taken')")
    for name in ("yaml", "json"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        path = Path(download.value.path())
        named = path.with_name(f"rules-{name}.{name}")
        named.write_bytes(path.read_bytes())
        rules = RuleSet.load(named)
        assert sum(finding.adopted for finding in rules) == 3
    page.get_by_label("rejected", exact=True).check()
    page.wait_for_function("document.querySelectorAll('.rule-card').length === 1")
    with open_database(f"sqlite:///{database_file}", read_only=True) as database:
        repository = Repository(database)
        stored = repository.findings(repository.study("market1501").id)
    assert [finding["verdict"] for finding in stored].count("adopted") == 2
