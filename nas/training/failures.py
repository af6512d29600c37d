"""How a training can end without a result; each has a `kind` that is stored with it."""

from __future__ import annotations

from typing import ClassVar

from nas.errors import DataError, TrainingError


class OutOfMemory(TrainingError):  # noqa: N818 - a result of a training as much as an error
    """The device's memory was not enough for this candidate and recipe."""

    kind: ClassVar[str] = "out_of_memory"


class Diverged(TrainingError):  # noqa: N818
    """A loss became NaN or infinite."""

    kind: ClassVar[str] = "diverged"


class TrainingInterrupted(TrainingError):  # noqa: N818
    """The training was asked to stop; its checkpoint, if it has one, is up to date."""

    kind: ClassVar[str] = "killed"


FAILURE_KINDS = ("out_of_memory", "diverged", "data", "killed", "error")
"""All values `failure_kind` can have."""


def failure_kind(error: BaseException) -> str:
    """The kind to store for a training that ended with `error`.

    >>> failure_kind(Diverged("loss is nan")), failure_kind(KeyError("x"))
    ('diverged', 'error')
    """
    if isinstance(error, (OutOfMemory, Diverged, TrainingInterrupted)):
        return error.kind
    if isinstance(error, DataError):
        return "data"
    return "killed" if isinstance(error, KeyboardInterrupt) else "error"


def out_of_memory(batch: int, precision: str, device: str, cause: str) -> OutOfMemory:
    """The error for a full device, with advice that fits the recipe and the first sentence of the cause."""
    advice = "fewer identities or images a batch, " + ("precision: bf16, " if precision == "fp32" else "")
    return OutOfMemory(
        f"out of memory on {device} with a batch of {batch} in {precision}: {cause.splitlines()[0][:200]}",
        f"Try {advice}or a smaller input.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: CUDA's own type, Python's, or the CPU allocator's sentence."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
        return "out of memory" in str(error)
    return isinstance(error, RuntimeError) and any(s in str(error) for s in _MEMORY_SENTENCES)


_MEMORY_SENTENCES = (
    "can't allocate memory",
    "out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
