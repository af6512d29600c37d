"""Shows finished trainings in Optuna's own tables, one Optuna study a stage.

Optuna's tools (its dashboard, its importances) then work on the same database. Nothing is read back
from there: proposals are made from our own tables, so a mirror that lags behind harms nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from nas.search.cost_model import paid
from nas.search.proposals.encoding import Encoding
from nas.spaces import Candidate
from nas.storage.optuna_storage import mirror_trials

if TYPE_CHECKING:
    from nas.search.context import StudyContext
    from nas.storage import ClaimedTraining, TrainingOutcome

log = logging.getLogger("nas.worker")

Row = tuple[int, str, str, float]  # training id, stage, notation, mAP
FLUSH_COUNT = 32  # some tens of milliseconds each: a second of writing at a time
FLUSH_S = 30.0  # what somebody with Optuna's dashboard open waits for at most


class Mirror:
    """Copies the trainings of one study to Optuna's tables; each once.

    Optuna's storage takes tens of milliseconds a trial, so finished trainings are collected and copied together by
    `flush`: where it is `due`, and where there is nothing else to do. Safe to share between threads; no other thread
    may use its context.
    """

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        self._waiting: deque[Row] = deque()
        self._since = time.monotonic()
        self._failed = False
        self._lock = threading.RLock()

    def add(self, claim: ClaimedTraining, outcome: TrainingOutcome) -> None:
        """Notes one finished training, to be copied soon."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((claim.id, claim.stage, claim.notation, outcome.map))

    def due(self, *, idle: bool = False) -> bool:
        """Whether enough waits (of an `idle` worker anything), or some for long enough; after a failure only this."""
        enough = not self._failed and (idle or len(self._waiting) >= FLUSH_COUNT)
        return bool(self._waiting) and (enough or time.monotonic() - self._since > FLUSH_S)

    def flush(self) -> None:
        """Copies what waits; at its end also what another thread was copying. What fails waits for the next time."""
        with self._lock:
            rows: list[Row] = []
            with suppress(IndexError):  # none left
                while True:
                    rows.append(self._waiting.popleft())
            self._failed = False
            try:
                self._mirror(rows)
            except Exception as error:
                # The results are safe in our own tables; a mirror must not end a worker.
                self._failed, self._since = True, time.monotonic()
                self._waiting.extendleft(reversed(rows))
                log.warning("%d trainings not mirrored to Optuna yet: %s", len(rows), error)

    def reconcile(self) -> None:
        """Mirrors what finished but was not mirrored (a crash in between)."""
        with self._lock:
            results = self._context.results()
            done = results[(results["status"] == "finished") & results["map"].notna()]
            columns = (done[name].tolist() for name in ("training_id", "stage", "notation", "map"))
            self._waiting.extend(zip(*columns, strict=True))
            self.flush()

    def _mirror(self, rows: list[Row]) -> None:
        if not rows:
            return
        costs = paid(self._context)
        by_stage: dict[str, list[dict[str, object]]] = {}
        spaces = {s.name: self._context.space_of(s) for s in self._context.repository.stages(self._context.study_id)}
        for training_id, stage, notation, value in rows:
            candidate = Candidate.parse(notation)
            encoding = Encoding(spaces[stage])
            params, prices = encoding.encode(candidate), [model.cost(candidate) for model in costs]
            if params is None or any(price is None for price in prices):
                continue  # the reference network, say: it lies outside the space
            trial = {"training_id": training_id, "params": params, "values": [value, *prices], "notation": notation}
            by_stage.setdefault(stage, []).append({**trial, "distributions": encoding.distributions()})
        for stage, trials in by_stage.items():
            name = f"{self._context.definition.name}/{stage}"
            names = [self._context.metric.title, *(model.unit for model in costs)]
            directions = ["maximize", *["minimize"] * len(costs)]
            mirror_trials(self._context.repository.database, name, trials, directions=directions, metrics=names)
