"""What `nas evaluate` writes beside its numbers: every query's result, and how far pairs of images are apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from nas.data import PreparedData
from nas.files.shown import csv_text
from nas.files.whole import write_text
from nas.reporting import style
from nas.reporting.stills import write_still
from nas.retrieval import RetrievalMetrics
from nas.retrieval.verification import DistanceHistogram


def query_table(metrics: RetrievalMetrics, data: PreparedData) -> pd.DataFrame:
    """One row a query; AP and INP are empty where no right answer was left."""
    found = metrics.per_query
    if found is None:  # images were joined to queries
        return pd.DataFrame(columns=["path", "identity", "camera", "ap", "inp", "first_rank", "right"])
    records = data.query.records
    return pd.DataFrame(
        {
            "path": [str(record.path) for record in records],
            "identity": [record.identity for record in records],
            "camera": [record.camera for record in records],
            "ap": found.ap,
            "inp": found.inp,
            "first_rank": found.first_rank,
            "right": found.positives,
        }
    )


def draw_distances(found: DistanceHistogram) -> go.Figure:
    """Both kinds of pairs over distance, each as its own share, so that the few of one person are visible."""
    figure = style.new_figure(400)
    width = found.edges[1] - found.edges[0]
    for name, counts, colour in (
        ("same person", found.positive, style.ACCENT),
        ("other person", found.negative, style.WARN),
    ):
        figure.add_trace(
            go.Histogram(
                x=found.edges[:-1] + width / 2,
                y=counts,
                histfunc="sum",
                histnorm="probability",
                xbins={"start": found.edges[0], "end": found.edges[-1], "size": width},
                marker={"color": colour},
                opacity=0.6,
                name=f"{name} ({int(counts.sum()):,} pairs)",
                hovertemplate="%{x:.3f}: %{y:.2%}<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title_text="Distance of two images", range=[found.edges[0], found.edges[-1]])
    figure.update_yaxes(title_text="Share of the pairs of its kind", tickformat=".0%")
    return figure


def write_distances(found: DistanceHistogram, path: Path) -> Path:
    """The histogram as numbers (.csv), as a page of its own (.html) or, with kaleido and a browser, as a picture.

    Raises:
        StudyError: a picture is asked for where kaleido or a browser is missing.
    """
    if path.suffix == ".csv":
        columns = {"from": found.edges[:-1], "to": found.edges[1:]}
        table = pd.DataFrame({**columns, "same_person": found.positive, "other_person": found.negative})
        return write_text(path, csv_text(table))
    figure = draw_distances(found)
    if path.suffix == ".html":
        return write_text(path, figure.to_html(config=style.CONFIG, include_plotlyjs=True))
    return write_still(figure, path)
