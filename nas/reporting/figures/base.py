"""What every figure is: settings in the constructor, a pandas step, a plotly step, or a sentence instead.

`table` never draws and `draw` never computes, so that reports, the dashboard, stills and notebooks share both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

import pandas as pd
import plotly.graph_objects as go

from nas.reporting.study_data import StudyData

Drawing: TypeAlias = go.Figure | str
"""A plotly figure, or the sentence that says why there is nothing to draw."""


class StudyFigure(ABC):
    """One figure of a study.

    Where one takes a `level`, it is the comparable set to draw: by default, the one with most candidates.

    >>> from nas.reporting.figures import ParetoFront
    >>> ParetoFront()(StudyData(name="empty"))
    'No candidate has finished training yet, so there is no front.'

    Attributes:
        name: file name and link target.
        title: heading above the figure.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def table(self, data: StudyData) -> pd.DataFrame:
        """The numbers that are drawn, tidy; what the axes need in words is in `attrs`."""
        return _judged(self._table(data), data)

    @abstractmethod
    def _table(self, data: StudyData) -> pd.DataFrame:
        """The numbers; `attrs` without what all figures share."""

    @abstractmethod
    def draw(self, table: pd.DataFrame) -> Drawing:
        """The figure of that table, or a sentence."""

    @abstractmethod
    def caption(self, table: pd.DataFrame) -> str:
        """What to see and how it was computed, one to three sentences."""

    def __call__(self, source: StudyData | pd.DataFrame) -> Drawing:
        """Table and drawing in one step, from a study or a results table."""
        data = StudyData.from_results(source) if isinstance(source, pd.DataFrame) else source
        return self.draw(_judged(self._table(data), data))


def _judged(table: pd.DataFrame, data: StudyData) -> pd.DataFrame:
    """The table, which knows what its trainings are judged by."""
    table.attrs["metric"] = data.metric
    return table
