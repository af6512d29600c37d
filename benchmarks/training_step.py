"""How close is a training step to the network itself, and how far ahead of the usual loader?

    python benchmarks/training_step.py --out benchmarks/results/training_step [--threads 2] [--full] [--clock cpu]

Three ways to make the same step (forward, losses, backward, Adam) of the same network:

- *limit*: one constant batch that is already where it is needed;
- *ours*: batches from the packed store, augmented on the device, losses watched for NaN;
- *loader*: JPEG files of Market-1501's size (128x64), read by PIL and torchvision's v2 transforms in worker processes
  with the same augmentation - what most re-identification code does.

Steps of limit and ours alternate, so that a drift of the machine meets both; the share is the median of their ratios,
with the quartiles as spread. On a GPU, where steps overlap, rounds of steps alternate. The loader runs afterwards,
with its workers on the same cores. `--clock cpu` counts the time that this process computed instead of the time that
passed, for one thread on a machine that others use too; the loader, being other processes, is left out then.
Images are generated pedestrians, as many as `--images`, repeated to the size of Market-1501 (751 persons, 12 936
images).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from nas.data.load import load_dataset
from nas.data.prepared import PackedSplit, PreparedData, prepare
from nas.data.sampler import PKSampler
from nas.data.views import dataset_view
from nas.spaces.candidate import Candidate
from nas.training.batches import Batch
from nas.training.monitor import LossMonitor
from nas.training.recipe import Recipe, load_recipe
from nas.training.reproducible import reproducible
from nas.training.trainer import Trainer

PERSONS, IMAGES = 751, 12_936
EPOCHS = 120


@dataclass(frozen=True)
class Case:
    """A network, its input and batch, and the number format."""

    candidate: str
    height: int
    width: int
    persons: int
    precision: str
    deterministic: bool = True

    @property
    def label(self) -> str:
        return f"{self.candidate} {self.height}x{self.width} batch {4 * self.persons} {self.precision}" + (
            "" if self.deterministic else " not deterministic"
        )


@dataclass(frozen=True)
class Row:
    """Milliseconds a step (medians); share = limit / ours, ahead = loader / ours, both with quartiles."""

    case: str
    device: str
    limit_ms: float
    ours_ms: float
    loader_ms: float | None
    share: float
    share_q1: float
    share_q3: float
    ahead: float | None
    steps: int
    workers: int
    full_run_hours: float


CPU_CASES = (
    Case("resnet50(width=0.25)", 64, 32, 8, "bf16"),
    Case("resnet50(width=0.25)", 64, 32, 8, "fp32"),
    Case("resnet50(width=0.25)", 128, 64, 16, "bf16"),
)
FULL_CASE = Case("resnet50", 256, 128, 16, "bf16")


# ------------------------------------------------------------------ data


def generated(size: tuple[int, int], images: int, cache: Path) -> PreparedData:
    """Generated pedestrians at a size, about `images` of them for training."""
    spec = {"generated": {"train_identities": max(4, images // 16), "test_identities": 4}}
    return prepare(dataset_view(load_dataset(spec, cache=cache), "final"), size, cache)


def market_sized(split: PackedSplit, device: torch.device) -> PackedSplit:
    """The split's images again and again, as 12 936 images of 751 persons, in the device's memory if that is a GPU."""
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.integers(len(split), size=IMAGES))
    labels = torch.arange(IMAGES) % PERSONS
    cameras = torch.arange(IMAGES) % 6
    records = tuple(split.records[i] for i in rows.tolist())
    again = PackedSplit(split.store, split.rows[rows], labels + 1, labels, cameras, records)
    return again.to(device) if device.type == "cuda" else again


class JpegFiles(Dataset[tuple[Tensor, int]]):
    """The usual data set: decode, resize, augment one image at a time."""

    def __init__(self, paths: Sequence[Path], labels: Tensor, case: Case, recipe: Recipe) -> None:
        a = recipe.augmentation
        pad = round(a.pad * case.height / 256)
        self.paths, self.labels = paths, labels.tolist()
        self.transform = v2.Compose(
            [
                v2.Resize((case.height, case.width), antialias=True),
                v2.RandomHorizontalFlip(a.flip),
                v2.Pad(pad),
                v2.RandomCrop((case.height, case.width)),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(a.mean), list(a.std)),
                v2.RandomErasing(a.erasing, a.erasing_area, a.erasing_aspect, list(a.erasing_fill)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), self.labels[index]


def write_jpegs(split: PackedSplit, folder: Path) -> list[Path]:
    """Each image of the split's store as a JPEG of 128x64 pixels; one path an image of the split."""
    wanted = sorted({record.path for record in split.records})
    files = {path: folder / f"{number}.jpg" for number, path in enumerate(wanted)}
    for source, target in files.items():
        with Image.open(source) as image:
            image.convert("RGB").resize((64, 128)).save(target, quality=95)
    return [files[record.path] for record in split.records]


