"""For all tests: Ctrl-C means the same however they were started, and the counts of bad input are told at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Each run draws the same, and no example is timed: machines are slow now and then. A quarter of Hypothesis' hundred
# examples, so that answers come sooner; `NAS_FUZZ=1` draws all, as it does of damaged files (tests/fuzz).
_SHARE = float(os.environ.get("NAS_FUZZ", "0.25"))
settings.register_profile("nas", settings.get_profile("ci"), max_examples=max(1, round(100 * _SHARE)))
settings.load_profile("nas")

MAY_BE_MISSING = (
    "a GPU",
    "a CUDA",
    "TensorRT",
    "Python 3.",
    "C++ compiler",
    "as root",
    "another user",
    "beside the project",
)
"""Words of the reasons for which a test may be skipped in continuous integration: what its script does not install."""


def pytest_configure() -> None:
    """Interrupts reach the programs that tests start: one that runs in the background is born deaf to them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test takes many times as long where the machine has much else to do: only one that hangs is ended."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(autouse=True, scope="session")
def _own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine of its own for these tests: nobody else's measurement holds their trainings up, nor they theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(autouse=True)
def _without_optunas_tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """To write them is half of what a replayed study takes: pages, examples and tests that name them have them."""
    if not any(words in request.node.nodeid for words in ("optuna", "/docs/", "/examples/", "/faults/")):
        monkeypatch.setattr("nas.search.mirror.mirror_trials", lambda *_, **__: 0)


@pytest.fixture(autouse=True)
def _askers_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A study asked and left open lives until the program ends: its warnings came into other tests' logs.

    Ends before `monkeypatch` undoes the folder in which the study's database lies.
    """
    yield
    asking = sys.modules.get("nas.search.asking")
    for thread in threading.enumerate() if asking else ():
        asker = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(asker, asking.Asker):
            asker._at_exit()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In continuous integration everything is installed: a test that was skipped for want of it has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI"):
        return
    for report in reporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(words in reason for words in MAY_BE_MISSING):
            reporter.write_line(f"skipped in continuous integration: {report.nodeid}: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
