"""The one place that turns a device's name into a device."""

from __future__ import annotations

import torch

from nas.errors import TrainingError


def resolve_device(name: str) -> torch.device:
    """The device of a name: `cpu`, `cuda`, `cuda:1`, or `auto`, the GPU where torch can use one.

    Raises:
        TrainingError: no such device, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"unknown device {name!r}", "Use cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"networks do not train on {name!r} here", "Use cpu, cuda or cuda:N.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("there is no GPU that torch can use", "Use device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"there is no {name}: torch sees {torch.cuda.device_count()} GPUs", "Count them from 0.")
    return device
