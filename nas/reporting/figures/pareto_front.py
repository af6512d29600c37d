"""Pareto front: accuracy over what is paid for it, usually the time of a batch (the paper's Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.numbers import plural
from nas.reporting.study_data import StudyData, rows_of
from nas.results.costs import COSTS, CostKind
from nas.results.levels import Level
from nas.spaces.labels import MIXED, block_title, short_label

SPEEDS: dict[str, tuple[str, str, str]] = {
    "ms": ("latency_ms", "Time of a {batch} (ms, less is better)", "ms"),
    "batches_per_s": ("batches_per_s", "Speed (batches/s of a {batch}, more is better)", "batches/s"),
    "slow": ("latency_p95_ms", "Slow batches (95th percentile in ms of a {batch}, less is better)", "ms"),
    "memory": ("peak_memory_mb", "Peak memory (MB of a {batch}, less is better)", "MB"),
    "energy": ("energy_j", "Energy (J of a {batch}, less is better)", "J"),
    "params": ("params", "Size (parameters, less is better)", "parameters"),
    "macs": ("macs", "Work (multiply-adds per image, less is better)", "multiply-adds"),
    "activations": ("activations", "Activations (elements per image, less is better)", "elements"),
}
"""Setting -> column, axis title, unit."""

UNITS = {column: unit for column, _, unit in SPEEDS.values()}
_GL_FROM = 1500
FAR = 2.0
"""Times the width of all candidates past which a baseline is named at the edge: else they fill under a third."""
_HOVER = (
    "<b>%{customdata[1]}</b><br>METRIC %{y:.4f} %{customdata[2]}<br>%{customdata[3]}<br>%{customdata[4]}<extra></extra>"
)


def own_axis(data: StudyData) -> str:
    """The key of `SPEEDS` that the study pays with."""
    return next(key for key, (column, _, _) in SPEEDS.items() if column == data.cost)


@dataclass(frozen=True)
class ParetoFront(StudyFigure):
    """Accuracy over speed, one dot a candidate, baselines and front line, intervals beside each other as bars.

    Args:
        speed: a key of `SPEEDS`: `ms` (time of a batch), `batches_per_s` (the paper's axis), `memory`, ...; what the
            study pays with by default.
        level: which comparable set to draw; the most trusted one by default.
        label_front: write the names of front members beside their dots.
    """

    speed: str = ""
    level: Level | None = None
    label_front: bool = True
    name: ClassVar[str] = "pareto_front"
    title: ClassVar[str] = "Pareto front: accuracy against cost"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.quoted
        table = with_hover(data.candidates(level), data.further_costs)
        axis = self.speed or own_axis(data)
        table.attrs = {"level": level.words if level else "", "batch": data.batch_words, "axis": axis}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No candidate has finished training yet, so there is no front."
        column, axis, _ = SPEEDS[self._axis(table)]
        placed = table.dropna(subset=[column])
        if placed.empty:
            return f"{plural(len(table), 'candidate')} finished training, but no {COSTS[column].title} is known yet."
        figure = style.new_figure(520)
        self._add_candidates(figure, placed[placed["n_blocks"] > 0], column)
        self._add_front(figure, placed, column)
        self._add_baselines(figure, placed[placed["n_blocks"] == 0], column)
        figure.update_xaxes(title_text=axis.format(batch=table.attrs.get("batch", "batch")), minallowed=0)
        _bring_in(figure, placed, column)
        hover = _HOVER.replace("METRIC", style.metric_title(table))
        figure.update_traces(hovertemplate=hover, selector=lambda trace: trace.customdata is not None)
        figure.update_yaxes(
            title_text=style.axis_title(f"{style.metric_title(table)}, more is better", table), tickformat=".4~f"
        )
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        column = SPEEDS[self._axis(table)][0]
        unplaced = int(table[column].isna().sum())
        what = f"{plural(unplaced, 'candidate')} without a known {COSTS[column].title}"
        left_out = f" {what} cannot be drawn." if unplaced else ""
        return (
            "Each dot is a candidate: the mean over its seeds. Bars are 95 % intervals of that mean beside others of "
            "the same seeds: from the noise of all trainings, without what a seed or start moves for all alike (with "
            "it where no two candidates share two seeds). The line joins the candidates that no other beats in both "
            f"cost and {style.metric_of(table).words}; the others are open. Colour is the block type, shape the "
            f"number of blocks.{_grey_words(table)}{_moved_words(table)}{left_out}"
        )

    def _axis(self, table: pd.DataFrame) -> str:
        return self.speed or str(table.attrs.get("axis", "ms"))

    def _add_candidates(self, figure: go.Figure, rows: pd.DataFrame, column: str) -> None:
        many = len(rows) > _GL_FROM
        blocks = style.block_order(rows["block"])
        parts = [
            (bool(part["on_front"].iloc[0]), bool(part["quoted"].iloc[0]), block, part)
            for block in blocks
            for _, part in rows[rows["block"] == block].groupby(["quoted", "on_front", "n_blocks"])
        ]
        # What comes later lies on top: the front on all others, and the many of several types under the rest.
        parts.sort(key=lambda part: (*part[:2], part[2] != MIXED))
        traces = [
            self._trace(part, column, block, (front, int(part["n_blocks"].iloc[0]), many))
            for front, _, block, part in parts
        ]
        traces += [
            _legend_entry(block_title(b), style.block_colour(b), f"circle{style.block_dot(b)}", b) for b in blocks
        ]
        counts = sorted(rows["n_blocks"].astype(int).unique()) if rows["n_blocks"].nunique() > 1 else []
        traces += [
            _legend_entry(plural(n, "block"), style.INK, f"{style.count_symbol(n)}-open", f"{n} blocks") for n in counts
        ]
        figure.add_traces(traces)

    def _trace(self, rows: pd.DataFrame, column: str, block: str, look: tuple[bool, int, bool]) -> go.Scatter:
        front, n_blocks, many = look
        make = go.Scattergl if many else go.Scatter
        quoted = bool(rows["quoted"].iloc[0])
        marker: dict[str, Any] = {
            "color": style.block_colour(block) if quoted else style.MUTED,
            "symbol": f"{style.count_symbol(n_blocks)}{'' if front else '-open'}{style.block_dot(block)}",
            "size": 11 if front else 8 if not many else 6,
            "line": {"width": 1.2, **({"color": style.SURFACE} if front else {})},
        }
        bars = None if (many and not front) or rows["map_beside"].isna().all() else rows["map_beside"]
        return make(
            x=rows[column].to_numpy(),
            y=rows["map_adjusted"].to_numpy(),
            mode="markers",
            marker=marker,
            error_y=None if bars is None else _bars(bars, style.block_colour(block), 1.0 if front else 0.6),
            customdata=rows[list(HOVER_COLUMNS)].to_numpy(),
            legendgroup=block,
            showlegend=False,
            name=block_title(block),
        )

    def _add_front(self, figure: go.Figure, rows: pd.DataFrame, column: str) -> None:
        front = rows[rows["on_front"]].sort_values(column)
        if front.empty:
            return
        falling = self._axis(rows) == "batches_per_s"
        shape = "vh" if falling else "hv"
        line = {"color": style.INK, "width": 1.4, "shape": shape}
        figure.add_trace(
            go.Scatter(
                x=front[column], y=front["map_adjusted"], mode="lines", line=line, name="front", hoverinfo="skip"
            )
        )
        if self.label_front:
            labelled = _apart(front[front["n_blocks"] > 0].tail(8), rows, column)
            for i, row in enumerate(rows_of(labelled)):
                figure.add_annotation(
                    name=style.WIDE_ONLY if i else None,
                    x=getattr(row, column),
                    y=row.map_adjusted,
                    text=style.plain(short_label(row.notation)),
                    showarrow=False,
                    xanchor="left" if falling else "right",
                    yanchor="bottom",
                    xshift=6 if falling else -6,
                    yshift=3,
                    font={"size": 11, "color": style.INK},
                )

    def _add_baselines(self, figure: go.Figure, rows: pd.DataFrame, column: str) -> None:
        if rows.empty:
            return
        marker = {"color": style.INK, "symbol": "diamond", "size": 12, "line": {"width": 1, "color": style.SURFACE}}
        figure.add_trace(
            go.Scatter(
                x=rows[column],
                y=rows["map_adjusted"],
                mode="markers+text",
                text=[style.plain(short_label(n)) for n in rows["notation"]],
                textposition=_label_sides(rows[column]),
                textfont={"size": 12, "color": style.INK},
                marker=marker,
                error_y=None if rows["map_beside"].isna().all() else _bars(rows["map_beside"], style.INK, 1.0),
                customdata=rows[list(HOVER_COLUMNS)].to_numpy(),
                name="without attention",
                cliponaxis=False,
            )
        )


def _bring_in(figure: go.Figure, placed: pd.DataFrame, column: str) -> None:
    """The axis without a baseline so far off that all others would be one dot; its name and place at the edge."""
    near, plain = placed[placed["n_blocks"] > 0][column], placed[placed["n_blocks"] == 0]
    if near.nunique() < 3:  # nothing that it could squeeze
        return
    lowest, highest = min(near.min(), plain[column].min()), near.max()
    room = max(highest - lowest, 0.02 * highest)
    far = plain[plain[column] > highest + FAR * room]
    if far.empty:
        return
    figure.update_xaxes(range=[max(0.0, lowest - 0.08 * room), highest + 0.3 * room])
    for row in rows_of(far):
        figure.add_annotation(
            x=1,
            xref="paper",
            y=row.map_adjusted,
            text=f"{style.plain(short_label(str(row.notation)))} at {getattr(row, column):.4g} →",
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
            font={"size": 12, "color": style.INK},
        )


def _grey_words(table: pd.DataFrame) -> str:
    grey = int((~table["quoted"].astype(bool)).sum()) if len(table) else 0
    return f" {plural(grey, 'candidate')} in grey: trained here, but not confirmed, so not to quote." if grey else ""


def _moved_words(table: pd.DataFrame) -> str:
    moved = int((table["map_adjusted"].astype(float) - table["map_mean"].astype(float)).abs().gt(0).sum())
    if not moved:
        return ""
    return (
        f" {plural(moved, 'candidate')} trained in other seeds than most of those to quote: what seeds move for all "
        "alike is taken out of their height."
    )


def _apart(front: pd.DataFrame, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Front members whose names do not fall on each other, the most accurate first.

    A name is taken to be a sixth of the plot wide and a 25th of it high.
    """
    wide, high = (float(rows[name].max() - rows[name].min()) or 1.0 for name in (column, "map_adjusted"))
    kept: list[tuple[float, float]] = []
    chosen = []
    for row in rows_of(front.sort_values("map_adjusted", ascending=False)):
        x, y = float(getattr(row, column)) / wide, float(row.map_adjusted) / high
        if all(abs(x - other) > 1 / 6 or abs(y - above) > 1 / 25 for other, above in kept):
            kept.append((x, y))
            chosen.append(row.Index)
    return front.loc[chosen]


def _label_sides(values: pd.Series) -> list[str]:
    """Labels right of their dot, except in the right half, where the edge would cut them."""
    middle = (values.min() + values.max()) / 2
    return ["bottom left" if value > middle else "bottom right" for value in values]


def _bars(half: pd.Series, colour: str, opacity: float) -> dict[str, Any]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    faded = colour if opacity == 1.0 else f"rgba({red},{green},{blue},{opacity})"
    # NaN, not 0: noise that nothing tells draws no bar.
    return {"type": "data", "array": half.to_numpy(dtype=float), "color": faded, "thickness": 1.2, "width": 3}


def _legend_entry(label: str, colour: str, symbol: str, group: str) -> go.Scatter:
    marker = {"color": colour, "symbol": symbol, "size": 10}
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=label, legendgroup=group)


