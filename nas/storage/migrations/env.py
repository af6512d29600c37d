"""What Alembic runs: applies the versions beside on a connection given by `nas.storage.schema`."""

from alembic import context

from nas.storage.models import Base
from nas.storage.schema import VERSION_TABLE, is_ours


def _run() -> None:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        include_name=is_ours,
        render_as_batch=True,
    )
    context.run_migrations()


# Alembic runs this file under that name; whoever else imports it (a test collector) changes nothing.
if __name__ == "env_py":
    _run()
