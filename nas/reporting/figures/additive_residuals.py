"""Additive latency residuals: how wrong it is to add up what single blocks cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.errors import NasError
from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.notations import block_label
from nas.reporting.study_data import StudyData, rows_of
from nas.results.additive import AdditiveModel
from nas.spaces.labels import block_title, short_label

_COLUMNS = ("notation", "block", "n_blocks", "measured_ms", "predicted_ms", "residual_percent")


@dataclass(frozen=True)
class AdditiveResiduals(StudyFigure):
    """Predicted minus measured time of networks with several blocks, in percent of the measured time.

    The prediction is the plain backbone's time plus the increments of the single placements, fitted on networks
    with at most one block only, so every dot is a network the model has not seen.
    """

    name: ClassVar[str] = "additive_residuals"
    title: ClassVar[str] = "Do block costs add up?"

    def _table(self, data: StudyData) -> pd.DataFrame:
        known = data.latencies.dropna(subset=["median_ms"])
        known = known[known["notation"].notna()]
        small, large = known[known["n_blocks"].astype(float) <= 1], known[known["n_blocks"].astype(float) > 1]
        rows = _predictions(small, large) if len(small) and len(large) else []
        return pd.DataFrame(rows, columns=list(_COLUMNS))

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No network with several blocks has been measured beside its single placements yet."
        figure = style.new_figure(380)
        figure.add_hline(y=0, line={"color": style.INK, "width": 1.2})
        for block in style.block_order(table["block"]):
            rows = table[table["block"] == block]
            figure.add_trace(
                go.Scatter(
                    x=rows["measured_ms"],
                    y=rows["residual_percent"],
                    mode="markers",
                    marker={
                        "color": style.block_colour(block),
                        "size": 10,
                        "symbol": [style.count_symbol(n) + style.block_dot(block) for n in rows["n_blocks"]],
                    },
                    customdata=[[style.plain(short_label(str(r.notation))), r.predicted_ms] for r in rows_of(rows)],
                    hovertemplate=(
                        "<b>%{customdata[0]}</b><br>measured %{x:.3f} ms, predicted %{customdata[1]:.3f} ms"
                        "<br>%{y:+.1f} %<extra></extra>"
                    ),
                    name=block_title(block),
                )
            )
        figure.update_xaxes(title_text="Measured time of a batch (ms)", minallowed=0)
        figure.update_yaxes(title_text="Predicted minus measured (%)", tickformat="+~f", rangemode="tozero")
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        error = table["residual_percent"].astype(float).abs()
        return (
            "Above zero, adding single costs overestimates the network (as in the paper, by up to 8.9 %). Mean "
            f"absolute error {error.mean():.1f} %, worst {error.max():.1f} %. The additive table is a screen; every "
            "network on a front is measured itself."
        )


def _predictions(small: pd.DataFrame, large: pd.DataFrame) -> list[tuple[object, ...]]:
    try:
        model = AdditiveModel.fit((row.notation, float(row.median_ms)) for row in rows_of(small))
    except NasError:  # no plain backbone among them
        return []
    rows: list[tuple[object, ...]] = []
    for row in rows_of(large):
        predicted = model.predict(str(row.notation))
        if predicted is not None:
            percent = 100 * (predicted - row.median_ms) / row.median_ms
            label = block_label(str(row.notation))
            rows.append((row.notation, label, int(row.n_blocks), row.median_ms, predicted, percent))
    return rows
