"""Does one claimed training: data, weights to start from, train, and the outcome as it is stored.

Knows nothing of stages. What goes wrong is told apart by kind; whether it is tried again is the
worker's decision.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import training
from nas.data.records import require_same_data
from nas.errors import StorageError, StudyError, TrainingError
from nas.files.plain import JsonDict
from nas.results.costs import COSTS
from nas.search.context import SOURCE, StudyContext
from nas.search.energy import metered
from nas.search.objectives import OwnTrainer, Told
from nas.search.starts import CHECKPOINT, SOURCE_ROLE, START_ROLE, WEIGHTS, file_of, split_start
from nas.spaces import Candidate
from nas.storage import Repository
from nas.storage.records import ClaimedTraining, TrainingOutcome
from nas.training.fidelity import Fidelity
from nas.training.recipe import load_recipe

if TYPE_CHECKING:
    from nas.search.checkpoints import CheckpointFiles
    from nas.training import EpochRecord

log = logging.getLogger("nas.worker")

CONTROL_SEEDS = 1_000_003
"""Controls of one seed are this far apart in the seeds that one's own trainer gets: no study counts so far."""


class Execution:
    """Carries out claimed trainings of one study in this process.

    Args:
        context: the study.
        files: where checkpoints are.
        between_steps: called between two training steps; lets measurements pass, may raise to stop.
    """

    def __init__(
        self, context: StudyContext, files: CheckpointFiles, between_steps: Callable[[], None] | None = None
    ) -> None:
        self._context = context
        self._files = files
        self._between_steps = between_steps
        self._undelivered: list[JsonDict] = []
        self._resumed = False

    def run(self, claim: ClaimedTraining, should_stop: Callable[[], bool]) -> TrainingOutcome:
        """Trains and evaluates; raises what the training raises."""
        candidate = claim.candidate
        self._check_code(candidate, claim)
        if self._context.replay is not None:
            return self._replayed(candidate, claim, should_stop)
        used: list[dict[str, Any]] = []
        self._resumed = False
        with metered(self._context.device, used):
            if self._context.trainer is not None:
                outcome = self._own(self._context.trainer, candidate, claim, should_stop)
            else:
                self._store_size(candidate)
                outcome = self._trained(candidate, claim, should_stop)
        # Of a training that was gone on with, what went before is not known: half of it would be no measurement.
        whole = used and not self._resumed
        return replace(outcome, metrics={**outcome.metrics, "energy": used}) if whole else outcome

    def _own(
        self, trainer: OwnTrainer, candidate: Candidate, claim: ClaimedTraining, should_stop: Callable[[], bool]
    ) -> TrainingOutcome:
        """One's own trainer; a control, which is a network trained again, gets a seed of its own."""
        paid = (self._context.definition.cost, *self._context.definition.more_costs)
        if any(COSTS[name].kind == "counted" and not self._context.tells(name) for name in paid):
            self._store_size(candidate)
        fidelity = Fidelity(**claim.fidelity)
        if claim.stop_epoch is not None:
            fidelity = fidelity.model_copy(update={"epochs": claim.stop_epoch})
        begun = time.monotonic()
        seed = claim.seed + CONTROL_SEEDS * split_start(claim.start)[1]
        told = trainer.run(candidate, seed, fidelity, self._start_file(claim), should_stop)
        return own_outcome(told, time.monotonic() - begun, self._context, self._files, claim)

    def _check_code(self, candidate: Candidate, claim: ClaimedTraining) -> None:
        """Refuses to file a training of this code under another's."""
        here = self._context.code_of(candidate, load_recipe(claim.recipe))
        if here != claim.code:
            planned, found = (code or "none" for code in (claim.code, here))
            raise StudyError(
                f"{candidate} was planned with code {planned} of what does not ship with nas, here is {found}",
                "work with the files and versions that the study was started with, or start a study of another name",
            )

    def _trained(
        self, candidate: Candidate, claim: ClaimedTraining, should_stop: Callable[[], bool]
    ) -> TrainingOutcome:
        recipe = self._context.here(load_recipe(claim.recipe), candidate)
        require_same_data(self._context.dataset(claim.view), claim.dataset_id, claim.dataset_counts)
        data = self._context.prepared(claim.view, Fidelity(**claim.fidelity))
        checkpoint = self._files.begin(claim)
        self._resumed = checkpoint.exists()
        # The stored recipe is final: the candidate's own values and the fidelity are already in it.
        try:
            result = training.train(
                candidate.architecture,
                recipe,
                data,
                seed=claim.seed,
                checkpoint=checkpoint,
                device=self._context.device,
                precision=self._context.precision,
                on_epoch=lambda record: self._note_epoch(claim, record),
                between_steps=lambda: self._pause(claim),
                should_stop=should_stop,
                init_from=self._start_file(claim),
                moved=split_start(claim.start)[1],
                metrics=self._context.definition.metrics,
                stop_epoch=claim.stop_epoch,
            )
        finally:
            self._deliver(claim)
        self._context.repository.record_epochs(claim.id, self._undelivered)
        told: dict[str, object] = {"precision": result.precision, "told": dict(result.metrics.own)}
        if claim.role in (START_ROLE, SOURCE_ROLE) and result.checkpoint is not None:
            told[WEIGHTS] = training.load_checkpoint(result.checkpoint).weights_sha256
        uri, sha256 = self._files.finish(claim, result.checkpoint)
        return TrainingOutcome(
            map=result.metrics.map,
            rank1=result.metrics.rank1,
            minp=result.metrics.minp,
            metrics=_plain(asdict(result.metrics)) | told,
            seconds=result.seconds,
            images_per_s=result.images_per_second,
            epochs=result.epochs[-1].epoch if result.epochs else None,
            checkpoint_uri=uri,
            checkpoint_sha256=sha256,
            environment_id=self._context.environment_id,
        )

    def _start_file(self, claim: ClaimedTraining) -> Path | None:
        """The checkpoint whose weights a training starts from, on this machine; None from scratch."""
        if claim.start.startswith(f"{CHECKPOINT}:"):
            return file_of(self._context, claim.start)
        return self._files.fetch_initial(claim)

    def _pause(self, claim: ClaimedTraining) -> None:
        if self._between_steps is not None:
            self._between_steps()
        shared = self._files.share(claim)
        if shared is not None:
            self._context.repository.record_checkpoint(claim.id, claim.owner, *shared)

    def _note_epoch(self, claim: ClaimedTraining, record: EpochRecord) -> None:
        """Stores an epoch; while the database is away the training goes on, and its epochs wait to be delivered."""
        self._undelivered.append(asdict(record))
        self._deliver(claim)

    def _deliver(self, claim: ClaimedTraining) -> None:
        at_once = Repository(self._context.repository.database, patience_s=0.0)
        try:
            at_once.record_epochs(claim.id, self._undelivered)
        except StorageError as error:
            log.warning("%d epoch(s) of %s wait for the database: %s", len(self._undelivered), claim.notation, error)
        else:
            self._undelivered.clear()

    def _store_size(self, candidate: Candidate) -> None:
        """Parameters and MACs of the network as the study deploys it."""
        architecture, repository = candidate.architecture, self._context.repository
        size = self._context.complexity(architecture)
        protocol_id = repository.study(self._context.definition.name).protocol_id
        repository.set_complexity(architecture.id, size.params, size.macs, asdict(size), protocol_id=protocol_id)

    def _replayed(
        self, candidate: Candidate, claim: ClaimedTraining, should_stop: Callable[[], bool]
    ) -> TrainingOutcome:
        _ = self._context.table_id  # the table that the study began on, not one that was edited meanwhile
        table = self._context.replay
        value = (
            None
            if table is None
            else table.lookup(candidate, claim.seed, split_start(claim.start)[1], source=claim.view == SOURCE)
        )
        if table is None or value is None:
            raise TrainingError(f"{candidate.notation} is not in the table {table.name if table else ''}")
        if value != value:
            raise TrainingError(f"this training failed in the table: {table.failure(candidate, claim.seed)}")
        until = time.monotonic() + table.seconds
        while time.monotonic() < until:
            if should_stop():
                raise training.TrainingInterrupted("stopped while replaying a training")
            time.sleep(min(0.02, table.seconds))
        return TrainingOutcome(map=value)


def own_outcome(
    told: Told, seconds: float | None, context: StudyContext, files: CheckpointFiles, claim: ClaimedTraining
) -> TrainingOutcome:
    """What one's own trainer told, as it is stored; its checkpoint is copied to the store."""
    uri, sha256 = (None, None) if told.checkpoint is None else files.keep(claim, told.checkpoint)
    return TrainingOutcome(
        map=told.judged,
        rank1=told.fraction("rank1"),
        minp=told.fraction("minp"),
        metrics=told.stored(),
        seconds=seconds,
        checkpoint_uri=uri,
        checkpoint_sha256=sha256,
        environment_id=context.environment_id,
    )


def _plain(metrics: JsonDict) -> dict[str, object]:
    """Metrics without per-query arrays, as JSON data."""
    kept = {k: v for k, v in metrics.items() if not k.startswith("per_query")}
    return {k: (v.tolist() if hasattr(v, "tolist") else v) for k, v in kept.items()}
