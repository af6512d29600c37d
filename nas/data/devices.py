"""The device that work runs on: one check of its name for every command, and a GPU's switches of fp32 arithmetic."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch

from nas.errors import NasError, TrainingError


def card(device: str | torch.device) -> torch.device:
    """The device with the number of its card, as tensors name it: `cuda` is the current one."""
    found = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if found.type == "cuda" and found.index is None else found


def usable_device(name: str, error: type[NasError] = TrainingError) -> str:
    """The device of that name; `auto` is the GPU where torch can use one, else the CPU.

    Raises:
        error: no such name, or no such device on this machine.
    """
    if name == "auto":
        return "cpu" if why_no_gpu() else "cuda"
    kind, colon, number = name.partition(":")
    if name == "cpu":
        return name
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise error(f"unknown device {name!r}", "Use auto, cpu, cuda or cuda:N.")
    why = why_no_gpu()
    if why is not None:
        raise error(f"{name} cannot be used: {why}", "Use device cpu, or see `nas doctor`.")
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        raise error(
            f"there is no device {name}, only {count} of them, counted from cuda:0",
            "CUDA_VISIBLE_DEVICES hides cards and counts the others anew.",
        )
    return name


def why_no_gpu() -> str | None:
    """Why torch can use no GPU here; None where it can."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return None
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    said = [str(warning.message).split(" (Triggered")[0].splitlines()[0] for warning in told]
    return said[0] if said else "torch finds no GPU or no driver"


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """fp32 products and convolutions on a GPU with TF32 or without; afterwards what was set before.

    torch has two interfaces to these switches. The former one sets both, but cannot be read once the newer one was
    used; the newer one can always be read. So this writes by the former and remembers by the newer.
    """
    cudnn = torch.backends.cudnn
    parts = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [part.fp32_precision for part in parts]
    try:
        words = torch.get_float32_matmul_precision()
    except RuntimeError:
        words = "highest"
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(words)
        cudnn.allow_tf32 = before[1] == "tf32"
        for part, value in zip(parts, before, strict=True):
            if part.fp32_precision != value:
                part.fp32_precision = value
