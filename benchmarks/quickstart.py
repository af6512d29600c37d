"""What a newcomer gets from the quickstart, seed by seed: how long it takes, what it says, and whether that holds.

    python benchmarks/quickstart.py --seeds 1 2 3 --out benchmarks/results/quickstart

Each seed is a whole `nas run studies/quickstart.yaml` in a folder of its own, with `seed:` changed: other
batches and draws. The plain networks are trained in seeds of their own, and so are the same on one kind of processor.
Seeds that are in the result file are not run again; the page is written anew, against the table as it is. With `--keep`
each seed leaves its files in the folder, under `seed-N`. Judged are

- seconds to the first words, to the plain network's mAP, and to the end;
- the rules that were adopted, and whether the table of real placement trainings (`benchmarks/placement_table`) excludes
  them: a rule about sites is false where the 95 % interval of the table's own contrast lies below zero. The table's
  trainings in the study's own seeds are left out of that;
- the time that the terminal said was left, from a quarter of the way on, against what then passed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from rules_on_table import effect, of_form
from scipy.stats import binomtest

import nas
from nas import search, storage
from nas.spaces import DesignSpace, Rule, RuleSet
from nas.spaces.rules import rule_from_dict
from nas.testing import placement_table

ROOT = Path(__file__).parent.parent
POLL_S = 2.0
CLOSE = 0.30
"""Share of the time really left by which an estimate may be off and still be called good."""


def run_seed(seed: int, folder: Path) -> dict[str, Any]:
    """One whole quickstart; times in seconds since its command was given."""
    for name in ("studies", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name)
    path = folder / "studies" / "quickstart.yaml"
    path.write_text(path.read_text().replace("\nseed: 1 ", f"\nseed: {seed} "))
    assert yaml.safe_load(path.read_text())["seed"] == seed
    begun = time.monotonic()
    command = [sys.executable, "-m", "nas", "run", str(path), "--json"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    said: list[tuple[float, str]] = []
    assert process.stderr is not None
    assert process.stdout is not None
    errors = process.stderr
    reader = threading.Thread(target=lambda: said.extend((time.monotonic() - begun, str(line)) for line in errors))
    reader.start()
    out: list[bytes] = []
    answer = threading.Thread(target=lambda: out.append(process.stdout.read()))  # type: ignore[union-attr]
    answer.start()
    guesses, plain_s = watch(process, path, folder, begun)
    process.wait()
    reader.join()
    answer.join()
    whole_s = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"seed {seed}: exit code {process.returncode}: {said[-3:]}")
    result = json.loads(b"".join(out))
    late = [(at, left) for at, left in guesses if at >= whole_s / 4]
    good = sum(abs(left - (whole_s - at)) <= CLOSE * (whole_s - at) for at, left in late)
    return {
        "seed": seed,
        "first_words_s": round(said[0][0], 1),
        "plain_s": None if plain_s is None else round(plain_s, 1),
        "whole_s": round(whole_s, 1),
        "trainings": result["trainings"]["finished"],
        "answer": result["answer"]["sentence"],
        "rules": rules_of(folder),
        "seeds": seeds(folder),
        "estimates": len(late),
        "estimates_within": good,
    }


def watch(
    process: subprocess.Popen[bytes], path: Path, folder: Path, begun: float
) -> tuple[list[tuple[float, float]], float | None]:
    """What was left by the terminal's own estimate, again and again, and when the plain network's mAP was there."""
    definition = search.load_study(path)
    url = f"sqlite:///{folder / 'quickstart.db'}"
    guesses: list[tuple[float, float]] = []
    plain_s = None
    remaining = database = None
    while process.poll() is None:
        time.sleep(POLL_S)
        try:
            database = database or storage.open_database(url, create=False, read_only=True)
            repository = storage.Repository(database)
            context = search.StudyContext(definition, repository, 1)
            remaining = remaining or search.Remaining(context, definition.workers)
            status = repository.status(definition.name)
        except nas.NasError:
            continue  # it is not there yet
        left = remaining.seconds_left(status)
        now = time.monotonic() - begun
        if left is not None:
            guesses.append((now, left))
        if plain_s is None and any(s["kind"] == "start" and s["trainings"]["finished"] for s in status["stages"]):
            plain_s = now
    if database is not None:
        database.close()
    return guesses, plain_s


def seeds(folder: Path) -> list[int]:
    """The seeds of a study's trainings."""
    with storage.open_database(f"sqlite:///{folder / 'quickstart.db'}", create=False, read_only=True) as database:
        rows = storage.Repository(database).results("quickstart")
    return sorted({int(seed) for seed in rows["seed"]})


