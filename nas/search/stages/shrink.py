"""`shrink`: rules from the sweeps so far, a child space, and its confirmation on fresh draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from nas.errors import StudyError
from nas.results.columns import MAP
from nas.search.context import StudyContext, StudyParts
from nas.search.cost_model import DRAW_ATTEMPTS, CostModel, Limits
from nas.search.definition import BAND, ShrinkStage, StageDefinition, SweepStage, TrainingStage
from nas.search.handing import as_findings
from nas.search.proposals.base import random_draws
from nas.search.stage_results import ShrinkResult
from nas.search.stages.base import (
    GIVEN,
    Preview,
    Wish,
    alike,
    all_terminal,
    apart,
    ask,
    ask_missing,
    controls,
    epochs_of,
    replicated,
    results_before,
    stage_rows,
    started,
)
from nas.search.stages.reopening import moved_edges, replace_reopened, widened
from nas.search.stages.sweep import first_rung
from nas.shrinking.child import confirmed_findings, propose_child
from nas.shrinking.confirmation import MIN_DRAWS, confirm
from nas.shrinking.derive import derive
from nas.shrinking.draws import fresh_draws
from nas.shrinking.planning import PlannedSweep, answerable, answered, planned_sights
from nas.shrinking.settings import ShrinkSettings
from nas.spaces import Candidate, DesignSpace, Finding
from nas.training.fidelity import Fidelity

if TYPE_CHECKING:
    from nas.shrinking.settings import RuleFamily
    from nas.storage import Repository, StageInfo

FRESH = "fresh"
Step = TypeVar("Step", bound=ShrinkResult)
# Replicate numbers of fresh draws start here, stage by stage and round by round: far from those of any sweep.
FRESH_SEEDS = 1000
NOISE_SCRATCH, NOISE_PUBLISHED, NOISE_IDENTITY = 0.0068, 0.0055, 0.0023


class Shrink:
    """Handler of `shrink` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: ShrinkStage) -> bool:
        """Derives once, asks for fresh draws once, decides once."""
        sweep = last_sweep(context, stage)
        start = sweep.start if settings.start is None else settings.start
        band = {} if settings.band else sweep.model_dump(include=BAND)
        settings = settings.model_copy(update={"start": start, **band})
        stop = first_rung(sweep) if settings.fidelity in (None, sweep.fidelity) else None
        step = ShrinkStep(context, stage, settings, settings.fidelity or sweep.fidelity, stop)
        proposal = ShrinkResult.of(stage.result)
        if proposal is None:
            proposal = step.derive(list(settings.families), ShrinkResult())
            context.repository.set_stage(stage.id, result=proposal.to_dict())
        if proposal.space_id is not None:
            return True
        if not step.ask_fresh(proposal, batch=0):
            step.keep_parent(proposal)
            return True
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        context.repository.set_stage(stage.id, result=step.decided(proposal, rows).to_dict())
        return True

    def preview(self, context: StudyParts, space: DesignSpace, settings: ShrinkStage) -> Preview:
        """Fresh draws from parent and child; none when no rule passes."""
        drawn = 2 * min(settings.confirm, space.size())
        plain = len(controls(context, settings, space.baselines(), drawn)) if drawn else 0
        epochs = epochs_of(context, settings, fidelity_of(context, settings))
        asked = f"tests {', '.join(settings.families)}; at most {drawn * settings.seeds} fresh draws"
        asked += f" and {plain * settings.seeds} controls" if plain else ""
        networks = drawn if max(space.size_by_blocks()) > 1 else 0
        note = "; ".join([asked, *cannot_tell(context, space, settings), *will_see(context, space, settings)])
        return Preview((drawn + plain) * settings.seeds, epochs, note=note, networks=networks)


def band_of(context: StudyParts, stage: StageDefinition) -> dict[str, float]:
    """The band of costs that a stage works in; of a shrink that says none, that of the sweep before it."""
    if not isinstance(stage.settings, TrainingStage):
        return {}
    before = [s for s in context.definition.named_stages() if s.kind == "sweep" and s.position < stage.position]
    return stage.settings.band or (before[-1].settings.band if before and stage.kind == "shrink" else {})


def is_inside(band: Mapping[str, float], wide: Mapping[str, float]) -> bool:
    """Whether what keeps to a band keeps to another one.

    >>> is_inside({"latency_ms": 30.0, "params": 26e6}, {"latency_ms": 40.0}), is_inside({}, {"latency_ms": 40.0})
    (True, False)
    """
    return all(cost in band and band[cost] <= most for cost, most in wide.items())


