"""One report over several studies: what each says, Fig. 1 with all systems, Tables I and II beside the paper's.

Networks stand in one figure only where their mAP and their time may be compared: the same images, split and epochs,
and one protocol on one device. What differs is shown apart, and said.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nas.errors import StudyError
from nas.files.shown import csv_text
from nas.files.whole import write_text
from nas.reporting.document import Block, Cell, Document, FigureBlock, Link, Paragraph, Section, Table, code, words
from nas.reporting.figures.pareto_front import ParetoFront
from nas.reporting.files import begin_report, write_figure_tables
from nas.reporting.html import render_html
from nas.reporting.markdown import render_markdown
from nas.reporting.numbers import count, plural
from nas.reporting.paper import beside, paper_table
from nas.reporting.stills import pictures_of
from nas.reporting.story.paper import HOW, SOURCE, systems_beside, transfer_beside
from nas.reporting.story.trust import file_name
from nas.reporting.study_data import StudyData, mark_front, records_of
from nas.spaces.labels import short_label

_NOT_TIMED_WITH = ("reference", "margin", "wait_for_device", "max_relative_error")
"""Keys of a study's `latency` that leave the timing as it is."""


@dataclass(frozen=True)
class Together:
    """Studies whose networks stand in one figure, in the given order, and what they share, in words."""

    studies: Sequence[StudyData]
    words: str


def combine(studies: Sequence[StudyData], title: str = "", question: str = "", folder: Path | None = None) -> Document:
    """The report over several studies, finished or not; `folder` is where it will lie, for
    links from it to those of the studies.

    Raises:
        StudyError: fewer than two studies, or one of them twice.
    """
    names = [data.name for data in studies]
    if len(names) < 2 or len(set(names)) < len(names):
        raise StudyError("one report over several studies needs two different ones", "name each study once")
    sections = [_overview(studies, question, folder), *_fronts(studies), *_table_one(studies)]
    transfer = transfer_beside(studies)
    done = sum(len(data.finished) for data in studies)
    subtitle = f"{plural(len(studies), 'study', 'studies')}, {plural(done, 'finished training')}"
    return Document(title or " · ".join(names), subtitle, [*sections, *([transfer] if transfer else [])])


def write_combined(studies: Sequence[StudyData], folder: Path, title: str = "", question: str = "") -> dict[str, Path]:
    """Writes the report: `report.html`, `report.md`, `paper.csv`, figures as tables and, if possible, pictures.

    Raises:
        StudyError: see `combine`.
    """
    document = combine(studies, title, question, folder)
    begin_report(folder)
    write_figure_tables(document.figures, folder / "figures")
    written = {
        "html": write_text(folder / "report.html", render_html(document)),
        "md": write_text(folder / "report.md", render_markdown(document, pictures_of(document.figures, folder))),
        "figures": folder / "figures",
    }
    both = systems(studies)
    if len(both):
        written["csv"] = write_text(folder / "paper.csv", csv_text(both))
    return written


def systems(studies: Sequence[StudyData]) -> pd.DataFrame:
    """Every system of the paper that a study has, a row a study; in the order of the paper's Table I."""
    tables = [beside(data).assign(study=data.name) for data in studies]
    tables = [table for table in tables if len(table) and "notation" in table]
    if not tables:
        return pd.DataFrame()
    order = {name: place for place, name in enumerate(dict.fromkeys(tables[0]["notation"]))}
    both = pd.concat(tables, ignore_index=True)
    place = both["notation"].map(lambda name: (order.get(name, len(order)), name))
    return both.iloc[place.argsort(kind="stable")].reset_index(drop=True)


def _own_report(data: StudyData, folder: Path) -> Cell:
    """Where the report of one study is written; a link where it lies."""
    path = Path("reports") / file_name(data.name) / "report.html"
    return Link(str(path), os.path.relpath(path, folder)) if path.is_file() else str(path)


def _overview(studies: Sequence[StudyData], question: str, folder: Path | None) -> Section:
    rows: list[list[Cell]] = [
        [
            code(data.name),
            words(_question(data)),
            data.answer.sentence,
            count(len(data.finished)),
            *([] if folder is None else [_own_report(data, folder)]),
        ]
        for data in studies
    ]
    headings = ["study", "question", "answer so far", "trainings", *([] if folder is None else ["its own report"])]
    blocks: list[Block] = [Paragraph(words(question), "lead")] if question else []
    return Section("studies", "The studies", [*blocks, Table(headings, rows, name="studies", numeric=frozenset({3}))])


