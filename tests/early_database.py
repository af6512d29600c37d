"""Databases and archives as versions before the first release left them: the trial (schema "0002"), and schema "0.2.2"
as migrations made it step by step.
"""

from __future__ import annotations

from pathlib import Path

from nas.storage import Database
from nas.storage.urls import parse_url

FOLDER = Path(__file__).with_name("storage") / "early"
ARCHIVE = FOLDER / "study.zip"
STEP_BY_STEP = FOLDER / "schema_0_2_2.sql"
"""An archive's database with the study `present`: three trainings (two finished), a note, a latency."""


def make_early_database(url: str) -> str:
    """Fills an empty database with the tables and the study `early` of that version; returns its address."""
    database = Database(parse_url(url))
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.is_sqlite:
            driver.executescript("PRAGMA foreign_keys=OFF;" + (FOLDER / "sqlite.sql").read_text())
        else:
            driver.execute((FOLDER / "postgresql.sql").read_text())
            driver.commit()
    database.close()
    return url
