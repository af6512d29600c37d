"""What a careful reader asks last: what failed, how the numbers were made, how to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.files.plain import clean
from nas.files.yaml_source import dump_yaml
from nas.reporting.document import Block, Code, Facts, Paragraph, Section, Table, code
from nas.reporting.numbers import count, plural
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData, rows_of
from nas.results.costs import COSTS


def failures(data: StudyData) -> Section:
    """Failed trainings by kind and candidate; they stay in every count."""
    failed = data.failed
    unmeasured = data.finished[data.finished[data.cost].isna()]["notation"].nunique()
    blocks: list[Block] = []
    if failed.empty:
        blocks.append(Paragraph("No training failed."))
    else:
        grouped = failed.groupby(["failure_kind", "notation"], dropna=False).size().reset_index(name="n")
        rows = [[str(r.failure_kind or "unknown"), code(r.notation), count(r.n)] for r in rows_of(grouped.head(200))]
        headings = ["failure", "candidate", "trainings"]
        blocks.append(Paragraph(f"{plural(len(failed), 'training')} failed for good and stay in every count."))
        blocks.append(Table(headings, rows, name="failures", numeric=frozenset({2})))
    if unmeasured:
        title = COSTS[data.cost].title
        blocks.append(Paragraph(f"{plural(unmeasured, 'finished candidate')} without a known {title}: on no front."))
    return Section("failures", "Failures and gaps", blocks)


def provenance(data: StudyData) -> Section:
    """Versions, devices, seeds and hashes behind the numbers."""
    facts = _flat(data.environment)
    facts += [("data set id", value_words(data.dataset["id"]))] if data.dataset.get("id") else []
    finished = data.finished["finished_at"].dropna()
    if len(finished):
        facts.append(
            ("trained between", code(f"{finished.min():%Y-%m-%d %H:%M} and {finished.max():%Y-%m-%d %H:%M} UTC"))
        )
    blocks: list[Block] = [Facts(facts)] if facts else [Paragraph("No number has been made yet.")]
    return Section("provenance", "Provenance", blocks)


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
    file = f"studies/{file_name(data.name)}.yaml"
    commands = f"nas run {file}\nnas report {file_name(data.name)}"
    text = dump_yaml(clean(data.definition)).rstrip() if data.definition else ""
    words = (
        "The same study file and seed propose the same candidates; on the same machine the numbers are the same. "
        "Running again resumes: a finished training is never repeated."
    )
    blocks: list[Block] = [Paragraph(words), Code(commands, "sh")]
    if text:
        blocks += [Paragraph(f"The study file ({code(file)}) as it was run:"), Code(text, "yaml")]
    return Section("reproduce", "How to reproduce", blocks)


def file_name(name: str) -> str:
    """A study's name as a file or folder name: letters, digits, dot, dash and underscore.

    >>> file_name("../a <b>")
    'a_b'
    """
    kept = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).strip("._-")
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept or "study"
