"""A database and an archive as the last version before the first release (schema "0002") left them."""

from __future__ import annotations

from pathlib import Path

from nas.storage import Database
from nas.storage.urls import parse_url

FOLDER = Path(__file__).with_name("storage") / "early"
ARCHIVE = FOLDER / "study.zip"


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
