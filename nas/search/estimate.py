"""What a study will cost before it runs: stages, sizes of spaces, trainings, hours.

Hours come from trainings of the same recipe in the database, or from a few timed steps of the
baseline on this machine; both are estimates and say so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from nas.errors import DataError
from nas.search.context import SELECT, StudyContext
from nas.search.stages import HANDLERS, Preview

PROBE_STEPS = 3
MEASURE_OVERHEAD_S = 1.0  # building, folding and warming up a network


@dataclass(frozen=True)
class StageEstimate:
    """One stage of a dry run; hours are None when nothing is known of the speed."""

    name: str
    kind: str
    preview: Preview
    hours: float | None


@dataclass(frozen=True)
class StudyEstimate:
    """A dry run.

    Attributes:
        space_size: exact number of candidates of the first space; shrinking makes it smaller.
        stages: in order.
        images: training images an epoch.
        images_per_s: training speed; None when it could not be found.
        basis: where the speed comes from.
    """

    space_size: int
    stages: tuple[StageEstimate, ...]
    images: int | None
    images_per_s: float | None
    basis: str

    @property
    def trainings(self) -> int:
        """Trainings of all stages, at most."""
        return sum(stage.preview.trainings for stage in self.stages)

    @property
    def hours(self) -> float | None:
        """Hours of all stages on one worker; None when a stage's is unknown."""
        known = [stage.hours for stage in self.stages]
        return None if any(h is None for h in known) else sum(h for h in known if h is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        stages = [
            {
                "stage": s.name,
                "kind": s.kind,
                "trainings": s.preview.trainings,
                "epochs": s.preview.epochs,
                "measurements": s.preview.measurements,
                "hours": s.hours,
                "note": s.preview.note,
            }
            for s in self.stages
        ]
        totals = {"space_size": str(self.space_size), "trainings": self.trainings, "hours": self.hours}
        return {**totals, "images_per_s": self.images_per_s, "basis": self.basis, "stages": stages}


def estimate(context: StudyContext, *, probe: bool = True) -> StudyEstimate:
    """Estimates a study without starting it.

    Args:
        context: the study; its database may be empty.
        probe: time a few training steps when the database knows no speed.
    """
    space = context.space
    images = _images(context)
    speed, basis = _speed(context, probe)
    stages = []
    for stage in context.definition.named_stages():
        preview = HANDLERS[stage.kind].preview(context, space, stage.settings)
        stages.append(StageEstimate(stage.name, stage.kind, preview, _hours(context, preview, images, speed)))
    return StudyEstimate(space.size(), tuple(stages), images, speed, basis)


def _hours(context: StudyContext, preview: Preview, images: int | None, speed: float | None) -> float | None:
    measuring = preview.measurements * (context.protocol.time_budget_s + MEASURE_OVERHEAD_S)
    if not preview.trainings:
        return measuring / 3600
    if images is None or speed is None:
        return 0.0 if context.replay is not None else None
    return (preview.trainings * preview.epochs * images / speed + measuring) / 3600


def _images(context: StudyContext) -> int | None:
    if context.replay is not None:
        return None
    try:
        return len(context.dataset(SELECT).train)
    except DataError:
        return None


def _speed(context: StudyContext, probe: bool) -> tuple[float | None, str]:
    if context.replay is not None:
        return None, "results come from a table"
    known = sorted(context.results()["images_per_s"].dropna()) if context.study_id else []
    if known:
        return float(known[len(known) // 2]), f"median of {len(known)} trainings of this study"
    if not probe:
        return None, "unknown"
    return probe_speed(context), f"{PROBE_STEPS} timed training steps of the baseline on this machine"


def probe_speed(context: StudyContext) -> float:
    """Images a second of training steps of the baseline on random images, on this machine now."""
    import torch

    from nas.networks import build_network
    from nas.training.precision import autocast, resolve_precision

    recipe, device = context.recipe, torch.device(context.device)
    network = build_network(context.baselines[0], num_classes=64, input_size=recipe.input, seed=0)
    network.to(device).to(memory_format=torch.channels_last).train()
    images = torch.rand(recipe.batch, 3, *recipe.input, device=device)
    precision = resolve_precision(recipe.precision, device)
    begun = 0.0
    for step in range(PROBE_STEPS + 1):
        if step == 1:
            begun = time.perf_counter()  # the first step pays for memory and kernels
        with autocast(precision, device):
            loss = network(images).pooled.float().square().mean()
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return PROBE_STEPS * recipe.batch / (time.perf_counter() - begun)
