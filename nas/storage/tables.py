"""What statistics, reports and the dashboard read: pandas tables, one query each.

Columns are fixed and documented here; what was not measured is NaN or None, never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from nas.storage.base import AnySelect
from nas.storage.latencies import NEWEST_FIRST
from nas.storage.models import CandidateRow, Epoch, Latency, Stage, StageTraining, Study, Training
from nas.storage.studies import Studies

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = (
    "map",
    "rank1",
    "minp",
    "latency_ms",
    "latency_p5_ms",
    "latency_p95_ms",
    "batches_per_s",
    "peak_memory_mb",
    "energy_j",
    "params",
    "macs",
    "seconds",
    "images_per_s",
    "epochs",
)
LATENCY_COLUMNS = (
    "id",
    "architecture_id",
    "notation",
    "protocol_id",
    "device",
    "measured",
    "median_ms",
    "mean_ms",
    "p5_ms",
    "p95_ms",
    "sd_ms",
    "batches_per_s",
    "batches",
    "peak_memory_mb",
    "isolated",
    "drift",
    "environment_id",
    "imported",
    "measured_at",
)


class Tables(Studies):
    """Tables of a study."""

    def results(self, study: str, *, protocol_id: str | None = None, device: str | None = None) -> pd.DataFrame:
        """One row a (stage, training), in the order they were planned.

        Latencies are those of the study's own protocol and device (`set_study_latency`) unless given, corrected for the
        machine's drift where that was read, as the search counts them (`latencies` has them as they were measured);
        `latency_measured` is False for a predicted figure and None when there is none.

        Raises:
            StudyError: there is no study of this name.
        """
        self.study(study)
        query = _results_query(study, protocol_id, device)
        rows = self.rows(query)
        return _frame(query, rows)

    def latencies(self, *, protocol_id: str | None = None, device: str | None = None) -> pd.DataFrame:
        """All latencies, one row a measurement, oldest first; columns as `LATENCY_COLUMNS`."""
        query = select(*[getattr(Latency, name) for name in LATENCY_COLUMNS]).order_by(Latency.id)
        if protocol_id is not None:
            query = query.where(Latency.protocol_id == protocol_id)
        if device is not None:
            query = query.where(Latency.device == device)
        rows = self.rows(query)
        return _frame(query, rows)

    def epochs(self, training_id: int) -> pd.DataFrame:
        """The curve of one training: epoch, lr, seconds, images and one column a loss term."""
        import pandas as pd

        query = (
            select(Epoch.epoch, Epoch.lr, Epoch.seconds, Epoch.images, Epoch.losses)
            .where(Epoch.training_id == training_id)
            .order_by(Epoch.epoch)
        )
        rows = self.rows(query)
        return pd.DataFrame([{**row._mapping, **row.losses} for row in rows]).drop(columns="losses", errors="ignore")


def _results_query(study: str, protocol_id: str | None, device: str | None) -> AnySelect:
    latest = aliased(Latency)
    slower = 1.0 + func.coalesce(latest.drift, 0.0)
    return (
        select(
            Study.name.label("study"),
            Stage.name.label("stage"),
            Stage.kind.label("stage_kind"),
            StageTraining.role,
            StageTraining.sampler,
            StageTraining.batch,
            Training.id.label("training_id"),
            Training.candidate_id,
            CandidateRow.architecture_id,
            CandidateRow.notation,
            CandidateRow.backbone,
            CandidateRow.n_blocks,
            Training.fidelity_label.label("fidelity"),
            Training.epochs,
            Training.start,
            Training.code,
            Training.seed,
            Training.split,
            Training.status,
            Training.failure_kind,
            Training.map,
            Training.rank1,
            Training.minp,
            (latest.median_ms / slower).label("latency_ms"),
            (latest.p5_ms / slower).label("latency_p5_ms"),
            (latest.p95_ms / slower).label("latency_p95_ms"),
            (latest.batches_per_s * slower).label("batches_per_s"),
            latest.measured.label("latency_measured"),
            latest.peak_memory_mb,
            (latest.record["energy_mj"].as_float() / 1000.0).label("energy_j"),
            CandidateRow.params,
            CandidateRow.macs,
            Training.seconds,
            Training.images_per_s,
            Training.finished_at,
            Stage.space_id,
        )
        .join(Stage, Stage.study_id == Study.id)
        .join(StageTraining, StageTraining.stage_id == Stage.id)
        .join(Training, Training.id == StageTraining.training_id)
        .join(CandidateRow, CandidateRow.id == Training.candidate_id)
        .outerjoin(latest, latest.id == _newest_latency(study, protocol_id, device))
        .where(Study.name == study)
        .order_by(Stage.position, StageTraining.batch, StageTraining.position, Training.id)
    )


def _newest_latency(study: str, protocol_id: str | None, device: str | None) -> Any:
    """Id of the figure to show for an architecture: measured before predicted, own before imported, newest first."""
    return (
        select(Latency.id)
        .where(
            Latency.architecture_id == CandidateRow.architecture_id,
            Latency.protocol_id == (Study.protocol_id if protocol_id is None else protocol_id),
            Latency.device == (Study.device if device is None else device),
        )
        .order_by(*NEWEST_FIRST)
        .limit(1)
        .correlate(Study, CandidateRow)
        .scalar_subquery()
    )


def _frame(query: AnySelect, rows: Any) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame.from_records(rows, columns=[column.name for column in query.selected_columns])
    for name in _NUMBERS:
        if name in frame:
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
    for name in ("finished_at", "measured_at"):
        if name in frame:
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
    return frame


RESULT_COLUMNS = tuple(column.name for column in _results_query("", None, None).selected_columns)
