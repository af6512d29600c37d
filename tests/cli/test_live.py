"""What a person sees of a running study: on a terminal, in a log, and how long it says it will take."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from search_builders import open_study, study_file

from nas.commands import live
from nas.commands.live import StudyView
from nas.search.remaining import Remaining

STAGES = [{"sweep": {"blocks": 1, "candidates": 6, "seeds": 1}}, {"search": {"trainings": 4}}]


def _status(sweep: dict[str, int], *, seconds: float = 20.0, running: int = 1, **changes: Any) -> dict[str, Any]:
    counts = {"waiting": 0, "running": 0, "finished": 0, "failed": 0}
    done = sweep.get("finished", 0)
    first = {"stage": "sweep", "kind": "sweep", "status": "running", "trainings": counts | sweep, "started_at": 0.0}
    second = {"stage": "search", "kind": "search", "status": "waiting", "trainings": counts, "started_at": None}
    means: dict[str, float | None] = {"mean_seconds": seconds if done else None, "seconds": seconds * done or None}
    row = {"notation": "resnet50+se@[/]4", "seed": 3, "epoch": 0, "epochs": 4, "started_at": 88.0, "lease_until": 160.0}
    return {
        "stages": [first | means, second | {"mean_seconds": None, "seconds": None}],
        "running": [row] * running,
        "doing": {},
        "launch": {},
        "wish": "run",
        "finished": False,
        "trainings": counts | sweep,
        "now": 100.0,
        **changes,
    }


@pytest.fixture
def study(tmp_path: Path) -> Any:
    return open_study(study_file(tmp_path, STAGES))[2]


def test_a_terminal_shows_running_trainings_with_their_epoch_and_what_is_waited_for(study: Any) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyView(study, 1, out) as view:
        waits = {"w": "measurement: waiting for the machine, held by process 7"}
        view.update(_status({"finished": 2, "running": 1, "waiting": 4}, doing=waits))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert "resnet50+se@[/]4, seed 3 (epoch 0 of 4, 12 s)" in shown
    assert "waiting for the machine, held by process 7" in shown
    assert re.search(r"2/≤?\d", shown)


def test_a_log_has_a_line_an_event(study: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = Console(file=io.StringIO(), force_terminal=False)
    with StudyView(study, 1, out) as view:
        for finished in range(6):
            view.update(_status({"finished": finished, "running": 1, "waiting": 5 - finished}))
        waits = {"w": "training: waiting for the machine, held by process 7"}
        for _ in range(5):
            view.update(_status({"finished": 5, "running": 1}, doing=waits))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[sweep] running")
    assert lines[1] == waits["w"]


def test_a_log_tells_now_and_then_which_network_is_timed(
    study: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr(live.time, "monotonic", lambda: next(clock))
    with StudyView(study, 1, Console(file=io.StringIO(), force_terminal=False)) as view:
        for done in range(1, 10):
            view.update(_status({}, doing={"w": f"timing network {done} of 26: resnet50+se@4"}))
    timed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("timing network")]
    assert 1 < len(timed) < 9


def test_the_last_picture_of_a_run_says_how_it_ended(study: Any) -> None:
    counts = {"finished": 2, "failed": 6}
    out = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyView(study, 1, out) as view:
        assert view.update(_status(counts, running=0, wish="stop")) is None
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert "stopped" in shown
    assert "running" not in shown
    assert "left" not in shown
    out = Console(file=io.StringIO(), force_terminal=True, width=120)
    status = _status(counts, running=0, finished=True)
    status["stages"] = [stage | {"status": "finished"} for stage in status["stages"]]
    with StudyView(study, 1, out) as view:
        view.update(status)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]| +(?=\r?\n)|\r", "", out.file.getvalue())  # type: ignore[attr-defined]
    assert "2 trainings, 6 more failed, 0 s elapsed\n" in plain


def _trained_plain(scores: list[float]) -> pd.DataFrame:
    rows = {"training_id": range(len(scores)), "seed": range(len(scores)), "map": scores}
    same = {"notation": "resnet50", "role": "start", "status": "finished", "split": "test", "fidelity": "full"}
    return pd.DataFrame({**rows, **{key: [value] * len(scores) for key, value in same.items()}, "epochs": 24.0})


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        # Student's factor is 12.706 for two values, whose mean's standard error is half their difference
        ([0.62, 0.64], "plain ResNet-50: 0.6300 mAP ([0.5029, 0.7571], 95 % from 2 seeds; test split, 24 epochs)"),
        ([0.62, 0.62], "plain ResNet-50: 0.6200 mAP (2 seeds, no interval; test split, 24 epochs)"),
        ([0.62], "plain ResNet-50: 0.6200 mAP (one seed, no interval; test split, 24 epochs)"),
        ([0.62, float("nan")], "plain ResNet-50: 0.6200 mAP (one seed, no interval; test split, 24 epochs)"),
    ],
)
def test_the_plain_networks_scores_are_told_when_they_are_trained(
    study: Any, scores: list[float], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "results", lambda: _trained_plain(scores))
    status, shown = _status({"finished": 2}), Console(file=io.StringIO(), force_terminal=True, width=140)
    status["stages"][0]["kind"] = "start"
    with StudyView(study, 1, Console(file=io.StringIO(), force_terminal=False)) as log:
        log.update(status)
        assert "mAP" not in capsys.readouterr().err
        status["stages"][0]["status"] = "finished"
        for _ in range(3):
            log.update(status)
    assert capsys.readouterr().err.splitlines().count(said) == 1
    with StudyView(study, 1, shown) as live_view:
        live_view.update(status)
    assert said in shown.file.getvalue()  # type: ignore[attr-defined]


def test_a_stage_that_trains_nothing_has_no_count(tmp_path: Path) -> None:
    """It once was `0/?` behind an empty bar."""
    timed = open_study(study_file(tmp_path, [{"profile": {}}, {"search": {"trainings": 4}}]))[2]
    out = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyView(timed, 1, out) as view:
        view.update(_status({}, running=0))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert re.findall(r"\d+/\S+", shown) == ["0/≤4"]


def test_a_training_of_two_stages_is_counted_once_as_at_the_end(study: Any) -> None:
    """The live table once said 14 trainings where the last line said 12: a stage shared two with one before."""
    out = Console(file=io.StringIO(), force_terminal=True, width=120)
    status = _status({"finished": 9}, running=0, trainings={"waiting": 0, "running": 0, "finished": 12, "failed": 0})
    status["stages"][1]["trainings"] = {"waiting": 0, "running": 0, "finished": 5, "failed": 0}
    with StudyView(study, 1, out) as view:
        view.update(status)
    assert "12 trainings (stages that share some count 2 more), 0 s elapsed" in out.file.getvalue()  # type: ignore[attr-defined]


def test_time_left_is_that_of_what_is_open(study: Any) -> None:
    """A sweep of 6 (and its baseline) with 2 finished at 20 s, then 4 of a search at the same epochs."""
    left = Remaining(study, 1)
    status = _status({"finished": 2, "running": 0, "waiting": 4}, running=0)
    stages = left.stages(status)
    expected = stages[0].total - 2 + stages[1].total
    assert left.seconds_left(status) == pytest.approx(20.0 * expected)
    assert Remaining(study, 2).seconds_left(status) == pytest.approx(10.0 * expected)


def test_epochs_behind_a_running_training_count(study: Any) -> None:
    whole = _status({"finished": 2, "running": 1, "waiting": 3})
    half = _status({"finished": 2, "running": 1, "waiting": 3})
    half["running"] = [half["running"][0] | {"epoch": 3}]
    before, after = Remaining(study, 1).seconds_left(whole), Remaining(study, 1).seconds_left(half)
    assert before is not None
    assert after == pytest.approx(before - 3.0)  # three epochs of four have passed, and 12 s of 20


def test_nothing_is_said_before_anything_is_known(study: Any) -> None:
    assert Remaining(study, 1).seconds_left(_status({"running": 1, "waiting": 5})) is None


@pytest.mark.slow
def test_a_whole_study_at_a_real_terminal(tmp_path: Path) -> None:
    """The live picture runs in a pseudo-terminal; what is wrong in it would end the study."""
    path = study_file(tmp_path, [{"sweep": {"blocks": 1, "candidates": 4, "seeds": 1}}], seconds=0.6)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "nas", "run", str(path), "--workers", "1", "--no-report"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=tmp_path, close_fds=True)
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 120.0)[0]:
        try:
            read = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        seen += read
    assert process.wait(60) == 0, seen.decode(errors="replace")[-2000:]
    text = seen.decode(errors="replace")
    assert "seed" in text
    assert "is finished" in text
    assert "Traceback" not in text


def test_the_most_that_a_stage_may_take_is_not_said_to_be_what_it_takes(
    study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was "running, 0 of 60" and then "finished, 36 of 36", and nobody said why."""
    status = _status({}, running=0)
    with StudyView(study, 1, Console(file=io.StringIO(), force_terminal=False)) as view:
        view.update(status)
        status["stages"][0] |= {"status": "finished"}
        status["stages"][0]["trainings"] |= {"finished": 3}
        view.update(status)
    lines = capsys.readouterr().err.splitlines()
    most = Remaining(study, 1).stages(status)[0].most
    assert most > 3
    assert lines == [
        f"[sweep] running, 0 of at most {most} trainings",
        f"[sweep] finished, 3 of 3 trainings (at most {most} were foreseen)",
    ]
    out = Console(file=io.StringIO(), force_terminal=True, width=40)
    with StudyView(study, 1, out) as view:
        view.update(_status({"waiting": 1}, running=0))
    assert f"0/≤{most}" in out.file.getvalue()  # type: ignore[attr-defined]
