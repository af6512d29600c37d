"""Shows finished trainings in Optuna's own tables, one Optuna study a stage.

Optuna's tools (its dashboard, its importances) then work on the same database. Nothing is read back
from there: proposals are made from our own tables, so a mirror that lags behind harms nobody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.search.costs import CostModel
from nas.search.proposals.encoding import Encoding
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.search.context import StudyContext
    from nas.storage import ClaimedTraining, TrainingOutcome

log = logging.getLogger("nas.worker")


class Mirror:
    """Copies the trainings of one study to Optuna's tables; each once."""

    def __init__(self, context: StudyContext) -> None:
        self._context = context

    def add(self, claim: ClaimedTraining, outcome: TrainingOutcome) -> None:
        """Mirrors one finished training; failures are left to the next `reconcile`."""
        try:
            self._mirror([(claim.id, claim.stage, claim.notation, outcome.map)])
        except Exception as error:
            log.warning("training %s not mirrored to Optuna yet: %s", claim.id, error)

    def reconcile(self) -> None:
        """Mirrors what finished but was not mirrored (a crash in between)."""
        results = self._context.results()
        done = results[(results["status"] == "finished") & results["map"].notna()]
        rows = [(int(r.training_id), str(r.stage), str(r.notation), float(r.map)) for r in done.itertuples()]
        try:
            self._mirror(rows)
        except NasError as error:
            log.warning("Optuna's tables were not brought up to date: %s", error)

    def _mirror(self, rows: list[tuple[int, str, str, float]]) -> None:
        from nas.storage.optuna_storage import mirror_trials

        costs = CostModel.of(self._context)
        by_stage: dict[str, list[dict[str, Any]]] = {}
        spaces = {s.name: self._context.space_of(s) for s in self._context.repository.stages(self._context.study_id)}
        for training_id, stage, notation, value in rows:
            candidate = Candidate.parse(notation)
            encoding = Encoding(spaces[stage])
            params, cost = encoding.encode(candidate), costs.cost(candidate)
            if params is None or cost is None:
                continue  # the reference network, say: it lies outside the space
            trial = {"training_id": training_id, "params": params, "values": [value, cost], "notation": notation}
            by_stage.setdefault(stage, []).append({**trial, "distributions": encoding.distributions()})
        for stage, trials in by_stage.items():
            name = f"{self._context.definition.name}/{stage}"
            mirror_trials(self._context.repository.database, name, trials)
