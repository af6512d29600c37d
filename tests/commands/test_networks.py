"""`nas.train`, `evaluate`, `extract`, `export`, `measure`, `profile`: what the commands do, without files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nas
from nas.cli.main import main
from nas.commands.networks import Evaluation
from nas.errors import DataError, LatencyError, TrainingError
from nas.training.results import TrainingResult

DATA = {"generated": {"train_identities": 4, "test_identities": 4, "cameras": 2, "images": 2}}
RECIPE = {
    "extends": "strong_baseline",
    "epochs": 1,
    "milestones": [],
    "warmup_epochs": 0,
    "identities": 2,
    "images": 2,
    "input": [64, 32],
    "weights": "none",
    "keep": "last",
}
NETWORK = "resnet18(width=0.25)+se@3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def trained(folder: Path) -> TrainingResult:
    return nas.train(NETWORK, DATA, RECIPE, seed=3, device="cpu", cache=folder)


@pytest.fixture(scope="module")
def evaluated(trained: TrainingResult, folder: Path) -> Evaluation:
    return nas.evaluate(trained, DATA, device="cpu", cache=folder)


def test_training_and_evaluating_need_no_file(trained: TrainingResult, evaluated: Evaluation) -> None:
    assert trained.checkpoint is None
    assert trained.trained is not None
    assert evaluated.map == trained.metrics.map
    assert 0 < evaluated.map <= 1
    assert evaluated.rank1 == trained.metrics.rank1
    assert 0 <= evaluated.pairs.roc().auc <= 1


def test_the_command_gives_the_same_numbers(
    trained: TrainingResult, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
    out = folder / "by_command.pt"
    data = "generated:train_identities=4,test_identities=4,cameras=2,images=2"
    command = ["train", NETWORK, "--data", data, "--recipe", str(folder / "recipe.yaml"), "--seed", "3", "--json"]
    assert main([*command, "--out", str(out), "--cache", str(folder), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["map"] == trained.metrics.map
    assert nas.evaluate(out, DATA, device="cpu", cache=folder).map == trained.metrics.map


def test_features_of_a_path_an_image_an_array_a_tensor_or_several(
    trained: TrainingResult, evaluated: Evaluation, folder: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(folder / "a.png")
    several = nas.extract(trained, (one for one in (image, pixels, folder / "a.png")), device="cpu")
    assert several.shape == (3, evaluated.embeddings.query.shape[1])
    assert np.allclose(np.linalg.norm(several, axis=1), 1.0, atol=1e-5)
    for one in (image, pixels, str(folder / "a.png"), folder / "a.png", torch.from_numpy(pixels).permute(2, 0, 1)):
        assert np.allclose(nas.extract(trained, one, device="cpu"), several[:1], atol=1e-6)
    with pytest.raises(DataError, match="must be uint8"):
        nas.extract(trained, np.zeros((64, 32, 3)), device="cpu")


def test_an_export_says_where_it_goes(trained: TrainingResult, folder: Path) -> None:
    with pytest.raises(TrainingError, match="needs `out`"):
        nas.export(trained)
    report = nas.export(trained, folder / "network.pt2", format="torch-export")
    assert report.path.is_file()
    assert report.parity.min_cosine > 0.9999


def test_latencies_are_measured_by_notation_or_function() -> None:
    settings = {"backend": "eager", "batch": 1, "input": [32, 16], "batches": 3, "threads": 1}
    assert nas.measure(NETWORK, **settings).median_ms > 0
    assert nas.measure(lambda: torch.nn.Conv2d(3, 4, 3), **settings).median_ms > 0
    space = nas.DesignSpace(name="one", backbones={"resnet18": {"width": 0.25}}, sites=[3], blocks=["se"])
    table = nas.profile(space, reference=None, checks=0, **settings)
    assert next(iter(table.to_frame()["notation"])) == "resnet18(width=0.25)"
    assert NETWORK in set(table.to_frame()["notation"])
    with pytest.raises(LatencyError, match="unknown"):
        nas.measure(NETWORK, bach=3)
