"""Exported files answer as PyTorch does, for any batch, say what they need, and are not written when they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from block_builders import case_id, features, main_cases, make, randomised
from torch import Tensor, nn

from nas.errors import TrainingError
from nas.networks import ReidNetwork, build_network
from nas.networks.blocks import FeatureShape
from nas.networks.export import FORMATS, Preprocessing, check_format, export_network
from nas.networks.export.onnx_file import quiet
from nas.networks.export.parity import compare, random_crops, top1_agreement

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
SIZE = (64, 32)
SHAPE = FeatureShape(32, 6, 4)


def network(text: str = "+cnl@3+agw@5+hac@7") -> ReidNetwork:
    built = build_network(f"resnet18(width=0.25){text}", num_classes=5, input_size=SIZE, seed=0)
    built.train()
    with torch.no_grad():
        for seed in range(3):  # statistics of something, as after a training
            built(random_crops(SIZE, 8, seed))
    return built.eval()


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("name", "settings"), main_cases(), ids=case_id)
def test_every_block_exports_to_onnx_and_runs_there(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    block = randomised(make(name, SHAPE, **settings)).eval()
    path = tmp_path / "block.onnx"
    with quiet():
        torch.onnx.export(
            block,
            (features(SHAPE, 2, dtype=torch.float32),),
            str(path),
            input_names=["x"],
            opset_version=18,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
        )
    engine = session(path)
    for batch in (1, 5):
        x = features(SHAPE, batch, seed=batch, dtype=torch.float32)
        with torch.no_grad():
            torch.testing.assert_close(
                torch.from_numpy(engine.run(None, {"x": x.numpy()})[0]), block(x), rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize(("name", "settings"), main_cases(), ids=case_id)
def test_every_block_exports_to_the_operator_sets_of_old_engines(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    block, x = randomised(make(name, SHAPE, **settings)).eval(), features(SHAPE, 2, dtype=torch.float32)
    with quiet(), torch.inference_mode():
        torch.onnx.export(block, (x,), str(tmp_path / "b.onnx"), input_names=["x"], opset_version=13, dynamo=False)
    found = torch.from_numpy(session(tmp_path / "b.onnx").run(None, {"x": x.numpy()})[0])
    with torch.no_grad():
        torch.testing.assert_close(found, block(x), rtol=1e-4, atol=1e-4)


def test_a_network_in_onnx(tmp_path: Path) -> None:
    built, told = network(), []
    crops = random_crops(SIZE, 20, seed=9)
    report = export_network(
        built,
        tmp_path / "net.onnx",
        crops=crops,
        preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5)),
        extra={"dataset": "abc"},
        progress=lambda done, total, what="": told.append((done, total)),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert report.parity.min_cosine > 0.9999
    assert (report.parity.images, report.parity.given) == (28, 20)
    assert told[-1] == (4, 4)
    engine = session(report.path)
    assert [(i.name, i.shape) for i in engine.get_inputs()] == [("images", ["batch", 3, 64, 32])]
    assert [(o.name, o.shape[1]) for o in engine.get_outputs()] == [("embeddings", 128)]
    with torch.no_grad():
        found = engine.run(None, {"images": crops[:7].numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(found), built(crops[:7]), rtol=1e-3, atol=1e-4)


def test_metadata_state_the_preprocessing(tmp_path: Path) -> None:
    for name in ("onnx", "torch-export"):
        path = tmp_path / f"net{FORMATS[name].suffix}"
        export_network(
            network(""), path, name, preprocessing=Preprocessing(std=(0.2, 0.3, 0.4)), extra={"dataset": "abc"}
        )
        found = FORMATS[name].read_metadata(path)
        taken = json.loads(found["preprocessing"])
        assert taken["std"] == [0.2, 0.3, 0.4]
        assert (taken["channels"], taken["shape"]) == ("RGB", ["batch", 3, 64, 32])
        assert found["candidate"] == "resnet18(width=0.25)"
        assert found["dataset"] == "abc"


def test_no_normalisation_is_left_in_the_file(tmp_path: Path) -> None:
    import onnx

    report = export_network(network("+cnl@3+hac@5"), tmp_path / "net.onnx")
    operators = {node.op_type for node in onnx.load(str(report.path)).graph.node}
    assert "BatchNormalization" not in operators
    assert "Conv" in operators


def test_torch_export_runs_without_this_package(tmp_path: Path) -> None:
    built = network()
    report = export_network(built, tmp_path / "net.pt2", "torch-export")
    crops = random_crops(SIZE, 3, seed=4)
    loaded = torch.export.load(report.path).module()
    with torch.no_grad():
        torch.testing.assert_close(loaded(crops), built(crops), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "precision"), [("onnx", "fp16"), ("torch-export", "bf16")])
def test_reduced_precision(tmp_path: Path, name: str, precision: str) -> None:
    full = export_network(network(), tmp_path / "full", name)
    half = export_network(network(), tmp_path / "half", name, precision=precision)
    assert half.parity.top1_agreement >= 0.98
    assert half.size_bytes < 0.6 * full.size_bytes
    assert half.metadata["precision"] == precision


class Wrong(nn.Module):
    """Answers with something else once it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1) if torch.compiler.is_exporting() else x


@pytest.mark.parametrize("name", ["onnx", "torch-export"])
def test_a_file_that_answers_differently_is_not_written(tmp_path: Path, name: str) -> None:
    built = network("")
    built.pool = nn.Sequential(built.pool, Wrong())
    path = tmp_path / "net"
    path.write_text("what was there before")
    with pytest.raises(TrainingError, match="answers differently from PyTorch: cosine"):
        export_network(built, path, name)
    assert path.read_text() == "what was there before"
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_reduced_precision_that_changes_neighbours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "nas.networks.export.compare", lambda *a, **k: compare(*a, **k).__class__(0.999, 1, 0, 0.9, 40, 32)
    )
    with pytest.raises(TrainingError, match=r"another nearest neighbour for 10.0% of 40 images"):
        export_network(network(""), tmp_path / "net.onnx", precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_parity_of_bad_answers() -> None:
    good = torch.randn(5, 4)
    assert compare(good, good, images=5).min_cosine == pytest.approx(1)
    assert compare(good, good * float("nan"), images=5).min_cosine == -1
    assert compare(good, good[:4], images=5).top1_agreement == 0
    assert top1_agreement(good, good * 3) == 1


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="did you mean 'onnx'"):
        check_format("onxx")
    with pytest.raises(TrainingError, match="unknown precision 'fp8'"):
        check_format("onnx", "fp8")
    with pytest.raises(TrainingError, match="onnx files are written in fp32, fp16, not bf16"):
        check_format("onnx", "bf16")
    with pytest.raises(TrainingError, match="there is no folder"):
        export_network(network(""), tmp_path / "missing" / "net.onnx")
    with pytest.raises(TrainingError, match=r"must be \(N, 3, 64, 32\), not \(2, 3, 8, 8\)"):
        export_network(network(""), tmp_path / "net.onnx", crops=torch.zeros(2, 3, 8, 8))


def test_tensorrt_says_what_is_missing() -> None:
    reason = FORMATS["tensorrt"].unavailable()
    if reason is None:
        pytest.skip("TensorRT is installed here")
    with pytest.raises(TrainingError, match=r"cannot export to tensorrt here: .*TensorRT"):
        check_format("tensorrt")
