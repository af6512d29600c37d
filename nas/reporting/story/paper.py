"""The paper's values beside ours: Table I in one study or several, Table II, and what may be said of each row."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nas.reporting.document import Badge, Block, Bullets, Cell, Paragraph, Section, Table, code
from nas.reporting.numbers import MISSING, fixed, interval, is_missing, mean_sd, signed
from nas.reporting.paper import MARGIN, as_paper, beside, is_the_papers, paper_transfer, speeds_beside
from nas.reporting.story.elsewhere import transfer_table
from nas.reporting.study_data import StudyData, records_of
from nas.spaces import Candidate
from nas.spaces.labels import short_label

TONES = {"reproduced": "good", "contradicted": "bad", "not told apart": "warn", "form only": "quiet"}
SOURCE = "The paper's values (Eisenbach et al., arXiv 2302.14574; three runs on the test split, selected on it)"
HOW = (
    "Slow-down is the time of a batch over plain ResNet-50's, each on its own device: batches/s of different devices "
    "are not compared. Of two values the first is the paper's; a difference has its 95 % interval. A row is judged "
    "only where data set, split, size, epochs and start are the paper's, else it shows the form: reproduced, "
    f"where the mean is shown to lie within {MARGIN:g} mAP of the paper's (two one-sided tests at 5 %); contradicted, "
    "where it is not and the 95 % interval of the difference (Welch) leaves 0 out; else not told apart."
)


def beside_the_paper(data: StudyData) -> Section | None:
    """Each shared system with both values; left out when the study is not the paper's."""
    both = beside(data) if is_the_papers(data) else pd.DataFrame()
    if both.empty:
        return _speeds(data)
    level = data.quoted
    words = f"{SOURCE} beside this study's ({level.words if level else ''}). {HOW}"
    return Section("paper", "Beside the paper", [Paragraph(words), *systems_beside(both)])


def _speeds(data: StudyData) -> Section | None:
    """The speeds of the paper's systems, of a study that timed them at full width and quotes no mAP of them."""
    both = speeds_beside(data)
    if len(both) < 2:
        return None
    rows: list[list[Cell]] = [
        [
            code(short_label(str(row["notation"]))),
            fixed(row["batches_per_s"], 2),
            fixed(row["ours_per_s"], 2),
            _percent(row["slowdown"]),
            _percent(row["ours_slowdown"]),
            fixed(row["increment_ms"], 2),
            fixed(row["ours_increment_ms"], 2),
        ]
        for row in records_of(both)
    ]
    text = (
        "Speeds of the paper's systems (Jetson AGX Xavier, TensorRT 8.0, fp16, batch 16) beside this study's "
        f"({data.batch_words}). Slow-downs over ResNet-50 may be compared, milliseconds and batches/s of different "
        "devices may not."
    )
    headings = ["system", "batches/s, paper", "batches/s, ours", "slow-down, paper", "slow-down, ours"]
    headings += ["+ms, paper", "+ms, ours"]
    table = Table(headings, rows, name="paper-speed", numeric=frozenset(range(1, 7)))
    return Section("paper", "Speeds beside the paper", [Paragraph(text), table])


def systems_beside(both: pd.DataFrame) -> list[Block]:
    """Table I with the paper's values beside ours, and what of ours is not the paper's; `both` as
    `nas.reporting.paper.beside` makes it.
    """
    shown = "study" in both
    rows: list[list[Cell]] = [
        [
            code(short_label(str(row["notation"]))),
            str(row["loss"]),
            *([code(row["study"])] if shown else []),
            mean_sd(row["map"], row["map_sd_paper"]),
            mean_sd(row["map_mean"], row["map_sd"]),
            fixed(row["seeds"], 0),
            f"{signed(row['difference'])} {interval(row['low'], row['high'])}"
            if row["standing"] != "form only"
            else MISSING,
            f"{fixed(row['batches_per_s_paper'], 2)} / {fixed(row['batches_per_s'], 2)}",
            f"{_percent(row['slowdown_paper'])} / {_percent(row['slowdown'])}",
            Badge(str(row["standing"]), TONES[str(row["standing"])]),
        ]
        for row in records_of(both)
    ]
    headings = ["system", "loss", *(["study"] if shown else []), "mAP, paper", "mAP, ours", "seeds", "difference"]
    headings += ["batches/s", "slow-down", ""]
    table = Table(headings, rows, name="paper", numeric=frozenset(range(2 + shown, 8 + shown)))
    named = both.assign(system=both["notation"].map(short_label) + " (" + both["loss"] + ")")
    why = named["why"].str.replace(", no mAP in the paper", "")
    on = {str(said): list(rows) for said, rows in named["system"].groupby(why[why != ""], sort=False)}
    found = [f"{said}: {'every row' if len(names) == len(both) else '; '.join(names)}." for said, names in on.items()]
    said: list[Block] = [Paragraph("What is not the paper's:"), Bullets(found)]
    return [table, *(said if found else [])]


def transfer_beside(studies: Sequence[StudyData]) -> Section | None:
    """Table II with the best of our runs beside the paper's best of three; always form only: its images are private."""
    theirs = paper_transfer()
    ours = [(data, row) for data in studies for row in records_of(transfer_table(data))]
    if theirs.empty or not ours:
        return None
    rows: list[list[Cell]] = []
    for data, row in ours:
        name = as_paper(Candidate.parse(str(row["notation"])))
        best = theirs[theirs["notation"] == name].set_index("fine_tuning")["map"]
        for tuning, prefix in (("none", "direct"), ("two-step", "tuned")):
            mine = mean_sd(row[f"{prefix}_mean"], row[f"{prefix}_sd"])
            rows.append(
                [
                    code(short_label(name)),
                    code(data.name),
                    tuning,
                    fixed(best.get(tuning), 4),
                    fixed(row[f"{prefix}_best"], 4),
                    mine,
                ]
            )
    text = (
        "The paper's Table II (best of three runs, sd 0.006; its robot's images are private) beside ours, which are "
        "other images: the form can be compared, the numbers cannot."
    )
    headings = ["system", "study", "fine-tuning", "best, paper", "best, ours", "mean, ours"]
    table = Table(headings, rows, name="paper-transfer", numeric=frozenset({3, 4, 5}))
    return Section("paper-transfer", "Table II beside the paper", [Paragraph(text), table])


def _percent(share: object) -> str:
    return MISSING if is_missing(share) else f"{fixed(float(str(share)) * 100, 1)} %"
