"""Each backend runs the same network; those that are not here say why. GPU ones are played by stand-ins."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import LatencyError
from nas.latency import LatencyProtocol, available_backends, measure
from nas.latency.backends import BACKENDS, compiled, cuda_graphs, get_backend, openvino
from nas.latency.device_agent import engines
from nas.latency.device_agent.engines import EngineError, OnnxRuntimeEngine, TensorRTEngine
from nas.latency.light_onnx import refer_to_noise
from nas.latency.onnx_file import export_onnx
from nas.latency.subject import as_subject
from nas.latency.torch_side import numerics, sample_input
from nas.networks import FeatureShape, get_block
from nas.spaces import Placement, block_names

SMALL: dict[str, Any] = {"batch": 2, "input": (64, 32), "warmup": 1, "batches": 3, "threads": 1}
NETWORK = "resnet18(width=0.25)+cnl@4"

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None,
    reason="onnx and onnxruntime are not installed",
)


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def around(block: str) -> nn.Module:
    """A block with as little of a network around it as an export needs."""
    torch.manual_seed(0)
    placed = get_block(block).build(FeatureShape(32, 8, 4), form="fast", **dict(Placement.make(1, block).params))
    return nn.Sequential(nn.Conv2d(3, 32, 8, 8), placed, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("compile", marks=pytest.mark.slow), "openvino"])
def test_a_backend_that_is_here_measures(name: str) -> None:
    protocol = LatencyProtocol(backend=name, builds=2, **SMALL)
    reason = get_backend(name).unavailable(protocol)
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    record = measure(tiny, protocol)
    assert [build.batches for build in record.builds] == [3, 3]
    assert all(build.build_s and build.build_s > 0 for build in record.builds)


def test_every_backend_is_there_or_says_why() -> None:
    for device in ("cpu", "cuda"):
        found = available_backends(device)
        assert set(found) == set(BACKENDS)
        assert all(reason is None or len(reason) > 10 for reason in found.values())


@pytest.mark.parametrize(
    ("name", "missing", "said"),
    [
        ("onnxruntime", "onnxruntime", "onnxruntime is not installed (pip install 'nas-reid[latency]')"),
        ("openvino", "openvino", "openvino is not installed"),
    ],
)
def test_a_missing_library_is_named(name: str, missing: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == missing else found(module))
    assert said in (get_backend(name).unavailable(LatencyProtocol(backend=name)) or "")


@pytest.mark.parametrize("name", ["tensorrt", "cuda_graphs", "onnxruntime-tensorrt"])
def test_gpu_backends_refuse_a_cpu(name: str) -> None:
    assert "CUDA device" in (get_backend(name).unavailable(LatencyProtocol(backend=name)) or "")


@needs_onnx
def test_onnx_runtime_refuses_bf16() -> None:
    protocol = LatencyProtocol(backend="onnxruntime", precision="bf16")
    with pytest.raises(LatencyError, match="fp32, fp16 or int8"):
        measure(NETWORK, protocol)


@needs_onnx
def test_int8_is_timed_from_a_file_of_integers(tmp_path: Path) -> None:
    import onnx

    settings = {**SMALL, "backend": "onnxruntime", "precision": "int8", "batch": 20}
    assert measure(NETWORK, LatencyProtocol(**settings)).median_ms > 0
    export_onnx(as_subject(NETWORK), LatencyProtocol(**settings), tmp_path / "n.onnx")
    graph = onnx.load(str(tmp_path / "n.onnx")).graph
    assert {w.data_type for w in graph.initializer if len(w.dims) == 4} == {onnx.TensorProto.INT8}
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [20, 3, 64, 32]
    wide = nn.Sequential(nn.Conv2d(3, 320, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # scales as large as a weight
    export_onnx(as_subject(lambda: wide), LatencyProtocol(**settings), tmp_path / "w.onnx")
    assert refer_to_noise(onnx.load(str(tmp_path / "w.onnx"))) is None


@needs_onnx
@pytest.mark.parametrize("block", block_names())
def test_every_block_can_be_written_for_a_device_and_computes_the_same(block: str, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    protocol = LatencyProtocol(**SMALL)
    subject, path = as_subject(lambda: around(block)), tmp_path / "network.onnx"
    export_onnx(subject, protocol, path)
    assert onnx.load(str(path)).opset_import[0].version == 17
    images = sample_input(protocol)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = subject.make(protocol)(images)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


@needs_onnx
def test_an_engine_without_the_provider_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no CUDAExecutionProvider"):
        OnnxRuntimeEngine(str(tmp_path / "absent.onnx"), "cuda")


# -- TensorRT by a stand-in: the calls of 8.0 and of 10 and later differ


class FakeCuda:
    """A CUDA runtime that remembers what it was asked."""

    def __init__(self, number: int = 0) -> None:
        self.stream, self.sizes, self.waited = SimpleNamespace(value=7), [], 0

    def allocate(self, size: int, content: bytes | None = None) -> int:
        assert content is not None
        assert len(content) == size
        self.sizes.append(size)
        return 1000 + len(self.sizes)

    def synchronize(self) -> None:
        self.waited += 1

    def close(self) -> None:
        self.sizes = []


def fake_tensorrt(*, modern: bool, readable: bool = True, cores: int = 0, taken: int = 0) -> Any:
    """As much of TensorRT as an engine needs: 8.0's bindings or 10's named tensors; accelerators and what they take."""
    shapes = {"images": (2, 3, 64, 32), "embeddings": (2, 128)}
    names, calls = list(shapes), []

    class Engine:
        device_memory_size = 5_000_000

        def create_execution_context(self) -> Any:
            return SimpleNamespace(
                set_tensor_address=lambda name, address: calls.append((name, address)),
                execute_async_v3=lambda stream: calls.append(("v3", stream)) or True,
                execute_async_v2=lambda bindings, stream: calls.append(("v2", bindings, stream)) or True,
            )

    if modern:
        Engine.num_io_tensors = 2  # type: ignore[attr-defined]
        Engine.get_tensor_name = lambda self, i: names[i]  # type: ignore[attr-defined]
        Engine.get_tensor_shape = lambda self, name: shapes[name]  # type: ignore[attr-defined]
        Engine.get_tensor_dtype = lambda self, name: "DataType.HALF"  # type: ignore[attr-defined]
    else:
        Engine.num_bindings = 2  # type: ignore[attr-defined]
        Engine.get_binding_shape = lambda self, i: shapes[names[i]]  # type: ignore[attr-defined]
        Engine.get_binding_dtype = lambda self, i: "DataType.FLOAT"  # type: ignore[attr-defined]

    class Config:
        def __init__(self) -> None:
            self.flags: list[str] = []
            self.can_run_on_DLA = lambda layer: layer < taken
            if modern:
                self.set_memory_pool_limit = lambda *a: None

        def set_flag(self, flag: str) -> None:
            self.flags.append(flag)

    class Builder:
        config = Config()
        num_DLA_cores = cores  # noqa: N815 - TensorRT's name

        def __init__(self, logger: Any) -> None: ...

        def create_network(self, flags: int) -> Any:
            calls.append(("flags", flags))
            return SimpleNamespace(num_layers=10, get_layer=lambda i: i)

        def create_builder_config(self) -> Config:
            return self.config

        def build_serialized_network(self, network: Any, config: Config) -> Any:
            return SimpleNamespace(nbytes=3_000_000)

    class Parser:
        num_errors = 1

        def __init__(self, network: Any, logger: Any) -> None: ...

        def parse_from_file(self, path: str) -> bool:
            return readable

        def get_error(self, i: int) -> str:
            return "unsupported node"

    class Logger:
        ERROR: ClassVar[int] = 1

        def __init__(self, level: int) -> None: ...

    return SimpleNamespace(
        Logger=Logger,
        Builder=Builder,
        OnnxParser=Parser,
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: Engine()),
        NetworkDefinitionCreationFlag=SimpleNamespace() if modern else SimpleNamespace(EXPLICIT_BATCH=0),
        BuilderFlag=SimpleNamespace(**({} if modern else {"FP16": "fp16"}), GPU_FALLBACK="fallback"),
        DeviceType=SimpleNamespace(DLA="dla"),
        calls=calls,
    )


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    module = fake_tensorrt(**request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(engines, "CudaRuntime", FakeCuda)
    return module


@pytest.mark.parametrize("tensorrt", [{"modern": False}], indirect=True)
def test_tensorrt_8_runs_by_bindings(tensorrt: Any) -> None:
    engine = TensorRTEngine("network.onnx", "cuda", fp16=True)
    engine.run()
    assert ("flags", 1) in tensorrt.calls
    assert ("v2", [1001, 1002], 7) in tensorrt.calls
    assert tensorrt.Builder.config.flags == ["fp16"]
    assert tensorrt.Builder.config.max_workspace_size == 1 << 30
    sizes = 4 * (2 * 3 * 64 * 32 + 2 * 128)
    assert engine.peak_memory_mb() == pytest.approx((3_000_000 + 5_000_000 + sizes) / 1e6)
    engine.close()


@pytest.mark.parametrize("tensorrt", [{"modern": True}], indirect=True)
def test_later_tensorrt_runs_by_names_and_takes_precision_from_the_file(tensorrt: Any) -> None:
    engine = TensorRTEngine("network.onnx", "cuda:0", fp16=True)
    engine.run()
    assert [call for call in tensorrt.calls if call[0] in ("images", "embeddings")] == [
        ("images", 1001),
        ("embeddings", 1002),
    ]
    assert ("v3", 7) in tensorrt.calls
    assert tensorrt.Builder.config.flags == []


@pytest.mark.parametrize("tensorrt", [{"modern": True, "readable": False}], indirect=True)
def test_tensorrt_says_what_it_cannot_read(tensorrt: Any) -> None:
    with pytest.raises(EngineError, match="cannot read the network: unsupported node"):
        TensorRTEngine("network.onnx", "cuda", fp16=False)


@pytest.mark.parametrize("tensorrt", [{"modern": False, "cores": 2, "taken": 7}], indirect=True)
def test_an_engine_for_an_accelerator_tells_how_much_of_the_network_it_takes(tensorrt: Any) -> None:
    protocol = {"backend": "tensorrt", "device": "cuda", "precision": "fp16", "dla": 1}
    engine = engines.open_engine("network.onnx", protocol)
    config = tensorrt.Builder.config
    assert (config.default_device_type, config.DLA_core, config.flags) == ("dla", 1, ["fp16", "fallback"])
    assert engine.dla_layers == "7 of 10"
    with pytest.raises(EngineError, match="this board has 2 DLA cores: there is no core 2"):
        TensorRTEngine("network.onnx", "cuda", fp16=True, dla=2)


@pytest.mark.parametrize("tensorrt", [{"modern": True, "cores": 1, "taken": 0}], indirect=True)
def test_what_the_accelerator_cannot_run_at_all_is_not_told_as_its_time(tensorrt: Any) -> None:
    with pytest.raises(EngineError, match="all of it would run on the GPU"):
        TensorRTEngine("network.onnx", "cuda", fp16=True, dla=0)


def test_without_the_cuda_runtime_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(engines.ctypes, "CDLL", absent)
    with pytest.raises(EngineError, match="CUDA runtime"):
        engines.CudaRuntime()


# -- what is told of a backend is what runs


class FakeOnnxRuntime(SimpleNamespace):
    """ONNX Runtime as far as a session is made, with what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        super().__init__(
            SessionOptions=lambda: SimpleNamespace(add_session_config_entry=self.asked.__setitem__),
            get_available_providers=lambda: ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
            InferenceSession=self._session,
        )

    def _session(self, path: str, options: Any, providers: list[tuple[str, dict[str, Any]]]) -> Any:
        self.asked["providers"] = [name for name, _ in providers]
        return SimpleNamespace(
            disable_fallback=lambda: self.asked.update(fallback=False),
            get_providers=lambda: ["CPUExecutionProvider"],
        )


