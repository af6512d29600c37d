"""Accuracy against every hyperparameter that varies: a slice for each, and all of them in parallel coordinates."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.errors import NasError
from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.notations import block_label
from nas.reporting.study_data import StudyData
from nas.results.columns import finished
from nas.results.costs import COSTS
from nas.results.noise import block_effects
from nas.spaces.candidate import Candidate
from nas.spaces.labels import block_title
from nas.training.recipe import load_recipe

AS_IT_IS, BLOCKS, BLOCK = "as it is", "number of blocks", "block"
MOST_CANDIDATES = 2000
"""More lines or dots hide each other; a fixed random part is drawn then."""
LEAST = 3
"""Candidates below which nothing varies that a picture could show."""
_TICK_WIDTH = 9
"""Letters in a line of a tick's name."""
_FEW = 8
"""Values up to which a number is drawn as categories, equally far apart."""
_GL_FROM = 300
"""Dots a plot from which the page draws them by the graphics card."""
_LOG_FROM = 20.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def settings_table(data: StudyData, stage: str = "") -> pd.DataFrame:
    """One row a candidate: notation, map (mean, less what its seeds and starts move for all alike), cost, and a column
    for each hyperparameter that varies.

    Cells are empty where a candidate has no such hyperparameter, or several values of it at its sites. With a `stage`,
    only what that one asked for counts; else the comparable set with most candidates.
    """
    rows = data.finished.iloc[:0] if data.widest is None else data.widest.rows(data.finished)
    rows = finished(data.results[data.results["stage"] == stage]) if stage else rows
    moved = block_effects(rows, data.metric, shrunk=True)
    grouped = rows.assign(map=rows["map"] - moved).groupby("notation", sort=False)
    means = grouped.agg(map=("map", "mean"), cost=(data.cost, "first")).reset_index()
    if len(means) > MOST_CANDIDATES:
        means = means.sample(MOST_CANDIDATES, random_state=0)
    settings = pd.DataFrame([_settings(str(name), data) for name in means["notation"]], index=means.index)
    varying = [name for name in settings if settings[name].dropna().nunique() > 1]
    table = pd.concat([means, settings[varying]], axis=1)
    table.attrs = {"parameters": varying, "cost": data.cost}
    table.attrs["of"] = f"stage {stage}" if stage else data.widest.words if data.widest else ""
    if moved.any():
        table.attrs["of"] += "; mean less what its seeds and starts move for all alike"
    return table


def _settings(notation: str, data: StudyData) -> dict[str, Any]:
    candidate = _candidates(data).get(notation)
    if candidate is None:  # an own block that is not installed here
        return {}
    found: dict[str, Any] = {BLOCKS: float(len(candidate.placements)), BLOCK: block_title(block_label(notation))}
    found |= dict(candidate.backbone_params)
    placed: dict[str, set[Any]] = {}
    for placement in candidate.placements:
        for key in sorted(_params_of(data, placement.block)):
            placed.setdefault(f"{block_title(placement.block)}: {key}", set()).add(placement.value(key))
    found |= {key: values.pop() if len(values) == 1 else None for key, values in placed.items()}
    own = dict(candidate.recipe)
    return found | {key: own.get(key, _recipe_value(data, key)) for key in _recipe_keys(data)}


def _candidates(data: StudyData) -> dict[str, Candidate]:
    def parsed() -> dict[str, Candidate]:
        found = {}
        for name in data.results["notation"].dropna().unique():
            with contextlib.suppress(NasError):
                found[str(name)] = Candidate.parse(str(name))
        return found

    return data.once("parsed candidates", parsed)


def _params_of(data: StudyData, block: str) -> frozenset[str]:
    """Hyperparameters of a block that some candidate sets."""

    def seen() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for candidate in _candidates(data).values():
            for placement in candidate.placements:
                found.setdefault(placement.block, set()).update(key for key, _ in placement.params)
        return found

    return frozenset(data.once("params of blocks", seen).get(block, set()))


