"""Which number format a training computes in, and the autocast and gradient scaling that go with it."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from nas.errors import TrainingError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` becomes bf16 where it is faster; anything else is checked against the device.

    On a GPU that is compute capability 8 or newer; on one of 7, whose matrix units know no bf16, it becomes fp16. On a
    CPU it is a processor with bf16 dot products (AVX-512 BF16) or matrix tiles (AMX); there a narrow ResNet-50 on 64x32
    images trained about 1.4 times as fast as in fp32, a step on 128x64 images 1.6 times (`benchmarks/training_step.py`
    measures both).

    Raises:
        TrainingError: fp16 on a CPU, where its gradients underflow and no scaling is available; bf16 on a GPU that has
            none.
    """
    if precision == "auto":
        if device.type == "cuda":
            major = torch.cuda.get_device_capability(device)[0]
            return "bf16" if major >= 8 else "fp16" if major == 7 else "fp32"
        return "bf16" if any(_cpu_has(feature) for feature in ("avx512_bf16", "amx_tile")) else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise TrainingError("fp16 training needs a GPU", "Use precision: bf16 or fp32 on a CPU.")
    if precision == "bf16" and device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if major < 8:
            raise TrainingError(
                f"bf16 needs compute capability 8.0, {device} has {major}.{minor}", "Use precision: fp16 or fp32."
            )
    return precision


def _cpu_has(feature: str) -> bool:
    ask = getattr(torch.cpu, f"_is_{feature}_supported", None)
    return ask is not None and bool(ask())


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context for a resolved precision; none for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def gradient_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """A scaler that scales for fp16 and passes everything through otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