@pytest.mark.parametrize(
    ("tensorrt", "providers"),
    [(True, ["TensorrtExecutionProvider", "CUDAExecutionProvider"]), (False, ["CUDAExecutionProvider"])],
)
def test_no_node_runs_on_the_cpu_unseen(tensorrt: bool, providers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeOnnxRuntime()
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    with pytest.raises(EngineError, match="did not start; ONNX Runtime fell back"):
        OnnxRuntimeEngine("network.onnx", "cuda", tensorrt=tensorrt)
    assert runtime.asked == {
        "providers": providers,
        "session.disable_cpu_ep_fallback": "1",
        "fallback": False,
    }


def test_openvino_in_another_precision_than_asked_is_refused() -> None:
    def compiled(used: str) -> Any:
        return SimpleNamespace(get_property=lambda name: SimpleNamespace(get_type_name=lambda: used))

    openvino._require_precision(compiled("f16"), "fp16")
    with pytest.raises(LatencyError, match="OpenVINO would run in f32 on this processor, not in f16"):
        openvino._require_precision(compiled("f32"), "fp16")


def test_compiled_code_is_forgotten_when_the_last_session_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network and its reference are open together: forgetting one's code would have it compiled while timed."""
    forgotten: list[int] = []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: forgotten.append(1))
    monkeypatch.setattr(torch, "compile", lambda network: network)
    backend, protocol = get_backend("compile"), LatencyProtocol(backend="compile", **SMALL)
    first = backend.open(as_subject(tiny), protocol, 0)
    assert len(forgotten) == 1
    second = backend.open(as_subject(tiny), protocol, 0)
    first.close()
    first.close()
    second.run()
    assert len(forgotten) == 1
    second.close()
    assert len(forgotten) == 2


