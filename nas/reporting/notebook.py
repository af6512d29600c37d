"""A study in a notebook: tidy tables and the same figures as the report, from any process, read-only.

from nas import Study
study = Study.open("sqlite:///nas.db", "market1501")
study.candidates()
study.figure("pareto_front")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.errors import StudyError, unknown_name
from nas.reporting.figures import FIGURES
from nas.reporting.files import pareto_table
from nas.reporting.html import block_html
from nas.reporting.loading import load_study_data
from nas.reporting.markup import tag
from nas.reporting.report import DEFAULT_FORMATS, write_report
from nas.reporting.rules_file import rule_set
from nas.reporting.story.question import question
from nas.reporting.study_data import StudyData
from nas.results.answer import Answer
from nas.spaces.ruleset import RuleSet
from nas.storage import Repository, masked, open_database


class Study:
    """What a database holds of one study; made by `Study.open`, never writes.

    Args:
        url: the database.
        name: the study.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self._data: StudyData | None = None

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

    def data(self, *, refresh: bool = False) -> StudyData:
        """All tables of the study, loaded once; `refresh` reads them again."""
        if self._data is None or refresh:
            with open_database(self.url, create=False, read_only=True) as database:
                self._data = load_study_data(database, self.name)
        return self._data

    def results(self, *, refresh: bool = False) -> pd.DataFrame:
        """One row a (stage, training); columns as `nas.results.columns.RESULTS` says."""
        return self.data(refresh=refresh).results.copy()

    def latencies(self) -> pd.DataFrame:
        """One row a measured network."""
        return self.data().latencies.copy()

    def candidates(self) -> pd.DataFrame:
        """One row a candidate and comparable level: means over seeds, intervals, the front."""
        return pareto_table(self.data())

    def answer(self) -> Answer:
        """What the study may say so far, in one sentence with its numbers."""
        return self.data().answer

    def figure(self, name: str, **settings: Any) -> go.Figure | str:
        """A figure of the report by name, with its settings; a sentence when there is nothing to draw.

        Raises:
            StudyError: there is no such figure; names those there are.
        """
        if name not in FIGURES:
            raise StudyError(unknown_name("figure", name, FIGURES))
        return FIGURES[name](**settings)(self.data())

    def rules(self) -> RuleSet:
        """The findings so far, with evidence and verdicts."""
        return rule_set(self.data())

    def report(self, folder: str | Path, *formats: str) -> dict[str, Path]:
        """Writes the report; see `nas.reporting.write_report`."""
        return write_report(self.data(), Path(folder), formats or DEFAULT_FORMATS)

    def __repr__(self) -> str:
        return f"Study({self.name!r}, database {masked(self.url)!r})"

    def _repr_html_(self) -> str:
        return str(tag("div", tag("h3", self.name), *[block_html(block) for block in question(self.data()).blocks]))