def sweep_settings(context: StudyParts, settings: ShrinkStage) -> list[SweepStage]:
    """The sweeps before a shrink."""
    stages = context.definition.named_stages()
    position = next((stage.position for stage in stages if stage.settings is settings), len(stages))
    return [stage.settings for stage in stages if stage.kind == "sweep" and stage.position < position]


def fidelity_of(context: StudyParts, settings: ShrinkStage) -> Fidelity:
    """The fidelity of a shrink's fresh draws: its own, else the last sweep's."""
    sweeps = sweep_settings(context, settings)
    return settings.fidelity or (sweeps[-1].fidelity if sweeps else Fidelity())


def sweeps_before(context: StudyParts, settings: ShrinkStage) -> list[PlannedSweep]:
    """What the sweeps before a shrink will draw and train."""
    found = [sweep for sweep in sweep_settings(context, settings) if sweep.draws]
    warm = [sum(start.is_warm for start in context.definition.starts_of(sweep)) for sweep in found]
    return [
        PlannedSweep(s.design, s.candidates, s.blocks, s.seeds, s.baselines, s.rules, starts)
        for s, starts in zip(found, warm, strict=True)
    ]


def cannot_tell(context: StudyParts, space: DesignSpace, settings: ShrinkStage) -> list[str]:
    """Which families the sweeps before a shrink cannot answer, with the number of candidates that could."""
    sweeps = sweeps_before(context, settings)
    needed = answerable(space, sweeps, settings.families)
    planned = len(sweeps[-1].draw(space, 0)) if sweeps else 0
    short = [f"{family} (`candidates: {n}`)" for family, n in needed.items() if n is not None and n > planned]
    never = [family for family, n in needed.items() if n is None]
    said = [f"too few candidates to tell {', '.join(short)}"] if short else []
    return said + ([f"such candidates cannot tell {', '.join(never)}"] if never else [])


def will_see(context: StudyParts, space: DesignSpace, settings: ShrinkStage) -> list[str]:
    """The smallest effects that the families of a shrink will see, if trainings are as noisy as those measured so far.

    Nothing where that is not known: for another metric than mAP, a table, or a trainer of one's own.
    """
    sweeps = sweeps_before(context, settings)
    if not sweeps or not context.trains or context.replay is not None or context.metric != MAP:
        return []
    noise = expected_noise(space, warm=all(sweep.starts for sweep in sweeps))
    told = planned_sights(space, sweeps, settings.families, settings.alpha, noise, draws=1)
    seen = [f"{s.visible:.3f} {s.unit} ({s.family})" for s in told if s.visible is not None]
    if not seen:
        return []
    source = f"one training's noise, {noise} as on generated pedestrians"
    return [f"sees an effect of {', '.join(seen)} with 80 % power, where nothing comes in but {source}"]


def expected_noise(space: DesignSpace, *, warm: bool) -> float:
    """Noise of one training beside others of its seed, mAP, as `benchmarks/noise.py` measured it (results/noise.md)."""
    if not warm:
        return NOISE_SCRATCH
    put_in = (placement for candidate in space.singles() for placement in candidate.placements)
    return NOISE_IDENTITY if all(placement.is_identity for placement in put_in) else NOISE_PUBLISHED


def check_answerable(context: StudyParts, space: DesignSpace, name: str, settings: ShrinkStage) -> None:
    """That the sweeps before a shrink can answer at least one of its questions.

    Raises:
        StudyError: they cannot, with the smallest number of candidates that could.
    """
    sweeps = sweeps_before(context, settings)
    if not sweeps or answered(space, sweeps, settings.families):
        return
    planned, needed = len(sweeps[-1].draw(space, 0)), answerable(space, sweeps, settings.families)
    enough = {family: n for family, n in needed.items() if n is not None}
    smallest = min(enough, key=lambda family: enough[family], default=None)
    raise StudyError(
        f"stage {name!r}: the {planned} candidates of the sweep before it cannot answer any of its questions "
        f"({', '.join(settings.families)})",
        "no number of such candidates can: sweep networks with more blocks, or ask for other families"
        if smallest is None
        else f"`candidates: {enough[smallest]}` is the smallest number that answers one ({smallest})",
    )


