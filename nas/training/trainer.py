"""One training: network, losses, optimisers and random numbers, moved on a step at a time.

The trainer knows how to make a step, and how to turn itself into a `Checkpoint` and back. When to stop, what to keep
and how to score is left to `nas.training.run`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nas.data.prepared import PreparedData
from nas.data.records import image_keys
from nas.errors import DataError, TrainingError
from nas.networks import ReidNetwork, ReidOutputs, build_network
from nas.spaces.candidate import Candidate
from nas.training.batches import Batch, TrainingBatches
from nas.training.capture import CapturedStep
from nas.training.checkpoints import SCRATCH, Checkpoint, network_settings, restore
from nas.training.ema import AveragedWeights
from nas.training.fresh import initialise_classifier, zero_residual_branches
from nas.training.layout import channels_last
from nas.training.losses import LossInputs, TotalLoss
from nas.training.optimisers import centre_optimiser, network_optimiser, set_learning_rate
from nas.training.precision import autocast, gradient_scaler, resolve_precision
from nas.training.recipe import IDENTITY_TERMS, Recipe, with_paths
from nas.training.results import EpochRecord
from nas.training.teachers import ask_teachers, load_teachers
from nas.training.transfer import only_trainable

_HEAD = 0x4EAD


class Trainer:
    """A training in memory.

    Args:
        candidate: what to train; its own recipe values must be in `recipe` already.
        data: only the training split is used.
        seed: network, centres and batches all follow from it.
        start: what it starts from, by content. Whose weights these are is not the trainer's affair.

    Attributes:
        teachers: trained networks that it learns from too.
        averaged: its averaged weights, or None.
        recorded: the step as a CUDA graph, where the recipe asks for one.
        epoch, step: whole epochs done, and steps done of the one after.
        sums, seconds: losses and time of the unfinished epoch, for a checkpoint in the middle of it.

    Raises:
        SpaceError: the candidate cannot be built at this input size.
        DataError: too few identities for the recipe's batches.
        TrainingError: a teacher cannot teach, see `nas.training.teachers`.
    """

    def __init__(
        self,
        candidate: Candidate,
        recipe: Recipe,
        data: PreparedData,
        seed: int,
        device: torch.device,
        start: str = SCRATCH,
    ) -> None:
        self.candidate, self.recipe, self.data, self.seed, self.device = candidate, recipe, data, seed, device
        self.start = start
        self.seen_before: Tensor | None = None  # by what this one starts from
        self.precision = resolve_precision(recipe.precision, device)
        if recipe.capture and device.type != "cuda":
            raise TrainingError("capture: true records a GPU's work", "Set capture: false, or device: cuda.")
        self.batches = TrainingBatches(data.train, recipe, seed, device)
        self.network = self._build_network()
        generator = torch.Generator().manual_seed(_stream(seed))
        initialise_classifier(self.network, recipe.classifier_std, generator)
        self.teachers = load_teachers(recipe, data.dataset_id)
        taught = [teacher.embedding_dim for teacher in self.teachers]
        self.loss = TotalLoss(
            recipe, data.num_classes, self.network.embedding_dim, generator, taught, self.network.pooled_dim
        ).to(device)
        self._captured: list[Tensor] = []
        if self.loss.needs_feature_map:
            self.network.pool.register_forward_pre_hook(self._capture)
        self.epoch, self.step = 0, 0
        self.records: list[EpochRecord] = []
        self.sums: dict[str, float] = {}
        self.seconds = 0.0

    def _build_network(self) -> ReidNetwork:
        fresh = self.start == SCRATCH and not self.recipe.transfer
        weights = self.recipe.weights_of(self.candidate.backbone) if fresh else None
        network = build_network(
            self.candidate,
            num_classes=self.data.num_classes,
            input_size=self.data.size,
            weights=weights,
            **network_settings(self.recipe),
            seed=self.seed,
        )
        if weights is None and self.recipe.zero_residual:
            zero_residual_branches(network)
        return network

    def compute_in(self, precision: str | None) -> None:
        """Takes over what `auto` once meant, whatever this device would choose; before `prepare`. None: nothing."""
        if precision is not None:
            self.precision = resolve_precision(precision, self.device)

    def prepare(self) -> None:
        """To be called once the starting weights are in place: moves to the device and makes the optimisers."""
        for network in (self.network, *self.teachers):
            network.to(self.device)
            if self.recipe.channels_last:
                channels_last(network)
        if self.recipe.compile:
            self.network.compile()
        self._parameters = list(self.network.parameters())
        self.optimiser = network_optimiser(self.network, self.recipe, self.loss.maps.parameters())
        self.centre_optimiser = centre_optimiser(self.loss, self.recipe)
        self.scaler = gradient_scaler(self.precision, self.device)
        # Not given the step to keep: a trainer in a circle of references would hold its memory after it failed.
        self.recorded = CapturedStep() if self.recipe.capture else None
        decay = self.recipe.ema_decay
        self.averaged = None if decay is None else AveragedWeights(self.network, decay)

    @property
    def scored_network(self) -> ReidNetwork:
        """The network whose metrics count: the averaged one where there is one."""
        return cast(ReidNetwork, self.averaged.network) if self.averaged else self.network

    @contextlib.contextmanager
    def phase(self, epoch: int) -> Iterator[None]:
        """The mode an epoch is trained in: transfer's head epochs train the classifier only, all else in eval mode."""
        if epoch > self.recipe.head_epochs:
            self.network.train()
            yield
            return
        self.network.eval()
        with only_trainable(self.network, self.classifier):
            yield

    @property
    def classifier(self) -> nn.Module:
        """The classifier; a network is always built with one here."""
        if self.network.classifier is None:
            raise RuntimeError("a network without classifier cannot be trained")
        return self.network.classifier

    def train_step(self, batch: Batch, lr: float, *, head_only: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """One optimiser step; returns the total loss and its terms, both without gradient and on the device."""
        set_learning_rate(self.optimiser, lr)
        if self.recorded is None or head_only:
            found = self._step(batch, head_only=head_only)
        else:
            found = self.recorded(self._step, batch)
        if self.averaged is not None:
            self.averaged.update()
        return found

    def _step(self, batch: Batch, *, head_only: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        self.optimiser.zero_grad(set_to_none=True)
        if self.centre_optimiser is not None:
            self.centre_optimiser.zero_grad(set_to_none=True)
        with autocast(self.precision, self.device):
            inputs = self._head_inputs(batch) if head_only else self._inputs(batch)
        total, terms = self.loss(inputs, IDENTITY_TERMS if head_only else None)
        self.scaler.scale(total).backward()
        self._update()
        return total.detach(), terms

    def _inputs(self, batch: Batch) -> LossInputs:
        outputs: ReidOutputs = self.network(batch.images)
        logits = outputs.logits
        if logits is None:
            raise RuntimeError("a network without classifier cannot be trained")
        feature_map = self._captured.pop() if self._captured else None
        return LossInputs(
            outputs.pooled,
            outputs.embedding,
            logits,
            batch.labels,
            self.classifier,
            self.network,
            feature_map,
            ask_teachers(self.teachers, batch.images),
        )

    def _head_inputs(self, batch: Batch) -> LossInputs:
        with torch.no_grad():
            embedding = self.network(batch.images)
        self._captured.clear()
        logits = self.classifier(embedding)
        return LossInputs(embedding, embedding, logits, batch.labels, self.classifier, self.network)

    def _capture(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.network.training:
            self._captured[:] = [inputs[0]]

    def _update(self) -> None:
        """Clips, undoes the loss weight in the centres' gradient, and lets both optimisers step."""
        self.scaler.unscale_(self.optimiser)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        if self.centre_optimiser is not None and self.loss.centres is not None and self.loss.centres.has_gradient:
            self.scaler.unscale_(self.centre_optimiser)
            self.loss.rescale_centre_gradient()
            self.scaler.step(self.centre_optimiser)
        self.scaler.update()

    # ------------------------------------------------------------------ checkpoints

    def checkpoint(self, *, with_training_state: bool = True) -> Checkpoint:
        """The training as it is now. Tensors are not copied: write it before the next step."""
        return Checkpoint(
            candidate=self.candidate,
            recipe=self.recipe,
            dataset_id=self.data.dataset_id,
            seed=self.seed,
            input_size=self.data.size,
            num_classes=self.data.num_classes,
            epoch=self.epoch,
            step=self.step,
            network=self.network.state_dict(),
            averaged=None if self.averaged is None else self.averaged.state_dict(),
            training=self._training_state() if with_training_state else {},
            records=tuple(self.records),
            start=self.start,
            seen=self._seen,
        )

    @cached_property
    def _seen(self) -> Tensor | None:
        """Images that the weights were trained on; None where their files are not there to be told apart."""
        try:
            own = torch.from_numpy(image_keys(self.data.train.records, self.data.cache))
        except DataError:
            return None
        return own if self.seen_before is None else torch.unique(torch.cat([own, self.seen_before]))

    def _training_state(self) -> dict[str, Any]:
        return {
            "optimiser": self.optimiser.state_dict(),
            "centres": self.loss.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": _random_state(self.device),
            "precision": self.precision,
            "sums": dict(self.sums),
            "seconds": self.seconds,
        }

    def resume(self, saved: Checkpoint, what: str) -> None:
        """Takes over a checkpoint of the same training; the `TrainingError` says what is another's and names `what`."""
        self._check_same(saved, what)
        restore(self.network, saved.network, what)
        self.seen_before = saved.seen
        if self.averaged is not None and saved.averaged is not None:
            self.averaged.load_state_dict(saved.averaged)
        self.epoch, self.step, self.records = saved.epoch, saved.step, list(saved.records)
        if saved.training:
            self._restore_training_state(saved.training)

    def _restore_training_state(self, state: Mapping[str, Any]) -> None:
        self.optimiser.load_state_dict(state["optimiser"])
        self.loss.load_state_dict(state["centres"])
        self.scaler.load_state_dict(state["scaler"])
        _set_random_state(state["random"], self.device)
        self.sums, self.seconds = dict(state["sums"]), float(state["seconds"])

    def _check_same(self, saved: Checkpoint, what: str) -> None:
        theirs, mine = saved.recipe, self.recipe
        if not theirs.begins:  # paths stand for the files, as until 0.2 and where a start takes their place
            theirs, mine = (_by_names(recipe, self.candidate) for recipe in (theirs, mine))
        pairs = {
            "candidate": (saved.candidate.notation, self.candidate.notation),
            "recipe": (theirs.id, mine.id),
            "data": (saved.dataset_id, self.data.dataset_id),
            "seed": (saved.seed, self.seed),
            "start": (saved.start, self.start),
        }
        for name, (its, ours) in pairs.items():
            if its != ours:
                raise TrainingError(
                    f"{what} belongs to another training: its {name} is {its}, not {ours}",
                    "Give another checkpoint file, or do not resume.",
                )


def _by_names(recipe: Recipe, candidate: Candidate) -> Recipe:
    """A recipe with the names of its files alone: where they lie differs from machine to machine."""
    return with_paths(recipe.with_overrides({"begins": ""}), lambda path: Path(path.name), candidate)


def _stream(seed: int) -> int:
    return int(np.random.SeedSequence([_HEAD, seed]).generate_state(1, np.uint64)[0])


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """torch's own generators: blocks of a user may draw from them (dropout)."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
