"""`nas init` and `nas doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from nas.cli.main import main
from nas.data import write_set
from nas.data.pedestrians.settings import PedestrianSettings
from nas.project import diagnosis
from nas.project.layout import shipped
from nas.search.campaign import is_campaign
from nas.search.definition import load_study
from nas.shrinking.planning import PlannedSweep, answerable
from nas.spaces import DesignSpace


def test_init_lays_out_runnable_files_and_touches_nothing_twice(tmp_path: Path) -> None:
    target = tmp_path / "robot"
    assert main(["init", str(target)]) == 0
    study = target / "studies" / "quickstart.yaml"
    assert load_study(study).name == "quickstart"
    study.write_text("mine")
    assert main(["init", str(target)]) == 0
    assert study.read_text() == "mine"
    assert {p.name for p in target.iterdir()} == {"search_spaces", "studies", "reports", "data", ".gitignore"}


def test_init_refuses_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_doctor_finds_what_studies_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert found["torch"]["state"] == found["SQLite"]["state"] == "ok"
    assert "latency: eager on cpu" in found
    assert all(check["state"] in ("ok", "missing", "broken") for check in found.values())


def test_doctor_ends_with_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "You can start: nas run studies/quickstart.yaml"
    broken = diagnosis.MachineCheck("disk", "broken", "this folder cannot be written")
    monkeypatch.setattr(diagnosis, "_disk", lambda: broken)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Put right first: disk."


def test_who_has_a_gpu_is_told_what_it_can_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA graphs and TensorRT are not missing because the CPU has none."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(
        diagnosis, "available_backends", lambda device: {"cuda_graphs": None if device == "cuda" else "needs a GPU"}
    )
    told = {check.name: check.state for check in diagnosis._latency_backends()}
    assert told == {"latency: cuda_graphs on cpu": "missing", "latency: cuda_graphs on cuda": "ok"}


def test_init_writes_a_study_for_own_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "My frames"
    write_set(PedestrianSettings(train_identities=8, test_identities=4, images=2, height=32, width=16), data)
    assert main(["init", str(tmp_path / "robot"), "--data", str(data)]) == 0
    said = capsys.readouterr().err
    commands = [line for line in said.splitlines() if line.startswith("  nas run studies/my_frames.yaml --")]
    assert len(commands) == 2
    assert len({len(line) - len(line.split("  ")[-1]) for line in commands}) == 1, "what they do stands in one column"
    path = tmp_path / "robot" / "studies" / "my_frames.yaml"
    study = load_study(path)
    assert (study.name, study.data, study.select_on) == ("my_frames", {"folders": str(data)}, "test")
    assert study.recipe["input"] == [64, 32]
    assert study.recipe["epochs"] == 60, "few images take more epochs, up to a limit"
    sweep, shrink = (stage.settings for stage in study.named_stages() if stage.kind in ("sweep", "shrink"))
    space = DesignSpace.from_dict(study.space)
    plan = PlannedSweep(sweep.design, sweep.candidates, sweep.blocks, sweep.seeds, sweep.baselines, sweep.rules)
    needed = answerable(space, [plan], shrink.families)
    assert all(need is None or need <= sweep.candidates for need in needed.values()), needed
    smoke = load_study(path, "smoke")
    assert (smoke.name, smoke.recipe["input"], smoke.recipe["epochs"]) == ("my_frames-smoke", [64, 32], 2)
    assert main(["init", str(tmp_path / "robot"), "--data", str(data)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_init_refuses_images_that_cannot_be_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(PedestrianSettings(train_identities=4, test_identities=4, images=2), tmp_path / "few")
    assert main(["init", str(tmp_path / "other"), "--data", str(tmp_path / "few")]) == 2
    assert not (tmp_path / "other").exists()  # a refused set leaves nothing behind
    assert "4 training identities, a batch takes 8" in capsys.readouterr().err


@pytest.mark.parametrize("study", sorted(path.stem for path in shipped("studies").glob("*.yaml")))
def test_all_that_a_shipped_study_names_comes_with_it(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of one's own, with each of its profiles; images of public data sets are the reader's."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", str(tmp_path)]) == 0
    path = tmp_path / "studies" / f"{study}.yaml"
    if is_campaign(path):
        assert all((path.parent / name).is_file() for name in yaml.safe_load(path.read_text())["studies"])
        return
    for profile in (None, *yaml.safe_load(path.read_text()).get("profiles", {})):
        definition = load_study(path, profile)
        tests = [stage.test_rules for stage in definition.stages if stage.test_rules]
        named = [file for stage in tests for file in (stage.rules, *stage.spaces) if isinstance(file, str)]
        assert all(definition.beside(file).is_file() for file in named)