@dataclass
class ShrinkStep:
    """One derive - confirm - decide round inside a stage.

    Attributes:
        context: the study.
        stage: the stage, in the space the round works in.
        settings: number of fresh draws and their seeds, level and margin.
        fidelity: of the trainings looked at and of the fresh draws.
        stop_epoch: where they stop: at a sweep's first rung, as those above it were selected.
    """

    context: StudyContext
    stage: StageInfo
    settings: Any
    fidelity: Fidelity
    stop_epoch: int | None = None

    def derive(self, families: Sequence[RuleFamily], into: Step, batch: int = 0, alpha: float | None = None) -> Step:
        """Tests the families and stores every finding; returns the proposal.

        Args:
            families: which to test.
            into: what takes the proposal up.
            batch: number of the round.
            alpha: false discovery rate; None: this stage's share of the study's.
        """
        space, samples = self.context.space_of(self.stage), self.samples()
        alpha = self._share() if alpha is None else alpha
        quote, reference = CostModel.of(self.context, "latency_ms").quote, self.context.reference
        findings, sights = derive(
            samples,
            space,
            families=families,
            latency=quote,
            reference=reference,
            settings=ShrinkSettings(slower=self.context.definition.latency.margin, unit=self.context.metric.suffix),
            alpha=alpha,
            margin=self.settings.margin,
            stage=self.stage.name,
            seed=self._seed,
        )
        band = self.settings.band
        findings = [f.model_copy(update={"evidence": f.evidence.model_copy(update={"within": band})}) for f in findings]
        self.store(findings, batch)
        told = replace(into, alpha=alpha, questions=tuple(sight.to_dict() for sight in sights))
        wide, edges = widened(self.context, space, samples, self._seed)
        child = propose_child(wide, findings) or wide
        if child.id == space.id:
            untold = not findings and "cost" in families and quote(reference).value is None
            why = f"the time of the reference, {reference}, is not known" if untold else "no rule passed"
            return replace(told, space_id=space.id, why=why)
        if edges:
            store_space(self.context.repository, wide, space)
        store_space(self.context.repository, child, wide if child is not wide else space)
        return replace(
            told,
            parent_id=space.id,
            child_id=child.id,
            reopened=moved_edges(edges),
            parent=self._draws(space, f"parent{batch}", samples),
            child=self._draws(child, f"child{batch}", samples),
        )

    @property
    def _seed(self) -> int:
        return self.context.definition.seed + self.stage.position

    def _share(self) -> float:
        """The level divided among the study's shrink stages, so that it is the level of the whole study."""
        kinds = [stage.kind for stage in self.context.definition.named_stages()]
        return float(self.settings.alpha) / max(1, kinds.count("shrink"))

    def samples(self) -> pd.DataFrame:
        """Rows that statistics may use: sweeps and fresh draws at this fidelity and in this band, nothing adaptive."""
        (start, *_) = self.context.definition.starts_of(self.settings)
        plain = self.context.baselines[0]
        wish = Wish(candidate=plain, fidelity=self.fidelity, start=start, stop_epoch=self.stop_epoch)
        rows = alike(self.context, self.context.results(), wish)
        rows = rows[rows["stage_kind"].isin(["sweep", "shrink", "auto_shrink"]) & (rows["role"] != GIVEN)]
        if (limits := Limits.of(self.context, self.settings)) is not None:
            inside = {name for name in rows["notation"].unique() if limits.admit(Candidate.parse(str(name)))}
            rows = rows[rows["n_blocks"].eq(0) | rows["notation"].isin(inside)]
        return rows[rows["status"].isin(["finished", "failed"])].drop_duplicates("training_id")

    def ask_fresh(self, proposal: ShrinkResult, batch: int) -> bool:
        """Asks for the fresh draws of a proposal, with seeds no sweep used; False when there are none to be had."""
        drawn = list(dict.fromkeys([*proposal.parent, *proposal.child]))
        own_seeds = FRESH_SEEDS * (self.stage.position + 1) + batch * self.settings.seeds
        wishes = [
            Wish(
                candidate=c,
                replicate=r,
                role=FRESH,
                sampler="random",
                batch=batch,
                fidelity=self.fidelity,
                stop_epoch=self.stop_epoch,
            )
            for r in range(self.settings.seeds)
            for c in drawn
        ]
        baselines = list(dict.fromkeys(c.baseline for c in drawn))
        plain = controls(
            self.context,
            self.settings,
            baselines,
            len(drawn),
            batch=batch,
            fidelity=self.fidelity,
            stop_epoch=self.stop_epoch,
        )
        wishes += replicated(plain, self.settings.seeds)
        wishes = apart(self.context, started(self.context, self.settings, wishes), own_seeds, self._looked_at())
        if not any(wish.role == FRESH for wish in wishes):
            return False
        wishes = started(self.context, self.settings, wishes)
        if self.stage.kind == "shrink":  # it may be concluded again, when the study has grown
            ask_missing(self.context, self.stage, wishes)
        else:
            ask(self.context, self.stage, wishes)
        return True

    def _looked_at(self) -> pd.DataFrame:
        """Results that rules may have come from: of the stages before, and of an automatic shrink's own rounds."""
        before = results_before(self.context, self.stage)
        own = stage_rows(self.context, self.stage) if self.stage.kind == "auto_shrink" else before.iloc[:0]
        return pd.concat([before, own]) if len(own) else before

    def _draws(self, space: DesignSpace, purpose: str, samples: pd.DataFrame) -> tuple[Candidate, ...]:
        """Fresh draws within the limits, uniform at each number of blocks that the samples have."""
        rng = random_draws(self.context.definition.seed, self.stage.position, purpose)
        count = min(self.settings.confirm, space.size())
        limits = Limits.of(self.context, self.settings)
        found: dict[Candidate, None] = {}
        for _ in range(DRAW_ATTEMPTS if limits is not None else 1):
            drawn = fresh_draws(space, count, rng, set(samples["n_blocks"])) if count else []
            found |= dict.fromkeys(c for c in drawn if limits is None or limits.admit(c))
            if len(found) >= count:
                break
        return tuple(found)[:count]

    def decided(self, proposal: Step, rows: pd.DataFrame, batch: int = 0) -> Step:
        """The proposal with its decision: the child is kept only when the fresh draws do not speak against it."""
        parent, child = (rows[rows["candidate_id"].isin({c.id for c in s})] for s in (proposal.parent, proposal.child))
        decision = confirm(parent, child, seed=self._seed, unit=self.context.metric.suffix)
        if len(proposal.child) < MIN_DRAWS <= self.settings.confirm:
            few = "the rules leave no more to draw: a space of more blocks, sites or values would"
            decision = replace(decision, reason=f"{decision.reason} ({few})")
        self.store(confirmed_findings(self.findings(batch), decision), batch)
        if decision.accepted:
            replace_reopened(self.context, self.stage, batch, proposal.reopened, self.settings.band)
        left = proposal.child_id if decision.accepted else proposal.parent_id
        return replace(proposal, space_id=left, why=decision.reason, confirmation=decision)

    def keep_parent(self, proposal: ShrinkResult) -> None:
        """Without fresh draws nothing is confirmed, so the space stays as it was."""
        reason = "confirm: 0" if not self.settings.confirm else "the table has no values that were not looked at"
        kept = replace(proposal, space_id=proposal.parent_id, why=f"rules derived, not confirmed ({reason})")
        self.context.repository.set_stage(self.stage.id, result=kept.to_dict())

    def store(self, findings: list[Finding], batch: int) -> None:
        """Stores the findings of one round, replacing those it had; other rounds' stay."""
        own = [{**f.to_dict(), "sentence": f.sentence(), "round": batch} for f in findings]
        kept = [row for row in self._stored() if row.get("round", 0) != batch]
        self.context.repository.store_findings(self.context.study_id, self.stage.id, [*kept, *own])

    def _stored(self) -> list[dict[str, Any]]:
        return self.context.repository.findings(self.context.study_id, stage_id=self.stage.id)

    def findings(self, batch: int) -> list[Finding]:
        """What one round found, as it stands."""
        return as_findings(row for row in self._stored() if row.get("round", 0) == batch)


def store_space(repository: Repository, space: DesignSpace, parent: DesignSpace | None = None) -> None:
    """Stores a space with its exact size and its parent."""
    repository.ensure_space(
        space.id,
        space.name,
        space.size(),
        space.to_dict(),
        parent_id=None if parent is None else parent.id,
        rules=[rule.to_dict() for rule in space.rules],
    )


def last_sweep(context: StudyContext, stage: StageInfo) -> SweepStage:
    """The sweep before this stage: fresh draws are trained as it was, to be comparable."""
    before = [s for s in context.definition.named_stages() if s.position < stage.position and s.kind == "sweep"]
    sweep: SweepStage = before[-1].settings if before else SweepStage(candidates=1)
    return sweep
