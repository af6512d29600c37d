"""What is said at the end of a run of the tests: how much bad input was tried, and what came of it."""

from __future__ import annotations

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Adds up the counts that tests in `tests/fuzz` recorded, in this process or in others."""
    totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name == "fuzz":
                kind, counts = value
                for what, count in counts.items():
                    totals[kind][what] += count
    if not totals:
        return
    terminalreporter.section("bad input")
    for kind, counts in sorted(totals.items()):
        terminalreporter.write_line(
            f"{counts['cases']:6,} {kind}: {counts['refused']:,} commands refused with a sentence, "
            f"{counts['accepted']:,} accepted, no traceback, nothing changed"
        )
