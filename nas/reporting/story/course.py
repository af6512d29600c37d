"""How the search went: the best so far, hypervolume, distributions, importances, noise, curves, time."""

from __future__ import annotations

from nas.reporting.document import Block, Section
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import StudyData

_FIGURES = (
    *("best_so_far", "hypervolume", "error_distribution", "importances", "slices", "parallel_coordinates"),
    *("seed_noise", "training_curves", "timeline", "rank_lists"),
)


def course(data: StudyData) -> Section:
    """One figure after the other; what cannot be drawn yet says why."""
    blocks: list[Block] = [figure_block(name, data) for name in _FIGURES]
    return Section("course", "How the search went", blocks)
