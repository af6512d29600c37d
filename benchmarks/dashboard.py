"""Is the dashboard fast with 10 000 trainings? First paint, filters and a live update, measured in a real Chromium.

    flock /tmp/nas-bench.lock python benchmarks/dashboard.py --out benchmarks/results/dashboard

A database with that many trainings (two seeds a candidate, a tenth of the candidates failed or without a latency) is
made in a temporary folder, `nas dashboard` is started as a user would, and a headless Chromium opens the explorer:

- first paint: from the navigation to the browser's first contentful paint, and until the plot is drawn. "Cold" is the
  first visit after the server started and has listed the studies; "warm" is a new browser profile later on.
- filter: from ticking a block until the figure has the new points and the table its new rows, drawn.
- live update: from a training's end in the database until its dot is counted on the page, at the default interval.
- database: the results table, status and the change token that pages poll.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from playwright.sync_api import sync_playwright
from reporting_builders import DEFINITION, large_results, store_study

from nas.reporting.dashboard.source import StudySource
from nas.reporting.stills import find_browser
from nas.reporting.study_data import StudyData
from nas.storage import Repository, open_database

STUDY = "large"
LIMITS_MS = {"first paint, cold": 2000, "first paint, warm": 2000, "filter": 300}
DRAWN = """() => {
  const plot = document.querySelector('#front-plot .js-plotly-plot');
  return plot && plot._fullData && plot._fullData.length > 3 && document.querySelector('#front-table tbody tr');
}"""
FILTERED = """(count) => new Promise((done) => {
  const begun = performance.now();
  const box = [...document.querySelectorAll('#f-blocks input')][count % 6];
  const words = () => document.querySelector('#front-count').textContent;
  const rows = () => document.querySelector('#front-table-count').textContent;
  const before = [words(), rows()];
  const plot = document.querySelector('#front-plot .js-plotly-plot');
  let figure = false;
  plot.once('plotly_afterplot', () => { figure = true; });
  box.click();
  const look = () => {
    const told = words() !== before[0] && rows() !== before[1];
    if (figure && told) requestAnimationFrame(() => done(performance.now() - begun));
    else setTimeout(look, 2);
  };
  look();
})"""
FIRST_PAINT = """() => new Promise((done) => {
  const found = performance.getEntriesByName('first-contentful-paint')[0];
  if (found) done(found.startTime);
  else new PerformanceObserver((list) => done(list.getEntriesByName('first-contentful-paint')[0].startTime))
    .observe({ type: 'paint', buffered: true });
})"""


def make_database(path: Path, trainings: int) -> None:
    """A study with that many trainings, as workers leave it."""
    results = large_results(trainings)
    failed = results["candidate_id"].isin(results["candidate_id"].unique()[22::23])
    results.loc[failed, ["map", "rank1", "minp"]] = float("nan")
    results.loc[failed, "status"] = "failed"
    results.loc[failed, "failure_kind"] = "diverged"
    unmeasured = results["candidate_id"].isin(results["candidate_id"].unique()[::17])
    results.loc[unmeasured, ["latency_ms", "latency_p5_ms", "latency_p95_ms", "batches_per_s"]] = float("nan")
    stages = [
        {
            "position": i,
            "name": name,
            "kind": kind,
            "status": "running",
            "settings": {},
            "space_id": None,
            "result": None,
        }
        for i, (name, kind) in enumerate((("2-sweep", "sweep"), ("4-search", "search")))
    ]
    with open_database(f"sqlite:///{path}") as database:
        store_study(Repository(database), StudyData(STUDY, {**DEFINITION, "name": STUDY}, results, stages=stages))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """`nas dashboard` in a process of its own, answering."""
    port = free_port()
    command = [sys.executable, "-m", "nas", "dashboard", "--db", f"sqlite:///{path}", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/assets/dashboard.css").read()
                break
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def first_visit(browser: Any, address: str) -> tuple[float, float]:
    """Milliseconds to the first contentful paint and to the drawn plot, in a new profile."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(f"{address}/study/{STUDY}/front", wait_until="commit")
    paint = float(page.evaluate(FIRST_PAINT))
    page.wait_for_function(DRAWN, polling=10, timeout=120_000)
    drawn = 1000 * (time.perf_counter() - begun)
    context.close()
    return paint, drawn


