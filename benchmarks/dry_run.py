"""Does a dry run tell the hours that a study then takes? Estimated before, measured after, for whole small studies.

    python benchmarks/dry_run.py studies/quickstart.yaml studies/placement_table_handwriting.yaml@short --data data

Each study (behind an @ its profile) runs in a folder of its own, on this machine as it is; a machine that does
something else at the same time gives other numbers than its probe. A ratio within 0.8 to 1.2 is what the
documentation promises.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent


def timed(study: str, data: Path | None) -> tuple[str, float | None, float]:
    """Name, minutes estimated (None: not known) and minutes taken."""
    path, _, profile = study.partition("@")
    options = ["--profile", profile] if profile else []
    with tempfile.TemporaryDirectory() as folder:
        if data is not None:
            (Path(folder) / "data").symlink_to(data.resolve())
        told = json.loads(_nas(folder, "run", str(Path(path).resolve()), "--dry-run", "--json", *options))
        begun = time.monotonic()
        _nas(folder, "run", str(Path(path).resolve()), "--no-report", *options)
        taken = (time.monotonic() - begun) / 60
    hours = told["hours_together"]
    return told["study"], None if hours is None else 60 * hours, taken


def _nas(folder: str, *words: str) -> str:
    command = [sys.executable, "-P", "-m", "nas", *words]
    done = subprocess.run(command, cwd=folder, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main() -> None:
    """Prints a row a study, and writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", metavar="STUDY.yaml[@PROFILE]")
    parser.add_argument("--data", type=Path, help="folder that studies find as data/")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    lines = ["| study | estimated, min | taken, min | ratio |", "|---|--:|--:|--:|"]
    for study in given.studies:
        name, estimated, taken = timed(study, given.data)
        known = "not known" if estimated is None else f"{estimated:.2f}"
        ratio = "" if estimated is None else f"{estimated / taken:.2f}"
        lines.append(f"| {name} | {known} | {taken:.2f} | {ratio} |")
        print(lines[-1], flush=True)
    if given.out is not None:
        load = os.getloadavg()[2]
        machine = f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, load {load:.1f} at the end"
        head = (
            f"# Dry runs against what studies took\n\n`benchmarks/dry_run.py`; {machine}, {date.today().isoformat()}.\n"
        )
        given.out.write_text("\n".join([head, *lines, ""]))


if __name__ == "__main__":
    main()
