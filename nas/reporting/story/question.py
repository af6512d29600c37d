"""The answer of a study so far with what limits it, and the question it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.document import Block, Bullets, Paragraph, Section, SideBySide, Table, Tiles, code, words
from nas.reporting.finding_rows import finding_table
from nas.reporting.health import health
from nas.reporting.numbers import count, fixed, interval, plural, signed
from nas.reporting.robot import robot_words
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import StudyData, records_of
from nas.results.columns import MAP
from nas.results.costs import COSTS
from nas.results.groups import group_differences, group_means
from nas.spaces.labels import backbone_title, block_title, short_label

MOST_RULES = 5
"""Rules named on the first screen; the next section has all."""


def question(data: StudyData) -> Section:
    """The first screen: the answer, what limits it, the front beside the map of differences; then what was asked."""
    figures = SideBySide([figure_block("pareto_front", data), figure_block("placement_map", data)])
    blocks = [*answered(data), figures, Paragraph(_question_words(data)), _tiles(data)]
    return Section("question", "The answer", blocks)


def answered(data: StudyData) -> list[Block]:
    """The answer to the study's own question and to ours, and what limits it."""
    asked = data.definition.get("question") or ""
    compared = asked if isinstance(asked, Mapping) else {}
    told = str(compared.get("words") or "") if compared else str(asked)
    blocks: list[Block] = [Paragraph(words(told))] if told else []
    said = own_answer(data)
    blocks += [Bullets([words(sentence) for sentence in said])] if said else []
    blocks += _group_means(data, compared) if said else []
    blocks.append(Paragraph(data.answer.sentence, "lead"))
    limits = [limit.words for limit in health(data)]
    blocks += [Bullets(limits, "health")] if limits else []
    choice = robot_words(data)
    return [*blocks, *_adopted(data), *([Paragraph(choice)] if choice else [])]


def _adopted(data: StudyData) -> list[Block]:
    """The adopted rules with their numbers, strongest first; or how many were looked at."""
    found = finding_table(data.findings)
    adopted = [words(sentence) for sentence in found.loc[found["verdict"] == "adopted", "sentence"]]
    if not adopted:
        return [Paragraph(f"No rule is adopted of {len(found)} looked at.")] if len(found) else []
    left = len(adopted) - MOST_RULES
    more = [f"and {left} more, below"] if left > 0 else []
    return [Paragraph(f"{plural(len(adopted), 'rule')} adopted:"), Bullets([*adopted[:MOST_RULES], *more])]


def own_answer(data: StudyData) -> list[str]:
    """The study's own question, answered with paired differences whatever they say; empty where none is put as data."""
    asked = data.definition.get("question")
    if not isinstance(asked, Mapping):
        return []
    rows, compare, by = _asked_for(data, asked)
    if group_means(rows, compare, by, data.metric).empty:
        return ["No network with one of the compared blocks has finished yet."]
    return [f"{pair.sentence(data.metric)}." for pair in group_differences(rows, compare, by, data.metric)]


def _asked_for(data: StudyData, asked: Mapping[str, Any]) -> tuple[pd.DataFrame, list[str], Any]:
    """The trainings that a question is answered from, the blocks it compares, and by what."""
    level = data.widest
    rows = data.results.iloc[:0] if level is None else level.rows(data.results)
    return rows, list(asked["compare"]), asked.get("by", "site")


def _group_means(data: StudyData, asked: Mapping[str, Any]) -> list[Block]:
    """The means that the own answer comes from."""
    metric, (rows, compare, by) = data.metric, _asked_for(data, asked)
    means, level = group_means(rows, compare, by, metric), data.widest
    if means.empty or level is None:
        return []
    cells = [
        [
            *(str(row["by"]), words(block_title(row["group"])), count(row["networks"]), count(row["trainings"])),
            *(fixed(row["mean"], 4), interval(row["low"], row["high"])),
        ]
        for row in records_of(means)
    ]
    headings = [by, "block", "networks", "trainings", f"mean {metric.title}", "95 % interval"]
    caption = f"Means of the compared blocks ({level.words}); what seeds and starts move for all alike is taken out."
    return [Table(headings, cells, caption=caption, name="own-question", numeric=frozenset({2, 3, 4, 5}))]


def _question_words(data: StudyData) -> str:
    space = data.spaces[0] if data.spaces else {}
    cost = COSTS[data.cost]
    where = f" The design space {code(space['name'])} holds {count(space.get('size'))} candidates." if space else ""
    judged = "the mean average precision (mAP)" if data.metric == MAP else words(data.metric.title)
    return (
        f"Which attention block, at which positions of {backbone_title(data.backbone)}, buys accuracy "
        f"for the least {cost.noun}?{where} Accuracy is {judged}; "
        f"{cost.noun} is {cost.what.format(batch=data.batch_words)}."
    )


def _tiles(data: StudyData) -> Tiles:
    found, metric = data.answer, data.metric
    tiles: list[tuple[str, str]] = []
    if found.kind == "better" and found.named and found.control:
        over = f"{metric.title} of {short_label(found.named)} over {short_label(found.control)}"
        tiles.append((signed(found.difference), f"{over}, 95 % interval {interval(found.low, found.high)}"))
    elif found.visible is not None:
        seeds = plural(found.seeds, "seed")
        tiles.append((signed(found.visible), f"{metric.title} is seen with 80 % power in {seeds}"))
    adopted = sum(finding.get("verdict") == "adopted" for finding in data.findings)
    tiles.append((count(len(data.finished)), "finished trainings"))
    tiles.append((f"{adopted} of {len(data.findings)}", "rules adopted"))
    return Tiles(tiles)
