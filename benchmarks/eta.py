"""How good is the time that is said to be left? The estimate against what then passed, simulated and real.

    python benchmarks/eta.py --out benchmarks/results/eta
    python benchmarks/eta.py --watch sqlite:///quickstart.db --out benchmarks/results/eta

An estimate is good when it is within 30 % of what then passes; those from a quarter of the way on are judged.

- Simulated: shipped studies as their dry run counts them, with trainings whose seconds are known, looked at 400 times
  by the `nas.search.Remaining` that the terminal and the dashboard show. What varies: seconds of the one training of a
  start, of a worker between two trainings, of one training and the next, a machine that is half as slow again from the
  middle on, and stages that take half of what they may ("at most" is what an estimate can know).
- Real: what `benchmarks/quickstart.py` kept of its runs, and any study that runs now and was watched with `--watch`:
  what its database tells those who only look (`nas status`, the dashboard), every few seconds to its end. Watched ones
  are kept in the result file, new ones added.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from course_builders import Course, Stretch

import nas
from nas import search, storage
from nas.search.estimate import space_at
from nas.search.stages import HANDLERS

ROOT = Path(__file__).parent.parent
CLOSE = 0.30
"""Share of what then passes by which a good estimate may be off."""
WANTED = 0.90
"""Share of the estimates that ought to be good: stages that begin and end are seen late by any."""
LOOKS, LOOK_S = 400, 2.0
STUDIES = ("quickstart", "published", "placement_table_published", "market1501")
EPOCH_S = 4.0
FIXED_S = 3.0
"""Of a simulated training: an epoch, and what it takes beside its epochs."""
COURSES: dict[str, dict[str, float]] = {
    "steady": {},
    "a slow start": {"start": 3.0},
    "much between trainings": {"between": 6.0},
    "trainings that differ": {"spread": 0.25},
    "a machine that is shared from the middle on": {"slower": 1.5},
    "a shrink and a confirmation that take half": {"taken": 0.5},
}


def judged(guesses: Sequence[tuple[float, float]], ends: float) -> dict[str, Any]:
    """Of estimates at their times: how many count, how many are good, and the most that one is off, as a share."""
    late = [(at, left) for at, left in guesses if ends / 4 <= at < ends]
    off = [abs(left - (ends - at)) for at, left in late]
    good = sum(wrong <= CLOSE * (ends - at) for wrong, (at, _) in zip(off, late, strict=True))
    return {"estimates": len(late), "good": good, "most_off": round(max(off, default=math.nan) / ends, 3)}


def simulated(name: str, *, workers: int, between: float = 0.5, **course: float) -> dict[str, Any]:
    """One shipped study, by its own preview, on one kind of course."""
    with storage.open_database("sqlite://") as database:
        context = search.StudyContext(
            search.load_study(ROOT / "studies" / f"{name}.yaml"), storage.Repository(database), 0
        )
        stages = context.definition.named_stages()
        stretches = []
        for stage in stages:
            preview = HANDLERS[stage.kind].preview(context, space_at(context, stage), stage.settings)
            each = EPOCH_S * preview.epochs + FIXED_S
            if stage.kind == "start":
                each *= course.get("start", 1.0)
            taken = course.get("taken", 1.0) if stage.kind in ("shrink", "confirm") else 1.0
            number = math.ceil(taken * preview.trainings)
            stretches.append(
                Stretch(stage.kind, number, preview.epochs, each if number else float(preview.measurements))
            )
        told = {key: course[key] for key in ("spread", "slower") if key in course}
        run = Course(stretches, workers, between, **told)
        left, guesses = search.Remaining(context, workers), []
        for look in range(LOOKS):
            at = run.ends * look / LOOKS
            if (said := left.seconds_left(run.at(at))) is not None:
                guesses.append((at, said))
    return judged(guesses, run.ends)


def simulations() -> list[dict[str, Any]]:
    """Every study on every course, with 2 and with 8 workers."""
    return [
        {"study": name, "workers": workers, "course": words, **simulated(name, workers=workers, **course)}
        for name in STUDIES
        for workers in (2, 8)
        for words, course in COURSES.items()
    ]


def watch(url: str, study: str | None) -> dict[str, Any]:
    """A study that runs now, looked at until it is finished.

    Raises:
        SystemExit: it ends otherwise, or its first quarter had passed already: what was said then is not known.
    """
    name, url = search.find_study(study, url)
    guesses: list[tuple[float, float]] = []
    first = None
    with storage.open_database(url, create=False, read_only=True) as database:
        repository = storage.Repository(database)
        while not (status := repository.status(name))["finished"]:
            begun = min((s["started_at"] for s in status["stages"] if s["started_at"]), default=status["now"])
            first = status["now"] - begun if first is None else first
            if not status["launch"] and guesses:
                raise SystemExit(f"{name}: its run has ended, and the study is not finished")
            if (left := search.time_left(status)) is not None:
                guesses.append((status["now"] - begun, left))
            time.sleep(LOOK_S)
        if first is None:
            raise SystemExit(f"{name} is finished already")
        ends = max(s["finished_at"] for s in status["stages"]) - begun
    if first > ends / 4:
        raise SystemExit(f"{name} was watched too late: from its first quarter on is what counts")
    found = {"study": name, "seconds": round(ends), "date": date.today().isoformat(), **judged(guesses, ends)}
    return found | {"load_15min": round(os.getloadavg()[2], 1)}


def of_quickstarts(kept: dict[str, Any]) -> list[dict[str, Any]]:
    """What `benchmarks/quickstart.py` kept of each seed."""
    return [
        {
            "study": f"quickstart, seed {row['seed']}",
            "seconds": row["whole_s"],
            "estimates": row["estimates"],
            "good": row["estimates_within"],
        }
        for row in kept["rows"]
    ]


def page(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine, rows, real = found["machine"], found["simulated"], found["quickstarts"] + found["watched"]
    parts = [
        f"{_share(rows)} of {len(rows)} simulated courses" if rows else "",
        f"{_share(real)} of {len(real)} real runs",
    ]
    lines = [
        "# The time that is left, and what then passed",
        "",
        f"`benchmarks/eta.py`, {machine['cores']} cores, {machine['processor']}, nas {machine['nas']}, "
        f"{machine['date']}. Of the estimates from a quarter of the way on, within 30 % of what then passed: "
        f"{' and '.join(part for part in parts if part)} (wanted: {WANTED:.0%}).",
    ]
    if rows:
        lines += [
            "",
            "## Simulated",
            "",
            "| course | study | workers | good | off at most, of the whole |",
            "|---|---|--:|--:|--:|",
        ]
        lines += [
            f"| {row['course']} | {row['study']} | {row['workers']} | {_share([row])} | {row['most_off']:.0%} |"
            for row in sorted(rows, key=lambda row: list(COURSES).index(row["course"]))
        ]
    if real:
        lines += [
            "",
            "## Real",
            "",
            "| study | seconds | estimates | good | load of the machine |",
            "|---|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {row['study']} | {row['seconds']:g} | {row['estimates']} | {_share([row])} "
            f"| {row.get('load_15min', 'not kept')} |"
            for row in real
        ]
        lines += ["", f"Of the runs by seed `benchmarks/quickstart.py` says: {found['note']}"] if found["note"] else []
    return "\n".join([*lines, ""])


def _share(rows: Sequence[dict[str, Any]]) -> str:
    whole = sum(row["estimates"] for row in rows)
    return f"{sum(row['good'] for row in rows) / whole:.0%}" if whole else "none"


def main() -> None:
    """Writes OUT.json and OUT.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watch", metavar="DATABASE", help="a study that runs now; ends with it")
    parser.add_argument("--study", help="its name, where the database holds several")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "eta")
    given = parser.parse_args()
    file = given.out.with_suffix(".json")
    found = json.loads(file.read_text()) if file.exists() else {"simulated": [], "watched": []}
    if given.watch:
        found["watched"].append(watch(given.watch, given.study))
    else:
        found["simulated"] = simulations()
    kept = json.loads((ROOT / "benchmarks" / "results" / "quickstart.json").read_text())
    found |= {"quickstarts": of_quickstarts(kept), "note": kept.get("note", "")}
    found["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "nas": nas.__version__,
        "date": date.today().isoformat(),
    }
    file.write_text(json.dumps(found, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
