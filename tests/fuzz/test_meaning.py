"""What is taken is what the file says: sets, tables, weights and addresses against an independent reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.harness import Account, emptied, parts
from fuzz.meaning import CASES, Case

CASES_EACH = 300


@parts(CASES_EACH, few=25)
@pytest.mark.parametrize("kind", CASES)
def test_what_is_taken_is_what_is_meant(
    kind: str, chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]
) -> None:
    account = Account(kind)
    try_cases(account, folder, CASES[kind], cases, 10_000 + chunk)
    settle(account)


def try_cases(account: Account, folder: Path, case: Case, cases: int, seed: int) -> None:
    """Cases of one kind, each in a folder that is empty."""
    for number in range(cases):
        account.judge(f"seed {seed}, number {number}", lambda rng: case(folder, rng))
        emptied(folder)
