"""A protocol is a value: validated, hashed, and the same after a trip through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nas.errors import LatencyError
from nas.latency import LatencyProtocol


def test_round_trip_through_json() -> None:
    protocol = LatencyProtocol(backend="onnxruntime", batch=4, input=(64, 32), builds=3, threads=1)
    assert LatencyProtocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol


def test_equal_ways_to_say_it_have_equal_ids() -> None:
    assert LatencyProtocol().id == LatencyProtocol(warmup=3).id
    assert LatencyProtocol(device="cuda").id == LatencyProtocol(device="cuda", warmup_s=2, batches=1000).id
    assert LatencyProtocol(device="cuda").id == LatencyProtocol(device="cuda:1", threads=3, time_budget_s=1).id
    assert LatencyProtocol(device="cuda").id == LatencyProtocol(device="cuda", backend="cuda_graphs", tf32=False).id
    assert LatencyProtocol(input=[256, 128]).id == LatencyProtocol().id  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"batch": 8}, {"backend": "compile"}, {"threads": 1}, {"builds": 2}])
def test_what_changes_the_figure_changes_the_id(change: dict[str, int]) -> None:
    assert LatencyProtocol.from_dict(change).id != LatencyProtocol().id


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precison": "fp16"}, "did you mean 'precision'"),
        ({"precision": "int4"}, "unknown latency precision 'int4'"),
        ({"device": "tpu"}, "'tpu'"),
        ({"batch": 0}, "batch must be a whole number of at least 1"),
        ({"batch": 2.5}, "batch must be a whole number"),
        ({"input": [256]}, "input must be a height and a width"),
        ({"input": [0, 128]}, "two positive numbers"),
        ({"time_budget_s": 0}, "time_budget_s must be above 0"),
        ({"warmup": -1}, "warmup must be"),
        ({"warmup_s": -1}, "warmup_s must be from 0 to 600 seconds"),
        ({"opset": 3}, "opset must be a whole number of at least 9"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(LatencyError) as caught:
        LatencyProtocol.from_dict(settings)
    assert said in caught.value.message


def test_ids_of_records_made_before_some_keys_existed_stay() -> None:
    """As stored by version 0.1.0."""
    assert LatencyProtocol().id == "a207f327ba0af8ac"
    data = LatencyProtocol(backend="onnxruntime", opset=13).to_dict()
    stored = {key: value for key, value in data.items() if key not in ("opset", "tf32", "warmup_s")}
    assert LatencyProtocol.from_record(stored).id == "3ac1c1bc5abfd1cd"
    assert LatencyProtocol(backend="onnxruntime").id != "3ac1c1bc5abfd1cd"


def test_another_head_is_another_protocol_and_the_usual_one_changes_no_id() -> None:
    usual = LatencyProtocol(head={"name": "bnneck", "pooling": "gap", "settings": {}})  # type: ignore[arg-type]
    assert (usual.head, usual.id) == (None, LatencyProtocol().id)
    heads = [{"name": "fc"}, {"name": "fc", "settings": {"features": 64}}, {"name": "bnneck", "pooling": "gem"}]
    protocols = [LatencyProtocol.from_dict({"head": head}) for head in heads]
    assert len({usual.id, *(one.id for one in protocols)}) == 4
    for one in protocols:
        assert LatencyProtocol.from_record(json.loads(json.dumps(one.to_dict()))) == one
    assert "head fc after gap" in protocols[0].sentence()
    with pytest.raises(LatencyError, match="head must be"):
        LatencyProtocol.from_dict({"head": "fc"})


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"device": "cuda"}, "backend", "cuda_graphs"),
        ({}, "backend", "eager"),
        ({"device": "cuda"}, "tf32", False),
        ({"device": "cuda", "tf32": True}, "tf32", True),
        ({"device": "cuda", "tf32": True, "precision": "fp16"}, "tf32", None),
        ({"tf32": True}, "tf32", None),
        ({"device": "cuda"}, "channels_last", True),
        ({}, "channels_last", False),
        ({"channels_last": True, "backend": "onnxruntime"}, "channels_last", False),
        ({"backend": "tensorrt", "device": "cuda"}, "opset", 17),
        ({}, "opset", None),
        ({"device": "cuda"}, "warmup_s", 2.0),
        ({"device": "cuda", "warmup": 5}, "warmup_s", None),
        ({}, "warmup", 3),
    ],
)
def test_defaults_depend_on_device_and_backend(settings: dict[str, Any], key: str, value: object) -> None:
    resolved = LatencyProtocol.from_dict(settings).resolved()
    assert getattr(resolved, key) == value
    assert resolved.resolved() == resolved


def test_tf32_and_layout_are_part_of_the_identity_on_a_gpu() -> None:
    ids = {LatencyProtocol(device="cuda", tf32=tf32, channels_last=last).id for tf32 in (0, 1) for last in (0, 1)}  # type: ignore[arg-type]
    assert len(ids) == 4
    assert "fp32 with TF32 channels last on cuda" in LatencyProtocol(device="cuda", tf32=True).sentence()


def test_a_network_beside_is_part_of_the_identity() -> None:
    load = {"network": "resnet18(width=0.25)", "period_ms": 100}
    quiet, busy = LatencyProtocol(), LatencyProtocol.from_dict({"load": load})
    assert len({quiet.id, busy.id, LatencyProtocol.from_dict({"load": {**load, "period_ms": 50}}).id}) == 3
    assert LatencyProtocol.from_dict(busy.to_dict()) == busy
    assert busy.sentence().endswith(", beside resnet18(width=0.25) every 100 ms")
    for wrong in ({"network": "resnet18"}, {"network": "resnet18", "period_ms": 0}, 5):
        with pytest.raises(LatencyError, match="load"):
            LatencyProtocol.from_dict({"load": wrong})


def test_half_precision_throughout_is_another_form_of_engines_alone() -> None:
    engine = {"backend": "tensorrt", "device": "cuda", "precision": "fp16"}
    kept, throughout = LatencyProtocol.from_dict(engine), LatencyProtocol.from_dict({**engine, "islands": False})
    assert kept.id == LatencyProtocol.from_dict({**engine, "islands": True}).id != throughout.id
    assert "fp16 throughout" in throughout.sentence()
    assert LatencyProtocol(islands=False).id == LatencyProtocol().id


def test_an_accelerator_is_part_of_the_identity_and_tensorrts_alone() -> None:
    engine = {"backend": "tensorrt", "device": "cuda", "precision": "fp16"}
    gpu, core = LatencyProtocol.from_dict(engine), LatencyProtocol.from_dict({**engine, "dla": 0})
    assert gpu.id != core.id != LatencyProtocol.from_dict({**engine, "dla": 1}).id
    assert LatencyProtocol.from_dict(core.to_dict()) == core
    assert "on DLA core 0 of cuda" in core.sentence()
    for wrong in ({"precision": "fp32"}, {"backend": "cuda_graphs"}, {"dla": -1}, {"dla": True}):
        with pytest.raises(LatencyError, match="dla"):
            LatencyProtocol.from_dict({**engine, "dla": 0, **wrong})


@pytest.mark.parametrize("settings", [{}, {"backend": "openvino"}, {"backend": "onnxruntime", "device": "cuda"}])
def test_int8_is_for_onnx_runtime_on_a_cpu(settings: dict[str, Any]) -> None:
    with pytest.raises(LatencyError, match="int8 is timed in ONNX Runtime on a CPU"):
        LatencyProtocol(precision="int8", **settings)
    whole, int8 = (LatencyProtocol(backend="onnxruntime", precision=kind) for kind in ("fp32", "int8"))
    assert whole.id != int8.id
    assert LatencyProtocol.from_dict(int8.to_dict()) == int8
