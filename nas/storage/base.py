"""What every part of the repository shares: one transaction a method, repeated until it succeeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Executable, Row, Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

from nas.storage.database import Database
from nas.storage.models import Stage, StageTraining, StudyRow
from nas.storage.retry import Patience

T = TypeVar("T")
Key = TypeVar("Key")
AnySelect: TypeAlias = Select[*tuple[Any, ...]]
AnyRow: TypeAlias = Row[*tuple[Any, ...]]
# PostgreSQL takes 65 535 bound values a statement, SQLite 32 766; our widest table has about 30 columns.
ROWS_A_STATEMENT = 500
PATIENCE_S = 600.0
"""Outlives a network that is cut for five minutes: the wait may begin before it, and the try that is under way when it
comes back may still run into its own time limit."""


class RepositoryPart:
    """Runs work on a database; the parts of `Repository` derive from it.

    `read`, `write`, `rows` and `run` are for the modules of this floor; others use the methods that
    say what they do. A database that is away is waited for, `patience_s` seconds.
    """

    def __init__(self, database: Database, *, patience_s: float = PATIENCE_S) -> None:
        self.database = database
        self.patience_s = patience_s

    def write(self, work: Callable[[Session], T]) -> T:
        """One writing transaction; `work` may run again, also after a commit whose answer was lost."""
        patience = Patience(self.database.url, self.patience_s)
        while True:
            with patience, self.database.write() as session:
                return work(session)

    def read(self, work: Callable[[Session], T]) -> T:
        """One reading transaction: sees one moment of the database."""
        patience = Patience(self.database.url, self.patience_s)
        while True:
            with patience, self.database.read() as session:
                return work(session)

    def rows(self, query: AnySelect) -> Sequence[AnyRow]:
        """All rows of one query."""
        # By the connection: columns need none of the work that the session does for objects.
        return self.read(lambda session: session.connection().execute(query).all())

    def run(self, *statements: Executable) -> None:
        """Statements without an answer, in one transaction."""

        def work(session: Session) -> None:
            for statement in statements:
                session.execute(statement)

        self.write(work)


def trainings_of(study: str | int) -> AnySelect:
    """Ids of the trainings that stages of a study, by its name or number, asked for."""
    asked = select(StageTraining.training_id).join(Stage, Stage.id == StageTraining.stage_id)
    if isinstance(study, int):
        return asked.where(Stage.study_id == study)
    return asked.join(StudyRow, StudyRow.id == Stage.study_id).where(StudyRow.name == study)


def counted(rows: Iterable[Row[Key, int]]) -> dict[Key, int]:
    """Rows of (what, how many) as a mapping."""
    return {row[0]: row[1] for row in rows}


def chunks(rows: Sequence[T], size: int = ROWS_A_STATEMENT) -> Iterator[Sequence[T]]:
    """The rows in pieces that fit one statement."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def insert_missing(session: Session, table: type[DeclarativeBase], rows: Sequence[Mapping[str, object]]) -> None:
    """Inserts rows, leaving those whose key is there already untouched."""
    if rows:
        session.connection().execute(_insert(session, table).on_conflict_do_nothing(), list(rows))


def insert_or_update(
    session: Session, table: type[DeclarativeBase], rows: Sequence[Mapping[str, object]], key: Iterable[str]
) -> None:
    """Inserts rows; one whose key is there already takes the new values."""
    key = list(key)
    for piece in chunks(rows):
        statement = _insert(session, table).values(list(piece))
        changed = {name: statement.excluded[name] for name in piece[0] if name not in key}
        session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))


def _insert(session: Session, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
