"""The part of a latency measurement that must run anywhere, in one module without dependencies of its own.

Python 3.8 and later, standard library only; ONNX Runtime or TensorRT are imported when used. Copied alone to a
device it is a program (see docs/how-to/jetson.md); inside the package its timing, statistics, machine readings and
engines serve the other modules, so that figures from a device and from here are made by the same lines. That is why
it is longer than a module should be.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import ctypes.util
import functools
import gc
import glob
import gzip
import hashlib
import importlib
import json
import math
import os
import platform
import random
import re
import sqlite3
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

FORMAT = 1
BLOCKS_KEPT = 20
QUIET_SHARE = 0.10  # others may keep this share of the processors busy before a figure counts as disturbed
NOISE_FILE = "noise.bin"


# --- statistics -----------------------------------------------------------------------------------------------------
def percentile(ordered: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100) of ascending values, linear between neighbours as numpy does.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.5
    """
    place = (len(ordered) - 1) * q / 100.0
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def block_medians(times: Sequence[float], blocks: int = BLOCKS_KEPT) -> list[float]:
    """Medians of at most `blocks` consecutive, nearly equal parts of the times.

    >>> block_medians([1.0, 2.0, 3.0, 9.0], 2)
    [1.5, 6.0]
    """
    count = min(blocks, len(times))
    edges = [round(i * len(times) / count) for i in range(count + 1)]
    return [percentile(sorted(times[edges[i] : edges[i + 1]]), 50) for i in range(count)]


def summarise(times: Sequence[float]) -> dict[str, Any]:
    """Median, mean, 5th and 95th percentile, sd, count and block medians of the times of single batches (ms)."""
    if not times:
        raise ValueError("no batch was timed")
    ordered, n = sorted(times), len(times)
    mean = math.fsum(times) / n
    sd = math.sqrt(math.fsum((t - mean) ** 2 for t in times) / (n - 1)) if n > 1 else None
    return {
        "median_ms": percentile(ordered, 50),
        "mean_ms": mean,
        "p5_ms": percentile(ordered, 5),
        "p95_ms": percentile(ordered, 95),
        "sd_ms": sd,
        "batches": n,
        "block_medians_ms": block_medians(times),
    }


