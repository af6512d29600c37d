"""`train`: one candidate from its first step, or from its checkpoint, to its score.

Decides when to stop, what to write and what to keep; the steps themselves are `nas.training.trainer`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from nas.data.devices import usable_device
from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.files.hashes import sha256_of
from nas.files.whole import remove_stale_partials
from nas.progress import Progress, silent
from nas.retrieval import RetrievalMetrics
from nas.spaces.candidate import Candidate, as_candidate
from nas.training.checkpoints import load_checkpoint, save_checkpoint
from nas.training.failures import TrainingInterrupted, is_out_of_memory, out_of_memory
from nas.training.fidelity import Fidelity
from nas.training.monitor import LossMonitor
from nas.training.precision import DTYPES, autocast, resolve_precision
from nas.training.recipe import Recipe, with_teachers, with_weights
from nas.training.reproducible import reproducible
from nas.training.results import EpochRecord, TrainingResult
from nas.training.schedule import learning_rate
from nas.training.scoring import score
from nas.training.start import StartingPoint, start_from
from nas.training.trainer import Trainer
from nas.training.transfer import load_source, source_file

OnEpoch = Callable[[EpochRecord], None]


def train(
    candidate: Candidate | str,
    recipe: Recipe,
    data: PreparedData,
    *,
    seed: int,
    fidelity: Fidelity | None = None,
    checkpoint: Path | None = None,
    resume: bool = True,
    resume_from: Path | None = None,
    device: str = "cpu",
    precision: str | None = None,
    stop_epoch: int | None = None,
    init_from: Path | None = None,
    moved: int = 0,
    metrics: Sequence[str] = (),
    on_epoch: OnEpoch | None = None,
    between_steps: Callable[[], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Trains a candidate and scores its last epoch on query and gallery.

    What comes out the same again, and where, is said in `docs/trust.md`.

    Args:
        candidate: or its notation; its own recipe values override the recipe's.
        data: prepared at the recipe's input size.
        seed: everything random follows from it.
        fidelity: fewer epochs than the recipe says, applied after the candidate's own values; with a start, the
            schedule of the fine-tuning (`Recipe.fine_tuned`). None: the recipe as it is.
        checkpoint: file to write to and to go on from; None writes nothing.
        resume: go on from `checkpoint` when it exists, instead of starting anew.
        resume_from: go on from this file when `checkpoint` does not exist (a lower rung's).
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        precision: what `precision: auto` of the recipe means; None: what suits the device.
        stop_epoch: stop after this epoch of the whole schedule (a rung); call again with a later one to go on.
        init_from: the start: the checkpoint of a trained plain network (None: from scratch); with
            `transfer: {from: pretrained}` the source network's.
        moved: number of a control; each but 0 moves the start's weights by its own draw at rounding level.
        metrics: of one's own, computed beside mAP (`own_metrics`).
        on_epoch: told about each epoch.
        between_steps: called before each step, not timed; may wait, and may raise to end the training.
        should_stop: asked before each step; when true the training is written down and `TrainingInterrupted` raised.

    Raises:
        OutOfMemory: the device's memory was not enough.
        Diverged: a loss became NaN or infinite.
        TrainingInterrupted: `should_stop` said so.
        TrainingError: recipe, data and checkpoint do not go together, or a file cannot be read or written.
        DataError, SpaceError: the data cannot be sampled, the candidate not built.
    """
    candidate = as_candidate(candidate)
    recipe = final_recipe(candidate, recipe, fidelity, warm=init_from is not None and recipe.transfer is None)
    _check_arguments(recipe, data, stop_epoch, init_from)
    start = StartingPoint(init_from, moved)
    place = torch.device(usable_device(device))
    strict = not (recipe.own_code or candidate.own_code)
    full: str | None = None
    try:
        with reproducible(seed, place, deterministic=recipe.deterministic, strict=strict), _current(place):
            return _Run(
                candidate,
                recipe,
                data,
                seed,
                place,
                start,
                checkpoint,
                metrics,
                on_epoch,
                between_steps,
                should_stop,
                progress,
            ).go(stop_epoch or recipe.total_epochs, resume, resume_from, precision)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        full = str(error)
    # Raised out here, where the frames that hold the tensors are gone, so that the memory can be given back; this one,
    # which the error keeps, holds none.
    if place.type == "cuda":
        torch.cuda.empty_cache()
    raise out_of_memory(recipe.batch, resolve_precision(recipe.precision, place), str(place), full)


def final_recipe(
    candidate: Candidate, recipe: Recipe, fidelity: Fidelity | None = None, *, warm: bool = False
) -> Recipe:
    """The recipe a candidate is trained with: its own values over the given recipe, then the fidelity.

    Args:
        recipe: the full recipe; already final where neither changes it.
        warm: whether the training goes on from a trained plain network.

    Raises:
        TrainingError: a value cannot be; a teacher is missing, or it or the first weights are others than before.
    """
    own = with_teachers(recipe.with_overrides(dict(candidate.recipe)))
    own = own if warm else with_weights(own, candidate)
    return own.fine_tuned(fidelity) if warm and fidelity is not None else own.at(fidelity)


