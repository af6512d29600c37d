"""What is wished of a study, and how its workers were started."""

import sqlalchemy as sa
from alembic import op

revision = "0.2.1"
down_revision = "0.2.0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nas_control",
        sa.Column(
            "study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("wish", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("launch", sa.JSON(), nullable=False),
        sa.CheckConstraint("wish IN ('run', 'pause', 'stop', 'stop now')", name=op.f("ck_nas_control_wish")),
        sa.ForeignKeyConstraint(
            ["study_id"], ["nas_study.id"], name=op.f("fk_nas_control_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_nas_control")),
    )
