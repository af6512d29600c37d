"""How a training can end without a result: the `kind` that is stored with it, and whose fault it is."""

from __future__ import annotations

from typing import ClassVar, Literal

from nas.errors import DataError, LatencyError, SourceError, StorageError, StudyError, TrainingError, causes


class OutOfMemory(TrainingError):  # noqa: N818 - a result of a training as much as an error
    """The device's memory was not enough for this candidate and recipe."""

    kind: ClassVar[str] = "out_of_memory"


class Diverged(TrainingError):  # noqa: N818
    """A loss became NaN or infinite."""

    kind: ClassVar[str] = "diverged"


class TrainingInterrupted(TrainingError):  # noqa: N818
    """The training was asked to stop; its checkpoint, if it has one, is up to date."""

    kind: ClassVar[str] = "killed"


Fault = Literal["stopped", "surroundings", "device", "candidate"]
"""Whose fault the end of a training is: see `fault_of`."""

_LOST_CONTEXT = (
    "illegal memory access",
    "misaligned address",
    "illegal instruction",
    "illegal address",
    "device-side assert",
    "launch failure",
    "launch timed out",
    "ECC error",
    "uncorrectable",
    "hardware stack error",
    "device is lost",
    "unknown error",
)
"""What CUDA says when a context cannot be used any more (CUDA runtime API, errors named sticky there)."""


_SURROUNDINGS = (DataError, StorageError, StudyError, LatencyError, SourceError, OSError)


def fault_of(error: BaseException) -> Fault:
    """Whose fault it is that a training ended with `error`.

    `stopped`: it was asked to end. `surroundings`: files, data, disk, permissions or the study are not as they must
    be, every other training would end alike, and a person must act. `device`: the process has lost its GPU and must be
    replaced. `candidate`: this network, with this recipe, in this code, fails.

    >>> fault_of(PermissionError(13, "denied")), fault_of(Diverged("loss is nan")), fault_of(KeyError("x"))
    ('surroundings', 'candidate', 'candidate')
    """
    if isinstance(error, (TrainingInterrupted, KeyboardInterrupt, SystemExit)):
        return "stopped"
    if isinstance(error, (OutOfMemory, Diverged)):
        return "candidate"
    if any(isinstance(cause, _SURROUNDINGS) for cause in causes(error)):
        return "surroundings"
    return "device" if lost_device(error) else "candidate"


def lost_device(error: BaseException) -> bool:
    """Whether an exception says that this process can use its GPU no more (a sticky CUDA error).

    >>> lost_device(RuntimeError("CUDA error: an illegal memory access was encountered"))
    True
    """
    said = [str(cause) for cause in causes(error) if isinstance(cause, RuntimeError)]
    return any("CUDA" in text and any(words in text for words in _LOST_CONTEXT) for text in said)


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
