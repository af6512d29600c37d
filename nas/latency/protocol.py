"""How a latency is measured: one frozen value, stored whole beside every figure.

Two figures can be compared when their protocols have the same id and their devices the same name. What a device or a
backend makes of a protocol is left to `nas.latency.backends`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nas.errors import LatencyError, unknown_name
from nas.files.hashes import hash_of_data

PRECISIONS = ("fp32", "fp16", "bf16")
FORMS = ("fast", "plain")

GPU_WARMUP, CPU_WARMUP = 50, 3
GPU_BATCHES = 1000


@dataclass(frozen=True)
class LatencyProtocol:
    """What is timed, with what, how often.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`; a far device uses its own (`cuda` on a Jetson).
        backend: a name of `nas.latency.backends.BACKENDS`: eager, compile, cuda_graphs, onnxruntime.
        precision: number format of weights and activations: fp32, fp16 or bf16.
        batch: images a batch.
        input: height and width of the images in pixels; there are 3 channels.
        warmup: batches run and thrown away first; None: 50 on a GPU, 3 on a CPU.
        batches: batches timed a build; None: 1 000 on a GPU, on a CPU as many as fit in `time_budget_s`.
        time_budget_s: seconds of timing a build where `batches` is None and the device is a CPU.
        min_batches: batches timed a build even when the budget is spent.
        threads: threads of a CPU backend; None: all the process may use.
        builds: how many times the engine is built (compiled, loaded) and timed anew.
        fold_batchnorm: batch normalisation folded into the convolutions, as the network would be deployed.
        form: `fast` or `plain` form of the blocks, where a block has both.
        channels_last: activations stored channels last (PyTorch backends).
        isolated: whether the figure is meant for a machine that does nothing else.
    """

    device: str = "cpu"
    backend: str = "eager"
    precision: str = "fp32"
    batch: int = 16
    input: tuple[int, int] = (256, 128)
    warmup: int | None = None
    batches: int | None = None
    time_budget_s: float = 10.0
    min_batches: int = 5
    threads: int | None = None
    builds: int = 1
    fold_batchnorm: bool = True
    form: str = "fast"
    channels_last: bool = False
    isolated: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", _input_size(self.input))
        object.__setattr__(self, "time_budget_s", float(self.time_budget_s))
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("form", self.form, FORMS)
        if self.device != "cpu" and self.device.partition(":")[0] != "cuda":
            raise LatencyError(f"latency device {self.device!r} is not known", "write cpu, cuda or cuda:0")
        for name in ("batch", "batches", "min_batches", "threads", "builds"):
            _at_least(name, getattr(self, name), 1)
        _at_least("warmup", self.warmup, 0)
        if not self.time_budget_s > 0:
            raise LatencyError(f"latency: time_budget_s must be above 0, not {self.time_budget_s}")

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

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; `from_dict` reads it back."""
        return asdict(self) | {"input": list(self.input)}

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for protocols that measure the same way."""
        return hash_of_data(self.resolved().to_dict())

    def resolved(self) -> LatencyProtocol:
        """The same protocol with the defaults that depend on the device written out."""
        warmup = self.warmup if self.warmup is not None else GPU_WARMUP if self.on_gpu else CPU_WARMUP
        batches = self.batches if self.batches is not None or not self.on_gpu else GPU_BATCHES
        return replace(self, warmup=warmup, batches=batches)

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
        return (
            f"{self.backend} {self.precision} on {self.device}, batch {self.batch} of 3x{height}x{width}, "
            f"{own.warmup} batches of warm-up, {count}{builds}"
        )


def _input_size(value: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError) as error:
        raise LatencyError(f"latency: input must be a height and a width such as [256, 128], not {value!r}") from error
    if height < 1 or width < 1:
        raise LatencyError(f"latency: input must be two positive numbers of pixels, not {value!r}")
    return height, width


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise LatencyError(unknown_name(f"latency {name}", str(value), known))


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise LatencyError(f"latency: {name} must be a whole number of at least {least}, not {value!r}")
