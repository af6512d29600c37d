"""How a latency is measured: one frozen value, stored whole beside every figure.

Two figures can be compared when their protocols have the same id and their devices the same name. What a device or a
backend makes of a protocol is left to `nas.latency.backends`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from operator import index
from typing import Any

from nas.errors import LatencyError, unknown_name
from nas.files.hashes import hash_of_data
from nas.spaces import own_code

INT8 = "int8"
PRECISIONS = ("fp32", "fp16", "bf16", INT8)
FORMS = ("fast", "plain")

CPU_WARMUP = 3  # batches: the first ones allocate memory and choose kernels
GPU_WARMUP_S = 2.0  # a card leaves its idle clocks within a second, whatever the network: a time, not a count
GPU_BATCHES = 1000  # a tenth of the paper's 10 000, for a card that nobody shares spreads little
MAX_WARMUP_S = 600.0
MAX_BUDGET_S = 86_400.0
MAX_SIDE = 16_384
MOST = 100_000  # of anything that is counted: a number with too many zeros is refused before memory goes
AUTO = "auto"
ONNX_BACKENDS = ("onnxruntime", "onnxruntime-tensorrt", "tensorrt", "openvino")
OPSET = 17  # from 18 on, TensorRT 8.0 to 8.6 (JetPack 5 and 6.0) reads the axes of ReduceMean wrongly
FORMER_OPSET = 13  # of records made before the operator set was a part of the protocol


@dataclass(frozen=True)
class Neighbour:
    """A network that works on the same device meanwhile.

    Attributes:
        network: its notation.
        period_ms: milliseconds from the start of one of its batches to the next.
    """

    network: str
    period_ms: float


@dataclass(frozen=True)
class DeployedHead:
    """What a network makes its embedding with, where that is not pooling by the mean and the BNNeck.

    Attributes:
        name: of the head, as recipes name it.
        pooling: `gap` or `gem`.
        settings: what the head takes, by name.
    """

    name: str
    pooling: str = "gap"
    settings: tuple[tuple[str, Any], ...] = ()

    def arguments(self) -> dict[str, Any]:
        """As `build_network` takes it."""
        return {"head": self.name, "pooling": self.pooling, "head_settings": dict(self.settings)}


@dataclass(frozen=True)
class LatencyProtocol:
    """What is timed, with what, how often.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`; a far device uses its own (`cuda` on a Jetson).
        backend: a name of `nas.latency.backends.BACKENDS` (eager, compile, cuda_graphs, onnxruntime, ...), or of one's
            own; auto: cuda_graphs on a GPU (eager would time how fast Python starts kernels), eager on a CPU.
        precision: number format of weights and activations: fp32, fp16, bf16, or int8 (quantised by ONNX Runtime, and
            run in it on a CPU).
        batch: images a batch.
        input: height and width of the images in pixels; there are 3 channels.
        warmup: batches run and thrown away first; None: 3 on a CPU, by time on a GPU.
        warmup_s: seconds of such batches; None: 2 on a GPU where `warmup` is None, else none.
        batches: batches timed a build; None: 1 000 on a GPU, on a CPU as many as fit in `time_budget_s`.
        time_budget_s: seconds of timing a build where `batches` is None and the device is a CPU.
        min_batches: batches timed a build even when the budget is spent.
        threads: threads of a CPU backend; None: all the process may use.
        builds: how many times the engine is built (compiled, loaded) and timed anew.
        fold_batchnorm: batch normalisation folded into the convolutions, as the network would be deployed.
        form: `fast` or `plain` form of the blocks, where a block has both.
        channels_last: activations stored channels last (PyTorch backends); None: on a GPU, where networks are trained
            and deployed so.
        tf32: whether an fp32 network may use the TF32 units of a GPU, in convolutions and matrix products alike; None:
            no. Without a meaning elsewhere.
        opset: ONNX operator set of the backends that run from a file; None: 17.
        islands: of those backends in fp16, whether blocks keep sums and softmax in fp32; None: yes. Engines of other
            versions treat such islands differently.
        dla: core of a board's deep-learning accelerator (DLA) that a TensorRT engine in fp16 is built for; what it
            cannot run, the GPU does; None: the GPU alone.
        isolated: whether the figure is meant for a machine that does nothing else.
        load: a network that works on the same device meanwhile, in a process of its own, in the same backend, precision
            and batch: a `Neighbour` or a mapping of `network` and `period_ms`; None: none.
        head: of the network: a `DeployedHead` or a mapping of `name`, `pooling` and `settings`, in a study that of its
            recipe; None: the mean and the BNNeck.
        heads: heads on one trunk: the network's own, and others like it with weights of their own.
        code: hash of the source of a backend of one's own, and of what the timed networks run that does not ship with
            this package; written by the program.
    """

    device: str = "cpu"
    backend: str = AUTO
    precision: str = "fp32"
    batch: int = 16
    input: tuple[int, int] = (256, 128)
    warmup: int | None = None
    warmup_s: float | None = None
    batches: int | None = None
    time_budget_s: float = 10.0
    min_batches: int = 5
    threads: int | None = None
    builds: int = 1
    fold_batchnorm: bool = True
    form: str = "fast"
    channels_last: bool | None = None
    tf32: bool | None = None
    opset: int | None = None
    islands: bool | None = None
    dla: int | None = None
    isolated: bool = True
    load: Neighbour | None = None
    head: DeployedHead | None = None
    heads: int = 1
    code: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", _input_size(self.input))
        object.__setattr__(self, "time_budget_s", _number(self.time_budget_s))
        object.__setattr__(self, "warmup_s", None if self.warmup_s is None else _number(self.warmup_s))
        object.__setattr__(self, "load", _beside(self.load))
        object.__setattr__(self, "head", _head(self.head))
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("form", self.form, FORMS)
        if self.device != "cpu" and self.device.partition(":")[0] != "cuda":
            raise LatencyError(f"latency device {self.device!r} is not known", "write cpu, cuda or cuda:0")
        if self.backend == AUTO:
            object.__setattr__(self, "backend", "cuda_graphs" if self.on_gpu else "eager")
        if self.precision == INT8 and (self.backend != "onnxruntime" or self.on_gpu):
            raise LatencyError(
                f"latency: int8 is timed in ONNX Runtime on a CPU, not in {self.backend} on {self.device}",
                "write backend: onnxruntime and device: cpu",
            )
        if self.code is None and own_code.is_own(self.backend) and own_code.is_trusted(self.backend):
            object.__setattr__(self, "code", own_code.code_hash([self.backend]))
        for name in ("batch", "batches", "min_batches", "threads", "builds", "heads"):
            _at_least(name, getattr(self, name), 1)
        _at_least("warmup", self.warmup, 0)
        _at_least("dla", self.dla, 0)
        if self.dla is not None and (self.backend != "tensorrt" or self.precision != "fp16"):
            raise LatencyError(
                f"latency: dla is for TensorRT in fp16, not for {self.backend} in {self.precision}",
                "write backend: tensorrt, precision: fp16 and device: cuda",
            )
        _at_least("opset", self.opset, 9)
        if self.warmup_s is not None and not 0 <= self.warmup_s <= MAX_WARMUP_S:
            raise LatencyError(f"latency: warmup_s must be from 0 to {MAX_WARMUP_S:g} seconds, not {self.warmup_s!r}")
        if not 0 < self.time_budget_s <= MAX_BUDGET_S:
            raise LatencyError(
                f"latency: time_budget_s must be above 0 and at most {MAX_BUDGET_S:g} seconds, not {self.time_budget_s}"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatencyProtocol:
        """A protocol from plain data (a study file, a stored record); missing keys take their defaults.

        Raises:
            LatencyError: for an unknown key or an illegal value; names the key and the closest known one.
        """
        known = [field.name for field in fields(cls)]
        for key in data:
            if key not in known:
                raise LatencyError(unknown_name("latency setting", str(key), known))
        return cls(**data)

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> LatencyProtocol:
        """The protocol of a stored record, also of one made before some keys existed."""
        if "opset" not in data and data.get("backend") in ONNX_BACKENDS:
            data = {**data, "opset": FORMER_OPSET}
        return cls.from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; `from_dict` reads it back."""
        head = self.head and {**asdict(self.head), "settings": dict(self.head.settings)}
        return asdict(self) | {"input": list(self.input), "head": head}

    def of_code(self, names: Iterable[str]) -> LatencyProtocol:
        """The same for networks that run this code (named as for `own_code.code_hash`): edited, it is timed anew.

        Raises:
            SpaceError: one of them is not trusted, or cannot be imported.
        """
        backend = [self.backend] if own_code.is_own(self.backend) else []
        return replace(self, code=own_code.code_hash([*names, *backend]) or None)

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for protocols that measure the same way.

        `cuda` and `cuda:1` measure the same way (which card it was is the device's name). On a GPU neither threads nor
        a budget of seconds have a part in it. Keys that have no meaning for a protocol are left out, so that ids of
        records made before these keys existed stay.
        """
        own = self.resolved().to_dict()
        if self.on_gpu:
            own |= {"device": "cuda", "threads": None, "time_budget_s": LatencyProtocol.time_budget_s}
        left_out = [key for key in ("warmup_s", "tf32", "opset", "islands", "dla", "load", "head") if own[key] is None]
        left_out += [key for key, usual in (("heads", 1), ("code", None)) if own[key] == usual]
        if self.opset == FORMER_OPSET:
            left_out.append("opset")
        return hash_of_data({key: value for key, value in own.items() if key not in left_out})

    def resolved(self) -> LatencyProtocol:
        """The same protocol with the defaults that depend on device and backend written out."""
        warmup, warmup_s = self.warmup, self.warmup_s
        if warmup is None and warmup_s is None:
            warmup, warmup_s = (None, GPU_WARMUP_S) if self.on_gpu else (CPU_WARMUP, None)
        from_file = self.backend in ONNX_BACKENDS
        layout = self.on_gpu if self.channels_last is None else self.channels_last
        return replace(
            self,
            warmup=warmup,
            warmup_s=warmup_s,
            batches=self.batches if self.batches is not None or not self.on_gpu else GPU_BATCHES,
            channels_last=layout and not from_file,
            tf32=bool(self.tf32) if self.on_gpu and self.precision == "fp32" else None,
            opset=(self.opset or OPSET) if from_file else None,
            islands=False if from_file and self.precision == "fp16" and self.islands is False else None,
        )

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device != "cpu"

    def sentence(self) -> str:
        """The protocol in one line, for people."""
        height, width = self.input
        own = self.resolved()
        count = f"{own.batches} batches" if own.batches else f"batches for {own.time_budget_s:g} s"
        builds = f" x {self.builds} builds" if self.builds > 1 else ""
        units = {True: " with TF32", False: " without TF32", None: ""}[own.tf32]
        layout = " channels last" if own.channels_last else " throughout" if own.islands is False else ""
        place = self.device if self.dla is None else f"DLA core {self.dla} of {self.device}"
        warm = f"{own.warmup} batches" if own.warmup is not None else f"{own.warmup_s:g} s"
        beside = f", beside {self.load.network} every {self.load.period_ms:g} ms" if self.load else ""
        head = f", head {self.head.name} after {self.head.pooling}" if self.head else ""
        beside += f", one trunk with {self.heads} heads" if self.heads > 1 else ""
        return (
            f"{self.backend} {self.precision}{units}{layout} on {place}, batch {self.batch} of "
            f"3x{height}x{width}{head}, {warm} of warm-up, {count}{builds}{beside}"
        )


def _beside(value: object) -> Neighbour | None:
    if value is None or isinstance(value, Neighbour):
        return value
    if not isinstance(value, Mapping) or set(value) != {"network", "period_ms"}:
        raise LatencyError("latency: load must be {network: NOTATION, period_ms: N}")
    period = _number(value["period_ms"])
    if not 0 < period < math.inf:
        raise LatencyError(f"latency: load: period_ms must be above 0, not {value['period_ms']!r}")
    return Neighbour(str(value["network"]), period)


def _head(value: Any) -> DeployedHead | None:
    if value is None or isinstance(value, DeployedHead):
        found = value
    else:
        try:
            given = dict(value)
            settings = tuple(sorted((str(key), value) for key, value in dict(given.pop("settings", {})).items()))
            found = DeployedHead(**given, settings=settings)
        except (TypeError, ValueError) as error:
            raise LatencyError("latency: head must be {name: ..., pooling: ..., settings: {...}}") from error
    return None if found == DeployedHead("bnneck") else found


def _input_size(value: Any) -> tuple[int, int]:
    try:
        height, width = (index(side) for side in value)
    except (TypeError, ValueError) as error:
        raise LatencyError(f"latency: input must be a height and a width such as [256, 128], not {value!r}") from error
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise LatencyError(f"latency: input must be two positive numbers of pixels, at most {MAX_SIDE}, not {value!r}")
    return height, width


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise LatencyError(unknown_name(f"latency {name}", str(value), known))


def _number(value: Any) -> float:
    """A number, or NaN, which is within no limits."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise LatencyError(f"latency: {name} must be a whole number of at least {least}, not {value!r}")
    if value > MOST:
        raise LatencyError(f"latency: {name} is at most {MOST}, not {value}")
