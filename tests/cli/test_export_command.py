"""`nas export`: from a checkpoint to a file, and every wrong input ends with exit code 2 and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.cli.main import main
from nas.networks import build_network
from nas.networks.export import FORMATS
from nas.training.checkpoints import Checkpoint, save_checkpoint
from nas.training.recipe import load_recipe

CANDIDATE = "resnet18(width=0.25)+cnl@5"
SIZE = (64, 32)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    network = build_network(CANDIDATE, num_classes=3, input_size=SIZE, seed=0)
    recipe = load_recipe("strong_baseline")
    plain = {"dataset_id": "d0", "seed": 0, "num_classes": 3, "epoch": 1, "step": 0, "averaged": None, "training": {}}
    saved = Checkpoint(network.candidate, recipe, input_size=SIZE, network=network.state_dict(), records=(), **plain)
    save_checkpoint(saved, tmp_path / "last.pt")
    return tmp_path / "last.pt"


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (80, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.slow
def test_onnx_with_ones_own_crops(checkpoint: Path, crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    assert main(["export", str(checkpoint), "--images", str(crops), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(checkpoint.with_suffix(".onnx"))
    assert found["parity"]["given"] == 5
    assert found["parity"]["min_cosine"] > 0.9999
    metadata = FORMATS["onnx"].read_metadata(checkpoint.with_suffix(".onnx"))
    assert metadata["candidate"] == CANDIDATE
    assert len(metadata["checkpoint_sha256"]) == 64
    assert json.loads(metadata["preprocessing"])["mean"] == [0.485, 0.456, 0.406]


def test_generated_pedestrians_are_the_crops_otherwise(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.pt2"
    assert main(["export", str(checkpoint), "--format", "torch-export", "--out", str(target)]) == 0
    assert target.is_file()
    assert "32 crops" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "onxx"], "did you mean 'onnx'"),
        (["--format", "litert"], "needs a torch below 2.15; export to onnx"),
        (["--precision", "int4"], "unknown precision"),
        (["--precision", "int8"], "int8 needs data"),
        (["--int8", "--precision", "fp16", "--data", "x"], "--int8 and --precision fp16 are two precisions"),
        (["--calibration", "5"], "calibration is for an export to int8 alone"),
        (["--view", "select", "--cache", "c"], "view and cache are for an export to int8 alone"),
        (["--opset", "16"], "operator sets 17 to 23, not 16"),
        (["--opset", "18", "--format", "torch-export"], "torch-export files have no operator set"),
        (["--images", "nowhere"], "nowhere"),
        (["--out", "no/such/folder/x.onnx"], "there is no folder"),
    ],
)
def test_wrong_options(
    checkpoint: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(checkpoint), *arguments]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert not checkpoint.with_suffix(".onnx").exists()


def test_a_file_that_is_no_export_stays(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = checkpoint.with_suffix(".onnx")
    target.write_text("somebody's")
    assert main(["export", str(checkpoint)]) == 2
    assert "exists already and is no onnx file that nas exported" in capsys.readouterr().err.replace("\n", " ")
    assert target.read_text() == "somebody's"


def test_a_missing_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "none.pt")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
