"""Derived rules with their evidence and verdicts, as a stage left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from nas.files.plain import JsonDict, clean, clean_text
from nas.storage.base import RepositoryPart
from nas.storage.models import FindingRow, Stage


class Findings(RepositoryPart):
    """Stores what a stage found out and gives it back."""

    def store_findings(self, study_id: int, stage_id: int, findings: Sequence[JsonDict]) -> None:
        """Replaces the findings of a stage by others, plain data: `rule`, `verdict`, `reason`, `sentence`, and more."""
        place = {"study_id": study_id, "stage_id": stage_id}
        rows = [{**place, "position": position, **_row(finding)} for position, finding in enumerate(findings)]

        def work(session: Session) -> None:
            session.execute(delete(FindingRow).where(FindingRow.stage_id == stage_id))
            if rows:
                session.execute(insert(FindingRow), rows)

        self.write(work)

    def findings(self, study_id: int, *, stage_id: int | None = None) -> list[dict[str, Any]]:
        """The findings of a study, stage by stage; each with `stage_id` and `stage` (its name) added."""
        query = (
            select(FindingRow.finding, Stage.id, Stage.name)
            .join(Stage, Stage.id == FindingRow.stage_id)
            .where(FindingRow.study_id == study_id)
            .order_by(Stage.position, FindingRow.position)
        )
        if stage_id is not None:
            query = query.where(FindingRow.stage_id == stage_id)
        rows = self.rows(query)
        return [{**finding, "stage_id": id_, "stage": name} for finding, id_, name in rows]


def _row(finding: JsonDict) -> dict[str, object]:
    told = finding.get("rule")
    rule = told if isinstance(told, Mapping) else {}
    return {
        "kind": str(rule.get("kind", "")),
        "strength": str(rule.get("strength", "hard")),
        "verdict": str(finding["verdict"]),
        "reason": clean_text(str(finding.get("reason", ""))),
        "sentence": clean_text(str(finding.get("sentence", ""))),
        "finding": clean(finding),
    }
