"""The story of a study, section by section: answer, rules, front, positions, costs, course; how it was done last.

Each module tells a part and returns sections; nothing here knows HTML, Markdown or LaTeX.
"""

from __future__ import annotations

from nas.reporting.document import Document
from nas.reporting.numbers import count, plural
from nas.reporting.story import (
    course,
    elsewhere,
    looks,
    paper,
    question,
    results,
    rules,
    setting,
    shrinking,
    times,
    tried,
    trust,
    tuned,
)
from nas.reporting.study_data import StudyData
from nas.reporting.words import words

_PARTS = (
    question.question,
    rules.rules,
    results.front,
    results.positions,
    times.times,
    results.tables,
    shrinking.shrinking,
    looks.looks,
    elsewhere.transfer,
    elsewhere.rules_elsewhere,
    course.course,
    paper.beside_the_paper,
    tuned.tuned_recipe,
    tried.tried,
    trust.failures,
    setting.data_section,
    setting.protocol,
    trust.provenance,
    trust.reproduce,
)


def tell(data: StudyData) -> Document:
    """The whole report of a study, finished or not; parts with nothing to say are left out."""
    return data.once("story", lambda: _told(data))


def _told(data: StudyData) -> Document:
    sections = [section for part in _PARTS if (section := part(data)) is not None]
    finished = len(data.finished)
    lost = f", {count(len(data.failed))} failed" if len(data.failed) else ""
    subtitle = f"{plural(finished, 'finished training')} of {plural(len(data.trainings), 'planned one')}{lost}"
    title = words(data.definition.get("title") or "")
    subtitle = " · ".join(part for part in (title, subtitle, *setting.head(data)) if part)
    return Document(title=data.name, subtitle=subtitle, sections=sections)


__all__ = ["tell"]