def loader_batches(dataset: JpegFiles, split: PackedSplit, recipe: Recipe, workers: int) -> Iterator[Batch]:
    """Endless batches of the usual loader, moved to the device of `split`'s use by the caller."""
    sampler = PKSampler(split.labels, split.cameras, recipe.identities, recipe.images, seed=0)
    plan = [batch.tolist() for epoch in range(2) for batch in sampler.plan(epoch)]
    loader = DataLoader(
        dataset,
        batch_sampler=plan,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )
    while True:
        for images, labels in loader:
            yield Batch(images, labels)


# ------------------------------------------------------------------ steps


class Subject:
    """A training of one case, and the ways to make its next step."""

    def __init__(self, case: Case, device: str, images: int, cache: Path, clock: str = "wall") -> None:
        self.case, self.device = case, torch.device(device)
        self.now = time.process_time if clock == "cpu" else time.perf_counter
        prepared = generated((case.height, case.width), images, cache)
        self.split = market_sized(prepared.train, self.device)
        self.recipe = load_recipe(
            {
                "weights": None,
                "input": [case.height, case.width],
                "identities": case.persons,
                "precision": case.precision,
                "deterministic": case.deterministic,
            }
        )
        data = PreparedData(
            self.split, prepared.query, prepared.gallery, PERSONS, "benchmark", prepared.size, "benchmark"
        )
        self.trainer = Trainer(Candidate.parse(case.candidate), self.recipe, data, 0, self.device)
        self.trainer.prepare()
        self.trainer.network.train()
        self.steps = self.trainer.batches.steps(1)
        self.constant = self.trainer.batches.get(1, 1)
        self.monitor = LossMonitor(1)
        self.done = 0

    def limit_step(self) -> None:
        self.trainer.train_step(self.constant, self.recipe.base_lr)

    def own_step(self) -> None:
        batch = self.trainer.batches.get(1, self.done % self.steps + 1)
        self.done += 1
        self.monitor.add(*self.trainer.train_step(batch, self.recipe.base_lr), self.recipe.base_lr)

    def loader_step(self, batches: Iterator[Batch]) -> None:
        batch = next(batches)
        images = batch.images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        self.trainer.train_step(Batch(images, batch.labels.to(self.device, non_blocking=True)), self.recipe.base_lr)

    def seconds(self, step: Callable[[], None], count: int) -> float:
        """Time of a step, over a round of `count`."""
        self._wait()
        begun = self.now()
        for _ in range(count):
            step()
        self._wait()
        return (self.now() - begun) / count

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(
    case: Case,
    device: str,
    *,
    steps: int,
    round_length: int,
    workers: int,
    loader_steps: int,
    images: int,
    cache: Path,
    clock: str = "wall",
) -> Row:
    """Alternates limit and ours until each made `steps` steps, then runs the usual loader."""
    with reproducible(0, torch.device(device), deterministic=case.deterministic):
        subject = Subject(case, device, images, cache, clock)
        return _measured(subject, steps, round_length, workers, loader_steps)


