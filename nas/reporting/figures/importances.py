"""Importances: how much of the differences each position or hyperparameter accounts for (Optuna)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
import plotly.graph_objects as go

from nas.errors import NasError, StudyError, unknown_name
from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.study_data import StudyData
from nas.results.intervals import Floats
from nas.results.levels import Level
from nas.spaces.candidate import Candidate

METHODS = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA"}
MIN_CANDIDATES = 20
MOST_CANDIDATES = 2000
"""More say little more and take long; a fixed random part is used then."""
_COLUMNS = ("parameter", "importance", "chance")
SHUFFLES = 19
"""Permutations of the null: with the observed one twenty, so that the largest is the 95 % end of chance."""
TREES = 16
"""Of a random forest: a quarter of Optuna's, as it is grown once a permutation."""


@dataclass(frozen=True)
class Importances(StudyFigure):
    """Importance of every position (which block, if any) and hyperparameter, beside what chance gives.

    Args:
        method: `ped_anova` (fast; what the best tenth has in common) or `fanova` (random forest; needs scikit-learn).
        shown: how many parameters are drawn.
    """

    method: str = "ped_anova"
    level: Level | None = None
    shown: int = 20
    name: ClassVar[str] = "importances"
    title: ClassVar[str] = "What the result depends on"

    def _table(self, data: StudyData) -> pd.DataFrame:
        if self.method not in METHODS:
            raise StudyError(unknown_name("importance method", self.method, METHODS))
        level = self.level or data.widest
        summary = data.candidates(level)
        rows = summary[summary["backbone"] == data.backbone]
        if len(rows) > MOST_CANDIDATES:
            rows = rows.sample(MOST_CANDIDATES, random_state=0)
        table = _importances(rows, self.method) if len(rows) >= MIN_CANDIDATES else pd.DataFrame(columns=list(_COLUMNS))
        table = table.sort_values("importance", ascending=False, kind="stable")
        table.attrs |= {"candidates": len(rows), "level": level.words if level else "", "method": METHODS[self.method]}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return (
                f"Importances need {MIN_CANDIDATES} or more finished candidates that differ; "
                f"there are {table.attrs.get('candidates', 0)}."
            )
        told = table["importance"] > table["chance"]
        if not told.any():
            return (
                f"Of {table.attrs.get('candidates', 0)} candidates ({table.attrs.get('level', '')}) no position or "
                f"hyperparameter accounts for more of {style.metric_of(table).words} than shuffled scores do in one of "
                "twenty tables."
            )
        shown = table.head(self.shown)[::-1]
        figure = style.new_figure(110 + 22 * len(shown))
        names = [style.plain(name) for name in shown["parameter"]]
        figure.add_trace(
            go.Bar(
                x=shown["importance"],
                y=names,
                orientation="h",
                marker={"color": style.ACCENT, "opacity": [1.0 if known else 0.3 for known in told[shown.index]]},
                customdata=shown["chance"],
                hovertemplate="%{y}: %{x:.1%} (chance: up to %{customdata:.1%})<extra></extra>",
                showlegend=False,
            )
        )
        marks = {"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": style.INK}}
        figure.add_trace(
            go.Scatter(x=shown["chance"], y=names, mode="markers", marker=marks, name="chance", hoverinfo="skip")
        )
        figure.update_xaxes(title_text="Share of the importance", tickformat=".0%", rangemode="tozero")
        figure.update_yaxes(showgrid=False)
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            f"{table.attrs.get('method', '')} over {table.attrs.get('candidates', 0)} candidates "
            f"({table.attrs.get('level', '')}), computed by Optuna; one parameter a position says which block is "
            f"there, if any. The mark is what chance gives in one of twenty tables ({SHUFFLES} with shuffled scores, "
            "the largest of each); pale bars do not pass it. It tells what matters, not which value is better, "
            "and adaptive proposals bias it."
        )


def parameters_of(candidate: Candidate) -> dict[str, Any]:
    """A candidate as flat categories: one a site, block hyperparameters and recipe values where they are set."""
    flat: dict[str, Any] = {}
    for placement in candidate.placements:
        flat[f"site {placement.site}"] = placement.block
        flat |= {f"{placement.block} {key}": str(value) for key, value in placement.params}
    return flat | {f"recipe {key}": str(value) for key, value in candidate.recipe}


def _importances(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """The share of each parameter, and what the largest is by chance: scores shuffled at equal numbers of blocks."""
    parameters, numbers, counts = [], [], []
    for notation, value in zip(rows["notation"], rows["map_adjusted"], strict=True):
        try:
            candidate = Candidate.parse(str(notation))
        except NasError:  # an own block that is not installed here
            continue
        parameters.append(parameters_of(candidate))
        numbers.append(float(value))
        counts.append(len(candidate.placements))
    choices = _choices(parameters)
    if not choices or len(numbers) < MIN_CANDIDATES:
        return pd.DataFrame(columns=list(_COLUMNS))
    study, scores, groups = _study(parameters, choices), np.asarray(numbers), np.asarray(counts)
    found = _weights(study, scores, method)
    rng = np.random.default_rng(0)
    chance = max(max(_weights(study, _shuffled(scores, groups, rng), method).values()) for _ in range(SHUFFLES))
    # Not of the shares: where nothing matters these still add up to 1.
    total = sum(found.values()) or 1.0
    shares = [(name, weight / total, chance / total) for name, weight in found.items()]
    return pd.DataFrame(shares, columns=list(_COLUMNS))


def _shuffled(scores: Floats, groups: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Scores dealt anew among candidates with as many blocks."""
    dealt = scores.copy()
    for group in np.unique(groups):
        inside = groups == group
        dealt[inside] = rng.permutation(scores[inside])
    return dealt


def _weights(study: optuna.Study, scores: Floats, method: str) -> dict[str, float]:
    """Importance of each parameter, not yet divided by their sum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = (
            optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
            if method == "fanova"
            else optuna.importance.PedAnovaImportanceEvaluator()
        )
        # PED-ANOVA takes the smallest values for the best, whatever the direction of the study.
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: -float(scores[trial.number]), normalize=False
        )
    return {name: float(share) for name, share in found.items() if share == share}


def _choices(parameters: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Parameters that vary: an empty site is a value, `-`; a hyperparameter must vary where its block is placed."""
    found: dict[str, set[str]] = {}
    for params in parameters:
        for name, value in params.items():
            found.setdefault(name, set()).add(str(value))
    varying = {name: values for name, values in found.items() if len(values) > 1 or name.startswith("site ")}
    absent = {name for name in varying if any(name not in params for params in parameters)}
    both = {name: sorted(values | ({"-"} if name in absent else set())) for name, values in varying.items()}
    return {name: values for name, values in sorted(both.items()) if len(values) > 1}


def _study(parameters: list[dict[str, Any]], choices: dict[str, list[str]]) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    optuna.logging.set_verbosity(verbosity)
    distributions: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in choices.items()
    }
    study.add_trials(
        optuna.trial.create_trial(
            params={name: str(params.get(name, "-")) for name in choices}, distributions=distributions, value=0.0
        )
        for params in parameters
    )
    for trial in study.get_trials(deepcopy=False):  # each has a copy: to compare these is most of the work
        trial.distributions = distributions
    return study
