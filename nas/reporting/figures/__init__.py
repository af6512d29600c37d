"""Figures of a study: one small module each, all drawn from `StudyData`."""

from __future__ import annotations

from nas.reporting.figures.additive_residuals import AdditiveResiduals
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.error_distribution import ErrorDistribution
from nas.reporting.figures.hyperparameters import ParallelCoordinates, Slices
from nas.reporting.figures.hypervolume import Hypervolume
from nas.reporting.figures.importances import Importances
from nas.reporting.figures.latency_spread import LatencySpread
from nas.reporting.figures.map_by_position import MapByPosition
from nas.reporting.figures.network_drawing import NetworkDrawing
from nas.reporting.figures.pair_map import PairMap
from nas.reporting.figures.pareto_front import ParetoFront
from nas.reporting.figures.placement_map import PlacementMap
from nas.reporting.figures.rank_lists import RankLists
from nas.reporting.figures.rule_effects import RuleEffects
from nas.reporting.figures.seed_noise import SeedNoise
from nas.reporting.figures.space_lineage import SpaceLineage
from nas.reporting.figures.speed_by_position import SpeedByPosition
from nas.reporting.figures.timeline import BestSoFar, Timeline
from nas.reporting.figures.training_curves import TrainingCurves

FIGURES: dict[str, type[StudyFigure]] = {
    figure.name: figure
    for figure in (
        ParetoFront,
        SpeedByPosition,
        LatencySpread,
        MapByPosition,
        PlacementMap,
        PairMap,
        NetworkDrawing,
        RuleEffects,
        SpaceLineage,
        ErrorDistribution,
        Hypervolume,
        BestSoFar,
        Timeline,
        Importances,
        Slices,
        ParallelCoordinates,
        SeedNoise,
        AdditiveResiduals,
        TrainingCurves,
        RankLists,
    )
}
"""Figure name -> class; every one draws with its default settings."""

__all__ = [
    "FIGURES",
    "AdditiveResiduals",
    "BestSoFar",
    "Drawing",
    "ErrorDistribution",
    "Hypervolume",
    "Importances",
    "LatencySpread",
    "MapByPosition",
    "NetworkDrawing",
    "PairMap",
    "ParallelCoordinates",
    "ParetoFront",
    "PlacementMap",
    "RankLists",
    "RuleEffects",
    "SeedNoise",
    "Slices",
    "SpaceLineage",
    "SpeedByPosition",
    "StudyFigure",
    "Timeline",
    "TrainingCurves",
]
