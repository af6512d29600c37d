"""The tables of a study, the same on SQLite and PostgreSQL, all prefixed `nas_`.

Only columns, keys and indexes; what is done with them is in the modules beside. Optuna's own tables
live in the same database and are never referred to from here (a foreign key into them makes
Optuna's `delete_study` fail in silence on PostgreSQL). Instants are seconds since 1970 UTC, see
`nas.storage.clock`; what was not measured is NULL, never 0.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from nas.storage.clock import database_now

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
BigId = BigInteger().with_variant(Integer, "sqlite")

TRAINING_STATUSES = ("waiting", "running", "finished", "failed")
STAGE_STATUSES = ("waiting", "running", "finished", "failed")
WISHES = ("run", "pause", "stop", "stop now")
SCRATCH = "scratch"
BY_CONTENT, BY_NAMES_AND_SIZES = "content", "names and sizes"


class Base(DeclarativeBase):
    """All tables of ours; `Base.metadata` is what Alembic compares with the database."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {dict[str, object]: JSON, list[object]: JSON, float: Double, str: Text}  # noqa: RUF012


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _serial() -> Mapped[int]:
    return mapped_column(BigId, primary_key=True, autoincrement=True)


def _created() -> Mapped[float]:
    return mapped_column(default=database_now())


class Environment(Base):
    """Where numbers were made: package versions, commit, driver, machine; keyed by content."""

    __tablename__ = "nas_environment"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    facts: Mapped[dict[str, object]]
    created_at: Mapped[float] = _created()


class SpaceRow(Base):
    """A design space and the space it was shrunk from (its lineage)."""

    __tablename__ = "nas_space"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    # An exact count of candidates outgrows 64 bits, so it is kept as decimal digits.
    size: Mapped[str]
    parent_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("nas_space.id", ondelete="SET NULL"))
    definition: Mapped[dict[str, object]]
    rules: Mapped[list[object]]
    created_at: Mapped[float] = _created()


class StudyRow(Base):
    """One study: its file's content, seed and the space it starts from."""

    __tablename__ = "nas_study"
    id: Mapped[int] = _serial()
    name: Mapped[str] = mapped_column(unique=True)
    definition: Mapped[dict[str, object]]
    seed: Mapped[int] = mapped_column(BigInteger)
    space_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("nas_space.id", ondelete="SET NULL"))
    # Which latency figures the study speaks of: one protocol on one device.
    protocol_id: Mapped[str | None] = mapped_column(String(64))
    device: Mapped[str | None]
    environment_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("nas_environment.id"))
    created_at: Mapped[float] = _created()


class Stage(Base):
    """One step of a study; trains inside `space_id` and leaves `result`."""

    __tablename__ = "nas_stage"
    id: Mapped[int] = _serial()
    study_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_study.id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str]
    kind: Mapped[str]
    settings: Mapped[dict[str, object]]
    status: Mapped[str] = mapped_column(String(16), default="waiting")
    space_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("nas_space.id", ondelete="SET NULL"))
    result: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))
    planner: Mapped[str | None]
    planner_until: Mapped[float | None]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    __table_args__ = (
        UniqueConstraint("study_id", "position"),
        UniqueConstraint("study_id", "name"),
        _one_of("status", STAGE_STATUSES),
    )


BY_PROTOCOL = "by_protocol"
"""Key of a candidate's sizes under which those of each latency protocol stand, by its id: heads and images differ."""


class CandidateRow(Base):
    """One candidate (backbone, placements, recipe part); `architecture_id` leaves the recipe out."""

    __tablename__ = "nas_candidate"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    architecture_id: Mapped[str] = mapped_column(String(64), index=True)
    notation: Mapped[str]
    backbone: Mapped[str]
    n_blocks: Mapped[int]
    definition: Mapped[dict[str, object]]
    params: Mapped[int | None] = mapped_column(BigInteger)
    macs: Mapped[int | None] = mapped_column(BigInteger)
    complexity: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float] = _created()


class Note(Base):
    """What a person noted of a candidate of a study."""

    __tablename__ = "nas_note"
    study_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("nas_study.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    candidate_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("nas_candidate.id", ondelete="CASCADE"), primary_key=True
    )
    star: Mapped[bool] = mapped_column(Boolean, default=False)
    tags: Mapped[list[object]] = mapped_column(default=list)
    comment: Mapped[str] = mapped_column(default="")
    changed_at: Mapped[float] = _created()


class RecipeRow(Base):
    """Every number of one training recipe, keyed by its hash."""

    __tablename__ = "nas_recipe"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    definition: Mapped[dict[str, object]]
    created_at: Mapped[float] = _created()


