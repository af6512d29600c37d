"""What the dashboard reads: studies of one or several databases, kept in memory until something in them changes.

Opened read-only. A database that is away or broken raises `StorageError` at every call and works again as
soon as it is back; pages show its sentence. Among several it hides none of the others.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pandas as pd

from nas.errors import NasError, StorageError, StudyError
from nas.files.hashes import hash_of_data
from nas.reporting.figures import ParetoFront
from nas.reporting.health import health
from nas.reporting.loading import study_data
from nas.reporting.numbers import MISSING, interval, signed
from nas.reporting.study_data import StudyData
from nas.reporting.words import words
from nas.spaces.labels import short_label
from nas.storage import Database, Repository, masked, open_database
from nas.storage.standing import StudyStatus
from nas.storage.urls import parse_url, typed

T = TypeVar("T")
PATIENCE_S = 2.0
_KEPT = 6
"""Studies whose tables stay in memory."""
_AGAIN_S = 20.0
"""Seconds after which a study that runs is read again for the list of studies."""


@dataclass(frozen=True)
class Snapshot:
    """A study as it was at one moment; `token` differs as soon as the study does, `read_curves` reads epochs.

    `database` says where it is from, where there are several.
    """

    data: StudyData
    status: StudyStatus
    workers: list[dict[str, Any]]
    token: str
    read_curves: Callable[[Sequence[int]], pd.DataFrame]
    database: str


def told(data: StudyData) -> dict[str, Any]:
    """What a study found in a few words: `difference` with its interval, `of` which network, number of `limits`."""
    found = data.answer
    difference, of = MISSING, str(found.kind)
    if found.kind in ("better", "none better") and found.named:
        difference = f"{signed(found.difference)} {interval(found.low, found.high)}"
        of = f"{short_label(found.named)}{'' if found.kind == 'better' else ', not told to be better'}"
    return {"difference": difference, "of": words(of), "limits": len(health(data))}


class StudySource:
    """Reads one database, or several, for many requests.

    A study is asked for by its key: its name, where there are several databases behind a short id of its own
    (`1f2e3d4c~market1501`), which is made of the address without its password.
    """

    def __init__(self, *urls: str) -> None:
        self._urls = {hash_of_data(masked(url))[:8] if len(urls) > 1 else "": url for url in urls}
        self.shown_urls = [masked(url) for url in urls]
        self._lock = threading.RLock()
        self._open: dict[str, Database] = {}
        self._kept: dict[str, tuple[str, StudyData]] = {}
        self._told: dict[str, tuple[str, dict[str, Any], float]] = {}
        self._reading = threading.Lock()

    @property
    def find(self) -> list[str]:
        """Options by which a command finds the only database; none where there are several."""
        return [option for place, url in self._urls.items() if not place for option in typed(parse_url(url))]

    def _queries(self, place: str) -> Repository:
        with self._lock:
            if place not in self._open:
                self._open[place] = open_database(self._urls[place], create=False, read_only=True)
            return Repository(self._open[place], patience_s=PATIENCE_S)

    def _ask(self, place: str, question: Callable[[Repository], T]) -> T:
        """An answer from a database; after a failure the next one opens it anew."""
        try:
            return question(self._queries(place))
        except NasError:
            self._close(place)
            raise

    def _ask_of(self, key: str, question: Callable[[Repository, str], T]) -> T:
        """An answer about a study, from its database."""
        place, name = self._place(key)
        return self._ask(place, lambda queries: question(queries, name))

    def _place(self, key: str) -> tuple[str, str]:
        """Id of a study's database, and the study's name."""
        place, _, name = key.partition("~") if "" not in self._urls else ("", "", key)
        if place not in self._urls:
            raise StudyError(f"no database of this dashboard has a study {key!r}", "the start page lists all studies")
        return place, name

    def _shown(self, place: str) -> str:
        return masked(self._urls[place]).removeprefix("sqlite:///") if place else ""

    def _everywhere(
        self, question: Callable[[Repository], list[T]], unread: list[NasError] | None = None
    ) -> list[tuple[str, T]]:
        """Answers of all databases, each with the id of its own.

        The only one raises when it cannot be read; of several, errors go to `unread`.
        """
        found: list[tuple[str, T]] = []
        for place in self._urls:
            try:
                found += [(place, answer) for answer in self._ask(place, question)]
            except NasError as error:
                if not place:
                    raise
                if unread is not None:
                    unread.append(StorageError(f"{self._shown(place)} is passed over: {error.message}", error.hint))
        return found

    def studies(self, unread: list[NasError] | None = None) -> list[dict[str, Any]]:
        """Status of every study with `key`, `database` (where there are several), `created_at` and, once it has been
        read, what it found (`told`), newest first; `unread` gets an error for each of several that cannot be read."""
        found = self._everywhere(
            lambda queries: [
                {**queries.status(study.name), "created_at": study.created_at} for study in reversed(queries.studies())
            ],
            unread,
        )
        self.warm()
        rows = [
            {**status, "key": key, "database": self._shown(place), "told": self._told.get(key, ("", None, 0.0))[1]}
            for place, status in found
            for key in [_key(place, str(status["study"]))]
        ]
        return sorted(rows, key=lambda row: -row["created_at"])

    def names(self) -> dict[str, str]:
        """Key of every study, the newest first, and how it is told from the others."""
        found = self._everywhere(lambda queries: list(reversed(queries.studies())))
        return {
            _key(place, study.name): f"{study.name} ({self._shown(place)})" if place else study.name
            for place, study in sorted(found, key=lambda row: -row[1].created_at)
        }

    def token(self, key: str) -> str:
        """A text that differs as soon as the study does; cheap enough to poll."""
        return self._ask_of(key, lambda queries, name: queries.change_token(name))

    def status(self, key: str) -> tuple[StudyStatus, list[dict[str, Any]]]:
        """Status and workers of a study, read now."""
        return self._ask_of(key, lambda queries, name: (queries.status(name), queries.workers(queries.study(name).id)))

    def snapshot(self, key: str) -> Snapshot:
        """The study now; its tables are read again only when its token changed."""
        status, workers = self.status(key)
        token, data = self._read(key)
        place, _ = self._place(key)
        return Snapshot(data, status, workers, token, partial(self._curves, place), self._shown(place))

    def _curves(self, place: str, training_ids: Sequence[int]) -> pd.DataFrame:
        """Epochs of some trainings, read now; columns as `Repository.epochs_of`."""
        return self._ask(place, lambda queries: queries.epochs_of(training_ids))

    def data(self, key: str) -> StudyData:
        """The tables of a study, from memory while nothing changed."""
        return self._read(key)[1]

    def _read(self, key: str) -> tuple[str, StudyData]:
        token = self.token(key)
        with self._lock:
            kept = self._kept.pop(key, None)
            if kept is None or kept[0] != token:
                kept = (token, self._ask_of(key, study_data))
            self._kept[key] = kept  # the latest last
            for oldest in list(self._kept)[:-_KEPT]:
                del self._kept[oldest]
            return kept

    def database(self, key: str) -> Database:
        """The open database of a study, read-only."""
        return self._queries(self._place(key)[0]).database

    def warm(self) -> None:
        """Reads studies before anybody asks, in the background; failures are told when somebody does."""
        if not self._reading.locked():
            threading.Thread(target=self._warm, daemon=True, name="nas-dashboard-warm").start()

    def _warm(self) -> None:
        """Says of every study what it found, the newest first; a study is read again when it has changed."""
        with self._reading, contextlib.suppress(NasError):
            for place, key in enumerate(self.names()):
                with contextlib.suppress(NasError):  # nobody waits for what another study lacks
                    known, _, at = self._told.get(key, ("", None, -math.inf))
                    if time.monotonic() - at < _AGAIN_S or known == self.token(key):
                        continue
                    token, data = self._read(key)
                    self._told[key] = (token, told(data), time.monotonic())
                    if place < 2:
                        ParetoFront()(data)

    def close(self) -> None:
        """Gives the connections back."""
        for place in self._urls:
            self._close(place)

    def _close(self, place: str) -> None:
        with self._lock:
            if (database := self._open.pop(place, None)) is not None:
                database.close()


def _key(place: str, name: str) -> str:
    return f"{place}~{name}" if place else name
