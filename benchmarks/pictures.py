"""Draws the pictures of README and of the gallery again, from the databases of the studies that they show.

    nas run studies/quickstart.yaml && nas run benchmarks/placement_table/gallery.yaml
    python benchmarks/pictures.py --quickstart sqlite:///quickstart.db --gallery sqlite:///gallery.db

Needs a Chromium; that of the table is drawn by `benchmarks/placement_table.py --picture`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dashboard import DRAWN, serving
from playwright.sync_api import sync_playwright

from nas import reporting, storage
from nas.reporting.stills import find_browser, write_still
from nas.reporting.story.drawn import figure_block

ROOT = Path(__file__).parent.parent
GALLERY = {
    "map": ("gallery_single", "map_by_position"),
    "effects": ("gallery_single", "placement_map"),
    "speed": ("gallery_single", "speed_by_position"),
    "rules": ("gallery_single", "rule_effects"),
}
"""Pictures of the gallery: whose study, and which figure."""
CAMPAIGN = ("gallery_single", "gallery_multiple", "gallery_rows", "gallery_circle", "gallery_transfer")
TABLES = {"table_1": "paper", "table_2": "paper-transfer"}
"""Tables of the report over all, by their places on its page."""


def load(url: str, *names: str) -> list[Any]:
    """Studies of a database."""
    with storage.open_database(url, create=False, read_only=True) as database:
        return [reporting.load_study_data(database, name) for name in names]


def of_quickstart(url: str, images: Path) -> None:
    """Map of differences, front in the dashboard."""
    (data,) = load(url, "quickstart")
    write_still(figure_block("placement_map", data).drawing, images / "quickstart_map.png")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        with serving(Path(url.removeprefix("sqlite:///"))) as address:
            page.goto(f"{address}/study/quickstart/front")
            page.wait_for_function(DRAWN, timeout=120_000)
            page.screenshot(path=images / "dashboard_front.png")
        browser.close()


def of_gallery(url: str, images: Path) -> None:
    """Figures of the table's study, front and tables of the report over all, and the slide."""
    studies = {data.name: data for data in load(url, *CAMPAIGN)}
    for name, (study, figure) in GALLERY.items():
        write_still(figure_block(figure, studies[study]).drawing, images / f"gallery_{name}.png")
    with tempfile.TemporaryDirectory() as folder:
        both = reporting.write_combined(list(studies.values()), Path(folder) / "all")
        shutil.copy(both["figures"] / "pareto_front.png", images / "gallery_front.png")
        _tables(both["html"], images)
        written = reporting.write_report(studies["gallery_single"], Path(folder) / "one", ["slide"])
        shutil.copy(written["slide"], images / "gallery_summary.png")


def _tables(report: Path, images: Path) -> None:
    """Tables I and II beside the paper's, as they stand in a report."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.goto(report.as_uri())
        for name, place in TABLES.items():
            page.locator(f"#{place}").screenshot(path=images / f"gallery_{name}.png")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quickstart", metavar="URL", help="database of studies/quickstart.yaml")
    parser.add_argument("--gallery", metavar="URL", help="database of benchmarks/placement_table/gallery.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    given = parser.parse_args()
    if given.quickstart:
        of_quickstart(given.quickstart, given.out)
    if given.gallery:
        of_gallery(given.gallery, given.out)


if __name__ == "__main__":
    main()
