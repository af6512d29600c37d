"""Many workers: who works, device leases, jobs for far devices, silent owners, the mirror for Optuna."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nas_latency_job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("architecture_id", sa.String(length=64), nullable=False),
        sa.Column("notation", sa.Text(), nullable=False),
        sa.Column("protocol_id", sa.String(length=64), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("noise", sa.Text(), nullable=True),
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
    with op.batch_alter_table("nas_worker", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_nas_worker_study_id"), ["study_id"], unique=False)

    with op.batch_alter_table("nas_device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("owner", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("lease_until", sa.Double(), nullable=True))

    with op.batch_alter_table("nas_stage_training", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mirror", sa.String(length=8), nullable=True))

    with op.batch_alter_table("nas_training", schema=None) as batch_op:
        batch_op.add_column(sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("silences", sa.Integer(), server_default="0", nullable=False))
        batch_op.create_index(batch_op.f("ix_nas_training_init_from_id"), ["init_from_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_nas_training_resume_from_id"), ["resume_from_id"], unique=False)
