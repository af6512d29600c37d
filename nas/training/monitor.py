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
    """Collects the losses of the steps of one epoch.

    Args:
        epoch: for the message of `Diverged`.
        sums: totals so far, when an epoch goes on after an interruption.
        steps: the number of steps in `sums`.
    """

    def __init__(self, epoch: int, sums: Mapping[str, float] | None = None, steps: int = 0) -> None:
        self.epoch, self.steps = epoch, steps
        self._before = dict(sums or {})
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._first_bad: Tensor | None = None

    def add(self, total: Tensor, terms: Mapping[str, Tensor], lr: float) -> None:
        """Takes the losses of one step (scalars on one device).

        Raises:
            Diverged: one of the last steps had a loss that is NaN or infinite.
        """
        self._names = (*terms, "total")
        row = torch.stack([*terms.values(), total.detach()]).double()
        self.steps += 1
        if self._sums is None or self._first_bad is None:
            self._sums = row.new_tensor([self._before.get(name, 0.0) for name in self._names])
            self._first_bad = torch.full((len(row) + 2,), torch.nan, device=row.device, dtype=torch.float64)
        self._sums += row
        step = row.new_tensor([self.steps, lr])
        is_first = ~row.isfinite().all() & self._first_bad[-2].isnan()
        self._first_bad = torch.where(is_first, torch.cat([row, step]), self._first_bad)
        if self.steps % READ_EVERY.get(row.device.type, 20) == 0:
            self.check()

    def check(self) -> None:
        """Raises `Diverged` when any step so far had a loss that is not finite."""
        if self._first_bad is None:
            return
        *losses, step, lr = self._first_bad.tolist()
        if not math.isnan(step):
            raise _diverged(self.epoch, int(step), dict(zip(self._names, losses, strict=True)), lr)

    def sums(self) -> dict[str, float]:
        """Sum of each loss over the epoch's steps so far."""
        if self._sums is None:
            return dict(self._before)
        return dict(zip(self._names, self._sums.tolist(), strict=True))

    def means(self) -> dict[str, float]:
        """Mean of each loss over the epoch's steps so far."""
        return {name: value / max(self.steps, 1) for name, value in self.sums().items()}


def _diverged(epoch: int, step: int, losses: Mapping[str, float], lr: float) -> Diverged:
    terms = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    return Diverged(
        f"the training diverged in epoch {epoch}, step {step}, at learning rate {lr:.4g}: {terms}",
        "Lower base_lr, lengthen warmup_epochs, set clip_norm, or use precision: fp32.",
    )
