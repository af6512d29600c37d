"""What stands in a log while something takes long."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from search_builders import study_file

from nas.commands import terminal
from nas.search import check_study, load_study


def test_time_left_is_told_from_a_quarter_of_the_way_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of twenty figures loads what all need, and "about 28 minutes left" was told of three."""
    now = iter([0.0, 90.0, 100.0, 120.0])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(now)))
    report = terminal._sparse_lines("Report")
    report(1, 20, "first.png")
    report(5, 20)
    report(10, 20)
    assert capsys.readouterr().err.splitlines() == [
        "Report: 1/20 first.png",
        "Report: 5/20, about 5 min 00 s left",
        "Report: 10/20, about 2 min 00 s left",
    ]


def test_a_step_that_takes_long_is_told_once_and_quick_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check could be silent for a minute on a busy machine."""
    told: list[str] = []
    slow, timer = "  still reading the lists of its data", threading.Timer
    monkeypatch.setattr(
        threading, "Timer", lambda _, tell, words=(): timer(0.0 if slow in words else 60.0, tell, words)
    )
    before = set(threading.enumerate())
    with terminal.slow_steps(told.append) as begin:
        begin("reading the space")
        begin("reading the lists of its data")
        for thread in set(threading.enumerate()) - before:
            thread.join()  # the first ended as the second began
        assert told == [slow]
        begin("trying how each block is put in")
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert told == [slow]


def test_every_part_of_a_check_is_a_step(tmp_path: Path) -> None:
    begun: list[str] = []
    check_study(load_study(study_file(tmp_path, [{"sweep": {"candidates": 2}}])), begin=begun.append)
    assert begun == [
        "reading space and recipe",
        "looking at what its stages can answer",
        "asking what this machine can train and time",
        "reading the code and tables that it names",
    ]
