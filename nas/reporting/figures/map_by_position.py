"""Accuracy by position: candidates with one block, a bar a block type (the paper's Fig. 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.site_axis import add_level_line, add_site_axis
from nas.reporting.notations import as_published, placements_of
from nas.reporting.study_data import StudyData, records_of, rows_of
from nas.results.cost_tables import time_quote
from nas.results.costs import COSTS, Quote, ratio
from nas.results.differences import to_controls
from nas.results.levels import Level, plain_row, reference_row
from nas.spaces.labels import block_title, short_label

_HOVER = (
    "<b>%{customdata[0]}</b><br>%{customdata[4]} %{customdata[1]} (%{customdata[2]}n = %{customdata[3]})<extra></extra>"
)
_COLUMNS = (
    "block",
    "site",
    "notation",
    "map_mean",
    "map_sd",
    "height",
    "low",
    "high",
    "seeds",
    "hopeless",
    "kind",
)


@dataclass(frozen=True)
class MapByPosition(StudyFigure):
    """Accuracy of candidates with a single block over its site, as bars from the plain backbone's."""

    level: Level | None = None
    name: ClassVar[str] = "map_by_position"
    title: ClassVar[str] = "Single blocks by position"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.widest
        backbone = data.backbone
        summary = _beside_controls(data, level)
        rows = data.trainings.iloc[:0] if level is None else level.rows(data.trainings)
        singles = summary[(summary["n_blocks"] == 1) & (summary["backbone"] == backbone)]
        singles = _best_setting(singles[~as_published(singles)], rows)
        lines = [("baseline", plain_row(summary, backbone)), ("reference", reference_row(summary, backbone))]
        extra = [row.to_frame().T.assign(kind=kind, block=None, site=None) for kind, row in lines if row is not None]
        table = pd.concat([singles, *extra], ignore_index=True).reindex(columns=[*_COLUMNS, data.cost])
        table.attrs = {"level": level.words if level else "", "backbone": backbone, "cost": data.cost}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        singles = table[table["kind"] == "single"]
        if singles.empty:
            return "No candidate with a single block has finished training yet."
        base = table.loc[table["kind"] == "baseline", "height"]
        floor = float(base.iloc[0]) if len(base) else float(singles["height"].min())
        figure = style.new_figure(440)
        add_site_axis(figure, str(table.attrs.get("backbone", "resnet50")))
        for block in style.block_order(singles["block"]):
            _add_bars(figure, singles[singles["block"] == block], block, floor, style.metric_title(table))
        for kind, dash in (("baseline", "dash"), ("reference", "dot")):
            for row in rows_of(table[table["kind"] == kind]):
                backbone = str(table.attrs.get("backbone", "resnet50"))
                add_level_line(figure, backbone, float(row.height), short_label(row.notation), dash)
        figure.update_layout(barmode="group", bargap=0.18, bargroupgap=0.06)
        figure.update_yaxes(
            title_text=style.axis_title(style.metric_title(table), table), tickformat=".4~f", range=_range(table)
        )
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        cost = COSTS[table.attrs.get("cost", "latency_ms")]
        dearer = "slower" if cost.kind == "timed" else f"with more {cost.noun}"
        begin = (
            "Bars start at the plain backbone, so their length is what the block adds or costs"
            if table["kind"].eq("baseline").any()
            else "The plain backbone has no finished training here, so bars start at the lowest candidate and only "
            "their ends can be compared"
        )
        return (
            f"{begin}, in the seeds that it was trained in itself; whiskers: 95 % interval of that difference, where "
            f"it is known. Pale bars are told to be hopeless: worse than the plain backbone, or {dearer} than the "
            "reference network without beating it. Where several hyperparameter settings were tried, the best is "
            "chosen in all seeds but one and shown as it does in that one, on average over the seeds (with one seed: "
            "the mean over settings), for the best of several is too good by its luck. A block that was put in both "
            "ways is shown as the identity, without its published form."
        )


def _beside_controls(data: StudyData, level: Level | None) -> pd.DataFrame:
    """The candidates of a level with how high they stand (the plain backbone, and their difference to it in the same
    seeds), the ends of that difference's interval, and which are hopeless.
    """
    summary = data.candidates(level)
    if level is None or summary.empty:
        return summary.assign(height=math.nan, low=math.nan, high=math.nan, hopeless=False)
    gaps = to_controls(level.rows(data.trainings)).set_index("notation").reindex(summary["notation"])
    gaps.index = summary.index
    reference = reference_row(summary, data.backbone)
    slow = np.zeros(len(summary), dtype=bool)
    if reference is not None:
        slow[:] = [_slow_and_no_better(row, reference, data.margin, data.cost) for _, row in summary.iterrows()]
    plain = plain_row(summary, data.backbone)
    floor = math.nan if plain is None else float(plain["map_adjusted"])
    beside = (floor + gaps["difference"]).where(summary["backbone"] == data.backbone)
    height = beside.fillna(summary["map_adjusted"].astype(float))
    return summary.assign(
        height=height,
        low=height + gaps["low"] - gaps["difference"],
        high=height + gaps["high"] - gaps["difference"],
        hopeless=(gaps["verdict"].eq("worse") | slow) & (summary["n_blocks"] > 0),
    )


