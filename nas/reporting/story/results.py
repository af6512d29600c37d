"""What was found: the front, the positions, and the tables of candidates."""

from __future__ import annotations

from nas.reporting.comparison import levels, summarise_candidates, trusted_level, widest_level
from nas.reporting.document import Block, Paragraph, Section
from nas.reporting.figures import ParetoFront
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import StudyData
from nas.reporting.tables import candidate_table, systems_table


def front(data: StudyData) -> Section:
    """The front of the most trusted trainings, then of the stage that saw most candidates."""
    trusted, widest = trusted_level(data), widest_level(data)
    blocks: list[Block] = []
    if trusted is not None:
        blocks.append(Paragraph(f"The trainings to quote: {trusted.words}, {trusted.candidates} candidates."))
    blocks.append(figure_block("pareto_front", data))
    if trusted is not None and widest is not None and widest != trusted:
        title = f"All candidates tried ({widest.words})"
        blocks.append(figure_block(ParetoFront(level=widest), data, name="pareto_front_all", title=title))
    summary = summarise_candidates(data, trusted)
    if len(summary):
        caption = "Front members and networks without attention."
        shown = summary[summary["on_front"].astype(bool) | (summary["n_blocks"] == 0)]
        blocks.append(candidate_table(shown, caption, name="front"))
    return Section("front", "The front", blocks)


def positions(data: StudyData) -> Section:
    """Where attention belongs: speed and mAP a position."""
    names = ("speed_by_position", "map_by_position", "placement_map", "pair_map", "network_drawing")
    blocks: list[Block] = [figure_block(name, data) for name in names]
    return Section("positions", "Where attention belongs", blocks)


def tables(data: StudyData) -> Section | None:
    """Tables like the paper's Table I, and every candidate of the most trusted level."""
    found = levels(data)
    if not found:
        return None
    blocks: list[Block] = [systems_table(data)]
    for level in found[:2]:
        summary = summarise_candidates(data, level).sort_values("map_mean", ascending=False)
        blocks.append(
            candidate_table(summary, f"Candidates: {level.words}.", name=f"candidates_{level.split}_{level.fidelity}")
        )
    return Section("tables", "Tables", blocks)
