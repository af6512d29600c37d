"""A worker: claims trainings of a study one after the other, and plans stages when there are none.

Everything it needs is in the database, so a worker can join from any machine and die at any moment.
A heartbeat thread keeps its claim; Ctrl-C and SIGTERM write a checkpoint and give the claim back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from nas.data.records import require_same_data
from nas.errors import NasError, StudyError
from nas.latency.isolation import TrainingPresence
from nas.search.budget import close_if_spent, may_begin, stage_budget
from nas.search.checkpoints import CheckpointFiles
from nas.search.context import FINAL, StudyContext, cache_folder
from nas.search.execution import Execution
from nas.search.far_device import answer, ready_to_plan
from nas.search.launchers.base import HUNG
from nas.search.measuring import measure_trained
from nas.search.mirror import Mirror
from nas.search.objectives import LeftBehindError
from nas.search.stage_results import StageResult
from nas.search.stages import HANDLERS, settings_of
from nas.search.stages.shrink import band_of, is_inside
from nas.storage.checkpoint_store import CheckpointStore
from nas.training.failures import OutOfMemory, failure_kind, fault_of

if TYPE_CHECKING:
    from nas.storage import ClaimedTraining, StageInfo

log = logging.getLogger("nas.worker")

LEASE_S = 60.0
IDLE_S = 0.5
SAY_EVERY_S = 1.0
BEAT_S = 5.0  # a sign of life under way at the end is waited for so long; a slow database must not hold the next up
LONGEST_IDLE_S = 5.0
"""Longest pause between two looks of a worker that finds nothing to do: a thousand must not keep the database busy."""
# Trying again helps against what the machine did, not against what the candidate is.
RETRIED_KINDS = frozenset({"killed", "error"})


class FreshProcessNeeded(Exception):  # noqa: N818 - no fault of the worker's
    """This process should end with `RENEW`, for another to go on in its place."""


STOP_GRACE_S = 60.0
"""What a training over its time limit has to stop between two steps, before it counts as hung inside one."""


def worker_name(number: int = 0) -> str:
    """Host, process and a random part: unique among all workers of a study."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}#{number}"


