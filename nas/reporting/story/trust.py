"""What a careful reader asks last: what failed, how the numbers were made, how to make them again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nas import __version__
from nas.files.plain import clean
from nas.files.yaml_source import dump_yaml
from nas.reporting.document import Block, Cell, Code, Facts, Paragraph, Section, Table, code, words
from nas.reporting.numbers import count, plural
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData, rows_of
from nas.results.costs import COSTS
from nas.search.joining import ADDED

_SHOWN = 200


def failures(data: StudyData) -> Section:
    """Failed trainings by kind, the latest with their reasons; they stay in every count."""
    failed = data.failed
    unmeasured = data.finished[data.finished[data.cost].isna()]["notation"].nunique()
    blocks: list[Block] = [Paragraph("No training failed.")]
    if len(failed):
        kinds = failed["failure_kind"].fillna("unknown").value_counts()
        listed = ", ".join(f"{number} {words(kind)}" for kind, number in kinds.items())
        said = f"{plural(len(failed), 'training')} failed for good: {listed}. They stay in every count."
        blocks = [Paragraph(said), _failure_table(failed)]
    if unmeasured:
        title = COSTS[data.cost].title
        blocks.append(Paragraph(f"{plural(unmeasured, 'finished candidate')} without a known {title}: on no front."))
    return Section("failures", "Failures and gaps", blocks, folded=failed.empty)


def _failure_table(failed: pd.DataFrame) -> Table:
    reasons = failed["failure_reason"] if "failure_reason" in failed else pd.Series("", index=failed.index)
    told = failed.assign(why=reasons.fillna(""), failure_kind=failed["failure_kind"].fillna("unknown"))
    latest = told.sort_values("training_id").tail(_SHOWN)[::-1]
    rows: list[list[Cell]] = [
        [
            count(r.training_id),
            code(r.notation),
            words(r.stage),
            words(r.failure_kind or "unknown"),
            words(r.why) or "–",
        ]
        for r in rows_of(latest)
    ]
    cut = len(failed) - len(rows)
    note = f"{plural(cut, 'earlier failure')} not shown." if cut else ""
    headings = ["training", "candidate", "stage", "kind", "why"]
    return Table(headings, rows, note=note, name="failures", numeric=frozenset({0}))


def provenance(data: StudyData) -> Section:
    """Versions, devices, seeds and hashes behind the numbers."""
    facts = _flat(data.environment)
    facts += [("data set id", value_words(data.dataset["id"]))] if data.dataset.get("id") else []
    finished = data.finished["finished_at"].dropna()
    if len(finished):
        facts.append(
            ("trained between", code(f"{finished.min():%Y-%m-%d %H:%M} and {finished.max():%Y-%m-%d %H:%M} UTC"))
        )
    grown = data.definition.get("history") or ()
    facts += [(f"grown {step['at']}", value_words("; ".join(step["grown"]))) for step in grown]
    blocks: list[Block] = [Facts(facts)] if facts else [Paragraph("No number has been made yet.")]
    return Section("provenance", "Provenance", blocks, folded=True)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            facts += _flat(value, f"{prefix}{key} ")
        elif value not in (None, "", [], ()):
            facts.append((f"{prefix}{key}", value_words(value)))
    return facts


def reproduce(data: StudyData) -> Section:
    """The commands and the study file that make these numbers again."""
    file, profile = _study_file(data), data.definition.get("profile")
    run = shlex.join(["nas", "run", file, *(["--profile", profile] if profile else [])])
    commands = f"{run}\nnas report {file_name(data.name)}"
    file_keys = {key: value for key, value in data.definition.items() if key not in ADDED}
    text = dump_yaml(clean(file_keys)).rstrip() if file_keys else ""
    said = (
        "The same study file and seed propose the same candidates; on the same machine the numbers are the same. "
        "Running again resumes: a finished training is never repeated."
    )
    blocks: list[Block] = [Paragraph(said), Code(commands, "sh"), Paragraph(f"To cite: {_cited(data)}")]
    if text:
        laid = f" with its profile {code(profile)}" if profile else ""
        blocks += [Paragraph(f"The study file ({code(file)}){laid} as it was run:"), Code(text, "yaml")]
    return Section("reproduce", "How to reproduce", blocks, folded=True)


def _study_file(data: StudyData) -> str:
    """The file's name, and `studies/` where it lay in such a folder; of a study without one, where it may be kept."""
    file = Path(data.definition.get("file") or "")
    if not file.suffix:
        return f"studies/{file_name(data.name)}.yaml"
    return str(Path("studies", file.name) if file.parent.name == "studies" else file.name)


def _cited(data: StudyData) -> str:
    """One sentence that says which numbers are meant: study, program, images, and when they were trained."""
    finished = data.finished["finished_at"].dropna()
    when = f", trained {finished.min():%Y-%m-%d} to {finished.max():%Y-%m-%d}" if len(finished) else ""
    images = f", data set {code(data.dataset['id'])}" if data.dataset.get("id") and data.table is None else ""
    method = "method after Eisenbach et al. 2023, arXiv 2302.14574"
    return f"study {code(data.name)}, reported by nas {__version__}{images}{when}; {method}."


def file_name(name: str) -> str:
    """A study's name as a file or folder name: letters, digits, dot, dash and underscore.

    >>> file_name("../a <b>")
    'a_b'
    """
    kept = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).strip("._-")
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept or "study"
