"""Does a dry run tell the hours that a study then takes? Estimated before, measured after, for whole small studies.

    python benchmarks/dry_run.py studies/quickstart.yaml another.yaml

Each study runs in a folder of its own, on this machine as it is; a machine that does something else at the same time
gives other numbers than its probe. A ratio within 0.8 to 1.2 is what the documentation promises.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Prints one line a study: hours estimated, hours taken, their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--profile")
    given = parser.parse_args()
    print(f"{'study':32} {'estimated':>10} {'taken':>10} {'ratio':>6}   (minutes)")
    for study in given.studies:
        with tempfile.TemporaryDirectory() as folder:
            options = ["--profile", given.profile] if given.profile else []
            told = json.loads(_nas(folder, "run", str(study.resolve()), "--dry-run", "--json", *options))
            begun = time.monotonic()
            _nas(folder, "run", str(study.resolve()), "--no-report", *options)
            taken = (time.monotonic() - begun) / 60
        hours = told["hours_together"]
        if hours is None:
            print(f"{told['study']:32} {'unknown':>10} {taken:10.2f}")
            continue
        print(f"{told['study']:32} {60 * hours:10.2f} {taken:10.2f} {60 * hours / taken:6.2f}")


def _nas(folder: str, *words: str) -> str:
    command = [sys.executable, "-P", "-m", "nas", *words]
    done = subprocess.run(command, cwd=folder, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
