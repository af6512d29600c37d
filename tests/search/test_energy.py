"""Energy of trainings: read where the machine tells it, counted once, never made up; and who ran a study."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from search_builders import SPACE

import nas
from nas.reporting.story.setting import head
from nas.results.energy import ENERGY_COLUMNS, joules_spent
from nas.search import energy
from nas.search.energy import Counter, counters, metered
from nas.search.environment import who
from nas.search.execution import Execution


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one package, its cores, its memory, and the same package told a second time."""
    folder = tmp_path / "powercap"
    zones = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram"}
    for zone, name in {**zones, "intel-rapl:1": "psys", "intel-rapl-mmio:0": "package-0"}.items():
        (folder / zone).mkdir(parents=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "energy_uj").write_text("5000000\n")
        (folder / zone / "max_energy_range_uj").write_text("9000000\n")
    monkeypatch.setattr(energy, "POWERCAP", folder)
    return folder


def test_packages_and_memory_count_and_nothing_twice(powercap: Path) -> None:
    names = [counter.name.partition("/")[2] for counter in counters("cpu")]
    assert names == ["intel-rapl:0 package-0", "intel-rapl:0:1 dram"]


def test_a_counter_that_may_not_be_read_is_none(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    assert len(counters("cpu")) == 1
    monkeypatch.setattr(energy, "POWERCAP", powercap / "nowhere")
    assert counters("cpu") == []


def test_a_counter_that_begins_anew_loses_nothing() -> None:
    values = iter([7.0, 8.5, 1.0, None, 2.0])
    counter = Counter("m/package-0", lambda: next(values), limit=9.0)
    for _ in range(5):
        counter.look()
    assert counter.joules == pytest.approx(1.5 + 1.5 + 1.0)


def test_what_runs_is_metered(powercap: Path) -> None:
    found: list[dict[str, object]] = []
    with metered("cpu", found):
        (powercap / "intel-rapl:0" / "energy_uj").write_text("7500000")
    assert [row["joules"] for row in found] == [2.5, 0.0]
    assert all(float(str(row["ended"])) >= float(str(row["begun"])) for row in found)


@dataclass
class Scores:
    map: float = 0.5
    rank1: float = 0.5
    minp: float = 0.5
    own: dict[str, float] = field(default_factory=dict)


@pytest.mark.parametrize("resumed", [False, True])
def test_half_a_training_is_not_measured_however_long_it_waited(
    powercap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    checkpoint = tmp_path / "begun.pt"
    if resumed:
        checkpoint.touch()
    result = SimpleNamespace(
        metrics=Scores(), checkpoint=None, precision="fp32", seconds=0.0, images_per_second=1.0, epochs=[]
    )

    def train(*_: object, **__: object) -> SimpleNamespace:
        checkpoint.touch()
        return result

    monkeypatch.setattr("nas.search.execution.training.train", train)
    monkeypatch.setattr("nas.search.execution.require_same_data", lambda *_: None)
    monkeypatch.setattr(Execution, "_store_size", lambda *_: None)
    monkeypatch.setattr(Execution, "_deliver", lambda *_: None)
    files: Any = SimpleNamespace(
        begin=lambda _: checkpoint, finish=lambda *_: (None, None), fetch_initial=lambda _: None
    )
    context: Any = SimpleNamespace(
        replay=None,
        trainer=None,
        device="cpu",
        precision=None,
        environment_id=None,
        code_of=lambda *_: "",
        here=lambda recipe, _: recipe,
        dataset=lambda _: None,
        prepared=lambda *_: None,
        definition=SimpleNamespace(metrics=()),
        repository=SimpleNamespace(record_epochs=lambda *_: None),
    )
    claim: Any = SimpleNamespace(
        id=1,
        candidate=nas.Candidate.parse("resnet18"),
        recipe={},
        code="",
        view="val",
        dataset_id="d",
        dataset_counts={},
        fidelity={},
        seed=0,
        start="scratch",
        stop_epoch=None,
        role="candidate",
    )
    told = Execution(context, files).run(claim, lambda: False)
    assert ("energy" in told.metrics) == (not resumed)


def test_two_trainings_at_once_share_what_the_machine_used() -> None:
    def spent(*rows: tuple[str, float, float, float]) -> float:
        return joules_spent(pd.DataFrame([(i, *row) for i, row in enumerate(rows)], columns=list(ENERGY_COLUMNS)))

    alone = ("a", 100.0, 0.0, 10.0)
    assert spent(alone) == pytest.approx(100)
    assert spent(alone, alone) == pytest.approx(100)
    assert spent(alone, ("a", 60.0, 10.0, 20.0)) == pytest.approx(160)
    assert spent(alone, ("b", 100.0, 0.0, 10.0)) == pytest.approx(200)
    assert spent(alone, ("a", 40.0, 2.0, 6.0), ("a", 0.0, 5.0, 5.0)) == pytest.approx(100)
    assert spent() == 0


def study(folder: Path, name: str) -> nas.Study:
    def score(candidate: nas.Candidate, seed: int) -> float:
        time.sleep(0.001)
        return 0.5

    definition = {"name": name, "space": SPACE, "objective": score, "cost": "params"}
    definition |= {"stages": [{"sweep": {"candidates": 2}}], "database": f"sqlite:///{folder}/{name}.db"}
    return nas.run(definition, in_process=True, progress=False)


def test_the_head_of_a_report_says_who_and_what_it_took(
    powercap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_WHO", "somebody@bench")
    ticking = iter(range(10**6))
    monkeypatch.setattr(energy, "_number", lambda file: 3.6e6 * next(ticking) if file.name == "energy_uj" else 0.0)
    said = " · ".join(head(study(tmp_path, "told").data()))
    assert "kWh (processors)" in said
    assert "by somebody@bench" in said
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "nowhere")
    monkeypatch.setenv("NAS_WHO", "")
    said = " · ".join(head(study(tmp_path, "untold").data()))
    assert "energy not measured · " in f"{said} · "
    assert " by " not in said


def test_whoever_runs_a_study_again_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a@one", "b@two", "a@one"):
        monkeypatch.setenv("NAS_WHO", name)
        found = study(tmp_path, "again")
    assert found.data().definition["by"] == ["a@one", "b@two"]


def test_nobody_is_named_against_their_will(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_WHO", " a\nb ")
    assert who() == "a b"
    monkeypatch.setenv("NAS_WHO", "")
    assert who() == ""
    monkeypatch.delenv("NAS_WHO")
    assert "@" in who()
