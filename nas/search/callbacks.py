"""Tells others what happens in a study: stages, trainings, epochs, rules, its end.

What happened is read from the database, so that it is the same whoever trains, and where: threads, processes, other
machines. What was there before the watch began is not told again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.results.columns import RESULTS
from nas.spaces import rule_from_dict
from nas.storage.kept import KeptResults

if TYPE_CHECKING:
    import pandas as pd

    from nas.storage import Repository
    from nas.storage.standing import StudyStatus

log = logging.getLogger("nas.callbacks")
NUMBERS = tuple(column.name for column in RESULTS if column.better)
ENDED = ("finished", "failed")


@dataclass(frozen=True)
class TrainingEvent:
    """A training that began or ended.

    Attributes:
        id: of the training.
        status: `running`, `finished` or `failed`.
        stage: that asked for it.
        notation: the candidate.
        seed: its seed.
        fidelity: label of the fidelity.
        role: candidate, baseline, ...
        numbers: what is known of it, by column of a results table; of own trainers also their other numbers.
        failure: kind of failure; empty without one.
    """

    id: int
    status: str
    stage: str
    notation: str
    seed: int
    fidelity: str
    role: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class EpochEvent:
    """An epoch of a training.

    Attributes:
        training: id of the training.
        epoch: from 1.
        numbers: `lr`, `loss`, `seconds`, where they are known.
    """

    training: int
    epoch: int
    numbers: Mapping[str, float]


class Callback:
    """What is told of a study; a class of one's own has those of these methods that it needs.

    They are called in the program that runs the study, a few times a second, in the order of events. One that raises
    is told of in a warning and the study goes on.
    """

    def study_began(self, study: str, definition: Mapping[str, object]) -> None:
        """Before anything else; `definition` is the study file as plain data."""

    def stage(self, name: str, kind: str, status: str) -> None:
        """A stage is `running`, `finished` or `failed` now."""

    def training(self, event: TrainingEvent) -> None:
        """A training began or ended."""

    def epoch(self, event: EpochEvent) -> None:
        """A training has done an epoch."""

    def rule(self, stage: str, sentence: str, evidence: Mapping[str, object]) -> None:
        """A shrink stage adopted a rule."""

    def study_ended(self, study: str, finished: bool) -> None:
        """At the end; `finished` is False where the run was interrupted, or an error ended it."""


class Watch:
    """Compares what a database holds of a study with what was told.

    Args:
        repository: the database.
        study: name of the study.
        callbacks: who is told.
    """

    def __init__(self, repository: Repository, study: str, callbacks: Sequence[object]) -> None:
        self._repository, self._study, self._callbacks = repository, study, list(callbacks)
        self._kept = KeptResults(repository, study)
        info = repository.study(study)
        self._id = info.id
        self._stages = {stage.name: stage.status for stage in repository.stages(info.id)}
        self._rules = set(self._adopted())
        results = self._results()
        self._trainings = dict(zip(results["training_id"], results["status"], strict=True))
        self._epochs = {int(i): 0 for i in self._trainings}
        self._known: object = None
        self._tell("study_began", study, info.definition)

    def update(self, status: StudyStatus) -> None:
        """Tells what is new in a snapshot of `Repository.status`."""
        if not self._callbacks:
            return
        running = [int(row["training_id"]) for row in status["running"]]
        known = (status["trainings"], running)
        changed = self._changed() if known != self._known else None
        self._known = known
        for stage in status["stages"]:  # in order, so that a stage's trainings stand between its beginning and its end
            name, now, before = stage["stage"], stage["status"], self._stages.get(stage["stage"], "waiting")
            if before == "waiting" and now != "waiting":
                self._tell("stage", name, stage["kind"], "running")
            if changed is not None:
                self._tell_trainings(changed[changed["stage"] == name])
            if now != before and now in ENDED:
                self._tell_rules()
                self._tell("stage", name, stage["kind"], now)
            self._stages[name] = now
        self._tell_epochs(running)

    def end(self, finished: bool) -> None:
        """Tells what is left, and that it is over."""
        if self._callbacks:
            self._known = None
            self.update(self._repository.status(self._study))
            self._tell("study_ended", self._study, finished)

    def _results(self) -> pd.DataFrame:
        self._kept.look()
        return self._kept.results().drop_duplicates("training_id")

    def _changed(self) -> pd.DataFrame:
        """Trainings whose state was not told yet."""
        rows = self._results()
        return rows[rows["training_id"].map(self._trainings).ne(rows["status"]) & rows["status"].ne("waiting")]

    def _tell_trainings(self, changed: pd.DataFrame) -> None:
        table = self._repository.told(self._study) if len(changed) else None
        told = {} if table is None else {int(row["training_id"]): row for row in table.to_dict("records")}
        for row in changed.itertuples():
            if self._trainings.get(int(str(row.training_id))) != "running":
                self._tell("training", _event(row, "running", told))
        ended = changed[changed["status"].isin(ENDED)]
        self._tell_epochs([int(number) for number in ended["training_id"]])
        for row in ended.itertuples():
            self._tell("training", _event(row, str(row.status), told))
        self._trainings |= dict(zip(changed["training_id"], changed["status"], strict=True))

    def _tell_epochs(self, trainings: Sequence[int]) -> None:
        if not trainings:
            return
        for row in self._repository.epochs_of(trainings).itertuples():
            training, epoch = int(str(row.training_id)), int(str(row.epoch))
            if epoch > self._epochs.get(training, 0):
                self._epochs[training] = epoch
                numbers = {name: getattr(row, name) for name in ("lr", "loss", "seconds")}
                self._tell("epoch", EpochEvent(training, epoch, _finite(numbers)))

    def _adopted(self) -> dict[tuple[str, str], Mapping[str, object]]:
        """Evidence of the adopted rules, by stage and sentence."""
        rows = [row for row in self._repository.findings(self._id) if row.get("verdict") == "adopted"]
        return {(str(row["stage"]), rule_from_dict(row["rule"]).sentence()): row.get("evidence") or {} for row in rows}

    def _tell_rules(self) -> None:
        for (stage, sentence), evidence in self._adopted().items():
            if (stage, sentence) not in self._rules:
                self._rules.add((stage, sentence))
                self._tell("rule", stage, sentence, evidence)

    def _tell(self, what: str, *values: object) -> None:
        for callback in list(self._callbacks):
            method = getattr(callback, what, None)
            if method is None:
                continue
            try:
                method(*values)
            except Exception as error:
                log.warning("%s.%s raised %s: %s", type(callback).__name__, what, type(error).__name__, error)


def _event(row: Any, status: str, told: Mapping[int, Mapping[Hashable, object]]) -> TrainingEvent:
    known = status in ENDED
    numbers = {name: getattr(row, name) for name in NUMBERS} if known else {}
    return TrainingEvent(
        int(row.training_id),
        status,
        str(row.stage),
        str(row.notation),
        int(row.seed),
        str(row.fidelity),
        str(row.role),
        _finite({**numbers, **(told.get(int(row.training_id), {}) if known else {})}),
        str(row.failure_kind) if status == "failed" else "",
    )


def _finite(numbers: Mapping[Any, Any]) -> dict[str, float]:
    return {
        str(name): float(v)
        for name, v in numbers.items()
        if name != "training_id" and v is not None and math.isfinite(float(v))
    }
