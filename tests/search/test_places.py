"""Where the files of a study are looked for: one rule for data, tables, weights, teachers, spaces and rules."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from data_builders import grid, write_market
from search_builders import work

import nas
from nas.networks.backbones import build_backbone
from nas.search.checks import check_study
from nas.search.context import StudyContext, StudyParts
from nas.search.definition import load_study
from nas.search.joining import stored_definition
from nas.search.runner import register
from nas.storage import Repository, open_database

RECIPE: dict[str, Any] = {
    "extends": "quickstart",
    "loss": "cross_entropy",
    "epochs": 1,
    "warmup_epochs": 0,
    "input": [32, 16],
    "identities": 2,
    "images": 2,
}
NETWORK = "resnet18(width=0.125)"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a set, a teacher, and a source of fine-tuning."""
    root = tmp_path_factory.mktemp("made") / "project"
    train, test = grid(range(1, 7), (1, 2)), grid((101, 102), (1,))
    write_market(root / "data" / "own", train, test, grid((101, 102), (2,)))
    (root / "studies").mkdir()
    (root / "spaces").mkdir()
    space = {"name": "s", "backbones": {"resnet18": {"width": 0.125}}, "sites": [4], "blocks": ["agw"]}
    (root / "spaces" / "space.yaml").write_text(yaml.safe_dump(space))
    data = {"market1501": str(root / "data" / "own")}
    nas.train(NETWORK, data, RECIPE, out=root / "teacher.pt", view="select", device="cpu")
    shutil.copy(root / "teacher.pt", root / "source.pt")
    torch.save(build_backbone("resnet18", width=0.125).state_dict(), root / "weights.pth")
    return root


def written(project: Path, **recipe: Any) -> Path:
    data = {
        "name": "placed",
        "space": "../spaces/space.yaml",
        "data": {"market1501": "data/own"},
        "recipe": {**RECIPE, **recipe},
        "latency": {"input": [32, 16], "time_budget_s": 0.01, "reference": NETWORK, "isolated": False},
        "validation": {"share": 0.34},
        "stages": [{"sweep": {"candidates": [NETWORK], "baselines": False}}],
    }
    path = project / "studies" / "placed.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.mark.parametrize(
    "recipe",
    [
        {"distil": {"teacher": "teacher.pt", "loss": "relations"}},
        {"transfer": {"from": "source.pt", "head_epochs": 0}},
        {"weights": {"resnet18": "weights.pth"}},
    ],
    ids=["teacher", "transfer", "weights"],
)
def test_a_study_is_run_from_anywhere(
    recipe: dict[str, Any], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned in one folder, worked on in another, and on a machine that has its files in its own current folder."""
    root = tmp_path / "project"
    shutil.copytree(project, root)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    definition = load_study(written(root, **recipe))
    check_study(definition)
    repository = Repository(open_database(f"sqlite:///{tmp_path}/study.db"))
    number = register(definition, repository)

    def worked() -> StudyContext:
        stored = stored_definition(repository.study("placed").definition)
        context = StudyContext(stored, repository, number, owner="test")
        assert work(context) == 1
        return context

    monkeypatch.chdir(tmp_path / "other")
    worked()
    (row,) = repository.results("placed").to_dict("records")
    assert row["status"] == "finished", row

    # Elsewhere: the same names, another place; the training is the same one, done already.
    root.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    again = load_study(tmp_path / "moved" / "studies" / "placed.yaml")
    register(again, repository)
    context = StudyContext(again, repository, number, owner="test")
    assert work(context) == 0
    assert len(repository.results("placed")) == 1


def test_what_lies_beside_the_file_comes_first(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "project"
    shutil.copytree(project, root)
    monkeypatch.chdir(project)  # has data/own, too
    definition = load_study(written(root))
    assert StudyParts(definition).dataset("final").root == root / "data" / "own"
    shutil.copytree(project / "data", root / "studies" / "data")
    assert StudyParts(definition).dataset("final").root == root / "studies" / "data" / "own"
    shutil.rmtree(root / "studies" / "data")
    shutil.rmtree(root / "data")
    assert StudyParts(definition).dataset("final").root == project / "data" / "own"
