"""ONNX files in ONNX Runtime and TensorRT, ready to run batch by batch."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import importlib
import operator
import random
import struct
from typing import Any

from nas.latency.device_agent.machine import usable_cpus


class EngineError(Exception):
    """A network cannot be measured here; the message says why."""


class OnnxRuntimeEngine:
    """An ONNX file in ONNX Runtime; the batch stays where the provider wants it.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        threads: threads on a CPU; None: all usable ones.
        fp16: let the TensorRT provider use half precision.
    """

    def __init__(
        self, path: str, device: str, threads: int | None = None, tensorrt: bool = False, fp16: bool = False
    ) -> None:
        import numpy
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cpus()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        wanted, settings = onnx_provider(device, tensorrt, fp16)
        if wanted not in ort.get_available_providers():
            raise EngineError("this ONNX Runtime has no " + wanted)
        providers = [(wanted, settings)]
        if tensorrt:  # what TensorRT refuses runs on the GPU all the same
            providers.append(onnx_provider(device))
        if device != "cpu":  # a node on the CPU would be timed as if it were the GPU's
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._session = ort.InferenceSession(path, options, providers=providers)
        self._session.disable_fallback()
        if wanted not in self._session.get_providers():
            raise EngineError(wanted + " did not start; ONNX Runtime fell back to another provider")
        feed, place = self._session.get_inputs()[0], ("cpu", 0) if device == "cpu" else ("cuda", device_number(device))
        kind = {"tensor(float)": "float32", "tensor(float16)": "float16"}.get(feed.type)
        if kind is None:
            raise EngineError("an input of type " + feed.type + " cannot be fed")
        images = numpy.random.RandomState(0).standard_normal(feed.shape).astype(kind)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(feed.name, ort.OrtValue.ortvalue_from_numpy(images, *place))
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name, *place)

    def run(self) -> None:
        """One batch."""
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def peak_memory_mb(self) -> float | None:
        """Not told by ONNX Runtime."""
        return None

    def close(self) -> None:
        """Ends the session and its threads."""
        self._binding = self._session = None


def onnx_provider(device: str, tensorrt: bool = False, fp16: bool = False) -> tuple[str, dict[str, Any]]:
    """Name and settings of the ONNX Runtime provider for a device."""
    if device == "cpu":
        return "CPUExecutionProvider", {}
    if tensorrt:
        return "TensorrtExecutionProvider", {"device_id": device_number(device), "trt_fp16_enable": fp16}
    return "CUDAExecutionProvider", {"device_id": device_number(device)}


def device_number(device: str) -> int:
    """N of `cuda:N`, 0 for `cuda`."""
    return int(device.partition(":")[2] or 0)


class CudaRuntime:
    """The few calls of the CUDA runtime an engine needs, through ctypes: no PyCUDA, no torch."""

    def __init__(self, number: int = 0) -> None:
        names = [ctypes.util.find_library("cudart"), "libcudart.so"]
        names += ["libcudart.so." + version for version in ("13", "12", "11.0", "10.2")]
        for name in filter(None, names):
            try:
                self._library = ctypes.CDLL(name)
                break
            except OSError:
                continue
        else:
            raise EngineError("the CUDA runtime (libcudart.so) was not found")
        self._call("cudaSetDevice", number)
        self.stream = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(self.stream))
        self._buffers: list[ctypes.c_void_p] = []

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise EngineError(f"{name} failed with CUDA error {code}")

    def allocate(self, size: int, content: bytes | None = None) -> int:
        """Address of `size` bytes on the device, filled with `content` when given."""
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        self._buffers.append(pointer)
        if content is not None:
            self._call("cudaMemcpy", pointer, content, ctypes.c_size_t(len(content)), 1)
        return int(pointer.value or 0)

    def synchronize(self) -> None:
        """Waits for the stream."""
        self._call("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        """Frees buffers and stream."""
        for pointer in self._buffers:
            self._library.cudaFree(pointer)
        self._buffers = []
        self._library.cudaStreamDestroy(self.stream)


class TensorRTEngine:
    """An ONNX file built by TensorRT 8.0 or later.

    Args:
        fp16: allow half precision. TensorRT 11 takes precisions from the file alone: export it in half precision.
        dla: core of the board's deep-learning accelerator; None: the GPU. What it cannot run, the GPU does.

    Attributes:
        dla_layers: how many of how many layers of the network the accelerator can run; None without one.
    """

    dla_layers: str | None = None

    def __init__(self, path: str, device: str, fp16: bool, dla: int | None = None) -> None:
        import tensorrt as trt

        self._cuda = CudaRuntime(device_number(device))
        logger = trt.Logger(trt.Logger.ERROR)
        plan = self._build(trt, trt.Builder(logger), logger, path, fp16, dla)
        self._runtime = trt.Runtime(logger)
        if dla is not None:
            self._runtime.DLA_core = dla
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine.create_execution_context()
        self._plan_bytes = int(plan.nbytes)
        self._bound_bytes = 0
        self._named = hasattr(self._engine, "num_io_tensors")
        self._bindings = self._bind()

    def _build(self, trt: Any, builder: Any, logger: Any, path: str, fp16: bool, dla: int | None) -> Any:
        explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        network = builder.create_network(0 if explicit is None else 1 << int(explicit))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(path):
            errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise EngineError("TensorRT cannot read the network: " + errors)
        config = builder.create_builder_config()
        if not hasattr(config, "set_memory_pool_limit"):  # before 8.4 the default workspace is none at all
            config.max_workspace_size = 1 << 30
        if fp16 and hasattr(trt.BuilderFlag, "FP16"):
            config.set_flag(trt.BuilderFlag.FP16)
        if dla is not None:
            self.dla_layers = _on_accelerator(trt, builder, config, network, dla)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError("TensorRT could not build an engine")
        return plan

    def _bind(self) -> list[int]:
        engine, addresses = self._engine, []
        count = engine.num_io_tensors if self._named else engine.num_bindings
        for i in range(count):
            name = engine.get_tensor_name(i) if self._named else i
            shape = engine.get_tensor_shape(name) if self._named else engine.get_binding_shape(name)
            kind = str(engine.get_tensor_dtype(name) if self._named else engine.get_binding_dtype(name))
            code = {"HALF": "e", "FLOAT": "f"}.get(kind.rpartition(".")[2])
            if code is None:
                raise EngineError("a tensor of type " + kind + " cannot be fed")
            values = functools.reduce(operator.mul, (int(side) for side in shape), 1)
            content = normal_noise(values, code)
            address = self._cuda.allocate(len(content), content)
            self._bound_bytes += len(content)
            addresses.append(address)
            if self._named:
                self._context.set_tensor_address(name, address)
        return addresses

    def run(self) -> None:
        """One batch."""
        if self._named:
            started = self._context.execute_async_v3(self._cuda.stream.value)
        else:
            started = self._context.execute_async_v2(self._bindings, self._cuda.stream.value)
        if not started:
            raise EngineError("TensorRT did not start the batch")
        self._cuda.synchronize()

    def peak_memory_mb(self) -> float | None:
        """Engine, its working memory, inputs and outputs."""
        working = getattr(self._engine, "device_memory_size_v2", None) or self._engine.device_memory_size
        return (self._plan_bytes + int(working) + self._bound_bytes) / 1e6

    def close(self) -> None:
        """Frees the engine before the runtime it came from."""
        self._context = self._engine = self._runtime = None
        self._cuda.close()


def _on_accelerator(trt: Any, builder: Any, config: Any, network: Any, core: int) -> str:
    """Lets an engine be built for a core of the accelerator; tells how many layers it takes.

    Where it takes none, what was timed would be the GPU: an `EngineError`.
    """
    cores = builder.num_DLA_cores
    if core >= cores:
        raise EngineError(f"this board has {cores} DLA cores: there is no core {core}")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = network.num_layers
    taken = sum(bool(config.can_run_on_DLA(network.get_layer(i))) for i in range(layers))
    if not taken:
        raise EngineError("the DLA can run no layer of the network: all of it would run on the GPU")
    return f"{taken} of {layers}"


def normal_noise(values: int, code: str = "f", seed: int = 0) -> bytes:
    """`values` normal numbers as little-endian bytes of a `struct` code; a block of 65 536 repeated."""
    random_ = random.Random(seed)
    block = struct.pack("<65536" + code, *[random_.gauss(0.0, 1.0) for _ in range(65536)])
    size = values * struct.calcsize(code)
    return (block * (size // len(block) + 1))[:size]


def open_engine(path: str, protocol: dict[str, Any]) -> Any:
    """The engine a protocol asks for, with `run`, `peak_memory_mb` and `close`; an `EngineError` says why not."""
    device, backend, fp16 = protocol["device"], protocol["backend"], protocol["precision"] == "fp16"
    try:
        if backend in ("onnxruntime", "onnxruntime-tensorrt"):
            return OnnxRuntimeEngine(path, device, protocol["threads"], backend.endswith("tensorrt"), fp16)
        if backend == "tensorrt":
            return TensorRTEngine(path, device, fp16, protocol.get("dla"))
    except ImportError as error:
        raise EngineError(f"{error.name} is not installed on this device") from None
    raise EngineError(f"backend {backend!r} does not run from an ONNX file")


def engine_versions() -> dict[str, str]:
    """Versions of the engines that are installed."""
    found = {}
    for name in ("onnxruntime", "tensorrt", "numpy"):
        with contextlib.suppress(ImportError):
            found[name] = str(importlib.import_module(name).__version__)
    return found