def _measured(subject: Subject, steps: int, round_length: int, workers: int, loader_steps: int) -> Row:
    for _ in range(3):
        subject.limit_step()
        subject.own_step()
    limit, ours = [], []
    for _ in range(max(4, steps // round_length)):
        limit.append(subject.seconds(subject.limit_step, round_length))
        ours.append(subject.seconds(subject.own_step, round_length))
    shares = [a / b for a, b in zip(limit, ours, strict=True)]
    low, middle, high = quantiles(shares, n=4)
    usual = loader_seconds(subject, workers, loader_steps) if loader_steps else None
    step_ms = median(ours) * 1e3
    return Row(
        case=subject.case.label,
        device=subject.device.type,
        limit_ms=median(limit) * 1e3,
        ours_ms=step_ms,
        loader_ms=None if usual is None else usual * 1e3,
        share=middle,
        share_q1=low,
        share_q3=high,
        ahead=None if usual is None else usual * 1e3 / step_ms,
        steps=len(ours) * round_length,
        workers=workers,
        full_run_hours=EPOCHS * subject.steps * step_ms / 3.6e6,
    )


def loader_seconds(subject: Subject, workers: int, steps: int) -> float:
    """Time of a step with the usual loader, after its workers have filled their queues."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_jpegs(subject.split, Path(folder))
        dataset = JpegFiles(paths, subject.split.labels, subject.case, subject.recipe)
        batches = loader_batches(dataset, subject.split, subject.recipe, workers)
        for _ in range(3):
            subject.loader_step(batches)
        # Long enough that the batches waiting in the queues at the start (2 a worker) do not count for much.
        return subject.seconds(lambda: subject.loader_step(batches), steps)


# ------------------------------------------------------------------ report


def environment(threads: int, clock: str) -> dict[str, Any]:
    """Machine, versions and date."""
    return {
        "clock": clock,
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow")},
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


HEADINGS = (
    "| step | limit ms | ours ms | limit / ours [quartiles] | usual loader ms | loader / ours | 120 epochs, hours |"
)


def as_table(rows: Sequence[Row]) -> list[str]:
    """Markdown lines."""
    lines = [HEADINGS, "|---|---:|---:|---:|---:|---:|---:|"]
    for r in rows:
        share = f"{r.share:.3f} [{r.share_q1:.3f}, {r.share_q3:.3f}]"
        loader = "" if r.loader_ms is None else f"{r.loader_ms:.1f}"
        ahead = "" if r.ahead is None else f"{r.ahead:.2f}"
        numbers = f"{r.limit_ms:.1f} | {r.ours_ms:.1f} | {share} | {loader} | {ahead} | {r.full_run_hours:.2f}"
        lines.append(f"| {r.case} ({r.device}) | {numbers} |")
    return lines


def as_markdown(found: dict[str, Any], rows: Sequence[Row]) -> str:
    env = found["environment"]
    where = f"{env['date']}, {env['gpu'] or env['processor']}, {env['cores']} cores, {env['threads']} thread(s)"
    libraries = ", ".join(f"{name} {number}" for name, number in env["libraries"].items())
    head = ["# A training step against the network alone and against the usual loader", ""]
    made = [f"{where}, {env['clock']} time, load {env['load_before']} at the start; {libraries}.", ""]
    return "\n".join([*head, *made, *as_table(rows)]) + "\n"


def write(out: Path, found: dict[str, Any], text: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    out.with_suffix(".md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="results are written to OUT.json and OUT.md")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--steps", type=int, default=60, help="steps of each way, fewer for the full case")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of the usual loader")
    parser.add_argument("--images", type=int, default=128, help="different images to draw")
    parser.add_argument("--full", action="store_true", help="also ResNet-50 at 256x128, batch 64: minutes on a CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found: dict[str, Any] = {"environment": environment(arguments.threads, arguments.clock)}
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for case in (*CPU_CASES, *((FULL_CASE,) if arguments.full else ())):
            steps = 6 if case is FULL_CASE else arguments.steps
            rows.append(
                measure(
                    case,
                    "cpu",
                    steps=steps,
                    round_length=1,
                    workers=arguments.workers,
                    loader_steps=0 if arguments.clock == "cpu" else steps // 2,
                    images=arguments.images,
                    cache=Path(cache),
                    clock=arguments.clock,
                )
            )
            print(as_table(rows)[-1], flush=True)
    found["rows"] = [asdict(row) for row in rows]
    text = as_markdown(found, rows)
    print(text)
    if arguments.out:
        write(arguments.out, found, text)


if __name__ == "__main__":
    main()
