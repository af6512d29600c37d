"""Figures of a study: one small module each, all drawn from `StudyData`."""

from __future__ import annotations

from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.map_by_position import MapByPosition
from nas.reporting.figures.pareto_front import ParetoFront
from nas.reporting.figures.space_lineage import SpaceLineage
from nas.reporting.figures.speed_by_position import SpeedByPosition

FIGURES: dict[str, type[StudyFigure]] = {
    figure.name: figure
    for figure in (
        ParetoFront,
        SpeedByPosition,
        MapByPosition,
        SpaceLineage,
    )
}
"""Figure name -> class; every one draws with its default settings."""

__all__ = ["FIGURES", "Drawing", "MapByPosition", "ParetoFront", "SpaceLineage", "SpeedByPosition", "StudyFigure"]
