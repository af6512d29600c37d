"""The numbers of the paper that is reproduced, from `reports/paper/`, and which of them a study can stand beside.

A row is only judged where data set, split, size, epochs and start are the paper's; elsewhere it shows the form. Times
of different devices are compared as slow-down over ResNet-50 only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

import nas
from nas.errors import NasError
from nas.reporting.study_data import StudyData, records_of
from nas.reporting.tables import loss_of
from nas.results.columns import MAP
from nas.results.intervals import Estimate, mean_from
from nas.results.levels import Level
from nas.spaces.candidate import Candidate, Placement
from nas.training.recipe import Recipe, load_recipe

BACKBONE, REFERENCE, DATA = "resnet50", "resnet101", "market1501"
RUNS = 3
"""Trainings behind each of the paper's means."""
EPOCHS, WEIGHTS, INPUT = 120, "IMAGENET1K_V1", (256, 128)
MARGIN = 0.005
"""mAP within which a mean counts as the paper's: differences of up to 0.005 are what its conclusions rest on, and two
means of three runs with its sd of 0.001 are told equal within 0.0017 at best."""
Standing = Literal["reproduced", "not told apart", "contradicted", "form only"]
_COLUMNS = ["notation", "loss", "map", "map_sd", "runs", "batches_per_s", "ms", "slowdown", "increment_ms", "source"]


def paper_folder() -> Path | None:
    """Where the paper's CSV files are: in the wheel or in the checkout; None when neither has them."""
    package = Path(nas.__file__).resolve().parent
    for place in (package / "shipped" / "paper", package.parent / "reports" / "paper"):
        if (place / "table1.csv").is_file():
            return place
    return None


def paper_table() -> pd.DataFrame:
    """Table I of the paper with its baselines: notation, loss, map, map_sd, batches_per_s, slowdown (share),
    increment_ms over ResNet-50.
    """
    folder = paper_folder()
    if folder is None:
        return pd.DataFrame(columns=_COLUMNS)
    table = pd.read_csv(folder / "table1.csv")
    speed = table["batches_per_s"].fillna(1000.0 / table["ms"])
    base = float(speed[table["notation"] == BACKBONE].iloc[0])
    added = pd.read_csv(folder / "latency_increments.csv").set_index("notation")["increment_ms"]
    return table.assign(
        batches_per_s=speed, slowdown=base / speed - 1, increment_ms=table["notation"].map(added)
    ).reindex(columns=_COLUMNS)


def paper_transfer() -> pd.DataFrame:
    """Table II of the paper: notation, loss, fine_tuning (`none` or `two-step`), map (best of 3), map_sd."""
    folder = paper_folder()
    return pd.DataFrame() if folder is None else pd.read_csv(folder / "table2_transfer.csv")


def is_the_papers(data: StudyData) -> bool:
    """Whether the study trains the paper's backbone on the paper's data set, judged as the paper does."""
    trained = data.finished
    return (
        data.metric == MAP
        and _is_market(data)
        and bool(((trained["backbone"] == BACKBONE) & ~trained["notation"].str.contains("width=")).any())
    )


def _is_market(data: StudyData) -> bool:
    named = f"{data.dataset.get('name', '')} {json.dumps(data.definition.get('data', ''), default=str)}".lower()
    return DATA in named


def deviations(data: StudyData, level: Level | None, notation: str) -> list[str]:
    """What of a row is not the paper's, in words; empty where it may be judged.

    Args:
        data: the study.
        level: of the row.
        notation: of the candidate.
    """
    if level is None:
        return ["nothing finished"]
    recipe, candidate = _recipe(data), Candidate.parse(notation)
    found = [] if _is_market(data) else ["other images"]
    found += [] if level.split == "test" else ["another split"]
    found += [] if level.epochs == EPOCHS else ["other epochs"]
    found += [] if level.start == "scratch" else ["another start"]
    plain = Candidate.make(candidate.backbone, candidate.placements)
    if plain.backbone_params != candidate.backbone_params or plain.notation != as_paper(candidate):
        found.append("another network")
    if recipe is None or tuple(recipe.input) != INPUT:
        found.append("another size")
    if recipe is None or recipe.weights != WEIGHTS:
        found.append("other first weights")
    return found


def _recipe(data: StudyData) -> Recipe | None:
    try:
        return load_recipe(data.definition.get("recipe") or "strong_baseline")
    except NasError:
        return None


