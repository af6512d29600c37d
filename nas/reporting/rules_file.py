"""The rules of a study as a rule set with its origin: what `rules.yaml` of a report holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas import __version__
from nas.errors import NasError, SpaceError
from nas.reporting.study_data import StudyData
from nas.spaces.findings import Finding
from nas.spaces.ruleset import Provenance, RuleSet

_FIELDS = ("rule", "evidence", "verdict", "reason")


def rule_set(data: StudyData) -> RuleSet:
    """All findings of a study that this version can read, all verdicts, with where they come from."""
    findings = tuple(finding for row in data.findings if (finding := finding_of(row)) is not None)
    return RuleSet(findings, _provenance(data), data.name or "rules")


def finding_of(row: Mapping[str, Any]) -> Finding | None:
    """A stored finding; None of a kind of rule of another version: the report shows its stored sentence."""
    try:
        return Finding.from_dict({key: row[key] for key in _FIELDS if row.get(key) is not None})
    except NasError:
        return None


def _provenance(data: StudyData) -> Provenance:
    space = data.spaces[0] if data.spaces else {}
    finished = data.finished
    last = finished["finished_at"].dropna().max() if len(finished) else None
    dataset = data.dataset.get("name")
    return Provenance(
        study=data.name,
        backbone=data.backbone,
        space_id=_text(space.get("id")),
        space=_text(space.get("name")),
        data=_text(dataset),
        split=None if data.table is not None else "test" if data.definition.get("select_on") == "test" else "val",
        trainings=len(finished),
        created=None if last is None or last != last else last.isoformat(),
        package=__version__,
        details=_most_blocks(data) | ({"data_id": data.dataset["id"]} if data.dataset.get("id") else {}),
    )


def _most_blocks(data: StudyData) -> dict[str, object]:
    """Blocks of the largest network of the space that the rules are of, where its networks can be counted here."""
    try:
        return {} if data.space is None else {"most_blocks": max(data.space.size_by_blocks())}
    except SpaceError:  # own blocks that nobody here asked for
        return {}


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)


def write_rules(data: StudyData, path: Path) -> Path:
    """Writes the rule set; `RuleSet.load` reads it back. The same findings give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return rule_set(data).save(path)