def rules_of(folder: Path) -> list[dict[str, Any]]:
    """What the study says of its rules, with the rules themselves."""
    findings = RuleSet.load(folder / "reports" / "quickstart" / "rules.yaml").findings
    return [
        {"sentence": f.claim(), "verdict": f.verdict, "reason": f.reason, "rule": f.rule.to_dict()} for f in findings
    ]


def table_says(rule: Rule, own: list[int]) -> str:
    """Whether a rule `holds` in the table, is `false` or `not told` there, or was `not asked`."""
    space = DesignSpace.from_yaml(ROOT / "search_spaces" / "quickstart.yaml")
    table = placement_table("pedestrians").query("status == 'finished'")
    rows = of_form(table[~table["seed"].isin(own)], list(space.blocks))
    told = effect(rule, rows[rows["n_blocks"].eq(0) | rows["site"].isin({c.sites[0] for c in space.singles()})])
    low, high = told.interval()
    if not low < high:
        return "not asked there: too few trainings in other seeds"
    verdict = "false" if high < 0 else "holds" if low > 0 else "not told"
    starts = rows["start"].map(lambda start: start.partition("+")[0]).nunique()
    return f"{verdict}: {told.value:+.4f} [{low:+.4f}, {high:+.4f}] from {starts} of its starts"


def about_map(row: dict[str, Any]) -> list[str]:
    """The adopted rules of a seed about mAP, with what the table says, the seed's own trainings left out."""
    said = [r for r in row["rules"] if r["verdict"] == "adopted" and "mAP" in r["sentence"]]
    return [f"{r['sentence']} ({table_says(rule_from_dict(r['rule']), row['seeds'])})" for r in said]


def page(rows: list[dict[str, Any]], machine: dict[str, Any], note: str = "") -> str:
    """The result as Markdown."""
    with_rule = sum(bool(about_map(row)) for row in rows)
    adopted = [judged for row in rows for judged in about_map(row)]
    false = sum("false:" in judged for judged in adopted)
    share = binomtest(with_rule, len(rows)).proportion_ci(method="wilson")
    close = sum(row["estimates_within"] for row in rows) / max(1, sum(row["estimates"] for row in rows))
    lines = [
        "# The quickstart, seed by seed",
        "",
        f"`nas run studies/quickstart.yaml` in {len(rows)} study seeds; {machine['cores']} cores, "
        f"{machine['processor']}, nas {machine['nas']}, torch {machine['torch']}, {machine['date']}.",
        "",
        f"- adopts a rule about mAP: {with_rule} of {len(rows)} seeds, 95 % [{share.low:.2f}, {share.high:.2f}]"
        " (wanted: 9 of 10)",
        f"- of {len(adopted)} such rules the table of real trainings excludes {false} (wanted: at most 5 %)",
        f"- of the estimates of the time left, from a quarter of the way on, {100 * close:.0f} % were within 30 % of"
        " what then passed",
        "",
        "| seed | first words, s | plain network's mAP, s | whole, s | trainings | rules adopted, and the table |",
        "|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        said = "; ".join(about_map(row)) or "none"
        cells = (*(row[key] for key in ("seed", "first_words_s", "plain_s", "whole_s", "trainings")), said)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join([*lines, "", *([note, ""] if note else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "quickstart")
    parser.add_argument("--note", help="a sentence to stand below the table from now on")
    parser.add_argument("--keep", type=Path, help="folder in which to run and leave everything")
    arguments = parser.parse_args()
    import torch

    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "nas": nas.__version__,
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }
    file = arguments.out.with_suffix(".json")
    former = json.loads(file.read_text()) if file.exists() else {}
    rows, note = former.get("rows", []), arguments.note or former.get("note", "")
    for seed in arguments.seeds:
        if any(row["seed"] == seed for row in rows):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.keep or Path(temporary)) / f"seed-{seed}"
            folder.mkdir(parents=True)
            rows.append(run_seed(seed, folder))
        file.write_text(json.dumps({"machine": machine, "note": note, "rows": rows}, indent=1) + "\n")
        print(rows[-1], flush=True)
    file.write_text(json.dumps({"machine": machine, "note": note, "rows": rows}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(page(rows, machine, note))  # the table may have grown


if __name__ == "__main__":
    main()
