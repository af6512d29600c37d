"""Error distributions: the share of a space's candidates below an error, stage by stage, parent against child."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.study_data import StudyData
from nas.results.columns import MAP, Metric
from nas.results.levels import Level, plain_row
from nas.results.noise import block_effects

_COLUMNS = ("curve", "group", "kind", "error", "share", "candidates", "failed")
MIN_CANDIDATES = 3
_DASHES = {"stage": "solid", "parent": "dash", "child": "solid"}


@dataclass(frozen=True)
class ErrorDistribution(StudyFigure):
    """EDF of the error (1 - mAP, or the negative of what else trainings are judged by): one
    curve a sweep, and one each for the fresh draws of parent and child of a shrink.

    F(e) = share of candidates with error <= e; failed candidates never count as below (Radosavovic et al. 2019).
    """

    level: Level | None = None
    name: ClassVar[str] = "error_distribution"
    title: ClassVar[str] = "Error distributions of the design spaces"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.widest
        moved = _moved(data, level)
        parts = [_curve(*draws, moved, data.metric) for draws in _draws(data, level)]
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(_COLUMNS))
        table.attrs = {"level": level.words if level else "", "baseline": _baseline_error(data, level, moved)}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return f"No stage has drawn {MIN_CANDIDATES} or more candidates by chance yet, so there is no distribution."
        figure, error = style.new_figure(420), style.plain(_error_title(style.metric_of(table)))
        groups = list(dict.fromkeys(table["group"]))
        colours = {group: style.SERIES[i % len(style.SERIES)] for i, group in enumerate(groups)}
        for curve, rows in table.groupby("curve", sort=False):
            first = rows.iloc[0]
            figure.add_trace(
                go.Scatter(
                    x=rows["error"],
                    y=rows["share"],
                    mode="lines",
                    line={
                        "shape": "hv",
                        "width": 2.2,
                        "color": colours[first["group"]],
                        "dash": _DASHES[str(first["kind"])],
                    },
                    name=style.plain(f"{curve} (n = {first['candidates']})"),
                    hovertemplate=f"%{{y:.0%}} of candidates at {error} <= %{{x:.4f}}<extra>%{{fullData.name}}</extra>",
                )
            )
        baseline = table.attrs.get("baseline")
        if baseline is not None:
            line = {"color": style.INK, "width": 1.2, "dash": "dot"}
            figure.add_trace(
                go.Scatter(
                    x=[baseline, baseline], y=[0, 1], mode="lines", line=line, name="plain backbone", hoverinfo="name"
                )
            )
        figure.update_xaxes(title_text=style.axis_title(f"{error}, less is better", table), tickformat=".4~f")
        figure.update_yaxes(title_text="Share of candidates with at most this error", tickformat=".0%", range=[0, 1.02])
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            "A curve further left is a better space: more of its candidates, drawn by chance, have a small error. "
            "Dashed: fresh draws from the parent space; solid of the same colour: from the proposed child. Failed "
            "candidates stay in the count, so a curve may end below 100 %. What seeds move for all alike is taken out."
        )


def _draws(data: StudyData, level: Level | None) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """(curve, group, kind, results rows) of every set of candidates drawn without looking at results."""
    if level is None:
        return
    rows = level.rows(data.results)
    rows = rows[rows["status"].isin(["finished", "failed"]) & (rows["n_blocks"] > 0)]
    for stage in data.stages:
        name, kind, result = str(stage.get("name")), stage.get("kind"), stage.get("result") or {}
        own = rows[rows["stage"] == name]
        if kind == "sweep":
            yield name, name, "stage", own
        for side in ("parent", "child"):
            if isinstance(result.get(side), list):
                yield f"{name}: {side}", name, side, own[own["notation"].isin(result[side])]


def _zero(metric: Metric) -> float:
    """The value without an error: 1 of mAP; of what has no largest value, 0."""
    return 1.0 if metric == MAP else 0.0


def _error_title(metric: Metric) -> str:
    """The error in words; what less of is better is its own error.

    >>> _error_title(MAP), _error_title(Metric(words="-loss")), _error_title(Metric(words="gain", unit="dB"))
    ('Error 1 - mAP', 'loss', '-gain (dB)')
    """
    if metric == MAP:
        return "Error 1 - mAP"
    return metric.title[1:] if metric.words.startswith("-") else f"-{metric.title}"


def _moved(data: StudyData, level: Level | None) -> pd.Series:
    """What the block of each training of the level moved its score by, by training."""
    rows = data.trainings.iloc[:0] if level is None else level.rows(data.trainings)
    return pd.Series(block_effects(rows, data.metric, shrunk=True), index=rows["training_id"].to_numpy(), dtype=float)


def _scores(rows: pd.DataFrame, moved: pd.Series) -> pd.Series:
    return rows["map"].astype(float) - rows["training_id"].map(moved).fillna(0.0).astype(float)


def _curve(name: str, group: str, kind: str, rows: pd.DataFrame, moved: pd.Series, metric: Metric) -> pd.DataFrame:
    """The EDF's steps: mean error a candidate, failed ones at infinity."""
    errors = _zero(metric) - _scores(rows, moved).groupby(rows["candidate_id"]).mean()
    n, failed = len(errors), int(errors.isna().sum())
    if n - failed < MIN_CANDIDATES:
        return pd.DataFrame(columns=list(_COLUMNS))
    steps = np.sort(errors.dropna().to_numpy())
    share = np.arange(1, len(steps) + 1) / n
    table = pd.DataFrame({"error": np.append(steps[:1], steps), "share": np.append(0.0, share)})
    return table.assign(curve=name, group=group, kind=kind, candidates=n, failed=failed)


def _baseline_error(data: StudyData, level: Level | None, moved: pd.Series) -> float | None:
    plain = None if level is None else plain_row(data.candidates(level), data.backbone)
    if level is None or plain is None:
        return None
    rows = level.rows(data.trainings)
    own = rows[rows["notation"].eq(plain["notation"]) & rows["status"].eq("finished")]
    return _zero(data.metric) - float(_scores(own, moved).mean())
