"""Ask and tell: a program holds the loop, the study proposes what to train and takes what is told.

Whoever asks is a worker like any other: what it asked for is its own as long as it gives signs of life, which a thread
does; several programs may ask at once, and what one leaves undone is asked of another.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError, StudyError
from nas.search.context import StudyContext
from nas.search.definition import StudyDefinition
from nas.search.execution import own_outcome
from nas.search.in_process import make_worker
from nas.search.joining import stored_definition
from nas.search.mirror import Mirror
from nas.search.objectives import OwnTrainer
from nas.search.runner import register
from nas.search.starts import CHECKPOINT, file_of
from nas.search.worker import IDLE_S, LEASE_S, Worker
from nas.spaces import Candidate
from nas.training.failures import Diverged
from nas.training.fidelity import Fidelity

if TYPE_CHECKING:
    from nas.storage import ClaimedTraining, Database, Repository

log = logging.getLogger("nas.asking")

COPY_S = 1.0
"""How often is looked whether trainings are due in Optuna's tables."""


@dataclass(frozen=True)
class Asked:
    """A training that a program is to do.

    Attributes:
        id: of the training.
        candidate: what to train.
        seed: with which random numbers.
        fidelity: how much of a full training.
        start: file of the weights to start from; None: from scratch.
        stage: which stage asks.
    """

    id: int
    candidate: Candidate
    seed: int
    fidelity: Fidelity
    start: Path | None
    stage: str


def begin(definition: StudyDefinition, repository: Repository) -> int:
    """Stores a study whose loop is outside, or finds it again; returns its id.

    Raises:
        StudyError: its trainings are done by somebody else.
    """
    if definition.objective is not None and not definition.objective.ask:
        raise StudyError(
            "trainings of a study with an objective of its own are not asked for",
            "leave `objective` out, write objective: {ask: true, metrics: ...}, or give it to nas.run",
        )
    return register(definition, repository)


@dataclass
class Asker:
    """Asks a study for trainings and tells it their results; safe to share between threads.

    Args:
        database: with the study in it.
        study: its name.
        lease_s: silence of the program after which what it asked for is given to another.
    """

    database: Database
    study: str
    lease_s: float = LEASE_S
    _open: dict[int, tuple[ClaimedTraining, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # of what is open
    _planning: threading.Lock = field(default_factory=threading.Lock)  # may take long: signs of life do not wait for it

    def __post_init__(self) -> None:
        from nas.storage import Repository

        self._repository = Repository(self.database)
        stored = self._repository.study(self.study)
        context = StudyContext(stored_definition(stored.definition), self._repository, stored.id)
        if context.trainer is None or not context.trainer.settings.ask:
            raise StudyError(
                f"study {self.study!r} does not ask: its trainings are done by `nas run`",
                "create one with nas.Study.create, without an objective",
            )
        self._trainer: OwnTrainer = context.trainer
        self._worker: Worker = make_worker(context, 0, self.lease_s)
        self._mirror = Mirror(replace(self._worker.context, _datasets={}, _codes={}, cost_models={}))
        self._worker.register()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._copier = threading.Thread(target=self._copy, name="mirror", daemon=True)
        self._heart.start()
        self._copier.start()
        atexit.register(self._at_exit)

    def ask(self, *, wait: bool = False) -> Asked | None:
        """What to train next; None when the study is finished.

        Args:
            wait: wait for results that this program has still to tell (from another thread).

        Raises:
            StudyError: nothing can be proposed before results of what was asked are told.
        """
        while True:
            with self._planning:
                claim = self._worker.claim()
                if claim is not None:
                    with self._lock:
                        self._open[claim.id] = (claim, time.monotonic())
                    return self._asked(claim)
                if self._worker.advance():
                    continue
                if self._worker.finished():
                    break
                if self._open and not wait:
                    raise StudyError(
                        f"nothing can be proposed before {len(self._open)} results are told",
                        "call study.tell for what was asked, or ask(wait=True) where another thread does",
                    )
            self._over.wait(IDLE_S)
        self._mirror.flush()  # without the lock: others may still tell
        return None

    def tell(self, asked: Asked, result: object = None, *, failed: str | None = None) -> bool:
        """Stores what a training gave, or why it failed; False where it had ended otherwise meanwhile.

        Args:
            asked: from `ask`.
            result: a number, or a dictionary of numbers with the study's metrics and costs; `checkpoint` may be a file.
            failed: why there is no result. A NaN is a failure, too.

        Raises:
            StudyError: the result lacks a metric, or is no number: it is still to be told.
        """
        with self._lock:
            claim, begun = self._open.get(asked.id, (None, 0.0))
        if claim is None:
            raise StudyError(f"{asked.candidate} was told already, or was asked by another program")
        context, kept = self._worker.context, True
        try:
            told = None if failed is not None else self._trainer.read(result)
        except Diverged as error:
            told, failed = None, error.message
        if told is None:
            kind = "error" if result is None else "diverged"
            kept = bool(self._repository.fail_training(claim.id, context.owner, kind, failed or ""))
        else:
            outcome = own_outcome(told, time.monotonic() - begun, context, self._worker.files, claim)
            kept = self._repository.finish_training(claim.id, context.owner, outcome)
            self._worker.measure(claim)
            if kept:
                self._mirror.add(claim, outcome)
        with self._lock:
            self._open.pop(claim.id, None)
        return kept

    def close(self) -> None:
        """Gives back what was asked and not told; returns when Optuna's tables show what was told.

        Another program that holds these tables is waited for half a minute at a time; what is not shown by then, a
        warning says, and the next program that works on the study shows it.
        """
        if self._over.is_set():
            return
        self._over.set()
        atexit.unregister(self._at_exit)
        self._heart.join()
        for claim, _ in self._open.values():
            self._repository.release(claim.id, self._worker.context.owner)
        self._open.clear()
        self._copier.join()
        self._mirror.flush()
        self._repository.worker_stopped(self._worker.context.owner)

    def _at_exit(self) -> None:
        """As `close`; a database that is gone by then has nothing to be given back to."""
        with contextlib.suppress(NasError):
            self.close()

    def _asked(self, claim: ClaimedTraining) -> Asked:
        worker = self._worker
        path = (
            file_of(worker.context, claim.start)
            if claim.start.startswith(f"{CHECKPOINT}:")
            else worker.files.fetch_initial(claim)
        )
        fidelity, candidate = Fidelity(**claim.fidelity), claim.candidate
        if claim.stop_epoch is not None:
            fidelity = fidelity.model_copy(update={"epochs": claim.stop_epoch})
        return Asked(claim.id, candidate, claim.seed, fidelity, path, claim.stage)

    def _live(self) -> None:
        """Signs of life for what is open, three times a lease; a database that is away may come back."""
        while not self._over.wait(self.lease_s / 3):
            with self._lock:
                mine = list(self._open)
            try:
                for training in mine:
                    self._repository.heartbeat(training, self._worker.context.owner)
                if not mine:
                    self._repository.worker_alive(self._worker.context.owner)
            except NasError as away:  # who asks or tells is told
                log.warning("no sign of life could be given: %s", away)

    def _copy(self) -> None:
        """Writes Optuna's tables, whose lock may be another program's: neither who asks nor a lease may wait for it."""
        with contextlib.suppress(NasError):  # what died before it was mirrored; the next program tries again
            self._mirror.reconcile()
        while not self._over.wait(COPY_S):
            if self._mirror.due():
                self._mirror.flush()