def test_triton_alone_does_not_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "absent")
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert "C compiler" in (compiled._triton_needs() or "")
    monkeypatch.setattr(compiled.shutil, "which", lambda name: "/usr/bin/cc")
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "Python.h" in (compiled._triton_needs() or "")
    (tmp_path / "Python.h").touch()
    assert compiled._triton_needs() is None


def test_a_graph_without_kernels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device that is not the current one nothing is recorded, and a replay takes 0.02 ms."""

    @contextlib.contextmanager
    def capture(graph: Any, stream: Any) -> Iterator[None]:
        yield
        warnings.warn("The CUDA Graph is empty. This usually means ...", stacklevel=1)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "a graph")
    monkeypatch.setattr(torch.cuda, "graph", capture)
    with pytest.raises(LatencyError, match="tiny: CUDA recorded no kernel of it"):
        cuda_graphs._captured(tiny(), torch.zeros(1, 3, 8, 8), None, "tiny")  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: contextlib.nullcontext())
    assert cuda_graphs._captured(tiny(), torch.zeros(1, 3, 8, 8), None, "tiny") == "a graph"  # type: ignore[arg-type]


@pytest.mark.parametrize(("tf32", "expected"), [(True, True), (None, False)])
def test_tf32_is_one_switch_and_set_back(tf32: bool | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark
    with numerics(LatencyProtocol(device="cuda", tf32=tf32)):
        assert (cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark) == (expected, expected, False)
    assert (cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark) == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device": "cuda:7"}, "no device cuda:7, only 2 of them"),
        ({"device": "cuda", "precision": "bf16"}, "bf16 needs compute capability 8.0, this card has 7.5"),
        ({"device": "cuda", "tf32": True}, "TF32 needs compute capability 8.0, this card has 7.5"),
    ],
)
def test_a_card_that_cannot_says_why(settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 5))
    assert said in (get_backend("eager").unavailable(LatencyProtocol(**settings)) or "")
