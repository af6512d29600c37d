"""Importances: how much of the differences in mAP each position or hyperparameter accounts for (Optuna)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.errors import NasError, StudyError, unknown_name
from nas.reporting import style
from nas.reporting.comparison import Level, summarise_candidates, widest_level
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.study_data import StudyData
from nas.spaces.candidate import Candidate

if TYPE_CHECKING:
    import optuna

METHODS = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA"}
MIN_CANDIDATES = 20
MOST_CANDIDATES = 2000
"""More say little more and take long; a fixed random part is used then."""
_COLUMNS = ("parameter", "importance")


@dataclass(frozen=True)
class Importances(StudyFigure):
    """Importance of every position (which block, if any) and hyperparameter for mAP.

    Args:
        method: `ped_anova` (fast; what the best tenth has in common) or `fanova` (random forest; needs scikit-learn).
        level: which comparable set; the one with most candidates by default.
        shown: how many parameters are drawn.
    """

    method: str = "ped_anova"
    level: Level | None = None
    shown: int = 20
    name: ClassVar[str] = "importances"
    title: ClassVar[str] = "What mAP depends on"

    def table(self, data: StudyData) -> pd.DataFrame:
        if self.method not in METHODS:
            raise StudyError(unknown_name("importance method", self.method, METHODS))
        level = self.level or widest_level(data)
        summary = summarise_candidates(data, level)
        rows = summary[summary["backbone"] == data.backbone]
        if len(rows) > MOST_CANDIDATES:
            rows = rows.sample(MOST_CANDIDATES, random_state=0)
        found = _importances(rows, self.method) if len(rows) >= MIN_CANDIDATES else {}
        table = pd.DataFrame(list(found.items()), columns=list(_COLUMNS))
        table = table.sort_values("importance", ascending=False, kind="stable")
        table.attrs = {"candidates": len(rows), "level": level.words if level else "", "method": METHODS[self.method]}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return (
                f"Importances need {MIN_CANDIDATES} or more finished candidates that differ; "
                f"there are {table.attrs.get('candidates', 0)}."
            )
        shown = table.head(self.shown)[::-1]
        figure = style.new_figure(110 + 22 * len(shown))
        figure.add_trace(
            go.Bar(
                x=shown["importance"],
                y=[style.plain(name) for name in shown["parameter"]],
                orientation="h",
                marker={"color": style.ACCENT},
                hovertemplate="%{y}: %{x:.1%}<extra></extra>",
                showlegend=False,
            )
        )
        figure.update_xaxes(title_text="Share of the importance", tickformat=".0%", rangemode="tozero")
        figure.update_yaxes(showgrid=False)
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            f"{table.attrs.get('method', '')} over {table.attrs.get('candidates', 0)} candidates "
            f"({table.attrs.get('level', '')}), computed by Optuna; one parameter a position says which block is "
            "there, if any. It tells what matters, not which value is better, and adaptive proposals bias it."
        )


def parameters_of(candidate: Candidate) -> dict[str, Any]:
    """A candidate as flat categories: one a site, block hyperparameters and recipe values where they are set."""
    flat: dict[str, Any] = {}
    for placement in candidate.placements:
        flat[f"site {placement.site}"] = placement.block
        flat |= {f"{placement.block} {key}": str(value) for key, value in placement.params}
    return flat | {f"recipe {key}": str(value) for key, value in candidate.recipe}


def _importances(rows: pd.DataFrame, method: str) -> Mapping[str, float]:
    import optuna

    values: list[tuple[dict[str, Any], float]] = []
    for notation, value in zip(rows["notation"], rows["map_mean"], strict=True):
        try:
            values.append((parameters_of(Candidate.parse(str(notation))), float(value)))
        except NasError:  # an own block that is not installed here
            continue
    choices = _choices([params for params, _ in values])
    if not choices or len(values) < MIN_CANDIDATES:
        return {}
    study = _study(values, choices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = (
            optuna.importance.FanovaImportanceEvaluator(seed=0)
            if method == "fanova"
            else optuna.importance.PedAnovaImportanceEvaluator()
        )
        # PED-ANOVA takes the smallest values for the best, whatever the direction of the study.
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: -float(trial.value or 0.0)
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


def _study(values: list[tuple[dict[str, Any], float]], choices: dict[str, list[str]]) -> optuna.Study:
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    optuna.logging.set_verbosity(verbosity)
    distributions: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in choices.items()
    }
    study.add_trials(
        optuna.trial.create_trial(
            params={name: str(params.get(name, "-")) for name in choices},
            distributions=distributions,
            value=value,
        )
        for params, value in values
    )
    return study
