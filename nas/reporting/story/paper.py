"""The paper's values beside ours, where the study measures the paper's systems."""

from __future__ import annotations

from nas.reporting.document import Section
from nas.reporting.study_data import StudyData


def beside_the_paper(data: StudyData) -> Section | None:
    """Nothing yet to compare with."""
    return None
