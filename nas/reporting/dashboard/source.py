"""What the dashboard reads: studies of one database, kept in memory until something in them changes.

Opened read-only. A database that is away or broken raises `StorageError` at every call and works again as
soon as it is back; pages show its sentence.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from nas.errors import NasError
from nas.reporting.figures import ParetoFront
from nas.reporting.health import health
from nas.reporting.loading import study_data
from nas.reporting.numbers import MISSING, interval, signed
from nas.reporting.study_data import StudyData
from nas.reporting.words import words
from nas.spaces.labels import short_label
from nas.storage import Database, Repository, masked, open_database
from nas.storage.standing import StudyStatus

T = TypeVar("T")
PATIENCE_S = 2.0
_KEPT = 6
"""Studies whose tables stay in memory."""
_AGAIN_S = 20.0
"""Seconds after which a study that runs is read again for the list of studies."""


@dataclass(frozen=True)
class Snapshot:
    """A study as it was at one moment; `token` differs as soon as the study does, `read_curves` reads epochs."""

    data: StudyData
    status: StudyStatus
    workers: list[dict[str, Any]]
    token: str
    read_curves: Callable[[Sequence[int]], pd.DataFrame]


def told(data: StudyData) -> dict[str, Any]:
    """What a study found in a few words: `difference` with its interval, `of` which network, number of `limits`."""
    found = data.answer
    difference, of = MISSING, str(found.kind)
    if found.kind in ("better", "none better") and found.named:
        difference = f"{signed(found.difference)} {interval(found.low, found.high)}"
        of = f"{short_label(found.named)}{'' if found.kind == 'better' else ', not told to be better'}"
    return {"difference": difference, "of": words(of), "limits": len(health(data))}


class StudySource:
    """Reads one database for many requests.

    Args:
        url: the database.

    Raises:
        StorageError: it cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._url, self.shown_url = url, masked(url)
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._kept: dict[str, tuple[str, StudyData]] = {}
        self._told: dict[str, tuple[str, dict[str, Any], float]] = {}
        self._reading = threading.Lock()

    def _queries(self) -> Repository:
        with self._lock:
            if self._database is None:
                self._database = open_database(self._url, create=False, read_only=True)
            return Repository(self._database, patience_s=PATIENCE_S)

    def _ask(self, question: Callable[[Repository], T]) -> T:
        """An answer from the database; after a failure the next one opens it anew."""
        try:
            return question(self._queries())
        except NasError:
            self.close()
            raise

    def check(self) -> None:
        """Opens the database, so that a wrong URL is told before serving begins."""
        self._ask(lambda queries: queries.studies())

    def studies(self) -> list[dict[str, Any]]:
        """Status of every study with `created_at` and, once it has been read, what it found (`told`), newest first."""
        found = self._ask(
            lambda queries: [
                {**queries.status(study.name), "created_at": study.created_at} for study in reversed(queries.studies())
            ]
        )
        self.warm()
        return [{**status, "told": self._told.get(str(status["study"]), ("", None, 0.0))[1]} for status in found]

    def names(self) -> list[str]:
        """Names of all studies, the newest first."""
        return self._ask(lambda queries: [study.name for study in reversed(queries.studies())])

    def token(self, name: str) -> str:
        """A text that differs as soon as the study does; cheap enough to poll."""
        return self._ask(lambda queries: queries.change_token(name))

    def status(self, name: str) -> tuple[StudyStatus, list[dict[str, Any]]]:
        """Status and workers of a study, read now."""
        return self._ask(lambda queries: (queries.status(name), queries.workers(queries.study(name).id)))

    def snapshot(self, name: str) -> Snapshot:
        """The study now; its tables are read again only when its token changed.

        Raises:
            StudyError: there is no such study.
            StorageError: the database cannot be read.
        """
        status, workers = self.status(name)
        token, data = self._read(name)
        return Snapshot(data, status, workers, token, self.curves)

    def curves(self, training_ids: Sequence[int]) -> pd.DataFrame:
        """Epochs of some trainings, read now; columns as `Repository.epochs_of`."""
        return self._ask(lambda queries: queries.epochs_of(training_ids))

    def data(self, name: str) -> StudyData:
        """The tables of a study, from memory while nothing changed."""
        return self._read(name)[1]

    def _read(self, name: str) -> tuple[str, StudyData]:
        token = self.token(name)
        with self._lock:
            kept = self._kept.pop(name, None)
            if kept is None or kept[0] != token:
                kept = (token, self._ask(lambda queries: study_data(queries, name)))
            self._kept[name] = kept  # the latest last
            for oldest in list(self._kept)[:-_KEPT]:
                del self._kept[oldest]
            return kept

    def database(self) -> Database:
        """The open database, read-only."""
        return self._queries().database

    def warm(self) -> None:
        """Reads studies before anybody asks, in the background; failures are told when somebody does."""
        if not self._reading.locked():
            threading.Thread(target=self._warm, daemon=True, name="nas-dashboard-warm").start()

    def _warm(self) -> None:
        """Says of every study what it found, the newest first; a study is read again when it has changed."""
        with self._reading, contextlib.suppress(NasError):
            for place, name in enumerate(self.names()):
                known, _, at = self._told.get(name, ("", None, -math.inf))
                if time.monotonic() - at < _AGAIN_S or known == self.token(name):
                    continue
                token, data = self._read(name)
                self._told[name] = (token, told(data), time.monotonic())
                if place < 2:
                    ParetoFront()(data)

    def close(self) -> None:
        """Gives the connection back."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