# --- timing ---------------------------------------------------------------------------------------------------------
def time_batches(
    run: Callable[[], Any],
    warmup: int,
    batches: int | None,
    budget_s: float,
    min_batches: int = 5,
    on_batch: Callable[[int, int | None], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Milliseconds of single batches.

    Args:
        run: runs one batch and returns when it is finished.
        warmup: batches run first and thrown away.
        batches: how many to time; None: until `budget_s` seconds are spent, at least `min_batches`.
        budget_s: seconds of timing when `batches` is None.
        min_batches: see `batches`.
        on_batch: called between batches, outside the timed part, with the number done and the total if known.
        clock: seconds, monotonic.
    """
    for _ in range(warmup):
        run()
    times: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        until = clock() + budget_s
        while (len(times) < batches) if batches is not None else (len(times) < min_batches or clock() < until):
            begun = clock()
            run()
            times.append((clock() - begun) * 1000.0)
            if on_batch is not None:
                on_batch(len(times), batches)
    finally:
        if collecting:
            gc.enable()
    return times


# --- the machine ----------------------------------------------------------------------------------------------------
def read_text(path: str) -> str | None:
    """The stripped text of a small file, or None when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\x00\n\t ") or None
    except OSError:
        return None


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("model name", "hardware") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def read_machine(root: str = "/") -> dict[str, Any]:
    """What can be read about the machine without any library; None for what cannot.

    Args:
        root: where the system's files are, `/` except in tests.
    """
    governor = read_text(os.path.join(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "governor": governor,
        "board": read_text(os.path.join(root, "proc/device-tree/model")),
        "jetson_release": (read_text(os.path.join(root, "etc/nv_tegra_release")) or "").split(", GCID")[0] or None,
    }


def read_temperatures(root: str = "/") -> dict[str, float] | None:
    """Degrees Celsius of every thermal zone the system shows, or None without any."""
    base = os.path.join(root, "sys/class/thermal")
    try:
        zones = sorted(name for name in os.listdir(base) if name.startswith("thermal_zone"))
    except OSError:
        return None
    found = {}
    for zone in zones:
        kind, value = (read_text(os.path.join(base, zone, name)) for name in ("type", "temp"))
        if value is not None and value.lstrip("-").isdigit():
            found[kind or zone] = int(value) / 1000.0
    return found or None


def busy_seconds() -> float | None:
    """Seconds all processors together were busy since the system started, or None (not Linux)."""
    line = (read_text("/proc/stat") or "").partition("\n")[0].split()
    if len(line) < 9 or line[0] != "cpu":
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in line[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor seconds this process and its finished children used."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


# --- power of a Jetson ----------------------------------------------------------------------------------------------
def power_rails(root: str = "/") -> dict[str, Callable[[], float | None]]:
    """Readers of milliwatt, by rail, from the INA3221 monitors of a Jetson; empty elsewhere.

    JetPack 4 shows `in_power0_input` (mW) beside `rail_name_0`; JetPack 5 and later show `in1_input` (mV) and
    `curr1_input` (mA) beside `in1_label`.
    """
    rails: dict[str, Callable[[], float | None]] = {}
    drivers = os.path.join(root, "sys/bus/i2c/drivers")
    for path in sorted(glob.glob(os.path.join(drivers, "ina3221x/*/iio:device*/in_power*_input"))):
        folder, number = os.path.dirname(path), os.path.basename(path)[len("in_power") : -len("_input")]
        rails[read_text(os.path.join(folder, "rail_name_" + number)) or path] = _scaled(1.0, path)
    for path in sorted(glob.glob(os.path.join(drivers, "ina3221/*/hwmon/hwmon*/in[1-3]_input"))):
        stem = path[: -len("_input")]
        current = os.path.join(os.path.dirname(path), "curr" + stem[-1] + "_input")
        rails[read_text(stem + "_label") or path] = _scaled(1e-3, path, current)
    # A rail that carries the whole board stands for all of them.
    return {name: rails[name] for name in rails if name == "VDD_IN"} or rails


def _scaled(scale: float, *paths: str) -> Callable[[], float | None]:
    def read() -> float | None:
        product = scale
        for path in paths:
            text = read_text(path)
            if text is None or not text.lstrip("-").isdigit():
                return None
            product *= int(text)
        return product

    return read


class PowerMeter:
    """Mean power over a measurement, sampled between batches at most ten times a second."""

    def __init__(self, rails: dict[str, Callable[[], float | None]]) -> None:
        self._rails, self._samples, self._next = rails, [], 0.0  # type: ignore[var-annotated]

    def sample(self, *_: Any) -> None:
        """Reads all rails; does nothing when the last reading is fresh."""
        now = time.monotonic()
        if not self._rails or now < self._next:
            return
        self._next = now + 0.1
        values = [read() for read in self._rails.values()]
        if all(value is not None for value in values):
            self._samples.append(sum(value for value in values if value is not None))

    def mean_mw(self) -> float | None:
        """Mean of the samples in milliwatt, None without any."""
        return sum(self._samples) / len(self._samples) if self._samples else None


# --- engines --------------------------------------------------------------------------------------------------------
class EngineError(Exception):
    """A network cannot be measured here; the message says why."""


class OnnxRuntimeEngine:
    """An ONNX file in ONNX Runtime; the batch stays where the provider wants it.

    Args:
        path: the ONNX file; its one input has a fixed shape.
        device: `cpu`, `cuda` or `cuda:N`.
        threads: threads on a CPU; None: all usable ones.
        tensorrt: use the TensorRT provider on a CUDA device.
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
        fallback = [] if device == "cpu" else ["CPUExecutionProvider"]
        self._session = ort.InferenceSession(path, options, providers=[(wanted, settings), *fallback])
        if wanted not in self._session.get_providers():
            raise EngineError(wanted + " did not start; ONNX Runtime fell back to the CPU")
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
        path: the ONNX file; its inputs have fixed shapes.
        device: `cuda` or `cuda:N`.
        fp16: allow half precision. TensorRT 11 takes precisions from the file alone: export it in half precision.
    """

    def __init__(self, path: str, device: str, fp16: bool) -> None:
        import tensorrt as trt

        self._cuda = CudaRuntime(device_number(device))
        logger = trt.Logger(trt.Logger.ERROR)
        plan = self._build(trt, trt.Builder(logger), logger, path, fp16)
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine.create_execution_context()
        self._plan_bytes = int(plan.nbytes)
        self._bound_bytes = 0
        self._named = hasattr(self._engine, "num_io_tensors")
        self._bindings = self._bind()

    @staticmethod
    def _build(trt: Any, builder: Any, logger: Any, path: str, fp16: bool) -> Any:
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
            values = math.prod(int(side) for side in shape)
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


def normal_noise(values: int, code: str = "f", seed: int = 0) -> bytes:
    """`values` normal numbers as little-endian bytes of a `struct` code; a block of 65 536 repeated."""
    random_ = random.Random(seed)
    block = struct.pack("<65536" + code, *[random_.gauss(0.0, 1.0) for _ in range(65536)])
    size = values * struct.calcsize(code)
    return (block * (size // len(block) + 1))[:size]


def open_engine(path: str, protocol: dict[str, Any]) -> Any:
    """The engine a protocol asks for, with `run`, `peak_memory_mb` and `close`.

    Raises:
        EngineError: when this device cannot do it.
    """
    device, backend, fp16 = protocol["device"], protocol["backend"], protocol["precision"] == "fp16"
    try:
        if backend in ("onnxruntime", "onnxruntime-tensorrt"):
            return OnnxRuntimeEngine(path, device, protocol["threads"], backend.endswith("tensorrt"), fp16)
        if backend == "tensorrt":
            return TensorRTEngine(path, device, fp16)
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


# --- one job --------------------------------------------------------------------------------------------------------
def pool_builds(times: Sequence[Sequence[float]], seconds: Sequence[float | None]) -> dict[str, Any]:
    """The figures of a record from the times (ms) of the batches of each build, and how long each build took."""
    builds = []
    for own, took in zip(times, seconds):  # noqa: B905 - no `strict` in Python 3.8
        figures = summarise(own)
        kept = ("batches", "median_ms", "mean_ms", "sd_ms", "block_medians_ms")
        builds.append(dict([(key, figures[key]) for key in kept], build_s=took))
    together = summarise([time_ for own in times for time_ in own])
    del together["block_medians_ms"]
    return dict(together, builds=builds)


def measure_job(job: dict[str, Any], path: str, on_batch: Callable[..., None] | None = None) -> dict[str, Any]:
    """Times the ONNX file of a job by its protocol; the record as plain data.

    Raises:
        EngineError: when this device cannot do it.
    """
    protocol = job["protocol"]
    power, times, seconds, memory = PowerMeter(power_rails()), [], [], None

    def between(done: int, total: int | None) -> None:
        power.sample()
        if on_batch is not None:
            on_batch(done, total)

    others = [others_share(lambda: time.sleep(0.2))]
    warm = read_temperatures()
    for _ in range(protocol["builds"]):
        begun = time.perf_counter()
        engine = open_engine(path, protocol)
        seconds.append(time.perf_counter() - begun)
        try:
            memory = engine.peak_memory_mb()
            time_batches(engine.run, 0, max(protocol["warmup"], 1), 0.0)

            def step(engine: Any = engine) -> None:
                settings = protocol["batches"], protocol["time_budget_s"], protocol["min_batches"]
                times.append(time_batches(engine.run, 0, *settings, on_batch=between))

            others.append(others_share(step))
        finally:
            engine.close()
    figures = pool_builds(times, seconds)
    milliwatt = power.mean_mw()
    known = [share for share in others if share is not None]
    environment = dict(read_machine(), libraries=engine_versions(), others_cpu_share=max(known) if known else None)
    states = {"before": warm, "after": read_temperatures()}
    return dict(
        figures,
        protocol=protocol,
        device_name=job["device"],
        peak_memory_mb=memory,
        energy_mj=None if milliwatt is None else milliwatt * figures["mean_ms"] / 1000.0,
        clocks=states if any(states.values()) else None,
        isolated=all(share <= QUIET_SHARE for share in known),
        drift=None,
        environment=environment,
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        notation=job["notation"],
    )


def others_share(work: Callable[[], Any]) -> float | None:
    """Share of the machine's processor time that others used while `work` ran, 0 to 1; None when not read."""
    begun, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    work()
    span, busy_after = time.monotonic() - begun, busy_seconds()
    if busy is None or busy_after is None or span <= 0:
        return None
    others = (busy_after - busy) - (own_seconds() - own)
    return min(1.0, max(0.0, others / (span * (os.cpu_count() or 1))))


# --- weights made on the device -------------------------------------------------------------------------------------
def noise_file(folder: str, parts: str) -> str:
    """Writes the file of noise weights a network refers to; returns its path.

    A latency does not depend on the values of weights, so they need not travel. Every weight has a part of the file
    to itself, as it would have memory to itself: weights that share memory would share caches too.

    Args:
        folder: where the network is.
        parts: the kind of numbers, then `EXPONENT:BYTES` for each weight in order, such as `f32 -4:36864 -6:4096`:
            normal numbers with standard deviation 2**EXPONENT.
    """
    if not re.match(r"(f32|f16)( -?\d{1,2}:\d{1,10})+$", parts):
        raise EngineError("the job describes its weights in a way this agent does not know")
    kind, *listed = parts.split(" ")
    code = {"f32": "f", "f16": "e"}[kind]
    random_, blocks, path = random.Random(0), {}, os.path.join(folder, NOISE_FILE)
    unit = [random_.gauss(0.0, 1.0) for _ in range(65536)]
    with open(path, "wb") as file:
        for exponent, size in (map(int, part.split(":")) for part in listed):
            if exponent not in blocks:
                blocks[exponent] = struct.pack("<65536" + code, *[value * 2.0**exponent for value in unit])
            whole, rest = divmod(size, len(blocks[exponent]))
            for _ in range(whole):
                file.write(blocks[exponent])
            file.write(blocks[exponent][:rest])
    return path


# --- where jobs come from -------------------------------------------------------------------------------------------
class FolderMailbox:
    """Jobs and results as files: `jobs/ID/job.json`, `jobs/ID/network.onnx.gz`, `results/ID.json`.

    Args:
        folder: the exchange folder; one agent at a time works in it.
        device: only jobs for this device; None: any.
    """

    def __init__(self, folder: str, device: str | None = None) -> None:
        import fcntl

        self.folder, self.device = folder, device
        if not os.path.isdir(os.path.join(folder, "jobs")):
            raise EngineError(f"{folder} holds no folder 'jobs': is it an exchange folder?")
        os.makedirs(os.path.join(folder, "results"), exist_ok=True)
        self._lock = open(os.path.join(folder, ".agent"), "w")  # noqa: SIM115 - held until the program ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EngineError(f"another agent works in {folder}") from None

    def claim(self) -> dict[str, Any] | None:
        """The next job without a result, or None."""
        for name in sorted(os.listdir(os.path.join(self.folder, "jobs"))):
            text = read_text(os.path.join(self.folder, "jobs", name, "job.json"))
            if text is None or os.path.exists(self._result(name)):
                continue
            try:
                job = dict(json.loads(text), id=name)
                if job["format"] != FORMAT:
                    raise ValueError("format {!r}".format(job["format"]))
            except (ValueError, KeyError, TypeError):
                self.fail({"id": name}, "job.json is damaged or of another version")
                continue
            if self.device in (None, job["device"]):
                return job
        return None

    def _result(self, name: str) -> str:
        return os.path.join(self.folder, "results", name + ".json")

    def busy(self) -> bool:
        """Whether another agent works here now: never, a folder belongs to one."""
        return False

    def network(self, job: dict[str, Any]) -> bytes | None:
        """The packed network of a job."""
        try:
            with open(os.path.join(self.folder, "jobs", job["id"], "network.onnx.gz"), "rb") as file:
                return file.read()
        except OSError:
            return None

    @contextlib.contextmanager
    def alive(self, job: dict[str, Any]) -> Iterator[None]:
        """Nothing to renew: the folder is ours while we live."""
        yield

    def finish(self, job: dict[str, Any], record: dict[str, Any]) -> None:
        """Writes the record, whole or not at all."""
        self._write(job["id"], {"job": job["id"], "job_sha256": job["sha256"], "record": record})

    def fail(self, job: dict[str, Any], reason: str) -> None:
        """Writes why there is no record."""
        self._write(job["id"], {"job": job["id"], "job_sha256": job.get("sha256"), "reason": reason})

    def release(self, job: dict[str, Any]) -> None:
        """Nothing to give back: a job without a result is open."""

    def _write(self, name: str, payload: dict[str, Any]) -> None:
        with open(self._result(name) + ".part", "w", encoding="utf-8") as file:
            json.dump({"payload": payload, "sha256": payload_sha256(payload)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._result(name) + ".part", self._result(name))


def payload_sha256(payload: Any) -> str:
    """Checksum of plain data, the same on every machine."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class DatabaseMailbox:
    """Jobs in the table `nas_latency_job` of a study's database, SQLite or PostgreSQL.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`.
        device: the name jobs are addressed to. Who measures for it holds it (a lease in `nas_device`), so that agents
            started twice on one box take turns; two boxes of a kind need two names.
        lease_s: seconds until the device and the job of a silent agent go to another one.
        max_attempts: after so many silent agents a job counts as failed.
    """

    def __init__(self, url: str, device: str, lease_s: float = 120.0, max_attempts: int = 3) -> None:
        self.device, self.lease_s, self.max_attempts = device, lease_s, max_attempts
        self.owner = f"{platform.node()}/{os.getpid()}/{random.SystemRandom().getrandbits(32):08x}"
        self._connect, self._postgres, self.errors = connector(url)
        try:
            with contextlib.closing(self._connect()) as connection:
                self._run(connection, "SELECT count(*) FROM nas_latency_job")
        except self.errors as error:
            raise EngineError(f"the database cannot be used: {error}") from None

    def _run(self, connection: Any, sql: str, values: Sequence[Any] = ()) -> Any:
        now = "EXTRACT(EPOCH FROM clock_timestamp())" if self._postgres else "(julianday('now')-2440587.5)*86400.0"
        sql = sql.replace(":now", f"CAST({now} AS DOUBLE PRECISION)")
        if self._postgres:
            sql = sql.replace("?", "%s")
        cursor = connection.cursor()
        cursor.execute(sql, tuple(values))
        return cursor

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        with contextlib.closing(self._connect()) as connection:
            if not self._postgres:
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def claim(self) -> dict[str, Any] | None:
        """The next job that waits or whose agent fell silent, or None."""
        columns = ("id", "device", "architecture_id", "notation", "protocol_id", "protocol", "noise", "sha256")
        with self._transaction() as connection:
            self._run(
                connection,
                "UPDATE nas_latency_job SET status='failed', reason='every agent that took it fell silent', owner=NULL,"
                " finished_at=:now WHERE status='running' AND lease_until < :now AND device=? AND attempts >= ?",
                (self.device, self.max_attempts),
            )
            found = self._run(
                connection,
                "SELECT {} FROM nas_latency_job WHERE device=? AND (status='waiting' OR (status='running' AND "
                "lease_until < :now)) ORDER BY id LIMIT 1{}".format(
                    ", ".join(columns), " FOR UPDATE SKIP LOCKED" if self._postgres else ""
                ),
                (self.device,),
            ).fetchone()
            if found is None or not self._lease_device(connection):
                return None
            job = dict(zip(columns, found))  # noqa: B905
            self._run(
                connection,
                "UPDATE nas_latency_job SET status='running', owner=?, lease_until=:now + ?, attempts=attempts+1 "
                "WHERE id=?",
                (self.owner, self.lease_s, job["id"]),
            )
        job["protocol"] = json.loads(job["protocol"])
        return job

    def _lease_device(self, connection: Any) -> bool:
        """Takes or extends the right to measure on the device; False while another agent holds it."""
        self._run(
            connection,
            "INSERT INTO nas_device (id, description, created_at) VALUES (?, '{}', :now) ON CONFLICT DO NOTHING",
            (self.device,),
        )
        taken = self._run(
            connection,
            "UPDATE nas_device SET owner=?, lease_until=:now + ? "
            "WHERE id=? AND (owner IS NULL OR owner=? OR lease_until < :now)",
            (self.owner, self.lease_s, self.device, self.owner),
        )
        return bool(taken.rowcount)

    def _free_device(self, connection: Any) -> None:
        sql = "UPDATE nas_device SET owner=NULL, lease_until=NULL WHERE id=? AND owner=?"
        self._run(connection, sql, (self.device, self.owner))

    def busy(self) -> bool:
        """Whether another agent holds the device now, so that jobs may become free again."""
        sql = "SELECT count(*) FROM nas_device WHERE id=? AND owner IS NOT NULL AND owner<>? AND lease_until >= :now"
        with contextlib.closing(self._connect()) as connection:
            return bool(self._run(connection, sql, (self.device, self.owner)).fetchone()[0])

    def network(self, job: dict[str, Any]) -> bytes | None:
        """The packed network of a job."""
        with contextlib.closing(self._connect()) as connection:
            row = self._run(connection, "SELECT network FROM nas_latency_job WHERE id=?", (job["id"],)).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    @contextlib.contextmanager
    def alive(self, job: dict[str, Any]) -> Iterator[None]:
        """Renews the leases from a thread; an unreachable database is tried again."""
        stop = threading.Event()

        def renew() -> None:
            while not stop.wait(self.lease_s / 4.0):
                with contextlib.suppress(*self.errors), self._transaction() as connection:
                    self._lease_device(connection)
                    self._update(connection, job, "lease_until=:now + ?", (self.lease_s,))

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(10.0)

    def _update(self, connection: Any, job: dict[str, Any], what: str, values: Sequence[Any]) -> None:
        sql = "UPDATE nas_latency_job SET " + what + " WHERE id=? AND owner=? AND status='running'"
        self._run(connection, sql, [*values, job["id"], self.owner])

    def _close(self, job: dict[str, Any], what: str, values: Sequence[Any]) -> None:
        with self._transaction() as connection:
            self._update(connection, job, what, values)
            self._free_device(connection)

    def finish(self, job: dict[str, Any], record: dict[str, Any]) -> None:
        """Stores the record, unless the job went to another agent meanwhile."""
        self._close(job, "status='finished', result=?, finished_at=:now, owner=NULL", (json.dumps(record),))

    def fail(self, job: dict[str, Any], reason: str) -> None:
        """Stores why there is no record."""
        self._close(job, "status='failed', reason=?, finished_at=:now, owner=NULL", (reason[:2000],))

    def release(self, job: dict[str, Any]) -> None:
        """Gives the job back unfinished."""
        self._close(job, "status='waiting', owner=NULL, attempts=attempts-1", ())


def connector(url: str) -> tuple[Callable[[], Any], bool, tuple[Any, ...]]:
    """How to connect to a database, whether it is PostgreSQL, and the errors its driver raises."""
    kind, _, rest = url.partition("://")
    if kind.startswith("sqlite") or not rest:
        path = rest[1:] if rest else url
        if not os.path.exists(path):
            raise EngineError(f"there is no database at {path}")
        return (lambda: sqlite3.connect(path, timeout=60.0, isolation_level=None)), False, (sqlite3.Error,)
    for name in ("psycopg", "psycopg2"):
        with contextlib.suppress(ImportError):
            driver = importlib.import_module(name)
            return functools.partial(driver.connect, "postgresql://" + rest), True, (driver.Error,)
    raise EngineError("PostgreSQL needs the Python package psycopg or psycopg2")


# --- the agent ------------------------------------------------------------------------------------------------------
def serve(
    mailbox: Any,
    work: str,
    measure: Callable[..., dict[str, Any]] = measure_job,
    once: bool = False,
    poll_s: float = 5.0,
    log: Callable[[str], None] = print,
) -> int:
    """Takes jobs one after the other; returns the number measured when there are no more (`once`).

    Args:
        mailbox: a `FolderMailbox` or a `DatabaseMailbox`.
        work: folder for unpacked networks; what is in it may be deleted.
        measure: the job and the path of its ONNX file to a record.
        once: end when no job is open instead of asking again.
        poll_s: seconds between questions.
        log: told one line a job.
    """
    errors, measured = getattr(mailbox, "errors", ()), 0
    while True:
        try:
            job = mailbox.claim()
            if job is None and once and not mailbox.busy():
                return measured
        except errors as error:
            log(f"the database does not answer ({type(error).__name__}); asking again")
            time.sleep(poll_s)
            continue
        if job is None:
            time.sleep(poll_s)
            continue
        measured += _do(mailbox, job, work, measure, log)


def _do(mailbox: Any, job: dict[str, Any], work: str, measure: Any, log: Callable[[str], None]) -> int:
    name = job.get("notation") or job["id"]
    try:
        with mailbox.alive(job):
            record = measure(job, unpack(mailbox.network(job), job, work))
    except KeyboardInterrupt:
        mailbox.release(job)
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        log(f"{name}: not measured, {reason}")
        _insist(mailbox, lambda: mailbox.fail(job, reason))
        return 0
    _insist(mailbox, lambda: mailbox.finish(job, record))
    log("{}: {:.3f} ms a batch".format(name, record["median_ms"]))
    return 1


def _insist(mailbox: Any, write: Callable[[], None], tries: int = 30) -> None:
    """Writes a result although the database may be away for some minutes."""
    for left in reversed(range(tries)):
        try:
            return write()
        except getattr(mailbox, "errors", ()):
            if not left:
                raise
            time.sleep(10.0)
    return None


def unpack(packed: bytes | None, job: dict[str, Any], work: str) -> str | None:
    """The path of a job's ONNX file, checked and unpacked into the work folder; None for a job without one."""
    if not job["sha256"]:
        return None
    if packed is None or hashlib.sha256(packed).hexdigest() != job["sha256"]:
        raise EngineError("the network file is damaged or missing")
    os.makedirs(work, exist_ok=True)
    path = os.path.join(work, "network.onnx")
    with open(path, "wb") as file:
        file.write(gzip.decompress(packed))
    if job.get("noise"):
        noise_file(work, job["noise"])
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: `python3 device_agent.py --folder FOLDER` or `--db URL --device NAME`."""
    parser = argparse.ArgumentParser(description="Measures the latency of networks for a study elsewhere.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", help="exchange folder made by `nas latency export-jobs`")
    source.add_argument("--db", help="the study's database, sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    parser.add_argument("--device", help="name of this device in the study (needed with --db)")
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "nas-device"), help="folder for networks")
    parser.add_argument("--once", action="store_true", help="end when no job is open")
    parser.add_argument("--poll", type=float, default=5.0, help="seconds between questions for jobs")
    parser.add_argument("--lease", type=float, default=120.0, help="seconds until a silent agent's job is given away")
    options = parser.parse_args(arguments)
    if options.db and not options.device:
        parser.error("--db needs --device NAME")
    try:
        mailbox: Any = (
            FolderMailbox(options.folder, options.device)
            if options.folder
            else DatabaseMailbox(options.db, options.device, options.lease)
        )
        measured = serve(mailbox, options.work, once=options.once or bool(options.folder), poll_s=options.poll)
    except EngineError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{measured} network(s) measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
