"""The first tables: spaces, studies, stages, trainings, latencies, rules, workers, jobs for far devices."""

import sqlalchemy as sa
from alembic import op

revision = "0.2.0"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nas_candidate",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("architecture_id", sa.String(length=64), nullable=False),
        sa.Column("notation", sa.Text(), nullable=False),
        sa.Column("backbone", sa.Text(), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("params", sa.BigInteger(), nullable=True),
        sa.Column("macs", sa.BigInteger(), nullable=True),
        sa.Column("complexity", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_candidate")),
    )
    op.create_index(op.f("ix_nas_candidate_architecture_id"), "nas_candidate", ["architecture_id"], unique=False)
    op.create_table(
        "nas_dataset",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("known_by", sa.String(length=32), server_default="content", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_dataset")),
    )
    op.create_table(
        "nas_device",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_device")),
    )
    op.create_table(
        "nas_environment",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_environment")),
    )
    op.create_table(
        "nas_latency_job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("architecture_id", sa.String(length=64), nullable=False),
        sa.Column("notation", sa.Text(), nullable=False),
        sa.Column("protocol_id", sa.String(length=64), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("network", sa.LargeBinary(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("collected", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'finished', 'failed')", name=op.f("ck_nas_latency_job_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_latency_job")),
        sa.UniqueConstraint(
            "device",
            "architecture_id",
            "protocol_id",
            name=op.f("uq_nas_latency_job_device_architecture_id_protocol_id"),
        ),
    )
    op.create_table(
        "nas_recipe",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_recipe")),
    )
    op.create_table(
        "nas_space",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.String(length=64), nullable=True),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["nas_space.id"], name=op.f("fk_nas_space_parent_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_space")),
    )
    op.create_table(
        "nas_latency",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("architecture_id", sa.String(length=64), nullable=False),
        sa.Column("notation", sa.Text(), nullable=False),
        sa.Column("protocol_id", sa.String(length=64), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("measured", sa.Boolean(), nullable=False),
        sa.Column("median_ms", sa.Double(), nullable=False),
        sa.Column("mean_ms", sa.Double(), nullable=True),
        sa.Column("p5_ms", sa.Double(), nullable=True),
        sa.Column("p95_ms", sa.Double(), nullable=True),
        sa.Column("sd_ms", sa.Double(), nullable=True),
        sa.Column("batches_per_s", sa.Double(), nullable=True),
        sa.Column("batches", sa.Integer(), nullable=True),
        sa.Column("peak_memory_mb", sa.Double(), nullable=True),
        sa.Column("isolated", sa.Boolean(), nullable=True),
        sa.Column("drift", sa.Double(), nullable=True),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("environment_id", sa.String(length=64), nullable=True),
        sa.Column("imported", sa.Text(), nullable=True),
        sa.Column("measured_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["nas_device.id"], name=op.f("fk_nas_latency_device")),
        sa.ForeignKeyConstraint(["environment_id"], ["nas_environment.id"], name=op.f("fk_nas_latency_environment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_latency")),
    )
    op.create_index(
        op.f("ix_nas_latency_architecture_id_protocol_id_device"),
        "nas_latency",
        ["architecture_id", "protocol_id", "device"],
        unique=False,
    )
    op.create_table(
        "nas_study",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("space_id", sa.String(length=64), nullable=True),
        sa.Column("protocol_id", sa.String(length=64), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("environment_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["environment_id"], ["nas_environment.id"], name=op.f("fk_nas_study_environment_id")),
        sa.ForeignKeyConstraint(
            ["space_id"], ["nas_space.id"], name=op.f("fk_nas_study_space_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_study")),
        sa.UniqueConstraint("name", name=op.f("uq_nas_study_name")),
    )
    op.create_table(
        "nas_training",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("candidate_id", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("recipe_id", sa.String(length=64), nullable=False),
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("fidelity_label", sa.String(length=128), nullable=False),
        sa.Column("start", sa.String(length=128), server_default="scratch", nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("fidelity", sa.JSON(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=True),
        sa.Column("stop_epoch", sa.Integer(), nullable=True),
        sa.Column("view", sa.String(length=16), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("resume_from_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("init_from_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("silences", sa.Integer(), server_default="0", nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("claim_token", sa.String(length=64), nullable=True),
        sa.Column("lease_seconds", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("heartbeat_at", sa.Double(), nullable=True),
        sa.Column("map", sa.Double(), nullable=True),
        sa.Column("rank1", sa.Double(), nullable=True),
        sa.Column("minp", sa.Double(), nullable=True),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("images_per_s", sa.Double(), nullable=True),
        sa.Column("checkpoint_uri", sa.Text(), nullable=True),
        sa.Column("checkpoint_sha256", sa.String(length=64), nullable=True),
        sa.Column("environment_id", sa.String(length=64), nullable=True),
        sa.Column("failure_kind", sa.String(length=32), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("failure_traceback", sa.Text(), nullable=True),
        sa.Column("imported", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'finished', 'failed')", name=op.f("ck_nas_training_status")
        ),
        sa.ForeignKeyConstraint(["candidate_id"], ["nas_candidate.id"], name=op.f("fk_nas_training_candidate_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["nas_dataset.id"], name=op.f("fk_nas_training_dataset_id")),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["nas_environment.id"], name=op.f("fk_nas_training_environment_id")
        ),
        sa.ForeignKeyConstraint(
            ["init_from_id"], ["nas_training.id"], name=op.f("fk_nas_training_init_from_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["recipe_id"], ["nas_recipe.id"], name=op.f("fk_nas_training_recipe_id")),
        sa.ForeignKeyConstraint(
            ["resume_from_id"], ["nas_training.id"], name=op.f("fk_nas_training_resume_from_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_training")),
        sa.UniqueConstraint(
            "candidate_id",
            "code",
            "recipe_id",
            "dataset_id",
            "fidelity_label",
            "start",
            "seed",
            name="uq_nas_training_natural_key",
        ),
    )
    op.create_index(op.f("ix_nas_training_dataset_id"), "nas_training", ["dataset_id"], unique=False)
    op.create_index(op.f("ix_nas_training_init_from_id"), "nas_training", ["init_from_id"], unique=False)
    op.create_index(op.f("ix_nas_training_resume_from_id"), "nas_training", ["resume_from_id"], unique=False)
    op.create_index(
        "ix_nas_training_running",
        "nas_training",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "nas_epoch",
        sa.Column("training_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lr", sa.Double(), nullable=True),
        sa.Column("losses", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("images", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["training_id"], ["nas_training.id"], name=op.f("fk_nas_epoch_training_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("training_id", "epoch", name=op.f("pk_nas_epoch")),
    )
    op.create_table(
        "nas_stage",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("space_id", sa.String(length=64), nullable=True),
        sa.Column("result", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("planner", sa.Text(), nullable=True),
        sa.Column("planner_until", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.CheckConstraint("status IN ('waiting', 'running', 'finished', 'failed')", name=op.f("ck_nas_stage_status")),
        sa.ForeignKeyConstraint(
            ["space_id"], ["nas_space.id"], name=op.f("fk_nas_stage_space_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name=op.f("fk_nas_stage_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_stage")),
        sa.UniqueConstraint("study_id", "name", name=op.f("uq_nas_stage_study_id_name")),
        sa.UniqueConstraint("study_id", "position", name=op.f("uq_nas_stage_study_id_position")),
    )
    op.create_table(
        "nas_worker",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.Column("stopped_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"], ["nas_study.id"], name=op.f("fk_nas_worker_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_worker")),
    )
    op.create_index(op.f("ix_nas_worker_study_id"), "nas_worker", ["study_id"], unique=False)
    op.create_table(
        "nas_rule",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("stage_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("strength", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("finding", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["stage_id"], ["nas_stage.id"], name=op.f("fk_nas_rule_stage_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name=op.f("fk_nas_rule_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas_rule")),
        sa.UniqueConstraint("stage_id", "position", name=op.f("uq_nas_rule_stage_id_position")),
    )
    op.create_index(op.f("ix_nas_rule_study_id"), "nas_rule", ["study_id"], unique=False)
    op.create_table(
        "nas_stage_training",
        sa.Column("stage_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("training_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("sampler", sa.String(length=64), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sampler_attrs", sa.JSON(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["nas_stage.id"], name=op.f("fk_nas_stage_training_stage_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["training_id"], ["nas_training.id"], name=op.f("fk_nas_stage_training_training_id")),
        sa.PrimaryKeyConstraint("stage_id", "training_id", name=op.f("pk_nas_stage_training")),
    )
    op.create_index(
        "ix_nas_stage_training_open",
        "nas_stage_training",
        ["stage_id", "batch", "position"],
        unique=False,
        sqlite_where=sa.text("is_open = 1"),
        postgresql_where=sa.text("is_open"),
    )
    op.create_index(op.f("ix_nas_stage_training_training_id"), "nas_stage_training", ["training_id"], unique=False)
