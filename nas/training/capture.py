"""A training step as one recorded CUDA graph: its kernels without the time Python needs to launch them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nas.training.batches import Batch

STEPS_BEFORE = 3
"""Ordinary steps before the recording: libraries choose their kernels and optimisers make their state in them."""

Step = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]


class CapturedStep:
    """A step that is recorded once and replayed for every further batch, all of one size."""

    def __init__(self) -> None:
        self._before = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, step: Step, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The step on a batch.

        Args:
            step: forward, losses, backward and update; nothing in it may wait for the GPU or draw on the CPU. Always
                the same one.

        Returns:
            What the step returns; it stays in place, and must be used before the next step.
        """
        if self._before < STEPS_BEFORE:
            self._before += 1
            return step(batch)
        if self.graph is None:
            self._record(step, batch)
        else:
            self._batch.images.copy_(batch.images)
            self._batch.labels.copy_(batch.labels)
        assert self.graph is not None
        self.graph.replay()
        return self._found

    def _record(self, step: Step, batch: Batch) -> None:
        self._batch = Batch(batch.images.clone(), batch.labels.clone())
        graph, device = torch.cuda.CUDAGraph(), batch.images.device
        # A stream of this device: torch's own for recordings belongs to whichever device recorded first.
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(device), torch.cuda.graph(graph, stream=stream):
            self._found = step(self._batch)
        self.graph = graph
