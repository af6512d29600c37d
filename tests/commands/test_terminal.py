"""What stands in a log while something takes long."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nas.commands import terminal


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