def filter_times(browser: Any, address: str, repeats: int) -> list[float]:
    """Milliseconds from a tick to figure and table drawn anew; the first is a warm-up."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/study/{STUDY}/front")
    page.wait_for_function(DRAWN, polling=10, timeout=120_000)
    page.wait_for_timeout(1500)
    times = []
    for i in range(repeats + 1):
        times.append(float(page.evaluate(FILTERED, i)))
        page.wait_for_timeout(300)
    page.close()
    return times[1:]


def live_update(browser: Any, address: str, path: Path) -> float:
    """Milliseconds from the end of a training in the database until the page counts it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/study/{STUDY}/front")
    page.wait_for_function(DRAWN, polling=10, timeout=120_000)
    before = page.inner_text("#front-count")
    with open_database(f"sqlite:///{path}") as database, database.write() as session:
        from sqlalchemy import text

        session.execute(
            text(
                "UPDATE nas_training SET status='finished', map=0.86, rank1=0.9, minp=0.5, finished_at=4e9 "
                "WHERE id = (SELECT max(id) FROM nas_training WHERE status='failed' AND candidate_id NOT IN "
                "(SELECT candidate_id FROM nas_training WHERE status='finished'))"
            )
        )
    begun = time.perf_counter()
    changed = "(before) => document.querySelector('#front-count').textContent !== before"
    page.wait_for_function(changed, arg=before, polling=10, timeout=60_000)
    page.close()
    return 1000 * (time.perf_counter() - begun)


def timed(question: Callable[[], object], repeats: int = 5) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        question()
        times.append(1000 * (time.perf_counter() - begun))
    return times


def database_times(path: Path) -> dict[str, list[float]]:
    """What a page asks the database."""
    source = StudySource(f"sqlite:///{path}")
    with open_database(f"sqlite:///{path}", read_only=True) as database:
        repository = Repository(database)
        found = {
            "results table": timed(lambda: repository.results(STUDY)),
            "status": timed(lambda: repository.status(STUDY)),
            "change token (polled)": timed(lambda: source.token(STUDY), 20),
        }
    source.close()
    return found


def measure(trainings: int, visits: int, filters: int) -> dict[str, list[float]]:
    """All times in milliseconds, by what was measured."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "study.db"
        make_database(path, trainings)
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=find_browser(), args=flags)
        found: dict[str, list[float]] = {}
        cold = []
        for _ in range(visits):
            with serving(path) as address:
                cold.append(first_visit(browser, address))
        with serving(path) as address:
            first_visit(browser, address)
            warm = [first_visit(browser, address) for _ in range(visits)]
            found["first paint, cold"], found["plot drawn, cold"] = map(list, zip(*cold, strict=True))
            found["first paint, warm"], found["plot drawn, warm"] = map(list, zip(*warm, strict=True))
            found["filter"] = filter_times(browser, address, filters)
            found["live update (interval 3 s)"] = [live_update(browser, address, path)]
        browser.close()
        return found | database_times(path)


def summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "median": statistics.median(ordered),
        "least": ordered[0],
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "most": ordered[-1],
        "n": len(ordered),
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def machine() -> dict[str, Any]:
    names = ("dash", "plotly", "pandas", "SQLAlchemy", "playwright")
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        **{name: version(name) for name in names},
    }


def as_markdown(found: dict[str, dict[str, float]], facts: dict[str, Any], trainings: int) -> str:
    lines = [
        f"# Dashboard with {trainings} trainings",
        "",
        ", ".join(f"{key} {value}" for key, value in facts.items()),
        "",
        "| what | median (ms) | least | p95 | most | n | limit (ms) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        limit = LIMITS_MS.get(name, "")
        numbers = " | ".join(f"{row[key]:.0f}" for key in ("median", "least", "p95", "most", "n"))
        lines.append(f"| {name} | {numbers} | {limit} |")
    missed = [name for name, limit in LIMITS_MS.items() if found[name]["median"] >= limit]
    lines += ["", f"Limits are for medians; missed: {', '.join(missed) or 'none'}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=5, help="first visits, cold and warm each")
    parser.add_argument("--filters", type=int, default=24)
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    arguments = parser.parse_args()
    facts = machine()
    found = {
        name: summary(times)
        for name, times in measure(arguments.trainings, arguments.visits, arguments.filters).items()
    }
    text = as_markdown(found, facts, arguments.trainings)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        whole = {"trainings": arguments.trainings, "machine": facts, "milliseconds": found}
        arguments.out.with_suffix(".json").write_text(json.dumps(whole, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
