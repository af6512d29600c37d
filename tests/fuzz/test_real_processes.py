"""A sample of the damaged files through real `nas` processes, from whose start to whose exit nothing is patched."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.harness import Account, Said, parts
from fuzz.test_yaml_files import RULES_FILE, spaces, studies
from fuzz.yaml_mutations import mutated

SAMPLE = 24


def nas_process(*arguments: str) -> Said:
    environment = {name: value for name, value in os.environ.items() if name != "NAS_DEBUG"}
    done = subprocess.run(
        [sys.executable, "-m", "nas", *arguments],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    return Said(arguments, done.returncode, done.stdout, done.stderr)


def commands(path: Path, rng: random.Random) -> Iterator[Said]:
    """Commands that train nothing, whatever the file says."""
    file = str(path)
    if path.name.startswith("space"):
        yield nas_process("space", rng.choice(("show", "validate", "size")), file)
    elif path.name.startswith("rules"):
        yield nas_process("rules", "show", file)
    else:
        yield nas_process("run", file, "--profile", "no such profile")


@parts(SAMPLE, few=3)
def test_damaged_files_in_real_processes(
    chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]
) -> None:
    account, rng = Account("damaged files (real processes)"), random.Random(5_000 + chunk)
    kinds = {"space": spaces(), "rules": [RULES_FILE], "study": studies()}
    for number in range(cases):
        kind = list(kinds)[number % len(kinds)]
        path = folder / f"{kind}.yaml"
        path.write_bytes(mutated(rng.choice(kinds[kind]), rng))
        account.case(f"number {number} ({kind})", commands(path, rng), folder)
    settle(account)