class DatasetRow(Base):
    """One view of one data set (files, held-out identities, image size), keyed by content.

    `known_by` says what `id` was made from: "content", or "names and sizes" where an earlier version stored it
    without reading the pictures; such an id never equals one by content, so their trainings are never mixed.
    """

    __tablename__ = "nas_dataset"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    spec: Mapped[dict[str, object]]
    counts: Mapped[dict[str, object]]
    known_by: Mapped[str] = mapped_column(String(32), default=BY_CONTENT, server_default=BY_CONTENT)
    # What a person should know of the images: {fact, consequence} each; NULL where nobody looked.
    warnings: Mapped[list[object] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float] = _created()


KEY_NAMES = ("candidate_id", "code", "recipe_id", "dataset_id", "fidelity_label", "start", "seed")
"""What makes two trainings the same one."""


class Training(Base):
    """One training: a fact once finished, shared by every stage and study that asks for it."""

    __tablename__ = "nas_training"
    id: Mapped[int] = _serial()
    candidate_id: Mapped[str] = mapped_column(String(64), ForeignKey("nas_candidate.id"))
    # Hash of the code of own blocks, losses and objectives that it uses; "" where it uses none.
    code: Mapped[str] = mapped_column(String(64), default="", server_default="")
    recipe_id: Mapped[str] = mapped_column(String(64), ForeignKey("nas_recipe.id"))
    dataset_id: Mapped[str] = mapped_column(String(64), ForeignKey("nas_dataset.id"), index=True)
    fidelity_label: Mapped[str] = mapped_column(String(128))
    # Which weights it starts from, by content: "scratch", "plain:<hash>" or "checkpoint:<hash>".
    start: Mapped[str] = mapped_column(String(128), default=SCRATCH, server_default=SCRATCH)
    seed: Mapped[int] = mapped_column(BigInteger)
    fidelity: Mapped[dict[str, object]]
    epochs: Mapped[int | None]
    # The rung at which it stops; NULL: the end of its schedule.
    stop_epoch: Mapped[int | None]
    view: Mapped[str] = mapped_column(String(16), default="select")
    split: Mapped[str] = mapped_column(String(16))
    # Indexed, or deleting a training would look through all others for those that build on it.
    resume_from_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("nas_training.id", ondelete="SET NULL"), index=True
    )
    init_from_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("nas_training.id", ondelete="SET NULL"), index=True
    )
    # The claim: who trains it, and until when that is believed without a sign of life.
    status: Mapped[str] = mapped_column(String(16), default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    # Leases that ran out since the last checkpoint: what kills every worker must not go round for ever.
    silences: Mapped[int] = mapped_column(default=0, server_default="0")
    owner: Mapped[str | None]
    claim_token: Mapped[str | None] = mapped_column(String(64))
    lease_seconds: Mapped[float | None]
    lease_until: Mapped[float | None]
    heartbeat_at: Mapped[float | None]
    # The outcome.
    map: Mapped[float | None]
    rank1: Mapped[float | None]
    minp: Mapped[float | None]
    metrics: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))
    seconds: Mapped[float | None]
    images_per_s: Mapped[float | None]
    checkpoint_uri: Mapped[str | None]
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))
    environment_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("nas_environment.id"))
    failure_kind: Mapped[str | None] = mapped_column(String(32))
    failure_reason: Mapped[str | None]
    failure_traceback: Mapped[str | None]
    # Name and hash of the archive that brought the result; NULL: it was made by workers of this database.
    imported: Mapped[str | None]
    created_at: Mapped[float] = _created()
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    __table_args__ = (
        UniqueConstraint(*KEY_NAMES, name="uq_nas_training_natural_key"),
        _one_of("status", TRAINING_STATUSES),
    )


class StageTraining(Base):
    """Which stage asked for which training, how it was proposed, and whether it still has to be done."""

    __tablename__ = "nas_stage_training"
    stage_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_stage.id", ondelete="CASCADE"), primary_key=True)
    training_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_training.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(32))
    sampler: Mapped[str] = mapped_column(String(64))
    batch: Mapped[int]
    position: Mapped[int]
    sampler_attrs: Mapped[dict[str, object]]
    # Follows the training's status, so that the next one to do is found by walking one small index.
    is_open: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[float] = _created()


Index(
    "ix_nas_training_running",
    Training.lease_until,
    sqlite_where=text("status = 'running'"),
    postgresql_where=text("status = 'running'"),
)
Index(
    "ix_nas_stage_training_open",
    StageTraining.stage_id,
    StageTraining.batch,
    StageTraining.position,
    sqlite_where=text("is_open = 1"),
    postgresql_where=text("is_open"),
)