def _recipe_keys(data: StudyData) -> list[str]:
    return data.once("recipe keys", lambda: sorted({key for c in _candidates(data).values() for key, _ in c.recipe}))


def _recipe_value(data: StudyData, key: str) -> Any:
    """What the study's recipe says where a candidate changes nothing."""

    def recipe() -> Any:
        try:
            return load_recipe(data.definition.get("recipe") or "strong_baseline")
        except NasError:
            return None

    return getattr(data.once("recipe", recipe), key, AS_IT_IS)


def _numeric(values: pd.Series) -> pd.Series | None:
    """The values as numbers; None where one of them is none."""
    if values.map(lambda value: isinstance(value, bool)).any():
        return None
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().sum() == values.notna().sum() else None


def _few(table: pd.DataFrame) -> str:
    if len(table) < LEAST or not table.attrs.get("parameters"):
        return (
            f"At least {LEAST} finished candidates that differ in a hyperparameter are needed; there are {len(table)}."
        )
    return ""


@dataclass(frozen=True)
class Slices(StudyFigure):
    """A plot a hyperparameter: the mean of every candidate over its value, and the mean of each value.

    `stage` as of `settings_table`; `shown` plots at most: those whose means differ most.
    """

    stage: str = ""
    shown: int = 9
    name: ClassVar[str] = "slices"
    title: ClassVar[str] = "Over each hyperparameter"

    def _table(self, data: StudyData) -> pd.DataFrame:
        table = settings_table(data, self.stage)
        spread = {name: _spread(table, name) for name in table.attrs["parameters"]}
        table.attrs["shown"] = sorted(spread, key=lambda name: -spread[name])[: self.shown]
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if said := _few(table):
            return said
        shown = table.attrs["shown"]
        columns = min(3, len(shown))
        rows = math.ceil(len(shown) / columns)
        figure = style.new_figure(80 + 250 * rows)
        figure.set_subplots(rows, columns, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.26 / rows)
        for place, name in enumerate(shown):
            self._add(figure, table.dropna(subset=[name]), name, (place // columns + 1, place % columns + 1))
        for row in range(1, rows + 1):
            figure.update_yaxes(title_text=style.metric_title(table), tickformat=".4~f", row=row, col=1)
        return figure

    def _add(self, figure: go.Figure, rows: pd.DataFrame, name: str, place: tuple[int, int]) -> None:
        row, column = place
        numbers = _numeric(rows[name])
        few = numbers is None or numbers.nunique() <= _FEW
        told = rows[name].map(str) if numbers is None else numbers.map("{:g}".format)
        names = list(dict.fromkeys(told.loc[(told if numbers is None else numbers).sort_values().index])) if few else []
        x = told.map(names.index) if few or numbers is None else numbers
        # Dots of a value side by side, as far as the golden ratio spreads them: the same at every drawing.
        beside = (np.arange(len(rows)) * 0.618 % 1 - 0.5) * 0.5 if few else 0.0
        marker = {"color": style.ACCENT, "size": 6, "symbol": "circle-open"}
        hover = "%{text}: %{y:.4f}<extra></extra>"
        text = rows["notation"].map(style.plain)
        make = go.Scattergl if len(rows) > _GL_FROM else go.Scatter
        dots = make(x=x + beside, y=rows["map"], mode="markers", marker=marker, text=text, hovertemplate=hover)
        means = rows["map"].groupby(x).mean()
        mark = {"color": style.INK, "size": 10, "symbol": "line-ew", "line": {"width": 3, "color": style.INK}}
        mean = go.Scatter(
            x=means.index, y=means, mode="markers", marker=mark, hovertemplate="mean %{y:.4f}<extra></extra>"
        )
        figure.add_traces([dots.update(showlegend=False), mean.update(showlegend=False)], [row] * 2, [column] * 2)
        figure.update_xaxes(title_text=style.plain(name), row=row, col=column)
        if names:
            # In lines: turned, they would run into the axis's own name and the plot below.
            lines = ["<br>".join(map(style.plain, wrap(name, _TICK_WIDTH))) for name in names]
            ticks = {"tickvals": list(range(len(names))), "ticktext": lines, "tickangle": 0}
            figure.update_xaxes(range=[-0.6, len(names) - 0.4], row=row, col=column, **ticks)
        elif numbers is not None and numbers.min() > 0 and numbers.max() / numbers.min() > _LOG_FROM:
            figure.update_xaxes(type="log", dtick=1, row=row, col=column)

    def caption(self, table: pd.DataFrame) -> str:
        left = len(table.attrs["parameters"]) - len(table.attrs["shown"])
        more = f" {left} more hyperparameters vary; their means differ less." if left else ""
        return (
            f"A dot is a candidate ({table.attrs['of']}), a dash the mean of a value. All else varies along with it, "
            f"and adaptive proposals try good values more often: it shows where to look and is no test.{more}"
        )


def _spread(table: pd.DataFrame, name: str) -> float:
    means = table.dropna(subset=[name]).groupby(table[name].astype(str))["map"].mean()
    return float(means.max() - means.min())


@dataclass(frozen=True)
class ParallelCoordinates(StudyFigure):
    """A line a candidate through its hyperparameters, its cost and what it reached; drag along an axis to keep some.

    `stage` and `shown` as of `Slices`.
    """

    stage: str = ""
    shown: int = 8
    name: ClassVar[str] = "parallel_coordinates"
    title: ClassVar[str] = "All hyperparameters in parallel"

    def _table(self, data: StudyData) -> pd.DataFrame:
        return Slices(self.stage, self.shown).table(data)

    def draw(self, table: pd.DataFrame) -> Drawing:
        if said := _few(table):
            return said
        axes = [_axis(name, table[name]) for name in table.attrs["shown"]]
        if table["cost"].notna().sum() > 1:
            cost = COSTS[table.attrs["cost"]]
            axes.append({"label": f"{cost.title} ({cost.unit})", "values": table["cost"].astype(float) / cost.scale})
        axes.append({"label": style.metric_title(table), "values": table["map"], "tickformat": ".4~f"})
        scale = [[0.0, style.DIVERGING[1][1]], [0.5, style.DIVERGING[3][1]], [1.0, style.DIVERGING[4][1]]]
        figure = style.new_figure(460)
        fonts = {"labelfont": {"color": style.INK, "size": 12}, "tickfont": {"color": style.MUTED, "size": 11}}
        line = {"color": table["map"], "colorscale": scale}
        ranges = {"rangefont": {"color": style.MUTED, "size": 10}, "labelangle": -12}
        figure.add_trace(go.Parcoords(dimensions=axes, line=line, **fonts, **ranges))
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.update_layout(margin={"l": 90, "r": 60, "t": 96, "b": 28})
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            f"A line is a candidate ({table.attrs['of']}), the bluer the higher its {style.metric_of(table).words}. "
            "Drag along an axis to keep the lines that pass there. `none` stands where there is no such "
            "hyperparameter, or where a candidate's blocks differ in it."
        )


def _axis(name: str, values: pd.Series) -> dict[str, Any]:
    numbers = _numeric(values)
    if numbers is not None and values.notna().all():
        few = sorted(numbers.unique())
        ticks = {"tickvals": few, "ticktext": [f"{value:g}" for value in few]} if len(few) <= 12 else {}
        return {"label": style.plain(name), "values": numbers, **ticks}
    told = values.map(lambda value: "none" if value is None or value != value else str(value))
    names = sorted(set(told))
    ticks = {"tickvals": list(range(len(names))), "ticktext": [style.plain(name) for name in names]}
    return {"label": style.plain(name), "values": told.map(names.index), **ticks}
