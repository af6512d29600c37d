"""Exported files answer as PyTorch does, for any batch, say what they need, and are not written when they differ."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from block_builders import case_id, features, main_cases, make, others_slow, randomised
from torch import Tensor, nn

from nas.errors import TrainingError
from nas.networks import ReidNetwork, build_network, fold_batchnorm
from nas.networks.blocks import FeatureShape
from nas.networks.export import FORMATS, ExportReport, Parity, Preprocessing, check_format, export_network
from nas.networks.export.onnx_file import to_opset_17
from nas.networks.export.parity import compare, random_crops, top1_agreement
from nas.networks.export.program import quiet
from nas.spaces.blocks import BLOCKS

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


@pytest.mark.parametrize(("name", "settings"), others_slow(main_cases(), {"raga", "abd"}), ids=case_id)
def test_every_block_exports_to_onnx_and_runs_there(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    import onnx

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
    model = onnx.load(str(path))
    to_opset_17(model)
    onnx.save(model, str(tmp_path / "block17.onnx"))
    for engine in (session(path), session(tmp_path / "block17.onnx")):
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


CROPS = random_crops(SIZE, 20, seed=9)


@pytest.fixture(scope="module")
def trained() -> ReidNetwork:
    return network()


@pytest.fixture(scope="module")
def written(trained: ReidNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportReport]:
    """One network in both formats, each alone in its folder."""
    reports = {}
    for name in ("onnx", "torch-export"):
        path = tmp_path_factory.mktemp(name) / f"net{FORMATS[name].suffix}"
        preprocessing = Preprocessing(std=(0.2, 0.3, 0.4))
        reports[name] = export_network(
            trained, path, name, crops=CROPS, preprocessing=preprocessing, extra={"dataset": "abc"}
        )
    return reports


@pytest.mark.slow
def test_a_program_is_read_by_a_pytorch_without_quantised_operators(
    written: dict[str, ExportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.networks.export.program.QUANTISED_OPERATORS", "torch.ao.gone")
    report = written["torch-export"]
    assert FORMATS["torch-export"].read_metadata(report.path) == report.metadata
    assert FORMATS["torch-export"].load(report.path)(CROPS[:2]).shape[0] == 2


@pytest.mark.parametrize("name", ["onnx", "torch-export"])
def test_the_report_and_the_file(written: dict[str, ExportReport], name: str) -> None:
    report = written[name]
    assert list(report.path.parent.iterdir()) == [report.path]
    assert report.parity.min_cosine > 0.9999
    assert (report.parity.images, report.parity.given) == (28, 20)
    assert report.size_bytes == report.path.stat().st_size


def test_onnx_runs_with_any_batch(written: dict[str, ExportReport], trained: ReidNetwork) -> None:
    engine = session(written["onnx"].path)
    assert [(i.name, i.shape) for i in engine.get_inputs()] == [("images", ["batch", 3, 64, 32])]
    assert [(o.name, o.shape[1]) for o in engine.get_outputs()] == [("embeddings", 128)]
    for batch in (1, 7):
        found = engine.run(None, {"images": CROPS[:batch].numpy()})[0]
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), trained(CROPS[:batch]), rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def newer(trained: ReidNetwork, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The network in operator set 18."""
    return str(export_network(trained, tmp_path_factory.mktemp("newer") / "newer.onnx", opset=18).path)


def test_a_file_is_of_operator_set_17_unless_another_is_asked_for(written: dict[str, ExportReport], newer: str) -> None:
    import onnx

    models = [onnx.load(path) for path in (str(written["onnx"].path), newer)]
    assert [model.opset_import[0].version for model in models] == [17, 18]
    inputs = [{len(node.input) for node in model.graph.node if node.op_type == "ReduceMean"} for model in models]
    assert inputs == [{1}, {2}]  # TensorRT 8 reads axes that are an input wrongly


def test_what_operator_set_17_lacks_is_said(newer: str) -> None:
    import onnx

    model = onnx.load(newer)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Mish"
    with pytest.raises(TrainingError, match="has no form in ONNX's operator set 17: No Op registered for Mish"):
        to_opset_17(model)


def test_torch_export_runs_without_this_package(written: dict[str, ExportReport], trained: ReidNetwork) -> None:
    loaded = torch.export.load(written["torch-export"].path).module()
    with torch.no_grad():
        torch.testing.assert_close(loaded(CROPS[:3]), trained(CROPS[:3]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "torch-export"])
def test_metadata_state_the_preprocessing(written: dict[str, ExportReport], name: str) -> None:
    found = FORMATS[name].read_metadata(written[name].path)
    taken = json.loads(found["preprocessing"])
    assert taken["std"] == [0.2, 0.3, 0.4]
    assert (taken["channels"], taken["shape"]) == ("RGB", ["batch", 3, 64, 32])
    assert found["candidate"] == "resnet18(width=0.25)+cnl@3+agw@5+hac@7"
    assert found["dataset"] == "abc"


