"""Watches the losses of an epoch: their means, and the first step at which one is not finite.

On a GPU, reading a loss makes the CPU wait; so the watching itself happens on the device and is read every few steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nas.training.failures import Diverged

READ_EVERY = {"cpu": 1}
"""Steps between two looks, by kind of device; 20 when not listed."""


class LossMonitor:
    """Collects the losses of the steps of one epoch, from `sums` on where it was interrupted."""

    def __init__(self, epoch: int, sums: Mapping[str, float] | None = None, steps: int = 0) -> None:
        self.epoch, self.steps = epoch, steps
        self._sums = dict(sums or {})
        self._names: tuple[str, ...] = ()
        self._rows: Tensor | None = None
        self._rates: list[float] = []  # of the steps whose losses are in `_rows` and not read yet

    def add(self, total: Tensor, terms: Mapping[str, Tensor], lr: float) -> None:
        """Takes the losses of one step (scalars on one device): one kernel, read every few steps.

        Raises:
            Diverged: one of the last steps had a loss that is NaN or infinite.
        """
        losses = [*terms.values(), total.detach()]
        if self._rows is None:
            self._names = (*terms, "total")
            self._rows = total.new_zeros((READ_EVERY.get(total.device.type, 20), len(losses)))
        torch.stack(losses, out=self._rows[len(self._rates)])
        self._rates.append(lr)
        self.steps += 1
        if len(self._rates) == len(self._rows):
            self.check()

    def check(self) -> None:
        """Raises `Diverged` when any step so far had a loss that is not finite."""
        if self._rows is None or not self._rates:
            return
        rates, self._rates = self._rates, []
        rows = self._rows[: len(rates)].tolist()
        for step, (row, lr) in enumerate(zip(rows, rates, strict=True), self.steps - len(rates) + 1):
            losses = dict(zip(self._names, row, strict=True))
            if not all(map(math.isfinite, row)):
                raise _diverged(self.epoch, step, losses, lr)
            for name, value in losses.items():
                self._sums[name] = self._sums.get(name, 0.0) + value

    def sums(self) -> dict[str, float]:
        """Sum of each loss over the epoch's steps so far; raises as `check` does."""
        self.check()
        return dict(self._sums)

    def means(self) -> dict[str, float]:
        """Mean of each loss over the epoch's steps so far."""
        return {name: value / max(self.steps, 1) for name, value in self.sums().items()}


def _diverged(epoch: int, step: int, losses: Mapping[str, float], lr: float) -> Diverged:
    terms = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    return Diverged(
        f"the training diverged in epoch {epoch}, step {step}, at learning rate {lr:.4g}: {terms}",
        "Lower base_lr, lengthen warmup_epochs, set clip_norm, or use precision: fp32.",
    )