def _question(data: StudyData) -> str:
    asked = data.definition.get("question") or ""
    return str(asked.get("words") or "") if isinstance(asked, dict) else str(asked)


def _fronts(studies: Sequence[StudyData]) -> list[Section]:
    """A figure for each set of studies that may be compared, the largest first."""
    groups = together([data for data in studies if data.quoted is not None])
    if not groups:
        return [Section("front", "All systems", [Paragraph("No study has a finished training yet.")])]
    apart = (
        f"These studies differ in images, split, epochs or in how networks were timed, so their networks stand in "
        f"{len(groups)} figures: numbers of different figures are not compared."
    )
    blocks: list[Block] = [Paragraph(apart, "warning")] if len(groups) > 1 else []
    return [
        Section(
            "front",
            "All systems (the paper's Fig. 1)",
            [*blocks, *(_front(group, place) for place, group in enumerate(groups))],
        )
    ]


def together(studies: Sequence[StudyData]) -> list[Together]:
    """Studies by what decides whether their numbers may be compared."""
    found: dict[Hashable, list[StudyData]] = {}
    for data in studies:
        found.setdefault(_comparable(data), []).append(data)
    groups = [Together(group, _shared(group[0])) for group in found.values()]
    return sorted(groups, key=lambda group: -len(group.studies))


def _comparable(data: StudyData) -> Hashable:
    level = data.quoted
    epochs = None if level is None or math.isnan(level.epochs) else level.epochs  # a table does not know them
    mine = None if level is None else (data.table or level.data, level.split, epochs, level.start)
    protocol = {key: value for key, value in data.latency_protocol.items() if key not in _NOT_TIMED_WITH}
    return (
        mine,
        json.dumps(protocol, sort_keys=True, default=str),
        str((data.environment.get("timed on") or data.environment).get("device") or ""),
    )


def _shared(data: StudyData) -> str:
    level = data.quoted
    said = (level.words if level else "", "" if data.table is not None else data.batch_words)
    return "; ".join(part for part in said if part)


def _front(group: Together, place: int) -> FigureBlock:
    figure, first = ParetoFront(), group.studies[0]
    tables = [figure.table(data).assign(study=data.name) for data in group.studies]
    merged = pd.concat(tables, ignore_index=True).sort_values("seeds", ascending=False, kind="stable")
    again = merged.duplicated("notation") & merged["n_blocks"].eq(0)  # a plain network stands once, with most seeds
    merged = mark_front(merged[~again].drop_duplicates(["notation", "study"]), first.cost)
    merged.attrs = tables[0].attrs
    names = ", ".join(data.name for data in group.studies)
    title = f"{names}: {group.words}"
    return FigureBlock(
        f"pareto_front_{place + 1}" if place else "pareto_front",
        title,
        figure.draw(merged),
        figure.caption(merged),
        merged,
    )


def _table_one(studies: Sequence[StudyData]) -> list[Section]:
    both = systems(studies)
    if both.empty:
        text = "None of these studies has quoted a system of the paper's Table I yet."
        return [Section("paper", "Table I beside the paper", [Paragraph(text)])]
    text = f"{SOURCE} beside ours. {HOW}"
    missing = [Paragraph(said) for said in _missing(studies, both)]
    return [Section("paper", "Table I beside the paper", [Paragraph(text), *systems_beside(both), *missing])]


def _missing(studies: Sequence[StudyData], both: pd.DataFrame) -> list[str]:
    """Rows of the paper that no study has: those that were not trained, and those that no space can express."""
    have = set(zip(both["notation"], both["loss"], strict=True))
    left = [(r["notation"], r["loss"]) for r in records_of(paper_table()) if (r["notation"], r["loss"]) not in have]
    spaces = [space for data in studies if (space := data.space) is not None]
    can = {name for name, _ in left if any(space.contains(name) for space in spaces)}
    found = []
    for words_, rows in (
        ("not trained (or not confirmed) in these studies", [row for row in left if row[0] in can]),
        ("in no space of these studies", [row for row in left if row[0] not in can]),
    ):
        if rows:
            names = ", ".join(f"{short_label(str(name))} ({loss})" for name, loss in rows)
            found.append(f"Rows of the paper that are {words_}: {names}.")
    return found
