"""What a person noted of candidates, and what was odd about the images of a view."""

import sqlalchemy as sa
from alembic import op

revision = "0.2.2"
down_revision = "0.2.1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nas_dataset", sa.Column("warnings", sa.JSON(), nullable=True))
    op.create_table(
        "nas_note",
        sa.Column(
            "study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("candidate_id", sa.String(length=64), nullable=False),
        sa.Column("star", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["nas_candidate.id"], name=op.f("fk_nas_note_candidate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name=op.f("fk_nas_note_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "candidate_id", name=op.f("pk_nas_note")),
    )
