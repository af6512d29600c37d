"""What was found: the front, the positions, and the tables of candidates."""

from __future__ import annotations

import pandas as pd

from nas.reporting.document import Block, Paragraph, Section
from nas.reporting.figures import ParetoFront
from nas.reporting.numbers import plural
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import StudyData
from nas.reporting.tables import candidate_table, systems_table
from nas.results.levels import Level


def front(data: StudyData) -> Section:
    """The front of the most trusted trainings, then of the stage that saw most candidates."""
    trusted, widest = data.quoted, data.widest
    blocks: list[Block] = []
    if trusted is not None:
        blocks.append(Paragraph(_quoted_words(data, trusted)))
    if trusted is not None and widest is not None and widest != trusted:
        title = f"All candidates tried ({widest.words})"
        blocks.append(figure_block(ParetoFront(level=widest), data, name="pareto_front_all", title=title))
    summary = data.candidates(trusted)
    if len(summary):
        caption = "Front members and networks without attention."
        shown = summary[summary["on_front"].astype(bool) | (summary["n_blocks"] == 0)]
        blocks.append(candidate_table(shown, data, caption, name="front"))
    return Section("front", "The front", blocks)


def _quoted_words(data: StudyData, level: Level) -> str:
    """Which trainings are to quote, and how many of a level are not."""
    table = data.candidates(level)
    quoted = int(table["quoted"].sum())
    if not level.confirmed:
        return f"No confirm stage has trained these: {level.words}, {plural(quoted, 'candidate')}."
    others = len(table) - quoted
    grey = (
        f" The {plural(others, 'other candidate')} of this set, in grey, took part in the choice only."
        if others
        else ""
    )
    return f"The trainings to quote: {level.words}, {plural(quoted, 'candidate')}.{grey}"


def positions(data: StudyData) -> Section:
    """Where attention belongs: single blocks by position, pairs, and the best networks."""
    names = ("map_by_position", "pair_map", "network_drawing")
    blocks: list[Block] = [figure_block(name, data) for name in names]
    return Section("positions", "Where attention belongs", blocks)


def tables(data: StudyData) -> Section | None:
    """Tables like the paper's Table I, and every candidate of the most trusted level."""
    found = data.levels
    if not found:
        return None
    blocks: list[Block] = [systems_table(data)]
    for level in found[:2]:
        ranked = data.candidates(level).sort_values("map_mean", ascending=False)
        summary = pd.concat([ranked, data.failed_candidates(level)])
        name = f"candidates_{level.split}_{level.fidelity}"
        blocks.append(candidate_table(summary, data, f"Candidates: {level.words}.", name=name))
    return Section("tables", "Tables", blocks)
