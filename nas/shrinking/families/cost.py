"""Cost: "no block whose network is slower than ResNet-101 and no better".

Time is measured, so it is compared, not tested; what is tested is that a slower network is no better than the
reference by more than the margin. A placement nobody trained is judged by its time alone: the rule can be had before
any training. A slower placement that may be better stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas.results.intervals import Estimate
from nas.shrinking.analysis import Analysis, Answer, FamilyTests, Key, Reference
from nas.shrinking.costs import Cell
from nas.shrinking.equivalence import turned
from nas.spaces.findings import Finding
from nas.spaces.rules import Cost

SLOWER = 0.01
"""Share of the reference's latency below which two networks count as equally fast."""


def cost(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    reference = analysis.reference
    if reference is None or reference.latency_ms is None:
        return FamilyTests({}, lambda adjusted: [])
    slow = slower_placements(analysis, reference.latency_ms)
    beside = {cell: _beside_reference(analysis, reference, cell) for cell in slow}
    p_values: dict[Key, float] = {
        ("cost", *cell): d.p_below(analysis.settings.margin) for cell, d in beside.items() if d is not None
    }

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return _conclude(analysis, reference, slow, beside, adjusted)

    return FamilyTests(p_values, conclude)


def slower_placements(analysis: Analysis, reference_ms: float) -> dict[Cell, float]:
    """Placements whose measured network is slower than the reference, with the ms they are slower by."""
    over = {cell: ms - reference_ms for cell, ms in analysis.costs.singles.items()}
    return {cell: ms for cell, ms in sorted(over.items()) if ms > SLOWER * reference_ms}


def _beside_reference(analysis: Analysis, reference: Reference, cell: Cell) -> Estimate | None:
    """mAP of the network with one block there minus the reference's; None when either was never trained."""
    rows = _rows(analysis, [cell])
    single = rows & (analysis.sample.counts == 1) & np.isfinite(analysis.sample.score)
    if reference.score is None or not single.any():
        return None
    weights = analysis.sample.finished[single]
    seed_sd = _spread(analysis)
    if np.isnan(seed_sd):
        return None
    mean = float(np.average(analysis.sample.score[single], weights=weights))
    variance = seed_sd**2 * (1 / weights.sum() + 1 / max(reference.trainings, 1))
    return Estimate(mean - reference.score, float(np.sqrt(variance)), float(max(analysis.fit.df, 2)))


def _spread(analysis: Analysis) -> float:
    """sd of a training: from replicates, else what the regression leaves."""
    if not np.isnan(analysis.sample.seed_sd):
        return analysis.sample.seed_sd
    fit = analysis.fit
    return float(np.sqrt((fit.residuals**2).sum() / fit.df)) if fit.enough else float("nan")


def _rows(analysis: Analysis, cells: list[Cell]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    sample = analysis.sample
    rows = np.zeros(len(sample), dtype=bool)
    for block, site in cells:
        if block in sample.blocks:
            rows |= sample.placed[:, site - 1] == sample.blocks.index(block) + 1
    return rows


def _conclude(
    analysis: Analysis,
    reference: Reference,
    slow: Mapping[Cell, float],
    beside: Mapping[Cell, Estimate | None],
    adjusted: Mapping[Key, float],
) -> list[Finding]:
    untrained = [cell for cell in slow if not _trained(analysis, cell)]
    tested = [cell for cell in slow if beside[cell] is not None]
    no_better = [cell for cell in tested if adjusted[("cost", *cell)] <= analysis.settings.alpha]
    maybe = [cell for cell in slow if cell not in untrained and cell not in no_better]
    gains = [d.value for cell in no_better if (d := beside[cell]) is not None]
    findings = []
    if untrained or no_better:
        reason = "; ".join(_why(reference, untrained, no_better, gains))
        findings.append(_finding(analysis, reference, untrained + no_better, slow, Answer("adopted", reason), beside))
    better = [c for c in maybe if (d := beside[c]) is not None and d.p_above() <= 0.05]
    unclear = [c for c in maybe if c not in better]
    if better:
        answer = Answer("rejected", f"slower than {reference.notation}, but better")
        findings.append(_finding(analysis, reference, better, slow, answer, beside))
    if unclear:
        why = f"{reference.notation} was not trained" if reference.score is None else "may be better than the reference"
        findings.append(_finding(analysis, reference, unclear, slow, Answer("not enough data", why), beside))
    return findings


def _trained(analysis: Analysis, cell: Cell) -> bool:
    return bool((_rows(analysis, [cell]) & (analysis.sample.counts == 1)).any())


def _why(reference: Reference, untrained: list[Cell], no_better: list[Cell], gains: list[float]) -> list[str]:
    parts = []
    if no_better:
        parts.append(f"{len(no_better)} slower than {reference.notation} and no better ({max(gains):+.4f} mAP at most)")
    if untrained:
        parts.append(f"{len(untrained)} slower, judged by time alone: not trained")
    return parts


def _finding(
    analysis: Analysis,
    reference: Reference,
    cells: list[Cell],
    slow: Mapping[Cell, float],
    answer: Answer,
    beside: Mapping[Cell, Estimate | None],
) -> Finding:
    known = [d for cell in cells if (d := beside[cell]) is not None]
    # The best of them speaks for all: none is better than this. Following the rule leaves it out, hence the sign.
    best = max(known, key=lambda d: d.value, default=None)
    evidence = analysis.evidence(
        _rows(analysis, cells) & (analysis.sample.counts == 1),
        turned(best),
        p_adjusted=None,
        latency_ms=-float(np.mean([slow[cell] for cell in cells])),
        method="measured latency beside the reference; mAP of the best of them beside the reference's",
    )
    return analysis.finding(_rule(analysis, reference, cells), answer, evidence)


def _rule(analysis: Analysis, reference: Reference, cells: list[Cell]) -> Cost:
    sites: dict[str, list[int]] = {}
    for block, site in sorted(cells):
        sites.setdefault(block, []).append(site)
    return Cost.model_validate({"reference": reference.notation, "placements": sites, "backbone": analysis.scope})
