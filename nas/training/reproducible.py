"""Same seed, same numbers: seeds and switches that hold inside a training and are put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nas.data.devices import tf32


@contextmanager
def reproducible(seed: int, device: torch.device, *, deterministic: bool, strict: bool = True) -> Iterator[None]:
    """Seeds torch's generators inside; the caller's generators and switches come back.

    Args:
        seed: of torch's own generators, which blocks of a user may draw from (dropout). Nothing else draws from them:
            batches, augmentation and initialisation have streams of their own, so that all candidates see the same.
        device: whose generators are seeded beside the CPU's.
        deterministic: ask for deterministic algorithms on a GPU too. Otherwise cuDNN may try which are fastest.
        strict: an operation without a deterministic form ends the training instead of warning. Blocks that ship with
            this package have none; a user's own may.
    """
    gpus = [device] if device.type == "cuda" else []
    if deterministic and gpus:
        # cuBLAS reads this when it starts; without it some products may differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=gpus), _switches(deterministic, strict), tf32(False):
        torch.manual_seed(seed)
        yield


@contextmanager
def _switches(deterministic: bool, strict: bool) -> Iterator[None]:
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic  # its switch is made at run time, so that its type is not known
    fill, search = filling.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(deterministic, warn_only=not strict)
    # Filling fresh memory finds programs that read it before writing; it costs time and changes no result of ours.
    filling.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        filling.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = search