def _check_arguments(recipe: Recipe, data: PreparedData, stop_epoch: int | None, init_from: Path | None) -> None:
    if tuple(recipe.input) != tuple(data.size):
        raise TrainingError(
            f"the recipe asks for images of {recipe.input[0]}x{recipe.input[1]}, "
            f"but {data.name} was prepared at {data.size[0]}x{data.size[1]}",
            "Prepare the data at the recipe's input size.",
        )
    if stop_epoch is not None and not 1 <= stop_epoch <= recipe.total_epochs:
        raise TrainingError(f"a training of {recipe.total_epochs} epochs cannot stop after epoch {stop_epoch}")
    given_apart = recipe.transfer is not None and recipe.transfer.from_pretraining
    if given_apart and init_from is None:
        raise TrainingError(
            "transfer from pretrained needs the source's checkpoint", "Give it, or name it in transfer."
        )
    if recipe.transfer is not None and init_from is not None and not given_apart:
        raise TrainingError("transfer and a start both say where a training begins", "Give one of them.")


def _current(device: torch.device) -> AbstractContextManager[object]:
    """The card as the current one: what a user's own block makes on `cuda` belongs there too."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _Run:
    """One call of `train`: the trainer, and who wants to know or to interfere."""

    def __init__(
        self,
        candidate: Candidate,
        recipe: Recipe,
        data: PreparedData,
        seed: int,
        device: torch.device,
        start: StartingPoint,
        checkpoint: Path | None,
        metrics: Sequence[str],
        on_epoch: OnEpoch | None,
        between_steps: Callable[[], None] | None,
        should_stop: Callable[[], bool] | None,
        progress: Progress | None,
    ) -> None:
        self.recipe, self.seed, self.start, self.checkpoint = recipe, seed, start, checkpoint
        self.data = data.to(device)
        self.trainer = Trainer(candidate, recipe, self.data, seed, device, start.id)
        self.on_epoch = on_epoch or (lambda record: None)
        self.between_steps = between_steps or (lambda: None)
        self.should_stop = should_stop or (lambda: False)
        self.progress = progress or silent
        self.metrics = metrics
        self.saved_at = time.monotonic()
        self.sha256: str | None = None

    def go(self, stop: int, resume: bool, resume_from: Path | None, precision: str | None) -> TrainingResult:
        self.trainer.compute_in(precision if self.recipe.precision == "auto" else None)
        self._start(resume, resume_from)
        if self.trainer.epoch > stop:
            raise TrainingError(f"{self.checkpoint} is already past epoch {stop}, at {self.trainer.epoch}")
        begun_at = self.trainer.epoch
        while self.trainer.epoch < stop:
            self._epoch(self.trainer.epoch + 1)
        if self.trainer.epoch > begun_at or self.sha256 is None:
            self._save(final=self.trainer.epoch == self.recipe.total_epochs)
        return self._result()

    # ------------------------------------------------------------------ starting

    def _start(self, resume: bool, resume_from: Path | None) -> None:
        trainer, path = self.trainer, self.start.path
        source = self._checkpoint_to_resume(resume, resume_from)
        if source is None:
            if self.recipe.transfer is not None:
                trainer.seen_before = load_source(
                    trainer.network, path or source_file(self.recipe.transfer, trainer.candidate)
                )
            elif path is not None:
                trainer.seen_before = start_from(trainer.network, path, moved=self.start.moved)
        saved = None if source is None else load_checkpoint(source)
        if saved is not None and saved.training.get("precision") in DTYPES:
            trainer.compute_in(saved.training["precision"])
        trainer.prepare()
        if saved is not None:
            if saved.start == self.start.former_id:
                saved = replace(saved, start=self.start.id)
            trainer.resume(saved, str(source))
            if source is not None and source == self.checkpoint and trainer.step == 0:
                self.sha256 = sha256_of(source)

    def _checkpoint_to_resume(self, resume: bool, resume_from: Path | None) -> Path | None:
        if self.checkpoint is not None:
            remove_stale_partials(self.checkpoint)
            if resume and self.checkpoint.exists():
                return self.checkpoint
        return resume_from

    # ------------------------------------------------------------------ epochs

    def _epoch(self, epoch: int) -> None:
        trainer, steps = self.trainer, self.trainer.batches.steps(epoch)
        monitor = LossMonitor(epoch, trainer.sums, trainer.step)
        lr = learning_rate(self.recipe, epoch, steps, steps)
        with trainer.phase(epoch):
            for step in range(trainer.step + 1, steps + 1):
                self._pause(monitor)
                lr = learning_rate(self.recipe, epoch, step, steps)
                self._step(epoch, step, lr, monitor)
                self._tell_step(epoch, step, steps)
            begun = time.perf_counter()
            monitor.check()
            trainer.seconds += time.perf_counter() - begun
        self._finish_epoch(epoch, lr, monitor, steps * self.recipe.batch)

    def _step(self, epoch: int, step: int, lr: float, monitor: LossMonitor) -> None:
        begun = time.perf_counter()
        batch = self.trainer.batches.get(epoch, step)
        total, terms = self.trainer.train_step(batch, lr, head_only=epoch <= self.recipe.head_epochs)
        monitor.add(total, terms, lr)
        self.trainer.step = step
        self.trainer.seconds += time.perf_counter() - begun

    def _pause(self, monitor: LossMonitor) -> None:
        """Gives others their turn between two steps; writes everything down when asked to stop, or after a while."""
        self.between_steps()
        stop = self.should_stop()
        if stop or self._checkpoint_is_due():
            monitor.check()
            self.trainer.sums = monitor.sums()
            self._save(final=False)
        if stop:
            raise TrainingInterrupted(
                f"stopped in epoch {self.trainer.epoch + 1} after {self.trainer.step} steps",
                "Run the same command again to go on." if self.checkpoint else None,
            )

    def _checkpoint_is_due(self) -> bool:
        return self.checkpoint is not None and time.monotonic() - self.saved_at >= self.recipe.checkpoint_seconds

    def _finish_epoch(self, epoch: int, lr: float, monitor: LossMonitor, images: int) -> None:
        trainer, due = self.trainer, self.recipe.evaluate_every
        trainer.epoch, trainer.step = epoch, 0
        found = self._score().map if due and (epoch % due == 0 or epoch == self.recipe.total_epochs) else None
        record = EpochRecord(epoch, lr, monitor.means(), trainer.seconds, images, found)
        trainer.sums, trainer.seconds = {}, 0.0
        best_before = max((r.map for r in trainer.records if r.map is not None), default=float("-inf"))
        trainer.records.append(record)
        if found is not None and found > best_before and self.recipe.keep == "best":
            self._save_best()
        self.on_epoch(record)

    def _tell_step(self, epoch: int, step: int, steps: int) -> None:
        total = self.recipe.total_epochs
        self.progress((epoch - 1) * steps + step, total * steps, f"epoch {epoch} of {total}")

    # ------------------------------------------------------------------ files and the end

    def _save(self, *, final: bool) -> None:
        self.saved_at = time.monotonic()
        if self.checkpoint is not None and not (final and self.recipe.keep == "none"):
            # A finished training has no use for its optimiser: two thirds of the file.
            self.sha256 = save_checkpoint(self.trainer.checkpoint(with_training_state=not final), self.checkpoint)

    def _save_best(self) -> None:
        if self.checkpoint is not None:
            save_checkpoint(self.trainer.checkpoint(with_training_state=False), best_path(self.checkpoint))

    def _score(self) -> RetrievalMetrics:
        half = self.recipe.evaluation_precision == "training"
        with autocast(self.trainer.precision if half else "fp32", self.trainer.device):
            return score(self.trainer.scored_network, self.data, self.recipe, metrics=self.metrics)

    def _result(self) -> TrainingResult:
        begun = time.perf_counter()
        metrics = self._score()
        records = tuple(self.trainer.records)
        seconds, images = sum(r.seconds for r in records), sum(r.images for r in records)
        kept, digest = self._kept_file()
        return TrainingResult(
            metrics=metrics,
            epochs=records,
            seconds=seconds,
            evaluation_seconds=time.perf_counter() - begun,
            images_per_second=images / seconds if seconds > 0 else 0.0,
            precision=self.trainer.precision,
            checkpoint=kept,
            checkpoint_sha256=digest,
            seed=self.seed,
            trained=self.trainer.checkpoint(with_training_state=False) if self.checkpoint is None else None,
        )

    def _kept_file(self) -> tuple[Path | None, str | None]:
        """The file that stays, by the recipe's `keep`; an unfinished training always keeps its last one."""
        if self.checkpoint is None:
            return None, None
        if self.trainer.epoch < self.recipe.total_epochs or self.recipe.keep == "last":
            return self.checkpoint, self.sha256
        self.checkpoint.unlink(missing_ok=True)
        best = best_path(self.checkpoint)
        return (best, sha256_of(best)) if self.recipe.keep == "best" and best.exists() else (None, None)


def best_path(checkpoint: Path) -> Path:
    """Where `keep: best` puts the best epoch's weights.

    >>> best_path(Path("runs/a.pt")).name
    'a.best.pt'
    """
    return checkpoint.with_name(f"{checkpoint.stem}.best{checkpoint.suffix}")
