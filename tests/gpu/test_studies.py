"""Whole studies on the stand-in for CUDA, by the commands that people use: placement, lost contexts, full cards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import gpu_standin
import pytest
import yaml

from nas.storage import Repository, open_database
from nas.storage.standing import StudyStatus

pytestmark = [pytest.mark.slow, pytest.mark.heavy, pytest.mark.timeout(900)]

STUDY: dict[str, Any] = {
    "name": "cards",
    "data": {"generated": {"train_identities": 12, "test_identities": 4, "cameras": 2, "images": 2}},
    "space": {
        "name": "small",
        "backbones": {"resnet18": {"width": 0.125}},
        "blocks": ["se", "eca"],
        "rules": [{"max_blocks": 1}],
    },
    "recipe": {
        "extends": "quickstart",
        "input": [32, 16],
        "epochs": 1,
        "warmup_epochs": 0,
        "identities": 3,
        "images": 2,
    },
    "latency": {"input": [32, 16], "batches": 4, "warmup": 1, "batch": 2},
    "stages": [{"sweep": {"candidates": 4, "seeds": 1}}],
    "workers": 2,
}


def study(folder: Path, **changes: Any) -> Path:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**STUDY, "database": f"sqlite:///{folder / 'study.db'}", **changes}))
    return file


def run(file: Path, **values: str) -> subprocess.CompletedProcess[str]:
    values = {"NAS_HOME": str(file.parent / "home"), "NAS_CACHE": str(file.parent / "cache"), **values}
    return subprocess.run(
        [sys.executable, "-P", "-m", "nas", "run", str(file)],
        cwd=file.parent,
        env=gpu_standin.environment(**values),  # type: ignore[arg-type]
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )


def told(file: Path) -> StudyStatus:
    with open_database(f"sqlite:///{file.parent / 'study.db'}", read_only=True) as database:
        return Repository(database).status("cards")


def logs(file: Path) -> str:
    return "".join(log.read_text(errors="replace") for log in sorted((file.parent / "home" / "logs").glob("*.log")))


def test_two_workers_on_two_cards_and_on_one(tmp_path: Path) -> None:
    file = study(tmp_path)
    found = run(file)
    assert found.returncode == 0, found.stdout + logs(file)
    status = told(file)
    assert status["trainings"]["failed"] == 0
    assert status["trainings"]["finished"] >= 4
    with open_database(f"sqlite:///{file.parent / 'study.db'}", read_only=True) as database:
        stored = Repository(database).study("cards").definition
    assert stored["precision"] == "bf16"


def test_a_poisoned_context_costs_no_training_and_no_study(tmp_path: Path) -> None:
    """The context is lost in the middle of the study; whoever starts after that finds the card sound."""
    file, poison, hook = study(tmp_path, workers=1), tmp_path / "poison", tmp_path / "hook.py"
    # The second training's start loses the context, once; the process that comes next finds the card sound.
    hook.write_text(f"""
import pathlib, sys
if "worker" in sys.orig_argv:
    poison, done = pathlib.Path({str(poison)!r}), pathlib.Path({str(tmp_path / "done")!r})
    poison.unlink(missing_ok=True)
    from nas.training.trainer import Trainer
    original, calls = Trainer.prepare, [0]
    def prepare(self):
        calls[0] += 1
        if calls[0] == 2 and not done.exists():
            done.touch()
            poison.touch()
        return original(self)
    Trainer.prepare = prepare
""")
    found = run(file, FAKECUDA_POISON=str(poison), STANDIN_HOOK=str(hook))
    assert found.returncode == 0, found.stdout + logs(file)
    assert (tmp_path / "done").exists()
    status = told(file)
    assert status["trainings"]["failed"] == 0, json.dumps(status, default=str)
    assert "illegal memory access" in logs(file)


def test_a_full_card_is_tried_once_more_in_a_fresh_process(tmp_path: Path) -> None:
    """A card without room for the training fails it in the end, with a sentence; the study ends."""
    file = study(tmp_path, workers=1, recipe={**STUDY["recipe"], "identities": 4, "images": 2})
    found = run(file, FAKECUDA_MEMORY=str(24 << 20))
    status, said = told(file), logs(file)
    assert "out of memory: this process ends, the training is tried once more in a fresh one" in said, said[-3000:]
    assert set(status["failures"]) == {"out_of_memory"}, found.stdout
    assert Counter(line.endswith("now failed") for line in said.splitlines() if "failed (out_of_memory)" in line)[True]


@pytest.mark.parametrize(
    ("devices", "visible", "expected"),
    [
        (1, None, ["cuda:0"]),
        (2, None, ["cuda:0", "cuda:1"]),
        (8, None, [f"cuda:{n}" for n in range(8)]),
        (8, "6,3", ["cuda:0", "cuda:1"]),
        (8, "GPU-1f,GPU-2a,GPU-3c", ["cuda:0", "cuda:1", "cuda:2"]),
        (0, None, ["cpu"]),
        (2, "", ["cpu"]),
    ],
)
def test_where_workers_go(devices: int, visible: str | None, expected: list[str], tmp_path: Path) -> None:
    """They are told a number among the visible cards, which stay visible to each: latencies may name any of them."""
    file, own = study(tmp_path), {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    code = f"from nas import search; print(search.worker_devices(search.load_study({str(file)!r})))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=gpu_standin.environment(devices=devices, **own),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert found.stdout.strip() == str(expected), found.stderr
