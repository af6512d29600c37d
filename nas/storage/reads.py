"""What reports and the dashboard read beside the tables of results: data, machines, curves, spaces of a study.

Each is one statement; nothing here writes, and what was not measured stays None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd
from sqlalchemy import func, select

from nas.results.energy import ENERGY_COLUMNS
from nas.storage.base import trainings_of
from nas.storage.models import (
    Control,
    DatasetRow,
    Environment,
    Epoch,
    FindingRow,
    Latency,
    Note,
    Stage,
    StageTraining,
    StudyRow,
    Training,
)
from nas.storage.records import SpaceInfo, UsedDataset, UsedEnvironment
from nas.storage.studies import SPACE_COLUMNS, Studies, space_info


class Reads(Studies):
    """What is read of one study as a whole."""

    def change_token(self, study: str) -> str:
        """A short text that differs whenever something of the study has changed that a page shows."""
        counts = (
            select(
                func.count(Training.id),
                func.count(Training.id).filter(Training.status == "finished"),
                func.count(Training.id).filter(Training.status == "failed"),
                func.count(Training.id).filter(Training.status == "running"),
                func.max(Training.finished_at),
                func.max(Training.started_at),
            )
            .join(StageTraining, StageTraining.training_id == Training.id)
            .join(Stage, Stage.id == StageTraining.stage_id)
            .join(StudyRow, StudyRow.id == Stage.study_id)
            .where(StudyRow.name == study)
        )
        stages = (
            select(func.count(Stage.id), func.max(Stage.started_at), func.max(Stage.finished_at))
            .join(StudyRow, StudyRow.id == Stage.study_id)
            .where(StudyRow.name == study)
        )
        last = (func.max(Latency.id), func.max(FindingRow.id), func.max(Note.changed_at))
        others = select(*(select(number).scalar_subquery() for number in last))
        return "|".join(str(value) for query in (counts, stages, others) for value in self.rows(query)[0])

    def datasets_of(self, study: str) -> list[UsedDataset]:
        """Data-set views that trainings of the study use, the most used first."""
        used = (
            select(Training.dataset_id, Training.split, func.count().label("trainings"))
            .where(Training.id.in_(trainings_of(study)))
            .group_by(Training.dataset_id, Training.split)
            .subquery()
        )
        query = (
            select(
                *(DatasetRow.id, DatasetRow.name, DatasetRow.spec, DatasetRow.counts, DatasetRow.known_by),
                *(DatasetRow.warnings, used.c.split),
            )
            .join(used, used.c.dataset_id == DatasetRow.id)
            .order_by(used.c.trainings.desc())
        )
        return [cast(UsedDataset, dict(row._mapping)) for row in self.rows(query)]

    def environments_of(self, study: str) -> list[UsedEnvironment]:
        """Where the study's trainings ran, the most used first."""
        used = (
            select(Training.environment_id, func.count().label("trainings"))
            .where(Training.id.in_(trainings_of(study)), Training.environment_id.is_not(None))
            .group_by(Training.environment_id)
            .subquery()
        )
        query = (
            select(Environment.facts, used.c.trainings)
            .join(used, used.c.environment_id == Environment.id)
            .order_by(used.c.trainings.desc())
        )
        return [cast(UsedEnvironment, dict(row._mapping)) for row in self.rows(query)]

    def failures_of(self, study: str) -> pd.DataFrame:
        """Failed trainings: training_id, failure_reason."""
        query = select(Training.id.label("training_id"), Training.failure_reason).where(
            Training.id.in_(trainings_of(study)), Training.status == "failed"
        )
        return pd.DataFrame(self.rows(query), columns=["training_id", "failure_reason"])

    def checkpoints_of(self, study: str) -> pd.DataFrame:
        """Kept weights of finished trainings: training_id, checkpoint (address in the store)."""
        query = select(Training.id.label("training_id"), Training.checkpoint_uri).where(
            Training.id.in_(trainings_of(study)), Training.status == "finished", Training.checkpoint_uri.is_not(None)
        )
        return pd.DataFrame(self.rows(query), columns=["training_id", "checkpoint"])

    def workers_of(self, study: str) -> pd.DataFrame:
        """Who did each training: training_id, worker and its log, empty where workers of that name were not started
        by the last run of the study.
        """
        query = select(Training.id, Training.owner).where(
            Training.id.in_(trainings_of(study)), Training.owner.is_not(None)
        )
        launch = select(Control.launch).join(StudyRow, StudyRow.id == Control.study_id).where(StudyRow.name == study)
        jobs = [job for row in self.rows(launch) for job in row.launch.get("jobs", ())]
        logs = {job["worker"]: job.get("log", "") for job in jobs}
        rows = [(number, owner, logs.get(owner, "")) for number, owner in self.rows(query)]
        return pd.DataFrame(rows, columns=["training_id", "worker", "log"])

    def energy_of(self, study: str) -> pd.DataFrame:
        """What counters ran up during the study's finished trainings, columns `ENERGY_COLUMNS`; no rows where none did.

        Trainings that another study asked for, too, are in it.
        """
        query = select(Training.id, Training.metrics["energy"]).where(
            Training.id.in_(trainings_of(study)), Training.status == "finished"
        )
        rows = [{"training_id": number, **reading} for number, used in self.rows(query) for reading in used or ()]
        return pd.DataFrame(rows, columns=list(ENERGY_COLUMNS))

    def epochs_of(self, training_ids: Sequence[int]) -> pd.DataFrame:
        """The curves of these trainings: training_id, epoch, lr, loss (the sum of its terms), seconds."""
        query = (
            select(Epoch.training_id, Epoch.epoch, Epoch.lr, Epoch.losses, Epoch.seconds)
            .where(Epoch.training_id.in_(list(training_ids)))
            .order_by(Epoch.training_id, Epoch.epoch)
        )
        columns = ["training_id", "epoch", "lr", "losses", "seconds"]
        table = pd.DataFrame.from_records(self.rows(query), columns=columns)
        return table.assign(loss=[total_loss(losses) for losses in table["losses"]])

    def spaces_of(self, study: str, proposed: Sequence[str | None] = ()) -> list[SpaceInfo]:
        """The study's spaces with their ancestors, parents first; `proposed` ones that its stages left, too."""
        info = self.study(study)
        known = {row.id: space_info(row) for row in self.rows(select(*SPACE_COLUMNS))}
        found: dict[str, SpaceInfo] = {}
        for space_id in (info.space_id, *(stage.space_id for stage in self.stages(info.id)), *proposed):
            line: dict[str, SpaceInfo] = {}
            space = known.get(space_id or "")
            while space is not None and space.id not in found | line:
                line = {space.id: space, **line}
                space = known.get(space.parent_id or "")
            found |= line
        return list(found.values())

    def latency_protocol_of(self, study: str) -> dict[str, Any]:
        """The protocol and environment of the study's newest latency; empty before one is measured."""
        info = self.study(study)
        query = (
            select(Latency.protocol, Latency.record)
            .where(Latency.protocol_id == info.protocol_id, Latency.device == info.device, Latency.measured)
            .order_by(Latency.id.desc())
            .limit(1)
        )
        rows = self.rows(query)
        if not rows:
            return {}
        protocol, record = rows[0]
        return {"protocol": dict(protocol), "device": info.device, "environment": record.get("environment") or {}}


def total_loss(losses: Mapping[str, float | None]) -> float:
    """The whole loss of an epoch: its `total` where it is kept, else the sum of its terms."""
    if (total := losses.get("total")) is not None:
        return total
    return sum(value for value in losses.values() if value is not None) if losses else float("nan")