def test_the_how_to_says_all_that_the_metadata_say(written: dict[str, ExportReport]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "exporting.md").read_text()
    taken = json.loads(FORMATS["onnx"].read_metadata(written["onnx"].path)["preprocessing"])
    for key in ("formula", "channels", "dtype", "resize"):
        assert taken[key] in page, key


def test_no_normalisation_is_left_in_the_file(written: dict[str, ExportReport]) -> None:
    import onnx

    operators = {node.op_type for node in onnx.load(str(written["onnx"].path)).graph.node}
    assert "BatchNormalization" not in operators
    assert "Conv" in operators


@pytest.mark.parametrize(("name", "precision"), [("onnx", "fp16"), ("torch-export", "bf16")])
def test_reduced_precision(
    written: dict[str, ExportReport], trained: ReidNetwork, tmp_path: Path, name: str, precision: str
) -> None:
    told: list[tuple[int, int]] = []
    progress = lambda done, total, what="": told.append((done, total))  # noqa: E731
    half = export_network(trained, tmp_path / "half", name, precision=precision, progress=progress)
    assert half.parity.top1_agreement >= 0.98
    assert half.size_bytes < 0.6 * written[name].size_bytes
    assert half.metadata["precision"] == precision
    assert told[-1] == (4, 4)


class Wrong(nn.Module):
    """Answers with something else once it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1) if torch.compiler.is_exporting() else x


def test_a_file_that_answers_differently_is_not_written(tmp_path: Path) -> None:
    built = network("")
    built.pool = nn.Sequential(built.pool, Wrong())
    path = tmp_path / "net"
    path.write_text("what was there before")
    with pytest.raises(TrainingError, match="answers differently from PyTorch: cosine"):
        export_network(built, path, "torch-export")
    assert path.read_text() == "what was there before"
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_what_is_compared_with_is_the_network_before_folding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.networks.export.fold_batchnorm", lambda given: fold_batchnorm(network("+se@3")))
    with pytest.raises(TrainingError, match="answers differently from PyTorch"):
        export_network(network(""), tmp_path / "net.pt2", "torch-export")


def test_reduced_precision_that_changes_neighbours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.networks.export.compare", lambda *a, **k: Parity(0.999, 0.9999, 0.01, 0.9, 40, 32))
    with pytest.raises(TrainingError, match=r"another nearest neighbour for 10.0% of 40 images"):
        export_network(network(""), tmp_path / "net.pt2", "torch-export", precision="fp16")
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
    with pytest.raises(TrainingError, match="onnx files are written in fp32, fp16, int8, not bf16"):
        check_format("onnx", "bf16")
    with pytest.raises(TrainingError, match="there is no folder"):
        export_network(network(""), tmp_path / "missing" / "net.onnx")
    with pytest.raises(TrainingError, match=r"must be \(N, 3, 64, 32\), not \(2, 3, 8, 8\)"):
        export_network(network(""), tmp_path / "net.onnx", crops=torch.zeros(2, 3, 8, 8))


@pytest.mark.slow
def test_int8_holds_integers_and_answers_for_any_batch(trained: ReidNetwork, tmp_path: Path) -> None:
    import onnx

    report = export_network(trained, tmp_path / "n.onnx", precision="int8", crops=CROPS, calibration=CROPS)
    whole = export_network(trained, tmp_path / "w.onnx", crops=CROPS)
    assert report.size_bytes < 0.4 * whole.size_bytes
    assert (report.metadata["precision"], report.metadata["sums"]) == ("int8", "int8")
    assert FORMATS["onnx"].read_metadata(report.path) == report.metadata
    graph = onnx.load(str(report.path)).graph
    kinds = {onnx.TensorProto.DataType.Name(w.data_type) for w in graph.initializer if len(w.dims) == 4}
    assert kinds == {"INT8"}
    by_channel = [w for w in graph.initializer if w.name.endswith("_scale") and len(w.dims) == 1 and w.dims[0] > 1]
    assert by_channel
    engine, reference = session(report.path), session(whole.path)
    for batch in (1, 5, 20):
        found, exact = (e.run(None, {"images": CROPS[:batch].numpy()})[0] for e in (engine, reference))
        cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(found), torch.from_numpy(exact))
        assert 0.98 < float(cosine.min()) < 0.99999  # another arithmetic, the same answers


@pytest.mark.slow
def test_int8_takes_its_ranges_from_the_images_it_is_given(trained: ReidNetwork, tmp_path: Path) -> None:
    report = export_network(trained, tmp_path / "n.onnx", precision="int8", crops=CROPS, calibration=CROPS)
    assert report.parity.mean_cosine > 0.99
    with pytest.raises(TrainingError, match="the onnx file in int8 answers differently from PyTorch"):
        # Ranges that are too narrow by far cut off what is larger.
        export_network(trained, tmp_path / "m.onnx", precision="int8", crops=CROPS, calibration=CROPS / 20)
    assert [path.name for path in tmp_path.iterdir()] == ["n.onnx"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "int8 needs images that the ranges"),
        ({"calibration": torch.zeros(4, 3, 8, 8)}, r"calibration images must be \(N, 3, 64, 32\)"),
        ({"calibration": CROPS, "format": "tensorrt"}, "tensorrt files are written in fp32, fp16, not int8"),
    ],
)
def test_int8_without_what_it_needs_is_one_sentence(
    trained: ReidNetwork, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        export_network(trained, tmp_path / "n.onnx", precision="int8", **settings)
    assert not list(tmp_path.iterdir())


def test_tensorrt_says_what_is_missing() -> None:
    reason = FORMATS["tensorrt"].unavailable("fp32")
    if reason is None:
        pytest.skip("TensorRT is installed here")
    with pytest.raises(TrainingError, match=r"cannot export to tensorrt here: .*TensorRT"):
        check_format("tensorrt")


# -- PyTorch's own int8, and ExecuTorch


@pytest.mark.slow
def test_int8_by_torch_s_own_export(trained: ReidNetwork, tmp_path: Path) -> None:
    path = tmp_path / "n.pt2"
    report = export_network(trained, path, "torch-export", precision="int8", crops=CROPS, calibration=CROPS)
    assert report.parity.mean_cosine > 0.99
    assert FORMATS["torch-export"].read_metadata(path) == report.metadata
    program = torch.export.load(path)
    weights = [w for w in program.state_dict.values() if w.ndim == 4] + [
        w for w in program.constants.values() if isinstance(w, Tensor) and w.ndim == 4
    ]
    assert weights
    assert {w.dtype for w in weights} == {torch.int8}
    for batch in (1, 5, 20):
        found = FORMATS["torch-export"].load(path)(CROPS[:batch])
        with torch.no_grad():
            cosine = torch.nn.functional.cosine_similarity(found, trained(CROPS[:batch]))
        assert 0.98 < float(cosine.min()) < 0.99999  # another arithmetic, the same answers


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("int8", 0.98)])
def test_executorch_answers_as_pytorch_does(trained: ReidNetwork, tmp_path: Path, precision: str, least: float) -> None:
    path = tmp_path / "n.pte"
    ranges = CROPS if precision == "int8" else None
    report = export_network(trained, path, "executorch", precision=precision, crops=CROPS, calibration=ranges)
    assert list(tmp_path.iterdir()) == [path]
    assert FORMATS["executorch"].read_metadata(path) == report.metadata
    run = FORMATS["executorch"].load(path)
    assert json.loads(report.metadata["preprocessing"])["shape"] == [1, 3, 64, 32]
    for batch in (1, 7):
        images = random_crops(SIZE, batch, seed=batch)
        with torch.no_grad():
            cosine = torch.nn.functional.cosine_similarity(run(images), trained(images))
        assert float(cosine.min()) > least


@pytest.mark.slow
@pytest.mark.parametrize("names", [sorted(BLOCKS)[part::2] for part in (0, 1)], ids=",".join)
def test_every_block_runs_in_executorch(tmp_path: Path, names: list[str]) -> None:
    """Half of the blocks in one network, each at a site of its own."""
    built = network("+" + "+".join(f"{name}@{site}" for site, name in enumerate(names, start=2)))
    for block in built.blocks.values():
        randomised(block)
    report = export_network(built, tmp_path / "n.pte", "executorch", crops=CROPS)
    assert report.parity.min_cosine > 0.9999


@pytest.mark.parametrize(
    ("name", "missing", "precision", "said"),
    [
        ("executorch", "executorch", "fp32", r"executorch .*not installed; pip install 'nas-reid\[executorch\]'"),
        ("torch-export", "torchao", "int8", r"torchao not installed; pip install 'nas-reid\[pt2e\]'"),
    ],
)
def test_a_format_whose_package_is_missing_says_which(
    monkeypatch: pytest.MonkeyPatch, name: str, missing: str, precision: str, said: str
) -> None:
    gone = lambda package: None if package == missing else find_spec(package)  # noqa: E731
    for module in ("executorch_file", "program"):
        monkeypatch.setattr(f"nas.networks.export.{module}.find_spec", gone)
    with pytest.raises(TrainingError, match=f"cannot export to {name} here: {said}"):
        check_format(name, precision)


def test_a_format_that_is_not_written_says_why() -> None:
    with pytest.raises(TrainingError, match=r"cannot export to litert: its converter .* needs a torch below 2\.15"):
        check_format("litert")
