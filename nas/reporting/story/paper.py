"""The paper's values beside ours, where the study measures the paper's systems."""

from __future__ import annotations

from nas.reporting.document import Cell, Paragraph, Section, Table, code
from nas.reporting.numbers import MISSING, fixed, is_missing, mean_sd, signed
from nas.reporting.paper import beside, is_the_papers
from nas.reporting.study_data import StudyData, records_of
from nas.spaces.labels import short_label


def beside_the_paper(data: StudyData) -> Section | None:
    """Each shared system with both values; left out when the study is not the paper's."""
    if not is_the_papers(data):
        return None
    both = beside(data)
    if both.empty:
        return None
    level = data.quoted
    rows: list[list[Cell]] = [
        [
            code(short_label(str(row["notation"]))),
            str(row["loss"]),
            mean_sd(row["map"], row["map_sd_paper"]),
            mean_sd(row["map_mean"], row["map_sd"]),
            signed(row["difference"]),
            _percent(row["slowdown_paper"]),
            _percent(row["slowdown"]),
        ]
        for row in records_of(both)
    ]
    headings = ["system", "loss", "mAP, paper", "mAP, ours", "difference", "slow-down, paper", "slow-down, ours"]
    words = (
        "The paper's values (Eisenbach et al., arXiv 2302.14574; three runs on the test split, selected on it) beside "
        f"this study's ({level.words if level else ''}). Slow-down is the time of a batch over plain ResNet-50's, each "
        "on its own device; milliseconds of different devices are not compared."
    )
    table = Table(headings, rows, name="paper", numeric=frozenset(range(2, 7)))
    return Section("paper", "Beside the paper", [Paragraph(words), table])


def _percent(share: object) -> str:
    return MISSING if is_missing(share) else f"{fixed(float(str(share)) * 100, 1)} %"