class Epoch(Base):
    """One epoch of one training, as its curve needs it."""

    __tablename__ = "nas_epoch"
    training_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_training.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lr: Mapped[float | None]
    losses: Mapped[dict[str, object]]
    seconds: Mapped[float | None]
    images: Mapped[int | None]


class Device(Base):
    """A device on which latencies are measured; measured by one owner at a time."""

    __tablename__ = "nas_device"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    description: Mapped[dict[str, object]]
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    created_at: Mapped[float] = _created()


class WorkerRow(Base):
    """A process that works, or worked, on a study; `id` is the owner's name in its claims."""

    __tablename__ = "nas_worker"
    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    study_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_study.id", ondelete="CASCADE"), index=True)
    host: Mapped[str]
    pid: Mapped[int | None]
    device: Mapped[str | None]
    details: Mapped[dict[str, object]]
    started_at: Mapped[float] = mapped_column(default=database_now())
    heartbeat_at: Mapped[float] = mapped_column(default=database_now())
    stopped_at: Mapped[float | None]


class Control(Base):
    """What a person, or a spent budget, wishes of a study, and how its workers were started; none means run."""

    __tablename__ = "nas_control"
    study_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("nas_study.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    wish: Mapped[str] = mapped_column(String(16), default="run")
    why: Mapped[str] = mapped_column(default="")
    # Whether the study ends as one that failed: exit code 2.
    failed: Mapped[bool] = mapped_column(Boolean, default=False)
    launch: Mapped[dict[str, object]] = mapped_column(default=dict)
    __table_args__ = (_one_of("wish", WISHES),)


class LatencyJob(Base):
    """A network that a device elsewhere shall time; plain types, read and written there without SQLAlchemy."""

    __tablename__ = "nas_latency_job"
    id: Mapped[int] = _serial()
    device: Mapped[str]
    architecture_id: Mapped[str] = mapped_column(String(64))
    notation: Mapped[str]
    protocol_id: Mapped[str] = mapped_column(String(64))
    protocol: Mapped[str]
    network: Mapped[bytes | None] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="waiting")
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    result: Mapped[str | None]
    reason: Mapped[str | None]
    collected: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[float] = _created()
    finished_at: Mapped[float | None]
    __table_args__ = (
        UniqueConstraint("device", "architecture_id", "protocol_id"),
        _one_of("status", TRAINING_STATUSES),
    )


class Latency(Base):
    """One latency of one architecture under one protocol on one device: measured, or predicted."""

    __tablename__ = "nas_latency"
    id: Mapped[int] = _serial()
    architecture_id: Mapped[str] = mapped_column(String(64))
    notation: Mapped[str]
    protocol_id: Mapped[str] = mapped_column(String(64))
    protocol: Mapped[dict[str, object]]
    device: Mapped[str] = mapped_column(Text, ForeignKey("nas_device.id"))
    measured: Mapped[bool] = mapped_column(Boolean)
    median_ms: Mapped[float]
    mean_ms: Mapped[float | None]
    p5_ms: Mapped[float | None]
    p95_ms: Mapped[float | None]
    sd_ms: Mapped[float | None]
    batches_per_s: Mapped[float | None]
    batches: Mapped[int | None]
    peak_memory_mb: Mapped[float | None]
    isolated: Mapped[bool | None] = mapped_column(Boolean)
    drift: Mapped[float | None]
    record: Mapped[dict[str, object]]
    environment_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("nas_environment.id"))
    # Name and hash of the archive that brought it; figures measured for this database come before these.
    imported: Mapped[str | None]
    measured_at: Mapped[float] = _created()
    __table_args__ = (Index(None, "architecture_id", "protocol_id", "device"),)


class FindingRow(Base):
    """One tested rule of one stage with its evidence and verdict: adopted, rejected or not enough data."""

    __tablename__ = "nas_rule"
    id: Mapped[int] = _serial()
    study_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_study.id", ondelete="CASCADE"), index=True)
    stage_id: Mapped[int] = mapped_column(BigId, ForeignKey("nas_stage.id", ondelete="CASCADE"))
    position: Mapped[int]
    kind: Mapped[str]
    strength: Mapped[str]
    verdict: Mapped[str]
    reason: Mapped[str]
    sentence: Mapped[str]
    finding: Mapped[dict[str, object]]
    created_at: Mapped[float] = _created()
    __table_args__ = (UniqueConstraint("stage_id", "position"),)
