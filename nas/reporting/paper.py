"""The numbers of the paper that is reproduced, from `reports/paper/`, and which of them a study can stand beside.

A study is the paper's when it trains ResNet-50 at full width on Market-1501. Times of different devices are compared
as slow-down over ResNet-50 only.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

import nas
from nas.reporting.study_data import StudyData
from nas.reporting.tables import loss_of
from nas.results.levels import Level

BACKBONE, REFERENCE, DATA = "resnet50", "resnet101", "market1501"


def paper_folder() -> Path | None:
    """Where the paper's CSV files are: in the wheel or in the checkout; None when neither has them."""
    package = Path(nas.__file__).resolve().parent
    for place in (package / "shipped" / "paper", package.parent / "reports" / "paper"):
        if (place / "table1.csv").is_file():
            return place
    return None


def paper_table() -> pd.DataFrame:
    """Table I of the paper with its baselines: notation, loss, map, map_sd, batches_per_s, slowdown (share)."""
    folder = paper_folder()
    if folder is None:
        return pd.DataFrame(columns=["notation", "loss", "map", "map_sd", "batches_per_s", "slowdown", "source"])
    table = pd.read_csv(folder / "table1.csv")
    speed = table["batches_per_s"].fillna(1000.0 / table["ms"])
    base = float(speed[table["notation"] == BACKBONE].iloc[0])
    return table.assign(batches_per_s=speed, slowdown=base / speed - 1)


def is_the_papers(data: StudyData) -> bool:
    """Whether the study trains the paper's backbone on the paper's data set."""
    named = f"{data.dataset.get('name', '')} {json.dumps(data.definition.get('data', ''), default=str)}".lower()
    trained = data.finished
    return DATA in named and bool(
        ((trained["backbone"] == BACKBONE) & ~trained["notation"].str.contains("width=")).any()
    )


def beside(data: StudyData, level: Level | None = None) -> pd.DataFrame:
    """Systems both have, one row each: the paper's values, ours, and the differences; empty when none is shared."""
    summary = data.candidates(level or data.quoted)
    summary = summary[summary["quoted"].astype(bool)]
    if summary.empty:
        return pd.DataFrame()
    plain = summary["notation"].str.partition("[")[0]
    ours = summary.assign(loss=[loss_of(str(n), data) for n in summary["notation"]], notation=plain)
    base = ours[ours["notation"] == BACKBONE]["latency_ms"]
    zero = float(base.iloc[0]) if len(base) else float("nan")
    ours = ours.assign(slowdown=ours["latency_ms"] / zero - 1).drop_duplicates(["notation", "loss"])
    both = paper_table().merge(ours, on=["notation", "loss"], suffixes=("_paper", ""), how="inner")
    return both.assign(difference=both["map_mean"] - both["map"])
