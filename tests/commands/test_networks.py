"""`nas.train`, `evaluate`, `extract`, `export`, `measure`, `profile`: what the commands do, without files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import nas
from nas.cli.main import main
from nas.commands.networks import Evaluation, Int8Export
from nas.data.augment import BatchAugmenter
from nas.errors import DataError, LatencyError, TrainingError
from nas.networks import ExportedNetwork
from nas.retrieval import RetrievalMetrics
from nas.training import Diverged
from nas.training.checkpoints import save_checkpoint
from nas.training.results import TrainingResult
from nas.training.scoring import Embeddings, score_embeddings

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
    with pytest.raises(TrainingError, match="for an export to int8 alone"):
        nas.export(trained, folder / "network.pt2", data=DATA)
    report = nas.export(trained, folder / "network.pt2", format="torch-export")
    assert report.path.is_file()
    assert report.parity.min_cosine > 0.9999


@pytest.mark.slow
def test_an_export_to_int8_says_what_it_costs(
    trained: TrainingResult, evaluated: Evaluation, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"precision": "int8", "data": DATA, "calibration": 5, "cache": folder}
    made = nas.export(trained, folder / "eight.onnx", **settings)
    assert isinstance(made, Int8Export)
    assert made.before.map == pytest.approx(evaluated.map)
    assert made.calibration == 5
    assert made.metadata["calibration_images"] == "5"
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    data = evaluated.data
    normalise = BatchAugmenter(evaluated.checkpoint.recipe.augmentation, data.size, torch.device("cpu")).normalise
    query, gallery = (
        torch.nn.functional.normalize(
            torch.from_numpy(
                session.run(None, {"images": normalise(split.gather(torch.arange(len(split)))).numpy()})[0]
            )
        )
        for split in (data.query, data.gallery)
    )
    assert made.after.map == pytest.approx(score_embeddings(Embeddings(query, gallery), data).map, abs=1e-6)
    assert f"mAP {made.before.map:.4f} in fp32, {made.after.map:.4f} in int8" in made.sentence()
    file = save_checkpoint(evaluated.checkpoint, folder / "eight.pt")
    assert file
    source = "generated:train_identities=4,test_identities=4,cameras=2,images=2"
    command = ["export", str(folder / "eight.pt"), "--int8", "--data", source, "--calibration", "5", "--json"]
    assert main([*command, "--cache", str(folder), "--out", str(folder / "by_command.onnx")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy"]["after"]["map"] == made.after.map
    assert main(["export", str(folder / "eight.pt"), "--int8"]) == 2
    assert "int8 needs data" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch-export", pytest.param("executorch", marks=pytest.mark.heavy)])
def test_int8_of_torch_s_own_says_what_it_costs_too(
    trained: TrainingResult, evaluated: Evaluation, folder: Path, kind: str
) -> None:
    settings = {"precision": "int8", "data": DATA, "calibration": 5, "cache": folder}
    made = nas.export(trained, folder / f"{kind}.file", format=kind, **settings)
    assert isinstance(made, Int8Export)
    assert made.before.map == pytest.approx(evaluated.map)
    assert made.after.map == pytest.approx(made.before.map, abs=0.1)
    assert made.after.valid_queries == made.before.valid_queries
    assert f"mAP {made.before.map:.4f} in fp32, {made.after.map:.4f} in int8" in made.sentence()
    # A network after one epoch and five images of calibration: int8 moves its features, by whichever tool it is made.
    rival = nas.export(trained, folder / "rival.onnx", **settings)
    assert isinstance(rival, Int8Export)
    assert made.parity.mean_cosine > rival.parity.mean_cosine - 0.02


def test_an_int8_file_whose_features_are_all_alike_is_not_written(
    trained: TrainingResult, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, score = folder / "alike.onnx", nas.training.score

    def collapsed(network: object, *arguments: Any, **options: Any) -> RetrievalMetrics:
        if isinstance(network, ExportedNetwork):
            raise Diverged("the features of all 8 images are the same: the network has collapsed")
        return score(network, *arguments, **options)

    monkeypatch.setattr(nas.training, "score", collapsed)
    with pytest.raises(TrainingError, match=r"int8 is of no use: the features of all 8 .*alike.onnx was not"):
        nas.export(trained, target, precision="int8", data=DATA, calibration=5, cache=folder)
    assert not target.exists()


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