def _slow_and_no_better(row: pd.Series, reference: pd.Series, margin: float, cost: str = "latency_ms") -> bool:
    """Slower by the rule of `nas.results.costs`, or dearer in what else is paid: of what is counted, by any more; what
    is not known is neither."""
    if cost == "latency_ms":
        over = ratio(time_quote(row), time_quote(reference))
    else:
        over = ratio(Quote.exactly(float(row[cost])), Quote.exactly(float(reference[cost])))
    slower = over is not None and over.slower(0.0 if COSTS[cost].kind == "counted" else margin) is True
    return slower and float(row["map_adjusted"]) <= float(reference["map_adjusted"])


def _best_setting(singles: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One row a block and site of candidates with one block; of several settings the best, by `best_of_several`."""
    sites = [
        placements_of(str(notation))[0][0] if placements_of(str(notation)) else 0 for notation in singles["notation"]
    ]
    table = singles.assign(site=sites, kind="single")
    best = table.sort_values("height", ascending=False).drop_duplicates(["block", "site"])
    best = best.sort_values(["block", "site"])
    forms = table.groupby(["block", "site"])["notation"].agg(list)
    tried = [forms[row["block"], row["site"]] for row in records_of(best)]
    luck = [
        float(row["map_mean"]) - best_of_several(rows[rows["notation"].isin(names)]) if len(names) > 1 else 0.0
        for row, names in zip(records_of(best), tried, strict=True)
    ]
    return best.assign(**{name: best[name].astype(float) - luck for name in ("map_mean", "height", "low", "high")})


def best_of_several(rows: pd.DataFrame) -> float:
    """mAP of the best of several settings without the luck of being chosen: each seed is left out in turn.

    In every seed stands the setting that is best in the others; with fewer than two seeds the mean over settings.

    Args:
        rows: finished trainings of the settings, with `notation`, `seed` and `map`.
    """
    scores = rows.pivot_table(index="seed", columns="notation", values="map")
    if len(scores) < 2:
        return float(scores.mean(axis=1).mean())
    left_out = []
    for seed in scores.index:
        others = scores.drop(index=seed).mean()
        own = scores.loc[seed].dropna()
        chosen = others.reindex(own.index).idxmax()
        left_out.append(float(own[chosen]))
    return float(np.mean(left_out))


def _add_bars(figure: go.Figure, rows: pd.DataFrame, block: str, floor: float, metric: str) -> None:
    figure.add_trace(
        go.Bar(
            x=[*rows["site"], rows["site"].iloc[0] + 1],  # plotly makes bars as wide as the nearest two lie apart
            y=[*rows["height"].astype(float) - floor, None],
            base=floor,
            marker={
                "color": style.block_colour(block),
                "pattern": {"shape": "." if style.block_dot(block) else ""},
                "opacity": [0.3 if hopeless else 1.0 for hopeless in rows["hopeless"]],
            },
            error_y=_whiskers(rows),
            customdata=[
                [
                    style.plain(r.notation),
                    f"{r.map_mean:.4f}",
                    f"± {r.map_sd:.4f}, " if r.map_sd == r.map_sd else "",
                    r.seeds,
                    metric,
                ]
                for r in rows_of(rows)
            ],
            hovertemplate=_HOVER,
            name=block_title(block),
        )
    )


def _whiskers(rows: pd.DataFrame) -> dict[str, object] | None:
    """The interval of the difference to the plain backbone, around the bar's end; none where it is not known."""
    if rows["low"].isna().all():
        return None
    above, below = ((rows[end] - rows["height"]).abs().to_numpy(dtype=float) for end in ("high", "low"))
    look = {"color": style.INK, "thickness": 1, "width": 2}
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below} | look


def _range(table: pd.DataFrame) -> list[float]:
    mean = table["height"].astype(float)
    low = float(table["low"].astype(float).fillna(mean).min())
    high = float(table["high"].astype(float).fillna(mean).max())
    room = max((high - low) * 0.12, 0.002)
    return [low - room, high + 1.6 * room]
