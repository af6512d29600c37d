"""Networks in fp16 are written with sums and softmax in fp32, or in fp16 throughout; never with a cast to double."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nas.latency import LatencyProtocol
from nas.latency.onnx_file import export_onnx
from nas.latency.subject import as_subject


def casts(candidate: str, folder: Path, islands: bool | None) -> set[str]:
    """The types that the network's file casts to."""
    path = folder / "network.onnx"
    protocol = LatencyProtocol(backend="onnxruntime", precision="fp16", batch=1, input=(32, 16), islands=islands)
    export_onnx(as_subject(candidate), protocol, path)
    nodes = onnx.load(path).graph.node
    found = {a.i for node in nodes if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    return {onnx.TensorProto.DataType.Name(kind) for kind in found}


@pytest.mark.parametrize("block", ["cnl", "gc"])
def test_forms_of_a_file(block: str, tmp_path: Path) -> None:
    candidate = f"resnet18(width=0.125)+{block}@4"
    assert "DOUBLE" not in casts(candidate, tmp_path, None)
    assert casts(candidate, tmp_path, False) <= {"FLOAT16", "INT64"}