@dataclass
class Worker:
    """Works on one study until it is finished or told to stop.

    Attributes:
        context: the study.
        files: checkpoints.
        lease_s: a training whose worker was silent this long is given to another.
        parent: process id of the `nas run` that started this worker; when it is gone, the worker stops.
        embedded: whether it shares its process with a person's program, which it must never end.
        done: trainings it finished.
    """

    context: StudyContext
    files: CheckpointFiles
    lease_s: float = LEASE_S
    parent: int | None = None
    embedded: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _lost: threading.Event = field(default_factory=threading.Event)
    _late: threading.Event = field(default_factory=threading.Event)
    _deadline: float = math.inf
    _said: tuple[str, float] = ("", -math.inf)
    _paused: bool = False
    _data_known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.done = 0
        self._mirror = Mirror(self.context)
        repository, most = self.context.repository, self.context.definition.max_attempts - 1
        claim = partial(repository.claim_training, self.context.study_id, self.context.owner, self.lease_s)
        self.claim: Callable[[], ClaimedTraining | None] = partial(claim, max_silences=most)

    def stop(self) -> None:
        """Asks the worker to give back what it has and return."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the worker was asked to stop, or its parent is gone."""
        return self._stop.is_set() or (self.parent is not None and os.getppid() != self.parent)

    def run(self) -> int:
        """Works until nothing is left; returns the number of trainings it finished."""
        self.begin()
        idle = 0.0
        with self.alive():
            while not self.stopping and (did := self.step()) != "finished":
                idle = 0.0 if did == "worked" else idle + self.wait(idle)
        self.end()
        return self.done

    def begin(self) -> None:
        """Says that this worker is there."""
        self._mirror.reconcile()
        self.register()
        self.context.say, self.context.progress = self._says, self._prepares

    def step(self) -> Literal["worked", "idle", "finished"]:
        """One training, or one look at what is to be planned."""
        claim = self.claim() if self._may_begin() else None
        if claim is not None:
            self.done += self._train(claim)
            if self._mirror.due():
                self._mirror.flush()
            return "worked"
        halted = self.stopping or self._paused
        if not halted and (answer(self.context) or self.advance()):
            return "worked"
        if self._mirror.due(idle=True):
            self._mirror.flush()
        return "finished" if not halted and self.finished() else "idle"

    def wait(self, idle: float) -> float:
        """Waits before the next look, the longer the longer nothing was found; returns the seconds."""
        seconds = min(LONGEST_IDLE_S, max(IDLE_S, idle / 2))
        self._stop.wait(seconds)
        return seconds

    def end(self) -> None:
        """Says that this worker has ended; whoever ends last also tells what workers that were killed could not."""
        self._mirror.flush() if self.stopping else self._mirror.reconcile()
        self.context.repository.worker_stopped(self.context.owner)

    def alive(self) -> contextlib.AbstractContextManager[None]:
        """Gives signs of life meanwhile."""
        return self._renewing(lambda: self.context.repository.worker_alive(self.context.owner))

    def _may_begin(self) -> bool:
        """Whether another training may begin here: it is wished and paid for, and its data are here."""
        wish = self._look_at_wish()
        if wish != "run" or not may_begin(self.context):
            return False
        self._check_data()
        return True

    def _look_at_wish(self) -> str:
        wish = self.context.repository.wish(self.context.study_id)
        self._paused = wish.wish == "pause"
        if wish.ends:
            self._stop.set()
        return wish.wish

    def _check_data(self) -> None:
        """A worker without the data takes no training: compared by content before the first claim on a view of them.

        Raises:
            DataError: they are not here, or others are.
        """
        definition = self.context.definition
        views = {self.context.search_view, *(FINAL for s in definition.named_stages() if s.kind == "confirm")}
        if not self.context.trains or views <= self._data_known:
            return
        for view, dataset_id, counts in self.context.repository.open_datasets(self.context.study_id):
            if view not in self._data_known:
                require_same_data(self.context.dataset(view), dataset_id, counts)
                self._data_known.add(view)

    def register(self) -> None:
        host, pid = socket.gethostname(), os.getpid()
        self.context.repository.register_worker(
            self.context.owner, self.context.study_id, host=host, pid=pid, device=self.context.device
        )

    def _says(self, words: str) -> None:
        """Leaves in the database what this worker waits for or does beside trainings, about once a second."""
        known, when = self._said
        if words == known or (words and known and time.monotonic() - when < SAY_EVERY_S):
            return
        self._said = (words, time.monotonic())
        try:
            self.context.repository.worker_says(self.context.owner, words)
        except NasError as error:
            log.warning("%s (not told to the database: %s)", words, error)

    def _prepares(self, done: int, total: int, what: str = "") -> None:
        self._says(f"preparing images, {done} of {total}" if done < total else "")

    def finished(self) -> bool:
        stages = self.context.repository.stages(self.context.study_id)
        return all(stage.status in ("finished", "failed") for stage in stages)

    # -- planning

    def advance(self) -> bool:
        """Lets the current stage plan or close; True when something may have changed."""
        stage = next((s for s in self._stages() if s.status not in ("finished", "failed")), None)
        if stage is None:
            return False
        with self.context.repository.stage_lock(stage.id, self.context.owner, self.lease_s) as mine:
            if not mine:
                return False
            with self._renewing(lambda: self._keep_planning(stage)):
                return self._plan(self.context.repository.stage(stage.id))

    def _stages(self) -> list[StageInfo]:
        return self.context.repository.stages(self.context.study_id)

    def _keep_planning(self, stage: StageInfo) -> None:
        self.context.repository.lease_stage(stage.id, self.context.owner, self.lease_s)

    def _plan(self, stage: StageInfo) -> bool:
        repository = self.context.repository
        if stage.status in ("finished", "failed"):
            return True
        if stage.status == "waiting":
            repository.set_stage(stage.id, status="running", space_id=self._space_before(stage))
            stage = repository.stage(stage.id)
        if close_if_spent(self.context, stage, stage_budget(self.context, stage)):
            return repository.stage(stage.id).status == "finished"
        if not ready_to_plan(self.context, stage):
            return False
        idle, before = not repository.has_open_trainings(stage.id), self._progress(stage)
        with self.context.one_look():
            done = HANDLERS[stage.kind].advance(self.context, stage, settings_of(self.context.definition, stage))
        if done:
            repository.set_stage(stage.id, status="finished")
            return True
        moved = self._progress(stage) != before
        if idle and not moved and stage.kind != "profile":
            # Only whoever holds its lock plans it, so nothing would ever change: waiting would be for ever.
            raise StudyError(
                f"stage {stage.name!r} neither ends nor asks for a training",
                "this is a fault of nas, not of the study: please report it with the study file",
            )
        return moved

    def _progress(self, stage: StageInfo) -> tuple[object, object]:
        """What a stage has asked for, and what it has concluded."""
        repository = self.context.repository
        return repository.stage_trainings(stage.id), repository.stage(stage.id).result

    def _space_before(self, stage: StageInfo) -> str | None:
        """The space that the stages before left in the narrowest band of costs that this one keeps to, the last there.

        Of networks beyond the band that rules were found in, they say nothing.
        """
        bands = {s.position: band_of(self.context, s) for s in self.context.definition.named_stages()}
        left = [
            (bands[before.position], result.space_id)
            for before in reversed(self._stages())
            if before.position < stage.position and (result := StageResult.of(before.result)) and result.space_id
            if is_inside(bands[stage.position], bands[before.position])
        ]
        wider = [any(other != band and is_inside(other, band) for other, _ in left) for band, _ in left]
        narrowest = (space for (_, space), is_wider in zip(left, wider, strict=True) if not is_wider)
        return next(narrowest, self.context.space.id)

    # -- training

    def _train(self, claim: ClaimedTraining) -> int:
        self._lost = lost = threading.Event()
        self._late.clear()
        begun = time.monotonic()
        self._says("")
        log.info("training %s %s seed %s", claim.notation, claim.fidelity_label, claim.seed)
        with self._renewing(lambda: self._beat(claim, lost)):
            try:
                with self._on_the_machine() as give_way, self._limited():
                    execution = Execution(self.context, self.files, lambda: self._between_steps(give_way))
                    outcome = execution.run(claim, self._must_stop)
                kept = self.context.repository.finish_training(claim.id, self.context.owner, outcome)
                self.measure(claim)
            except BaseException as error:
                return self._ended_badly(claim, error)
        seconds, metric = time.monotonic() - begun, self.context.metric.title
        log.info("finished %s in %.1f s, %s %.4f", claim.notation, seconds, metric, outcome.map)
        if kept:
            self._mirror.add(claim, outcome)
        return int(kept)

    def measure(self, claim: ClaimedTraining) -> None:
        """Times the trained network; a device that cannot measure must not cost the training."""
        try:
            measure_trained(self.context, claim.candidate, lambda: self.stopping)
        except NasError as error:
            log.warning("latency of %s not measured: %s", claim.notation, error)

    @contextlib.contextmanager
    def _on_the_machine(self) -> Iterator[Callable[[], object]]:
        """Shares the machine with measurements, where there are any, and yields what lets one pass."""
        if not self.context.times:
            yield lambda: None
            return
        with TrainingPresence(None, self._waits, self.context.device) as presence:
            self._says("")
            yield presence.give_way

    def _between_steps(self, give_way: Callable[[], object]) -> None:
        begun = time.monotonic()
        give_way()
        self._deadline += time.monotonic() - begun  # waiting for a measurement is nobody's slowness

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """Sets the instant at which a training has passed its time limit, while it runs."""
        hours = self.context.definition.max_training_hours
        self._deadline = math.inf if hours is None else time.monotonic() + hours * 3600.0
        try:
            yield
        finally:
            self._deadline = math.inf

    def _waits(self, words: str) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        if words:
            self._says(words)

    def _must_stop(self) -> bool:
        return self.stopping or self._lost.is_set() or self._late.is_set()

    def _ended_badly(self, claim: ClaimedTraining, error: BaseException) -> int:
        """Books the end of a training on whose fault it was; raises what a person, or a new process, must see."""
        repository, owner = self.context.repository, self.context.owner
        fault = fault_of(error)
        if self._lost.is_set():
            log.warning("training %s was given to another worker meanwhile", claim.id)
        elif self._late.is_set() and fault == "stopped":
            self._fail(claim, "timeout", self._late_words())
            if isinstance(error, LeftBehindError) and not self.embedded:
                os._exit(HUNG)  # nothing else ends the function that still runs
        elif self.stopping or fault == "stopped":
            self._keep_for_the_next(claim)
            repository.release(claim.id, owner)
            self._stop.set()
        elif fault == "surroundings":
            # Nothing is wrong with the candidate: whoever runs this must act, then run again.
            repository.release(claim.id, owner)
            raise error
        elif fault == "device":
            # Counts like a worker that died, not like a failure: a new process has a new context.
            reason = f"the GPU's context was lost: {error}"
            repository.take_back(claim.id, owner, reason, max_silences=self.context.definition.max_attempts - 1)
            raise error
        else:
            text, kind = "".join(traceback.format_exception(error)), failure_kind(error)
            status = self._fail(claim, kind, str(error).strip() or type(error).__name__, text)
            if kind == OutOfMemory.kind and status == "waiting":
                # A neighbour on the card, or what this process still holds, may have caused it.
                log.warning("out of memory: this process ends, the training is tried once more in a fresh one")
                repository.worker_stopped(owner)
                raise FreshProcessNeeded
        return 0

    def _fail(self, claim: ClaimedTraining, kind: str, reason: str, text: str = "") -> str | None:
        attempts, retry = self.context.definition.max_attempts, kind in RETRIED_KINDS
        if kind == OutOfMemory.kind and self.context.device.startswith("cuda"):
            attempts, retry = min(attempts, 2), True
        status = self.context.repository.fail_training(
            claim.id, self.context.owner, kind, reason, text, retry=retry, max_attempts=attempts
        )
        log.warning("training %s failed (%s): %s; now %s", claim.notation, kind, reason, status)
        return status

    def _late_words(self) -> str:
        return f"it took longer than max_training_hours: {self.context.definition.max_training_hours:g}"

    def _keep_for_the_next(self, claim: ClaimedTraining) -> None:
        """Hands over the checkpoint; where that fails, the claim is given back all the same."""
        try:
            saved = self.files.interrupted(claim)
        except (NasError, OSError) as error:
            log.warning("the checkpoint of %s was not handed over: %s", claim.notation, error)
            return
        if saved is not None:
            self.context.repository.record_checkpoint(claim.id, self.context.owner, *saved)

    # -- signs of life

    def _beat(self, claim: ClaimedTraining, lost: threading.Event) -> None:
        if not self.context.repository.heartbeat(claim.id, self.context.owner):
            lost.set()
        if self._lost is not lost:
            return  # the database was slow: that training has ended, and another one has begun
        if self.context.repository.wish(self.context.study_id).wish == "stop now":
            self._stop.set()
        late = time.monotonic() - self._deadline
        if late <= 0.0:
            return
        self._late.set()  # asks it to stop between two steps
        if late > STOP_GRACE_S and not self._lost.is_set() and not self.embedded:
            # It hangs inside a step, where nothing but the end of the process reaches it.
            self._fail(claim, "timeout", self._late_words() + ", and hung")
            os._exit(HUNG)

    @contextlib.contextmanager
    def _renewing(self, beat: Callable[[], None]) -> Iterator[None]:
        """Calls `beat` three times a lease from a thread of its own."""
        over = threading.Event()

        def loop() -> None:
            while not over.wait(self.lease_s / 3):
                try:
                    beat()
                except Exception as error:
                    # An outage must not end the heart: the next beat may get through.
                    log.warning("heartbeat failed: %s", error)

        thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(BEAT_S)


def open_worker(context: StudyContext, lease_s: float, *, parent: int | None = None, embedded: bool = False) -> Worker:
    """A worker with the study's checkpoint store, which is seen to be usable; slow steps of the context end with it."""
    store = CheckpointStore(context.definition.checkpoints or str(cache_folder() / "checkpoints"))
    store.check()
    files = CheckpointFiles(store, cache_folder() / "work", shared=context.definition.checkpoints is not None)
    worker = Worker(context, files, lease_s, parent, embedded)
    context.stopping = lambda: worker.stopping
    return worker


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Any signal that means "end soon" makes workers write a checkpoint and give their claim back.

    Clusters differ in what they send before a time limit or at a preemption.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: stop())
