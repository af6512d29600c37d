"""Cost: "no block whose network is slower than ResNet-101 and no better".

Slower is what `nas.results.placement_costs` calls so; what is tested is that a slower network is no better than the
reference by more than the margin. A placement nobody trained is judged by its time alone: the rule can be had before
any training. A slower placement that may be better stays, and so does one that nobody knows to be slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas.results.intervals import NOT_KNOWN, Estimate
from nas.results.placement_costs import Beside, beside_reference
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key, Reference
from nas.shrinking.sample import Flags
from nas.spaces.findings import Finding
from nas.spaces.rules import Cost
from nas.spaces.rules.patterns import matches

Placed = tuple[str, int]
"""A block, with the settings that a rule names, and a site."""


def cost(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    reference = analysis.reference
    if reference is None or reference.time is None or reference.time.value is None:
        return FamilyTests({}, lambda adjusted: [])
    placed = beside_reference(analysis.costs.quotes, reference.time, analysis.settings.slower)
    slow = {(b.pattern, b.site): b for b in placed if b.slower}
    unsure = [b for b in placed if b.slower is None and (b.ratio is None or b.ratio.value > 1.0)]
    beside = {key: _beside_reference(analysis, reference, key) for key in slow}
    p_values: dict[Key, float] = {("cost", *key): d.p_below(analysis.settings.margin) for key, d in beside.items()}

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return [*_conclude(analysis, reference, slow, beside, adjusted), *_untold(analysis, reference, unsure)]

    return FamilyTests(p_values, conclude)


def _beside_reference(analysis: Analysis, reference: Reference, key: Placed) -> Estimate:
    """mAP of the network with one block there minus the reference's; not known when either was never trained."""
    single = _rows(analysis, [key]) & np.isfinite(analysis.sample.score)
    seed_sd = _spread(analysis)
    if reference.score is None or not single.any() or np.isnan(seed_sd):
        return NOT_KNOWN
    weights = analysis.sample.finished[single]
    mean = float(np.average(analysis.sample.score[single], weights=weights))
    variance = seed_sd**2 * (1 / weights.sum() + 1 / max(reference.trainings, 1))
    return Estimate(mean - reference.score, float(np.sqrt(variance)), float(max(analysis.fit.df, 2)))


def _spread(analysis: Analysis) -> float:
    """sd of a training: from replicates, else what the regression leaves."""
    if not np.isnan(analysis.sample.seed_sd):
        return analysis.sample.seed_sd
    fit = analysis.fit
    return float(np.sqrt((fit.residuals**2).sum() / fit.df)) if fit.enough else float("nan")


def _rows(analysis: Analysis, keys: Sequence[Placed]) -> Flags:
    """Which candidates of the sample have one block, and that one of these."""
    singles = [c.placements[0] if len(c.placements) == 1 else None for c in analysis.sample.candidates]
    return np.array(
        [
            p is not None and any(p.site == site and matches(pattern, p.block, p.params) for pattern, site in keys)
            for p in singles
        ],
        dtype=bool,
    )


def _conclude(
    analysis: Analysis,
    reference: Reference,
    slow: Mapping[Placed, Beside],
    beside: Mapping[Placed, Estimate],
    adjusted: Mapping[Key, float],
) -> list[Finding]:
    untrained = [key for key in slow if not _rows(analysis, [key]).any()]
    tested = [key for key in slow if beside[key].known]
    no_better = [key for key in tested if adjusted[("cost", *key)] <= analysis.settings.alpha]
    maybe = [key for key in slow if key not in untrained and key not in no_better]
    gains = [beside[key].value for key in no_better]
    findings = []
    if untrained or no_better:
        reason = "; ".join(_why(reference, untrained, no_better, gains, analysis.settings.unit))
        findings.append(
            _finding(analysis, reference, untrained + no_better, slow, Judgement("adopted", reason), beside)
        )
    better = [c for c in maybe if beside[c].p_above() <= 0.05]
    unclear = [c for c in maybe if c not in better]
    if better:
        answer = Judgement("rejected", f"slower than {reference.notation}, but better")
        findings.append(_finding(analysis, reference, better, slow, answer, beside))
    if unclear:
        why = f"{reference.notation} was not trained" if reference.score is None else "may be better than the reference"
        findings.append(_finding(analysis, reference, unclear, slow, Judgement("not enough data", why), beside))
    return findings


def _untold(analysis: Analysis, reference: Reference, unsure: Sequence[Beside]) -> list[Finding]:
    """Placements of which it is not known whether they are slower."""
    if not unsure:
        return []
    why = next((b.quote.why for b in unsure if b.quote.why), "the intervals of their times do not tell")
    answer = Judgement(
        "not enough data", f"not known whether {len(unsure)} are slower than {reference.notation}: {why}"
    )
    slow = {(b.pattern, b.site): b for b in unsure}
    return [_finding(analysis, reference, list(slow), slow, answer, dict.fromkeys(slow, NOT_KNOWN))]


def _why(
    reference: Reference, untrained: list[Placed], no_better: list[Placed], gains: list[float], unit: str
) -> list[str]:
    parts = []
    if no_better:
        most = f"{max(gains):+.4f} {unit} at most"
        parts.append(f"{len(no_better)} slower than {reference.notation} and no better ({most})")
    if untrained:
        parts.append(f"{len(untrained)} slower, judged by time alone: not trained")
    return parts


def _finding(
    analysis: Analysis,
    reference: Reference,
    keys: list[Placed],
    placed: Mapping[Placed, Beside],
    answer: Judgement,
    beside: Mapping[Placed, Estimate],
) -> Finding:
    known = [beside[key] for key in keys if beside[key].known]
    # The best of them speaks for all: none is better than this. Following the rule leaves it out, hence the sign.
    best = max(known, key=lambda d: d.value, default=NOT_KNOWN)
    ratios = [over.value - 1.0 for key in keys if (over := placed[key].ratio) is not None]
    base = reference.time.value if reference.time is not None and reference.time.value is not None else float("nan")
    evidence = analysis.evidence(
        _rows(analysis, keys),
        -best,
        latency_ms=-base * float(np.mean(ratios)) if ratios else None,
        method=f"time over the reference's; {analysis.settings.unit} of the best of them beside the reference's",
    )
    return analysis.finding(_rule(analysis, reference, keys), answer, evidence)


def _rule(analysis: Analysis, reference: Reference, keys: list[Placed]) -> Cost:
    sites: dict[str, list[int]] = {}
    for pattern, site in sorted(keys):
        sites.setdefault(pattern, []).append(site)
    return Cost.model_validate({"reference": reference.notation, "placements": sites, "backbone": analysis.scope})