HOVER_COLUMNS = ("candidate_id", "_name", "_spread", "_latency", "_size")


def with_hover(table: pd.DataFrame, further: Sequence[CostKind] = ()) -> pd.DataFrame:
    """The table with what hover labels say, of further costs too; columns that begin with `_` are for drawing only."""
    return table.assign(
        _name=[style.plain(notation) for notation in table["notation"]],
        _spread=[_spread_words(row) for row in rows_of(table)],
        _latency=[_latency_words(row) for row in rows_of(table)],
        _size=[_size_words(row, further) for row in rows_of(table)],
    )


def _spread_words(row: Any) -> str:
    return f"± {row.map_sd:.4f} ({row.seeds} seeds)" if row.map_sd == row.map_sd else "(one seed)"


def _latency_words(row: Any) -> str:
    if row.latency_ms != row.latency_ms:
        return f"time not known: {row.latency_unknown}" if isinstance(row.latency_unknown, str) else "not timed"
    spread = (
        f" (5–95 %: {row.latency_p5_ms:.2f}–{row.latency_p95_ms:.2f})" if row.latency_p5_ms == row.latency_p5_ms else ""
    )
    speed = f", {row.batches_per_s:.2f} batches/s" if row.batches_per_s == row.batches_per_s else ""
    how = "" if row.latency_measured else ", predicted"
    return f"{row.latency_ms:.3f} ms per batch{spread}{speed}{how}"


def _size_words(row: Any, further: Sequence[CostKind]) -> str:
    sizes = [(row.params, 1e6, "M parameters"), (row.macs, 1e9, "GMAC")]
    sizes += [(getattr(row, cost.column), cost.scale, f"{cost.unit} ({cost.noun})") for cost in further]
    parts = [f"{value / scale:.2f} {unit}" for value, scale, unit in sizes if value == value and value is not None]
    return ", ".join(parts)
