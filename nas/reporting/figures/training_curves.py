"""Training curves: loss over epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.notations import block_label
from nas.reporting.numbers import plural
from nas.reporting.study_data import EPOCH_COLUMNS, StudyData
from nas.spaces.labels import block_title, short_label


@dataclass(frozen=True)
class TrainingCurves(StudyFigure):
    """Total loss over epochs, a line a training.

    Args:
        trainings: how many lines at most: the most accurate ones, the failed ones and the latest.
        notation: only trainings of this candidate.
        versus: and of this one; colour then tells the two apart.
    """

    trainings: int = 24
    notation: str | None = None
    versus: str | None = None
    name: ClassVar[str] = "training_curves"
    title: ClassVar[str] = "Training curves"

    def _table(self, data: StudyData) -> pd.DataFrame:
        if data.epochs is None or data.epochs.empty:
            return pd.DataFrame(columns=[*EPOCH_COLUMNS, "status", "map"])
        facts = data.trainings[["training_id", "status", "map"]]
        table = data.epochs.merge(facts, on="training_id", how="left")
        if self.notation is not None:
            table = table[table["notation"].isin([self.notation, self.versus])]
        order = table.drop_duplicates("training_id").sort_values(["status", "map"], ascending=[True, False])
        kept = order["training_id"].head(self.trainings)
        return table[table["training_id"].isin(kept)].sort_values(["training_id", "epoch"])

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No training has finished an epoch yet."
        figure = style.new_figure(420)
        named: set[str] = set()
        for _, rows in table.groupby("training_id"):
            first = rows.iloc[0]
            group, colour, title = self._look(str(first["notation"]))
            failed = first["status"] == "failed"
            figure.add_trace(
                go.Scatter(
                    x=rows["epoch"],
                    y=rows["loss"],
                    mode="lines",
                    line={"color": colour, "width": 1.6, "dash": "dot" if failed else "solid"},
                    name=title,
                    legendgroup=group,
                    showlegend=group not in named,
                    hovertemplate=(
                        f"<b>{style.plain(short_label(str(first['notation'])))}</b>, seed {first['seed']}"
                        "<br>epoch %{x}: loss %{y:.4f}<extra></extra>"
                    ),
                )
            )
            named.add(group)
        figure.update_xaxes(title_text="Epoch", rangemode="tozero", **style.whole_ticks(int(table["epoch"].max())))
        # Ticks at 1, 2 and 5 need some room: within a factor of five hardly one of them would be on the axis.
        wide = {"dtick": "D2"} if table["loss"].max() > 5 * table["loss"].min() > 0 else {}
        figure.update_yaxes(title_text="Loss (sum of its terms, log scale)", type="log", **wide)
        return figure

    def _look(self, notation: str) -> tuple[str, str, str]:
        """Legend group, colour and title of a training: of its block, or of its candidate where two are compared."""
        if self.versus is None:
            block = block_label(notation)
            return block, style.block_colour(block), block_title(block)
        return notation, style.SERIES[notation == self.versus], style.plain(short_label(notation))

    def caption(self, table: pd.DataFrame) -> str:
        what = "block type" if self.versus is None else "candidate"
        return (
            f"{plural(table['training_id'].nunique(), 'training')}; colour is the {what}, dotted lines failed. "
            f"The score of a training is its last epoch's {style.metric_of(table).words}, never its best epoch's."
        )
