"""What a training hands back: a record an epoch and the result at the end. Plain data, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.retrieval import RetrievalMetrics
    from nas.training.checkpoints import Checkpoint


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: from 1; transfer's head epochs are counted too.
        lr: learning rate of its last step.
        losses: mean of each unweighted term over the epoch, and `total`, their weighted sum.
        seconds: time in training steps, over all processes that worked on the epoch.
        map: mAP after the epoch where the recipe's `evaluate_every` asked for it, else None.
    """

    epoch: int
    lr: float
    losses: Mapping[str, float]
    seconds: float
    images: int
    map: float | None = None

    @property
    def images_per_second(self) -> float:
        """Training speed."""
        return self.images / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class TrainingResult:
    """A finished training, or one that reached the epoch it was asked to stop after.

    Attributes:
        metrics: of the last epoch (averaged weights when the recipe has them) on query and gallery.
        epochs: one record for each epoch since the training began, resumed or not.
        seconds: training time of all epochs.
        evaluation_seconds: time of the last evaluation.
        images_per_second: over all epochs.
        precision: the number format used, with `auto` resolved.
        trained: the weights themselves, where they were written to no file.
    """

    metrics: RetrievalMetrics
    epochs: tuple[EpochRecord, ...]
    seconds: float
    evaluation_seconds: float
    images_per_second: float
    precision: str
    checkpoint: Path | None
    checkpoint_sha256: str | None
    seed: int
    trained: Checkpoint | None = field(default=None, repr=False, compare=False)
