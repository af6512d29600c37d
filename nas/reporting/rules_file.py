"""The rules of a study as a rule set with its origin: what `rules.yaml` of a report holds."""

from __future__ import annotations

from pathlib import Path

from nas import __version__
from nas.errors import NasError
from nas.reporting.study_data import StudyData
from nas.spaces.findings import Finding
from nas.spaces.ruleset import Provenance, RuleSet

_FIELDS = ("rule", "evidence", "verdict", "reason")


def rule_set(data: StudyData) -> RuleSet:
    """All findings of a study that this version can read, all verdicts, with where they come from."""
    findings = []
    for row in data.findings:
        try:
            findings.append(Finding.from_dict({key: row[key] for key in _FIELDS if row.get(key) is not None}))
        except NasError:  # a kind of rule of another version: the report shows its stored sentence
            continue
    return RuleSet(tuple(findings), _provenance(data), data.name or "rules")


def _provenance(data: StudyData) -> Provenance:
    space = data.spaces[0] if data.spaces else {}
    finished = data.finished
    last = finished["finished_at"].dropna().max() if len(finished) else None
    dataset = data.dataset.get("name")
    details: dict[str, object] = {"most_blocks": int(finished["n_blocks"].max())} if len(finished) else {}
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
        details=details | ({"data_id": data.dataset["id"]} if data.dataset.get("id") else {}),
    )


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)


def write_rules(data: StudyData, path: Path) -> Path:
    """Writes the rule set; `RuleSet.load` reads it back. The same findings give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return rule_set(data).save(path)
