"""The tables of the first release, out of those of any version before it."""

from alembic import op

from nas.storage import earlier

revision = "0.2.2"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    earlier.upgrade(op.get_bind())
