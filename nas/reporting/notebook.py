"""A study in a notebook: tidy tables and the same figures as the report, from any process, read-only.

from nas import Study
study = Study.open("sqlite:///nas.db", "market1501")
study.candidates()
study.figure("pareto_front")
"""

from __future__ import annotations

import inspect
import shlex
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.errors import StudyError, unknown_name
from nas.reporting.compare import Comparison, compare_studies
from nas.reporting.figures import FIGURES
from nas.reporting.files import pareto_table
from nas.reporting.health import Limit, health
from nas.reporting.html import block_html
from nas.reporting.loading import load_study_data
from nas.reporting.markup import tag
from nas.reporting.report import write_report
from nas.reporting.rules_file import rule_set
from nas.reporting.samples import with_samples
from nas.reporting.story.question import answered
from nas.reporting.study_data import StudyData
from nas.reporting.style import said
from nas.results.answer import Answer
from nas.results.choice import Choice, knee, most_accurate
from nas.results.columns import RESULTS
from nas.search import Asked, Asker, Objective, Written, begin, check_study, database_url, read_study
from nas.spaces.ruleset import RuleSet
from nas.storage import NoteInfo, Repository, masked, open_database
from nas.storage.standing import StudyStatus


class Study:
    """What a database holds of one study; made by `Study.open`, `nas.run` or, for a loop of one's own, `Study.create`.

    Nothing but `ask`, `tell` and `note` writes.

    Args:
        url: the database.
        name: the study.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self._data: StudyData | None = None
        self._asker: Asker | None = None
        self._one = threading.Lock()

    @classmethod
    def open(cls, url: str, name: str | None = None) -> Study:
        """A study of a database; the name may be left out when there is only one.

        Raises:
            StorageError: the database cannot be read.
            StudyError: there is no such study, or several and no name.
        """
        with open_database(url, create=False, read_only=True) as database:
            known = [study.name for study in Repository(database).studies()]
        if name is None and len(known) != 1:
            raise StudyError(f"name one of the studies of this database: {', '.join(known) or 'there are none'}")
        chosen = known[0] if name is None else name
        if chosen not in known:
            raise StudyError(unknown_name("study", chosen, known))
        return cls(url, chosen)

    @classmethod
    def create(cls, study: Written, *, db: str | None = None) -> Study:
        """A study whose loop is the caller's (`ask` and `tell`), new or to go on with.

        Args:
            study: as for `nas.run`; without an objective, or with one of {ask: true, metrics: ..., costs: ...}.
            db: the database; None: $NAS_DATABASE, or the study's own.

        Raises:
            StudyError: something in the study is not valid, or its trainings are done by somebody else.
        """
        definition = read_study(study)
        if definition.objective is None:
            definition = definition.model_copy(update={"objective": Objective(None).settings})
        check_study(definition)
        url = database_url(definition, db)
        with open_database(url) as database:
            begin(definition, Repository(database))
        return cls(url, definition.name)

    def ask(self, *, wait: bool = False) -> Asked | None:
        """What to train next, None at the end; see `nas.search.Asker.ask`.

        A whole loop: `while trial := study.ask(): study.tell(trial, {"map": train(trial.candidate, trial.seed)})`.
        """
        return self._asks().ask(wait=wait)

    def tell(self, asked: Asked, result: Any = None, *, failed: str | None = None) -> bool:
        """Stores what a training gave, or why it failed; see `nas.search.Asker.tell`."""
        self._data = None
        return self._asks().tell(asked, result, failed=failed)

    def close(self) -> None:
        """Gives back what was asked and not told; at the end of a program it happens by itself."""
        if self._asker is not None:
            self._asker.close()
            self._asker = None

    def note(
        self, candidate: str, *, star: bool | None = None, tags: Sequence[str] | None = None, comment: str | None = None
    ) -> NoteInfo:
        """Notes something of a candidate, or tells what is noted of it; see `Repository.note`."""
        self._data = None
        with open_database(self.url, create=False) as database:
            return Repository(database).note(self.name, candidate, star=star, tags=tags, comment=comment)

    def _asks(self) -> Asker:
        with self._one:  # threads that share a study share what asks
            if self._asker is None:
                self._asker = Asker(open_database(self.url, create=False), self.name)
            return self._asker

    def data(self, *, refresh: bool = False) -> StudyData:
        """All tables of the study, loaded once; `refresh` reads them again."""
        if self._data is None or refresh:
            with open_database(self.url, create=False, read_only=True) as database:
                self._data = load_study_data(database, self.name)
        return self._data

    def status(self) -> StudyStatus:
        """Where the study stands now, as `nas status --json` tells it; see `Repository.status`."""
        with open_database(self.url, create=False, read_only=True) as database:
            return Repository(database).status(self.name)

    def results(self, *, refresh: bool = False) -> pd.DataFrame:
        """One row a (stage, training); columns as `nas.results.columns.RESULTS` says."""
        return self.data(refresh=refresh).results.copy()

    def latencies(self) -> pd.DataFrame:
        """One row a measured network."""
        return self.data().latencies.copy()

    def candidates(self) -> pd.DataFrame:
        """One row a candidate and comparable level: means over seeds, intervals, the front.

        `checkpoint` is the file that a training of it left, `evaluate` and `export` what to type for it; empty where
        no weights were kept.
        """
        table = pareto_table(self.data())
        files = self.checkpoints().drop_duplicates(["candidate_id", "split", "fidelity"])
        files = files[["candidate_id", "split", "fidelity", "checkpoint"]]
        table = table.merge(files, on=["candidate_id", "split", "fidelity"], how="left")
        known = table["checkpoint"].notna()
        quoted = [shlex.quote(str(file)) for file in table["checkpoint"]]
        return table.assign(
            evaluate=pd.Series([f"nas evaluate {file} --data DATA" for file in quoted], dtype=object).where(
                known, None
            ),
            export=pd.Series([f"nas export {file}" for file in quoted], dtype=object).where(known, None),
        )

    def checkpoints(self) -> pd.DataFrame:
        """One row a finished training whose weights were kept, the best first: the columns of `results`, `checkpoint`.

        A path where they lie in a local folder, else the address in the study's store.
        """
        rows = self.results().drop_duplicates("training_id", keep="last")
        kept = rows[rows["checkpoint"].notna()] if "checkpoint" in rows else rows.iloc[:0].assign(checkpoint="")
        files = kept["checkpoint"].astype(str).str.removeprefix("file://")
        return kept.assign(checkpoint=files).sort_values("map", ascending=False, ignore_index=True)

    def front(self) -> pd.DataFrame:
        """The candidates that no other beats in accuracy and cost, at the level to quote, the cheapest first."""
        data = self.data()
        found = data.candidates(data.quoted)
        return found[found["on_front"].astype(bool)].sort_values(data.cost, ignore_index=True)

    def choice(self, at_most: float | None = None) -> Choice | None:
        """Which network to take; None where there is none to choose.

        Args:
            at_most: the most it may cost, in the study's cost (ms per batch, parameters, ...): then the most accurate
                one within it; None: the knee of the front.
        """
        data = self.data()
        if data.quoted is None:
            return None
        table = data.candidates(data.quoted)
        costs = dict(zip(table["notation"].astype(str), table[data.cost].astype(float), strict=True))
        if at_most is None:
            return knee(data.results, data.quoted, costs, data.metric)
        return most_accurate(data.results, data.quoted, costs, at_most, data.metric)

    def compare(self, other: Study) -> Comparison:
        """What both studies trained, how much they agree on it, and their rules, as `nas compare` tells it."""
        return compare_studies(self.data(), other.data())

    @staticmethod
    def columns() -> pd.DataFrame:
        """What the columns of `results` hold: name, dtype, unit, which direction is better, meaning."""
        return pd.DataFrame([asdict(column) for column in RESULTS])[["name", "dtype", "unit", "better", "meaning"]]

    def answer(self) -> Answer:
        """What the study may say so far, in one sentence with its numbers."""
        return self.data().answer

    def health(self) -> list[Limit]:
        """What limits the numbers: the list of the report's health box, see `nas.reporting.health`."""
        return health(self.data())

    def figure(self, name: str, **settings: Any) -> go.Figure:
        """A figure of the report by name, with its settings; where there is nothing to draw, an empty one says why.

        Raises:
            StudyError: there is no such figure or setting; names those there are.
        """
        if name not in FIGURES:
            raise StudyError(unknown_name("figure", name, FIGURES))
        known = list(inspect.signature(FIGURES[name]).parameters)
        for key in settings:
            if key not in known:
                raise StudyError(unknown_name(f"setting of {name}", key, known))
        drawing = FIGURES[name](**settings)(self.data())
        return said(drawing) if isinstance(drawing, str) else drawing

    def figures(self) -> dict[str, go.Figure]:
        """All figures of the report, by name."""
        return {name: self.figure(name) for name in FIGURES}

    def rules(self) -> RuleSet:
        """The findings so far, with evidence and verdicts."""
        return rule_set(self.data())

    def report(self, folder: str | Path, *formats: str, images: bool = True) -> dict[str, Path]:
        """Writes the report, without images of the data where `images` is False; see `nas.reporting.write_report`."""
        return write_report(with_samples(self.data(), images), Path(folder), formats or None)

    def __repr__(self) -> str:
        return f"Study({self.name!r}, database {masked(self.url)!r})"

    def _repr_html_(self) -> str:
        # Without the figures: a page of ours brings what draws them, a notebook draws `figure(...)` itself.
        return str(tag("div", tag("h3", self.name), *[block_html(block) for block in answered(self.data())]))