def as_paper(own: Candidate) -> str:
    """The paper's name of a system: without width, recipe values, and how a block is put in.

    >>> as_paper(Candidate.parse("resnet50(width=0.125)+se(start=identity)@4[base_lr=0.001]"))
    'resnet50+se@4'
    """
    placed = [Placement.make(p.site, p.block, {k: v for k, v in p.params if k != "start"}) for p in own.placements]
    return Candidate.make(own.backbone, placed).notation


def standing(difference: Estimate, same: bool) -> Standing:
    """What is to be said of a row.

    Args:
        difference: ours minus the paper's.
        same: whether everything that decides the number is the paper's.

    >>> standing(Estimate(0.0004, 0.0008, 4), True), standing(Estimate(0.02, 0.0008, 4), True)
    ('reproduced', 'contradicted')
    """
    if not same:
        return "form only"
    if not difference.known:
        return "not told apart"
    low, high = difference.interval(0.90)  # two one-sided tests at 5 %
    if low > -MARGIN and high < MARGIN:
        return "reproduced"
    low, high = difference.interval()
    return "contradicted" if low > 0 or high < 0 else "not told apart"


def beside(data: StudyData, level: Level | None = None) -> pd.DataFrame:
    """Systems both have, one row each: the paper's values, ours, difference with interval, standing and why not more.

    Empty when none is shared, and of networks that were moved to other images: they are Table II's.
    """
    if data.finished["role"].eq("source").any():
        return pd.DataFrame()
    level = level or data.quoted
    summary = data.candidates(level)
    summary = summary[summary["quoted"].astype(bool)]
    if summary.empty or data.metric != MAP:
        return pd.DataFrame()
    ours = summary.assign(
        ours=summary["notation"],
        loss=[loss_of(str(n), data) for n in summary["notation"]],
        notation=[as_paper(Candidate.parse(str(n))) for n in summary["notation"]],
    )
    base = ours[ours["notation"] == BACKBONE]["latency_ms"]
    zero = float(base.iloc[0]) if len(base) else float("nan")
    ours = ours.assign(slowdown=ours["latency_ms"] / zero - 1, increment_ms=ours["latency_ms"] - zero).drop_duplicates(
        ["notation", "loss"]
    )
    both = paper_table().merge(ours, on=["notation", "loss"], suffixes=("_paper", ""), how="inner")
    return _judged(both, data, level)


def _is_whole(own: Candidate) -> bool:
    """Whether a network has its backbone's own width and stride."""
    return own.backbone_params == Candidate.make(own.backbone).backbone_params


def speeds_beside(data: StudyData) -> pd.DataFrame:
    """Rows of Table I that a study timed, whether or not it trained them: the paper's speeds and ours."""
    timed = data.latencies.dropna(subset=["median_ms"])
    if timed.empty:
        return pd.DataFrame()
    networks = [Candidate.parse(str(notation)) for notation in timed["notation"]]
    ours = timed.assign(notation=[as_paper(n) for n in networks])[[_is_whole(n) for n in networks]]
    ours = ours[["notation", "median_ms"]].astype({"median_ms": float}).drop_duplicates("notation")
    base = ours.loc[ours["notation"] == BACKBONE, "median_ms"]
    if base.empty:
        return pd.DataFrame()
    zero = float(base.iloc[0])
    ours = ours.assign(
        ours_per_s=1000.0 / ours["median_ms"],
        ours_slowdown=ours["median_ms"] / zero - 1,
        ours_increment_ms=ours["median_ms"] - zero,
    )
    return paper_table().drop_duplicates("notation").merge(ours, on="notation", how="inner")


def _judged(both: pd.DataFrame, data: StudyData, level: Level | None) -> pd.DataFrame:
    told: list[dict[str, object]] = []
    for row in records_of(both):
        why = deviations(data, level, str(row["ours"]))
        why += [] if row["map"] == row["map"] else ["no mAP in the paper"]
        same = not why
        ours = mean_from(row["map_mean"], row["map_sd"], row["seeds"])
        found = ours - mean_from(row["map"], row["map_sd_paper"], RUNS)
        low, high = found.interval() if same else (np.nan, np.nan)
        ends = {"difference": found.value, "low": low, "high": high}
        told.append({**ends, "standing": standing(found, same), "why": ", ".join(why)})
    columns = ["difference", "low", "high", "standing", "why"]
    return pd.concat([both, pd.DataFrame(told, columns=columns, index=both.index)], axis=1)
