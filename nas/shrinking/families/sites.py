"""Sites: "C-NL: positions 6, 8, 14 (of 17)".

Each site is compared with the typical (median) site, all else in the design being equal. Sites shown to be better are
kept, and with them every site that is shown to be no worse than the best kept one by more than the margin and is
cheaper; where none is better, the ones shown to be worse are left out. While a site left out might still be as good as
those kept, the rule is a preference; it becomes a constraint when every site is decided. Blocks share their sites
unless the sample says that they differ; then each block gets sites of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from nas.results.intervals import NOT_KNOWN, Estimate, Floats
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key
from nas.shrinking.design import Term
from nas.shrinking.effects import Fit
from nas.shrinking.equivalence import no_worse
from nas.shrinking.sample import Flags
from nas.spaces.findings import Evidence, Finding
from nas.spaces.rules import SitesRule
from nas.spaces.site_sets import SiteSet

_DRAWS = 4000
"""Of the simulated median: its standard error is then known to 1.1 %."""


@dataclass(frozen=True)
class SiteEffects:
    """The effect of every site of one factor, beside the typical site.

    Attributes:
        block: the block, or None for all blocks together.
        sites: site numbers.
        differences: site minus median site, one a site.
        contrasts: (sites, columns) contrasts that read each site's effect.
        fit: the fit they belong to.
    """

    block: str | None
    sites: tuple[int, ...]
    differences: tuple[Estimate, ...]
    contrasts: Floats
    fit: Fit

    def between(self, chosen: set[int], others: set[int]) -> Estimate:
        """Mean of some sites minus mean of others."""
        if not chosen or not others:
            return NOT_KNOWN
        return self.fit.difference(self._mean(chosen) - self._mean(others))

    def _mean(self, chosen: set[int]) -> Floats:
        return np.asarray(self.contrasts[[i for i, s in enumerate(self.sites) if s in chosen]].mean(axis=0))


def sites(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    groups = site_effects(analysis)
    estimates = {
        _key(group, site): difference
        for group in groups
        for site, difference in zip(group.sites, group.differences, strict=True)
    }
    p_values = {key: difference.p_two_sided() for key, difference in estimates.items()} or {("sites",): float("nan")}

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        if not groups:
            return [_nothing(analysis)]
        return [_conclude(analysis, group, adjusted) for group in groups]

    return FamilyTests(p_values, conclude, estimates)


def site_effects(analysis: Analysis) -> list[SiteEffects]:
    """Effects of the sites: one group for all blocks, or one a block where blocks differ; empty without enough data."""
    factors: dict[Term, str | None] = {("site",): _shared_block(analysis)}
    factors |= {("cell", block): block for block in analysis.sample.blocks}
    groups = [_group(analysis, analysis.fit, factor, block) for factor, block in factors.items()]
    return [group for group in groups if group is not None]


def _shared_block(analysis: Analysis) -> str | None:
    return analysis.sample.blocks[0] if len(analysis.sample.blocks) == 1 else None


def _group(analysis: Analysis, fit: Fit, factor: Term, block: str | None) -> SiteEffects | None:
    if factor not in fit.design.factors or not fit.enough:
        return None
    contrasts = fit.design.levels(factor)
    if not all(fit.estimable(a - contrasts[0]) for a in contrasts[1:]):
        return None
    numbers = tuple(int(s) for s in fit.design.factors[factor].levels)
    differences = _beside_median(fit, contrasts, analysis.rng(f"sites/{block}"))
    return SiteEffects(block, numbers, differences, contrasts, fit)


def _beside_median(fit: Fit, contrasts: Floats, rng: np.random.Generator) -> tuple[Estimate, ...]:
    """Level minus median level, with its standard error.

    The median moves with the levels, so the error of a difference to it has no closed form: levels that are equal but
    for their errors (multivariate normal with the covariance of the estimates, L S^(1/2) z with its singular vectors L
    and values S) are drawn, and the spread of each level's difference to the draw's median is what is wanted.
    """
    values = contrasts @ fit.beta
    covariance, _ = fit.errors(contrasts)
    _, df = fit.errors(contrasts - contrasts.mean(axis=0))
    left, scale, _ = np.linalg.svd(covariance)
    noise = rng.standard_normal((_DRAWS, len(values))) @ (left * np.sqrt(np.maximum(scale, 0))).T
    spread = (noise - np.median(noise, axis=1, keepdims=True)).std(axis=0)
    return tuple(
        Estimate(float(value), float(se), float(free))
        for value, se, free in zip(values - np.median(values), spread, df, strict=True)
    )


def _key(group: SiteEffects, site: int) -> Key:
    return ("sites", group.block, site)


def _conclude(analysis: Analysis, group: SiteEffects, adjusted: Mapping[Key, float]) -> Finding:
    passed = {
        s: d for s, d in zip(group.sites, group.differences, strict=True) if _passes(analysis, group, s, d, adjusted)
    }
    better = {s for s, d in passed.items() if d.value > 0 and not _fails_often(analysis, group.block, s)}
    worse = {s for s, d in passed.items() if d.value < 0}
    everything = set(group.sites)
    if better:
        equal = _as_good_and_cheaper(analysis, group, better, everything - better)
        open_ = _undecided(analysis, group, better | equal)
        why = "each site kept is better than the typical site" + _why_kept(equal) + _why_open(open_)
        return _adopted(analysis, group, better | equal, max(adjusted[_key(group, s)] for s in better), why, not open_)
    if worse:
        why = f"worse than the typical site: {_list(worse)}"
        return _adopted(analysis, group, everything - worse, max(adjusted[_key(group, s)] for s in worse), why)
    return _not_adopted(analysis, group, adjusted)


def _undecided(analysis: Analysis, group: SiteEffects, kept: set[int]) -> set[int]:
    """Sites left out that were never tried, or are not shown to be worse than the mean of those kept."""
    gaps = {site: group.between({site}, kept) for site in set(group.sites) - kept}
    close = {site for site, gap in gaps.items() if not gap.known or gap.p_below() > 0.05}
    return {s for s in close if not _fails_often(analysis, group.block, s)} | _untried(analysis, group)


def _untried(analysis: Analysis, group: SiteEffects) -> set[int]:
    options = analysis.space.options(analysis.sample.backbone)
    return {s for s, rows in options.items() if any(group.block in (None, p.block) for p in rows)} - set(group.sites)


def _passes(
    analysis: Analysis, group: SiteEffects, site: int, difference: Estimate, adjusted: Mapping[Key, float]
) -> bool:
    p = adjusted[_key(group, site)]
    return bool(p <= analysis.settings.alpha and abs(difference.value) >= analysis.settings.margin)


def _as_good_and_cheaper(analysis: Analysis, group: SiteEffects, better: set[int], others: set[int]) -> set[int]:
    """Sites shown to be no worse than the best one by more than the margin, at a lower cost."""
    effect = dict(zip(group.sites, (d.value for d in group.differences), strict=True))
    best = max(better, key=lambda s: effect[s])
    best_ms = analysis.costs.site_ms([best], group.block)
    kept = set()
    for site in others:
        gap, ms = group.between({site}, {best}), analysis.costs.site_ms([site], group.block)
        if ms is not None and best_ms is not None and ms < best_ms and no_worse(gap, analysis.settings.margin):
            kept.add(site)
    return kept


def _fails_often(analysis: Analysis, block: str | None, site: int) -> bool:
    """Whether candidates with the site fail more often than the rest (one-sided Fisher test at 5 %)."""
    sample = analysis.sample
    here = _rows(analysis, block, {site})
    table = [
        [sample.failed[here].sum(), sample.finished[here].sum()],
        [sample.failed[~here].sum(), sample.finished[~here].sum()],
    ]
    return bool(sample.failed[here].sum() and scipy.stats.fisher_exact(table, alternative="greater").pvalue < 0.05)


def _rows(analysis: Analysis, block: str | None, chosen: set[int]) -> Flags:
    placed = analysis.sample.placed[:, [s - 1 for s in sorted(chosen)]]
    if block is None:
        return np.asarray((placed > 0).any(axis=1))
    return np.asarray((placed == analysis.sample.blocks.index(block) + 1).any(axis=1))


def _adopted(analysis: Analysis, group: SiteEffects, kept: set[int], p: float, why: str, hard: bool = True) -> Finding:
    """An adopted finding; `p` is the largest adjusted p among the sites that decided."""
    rule = _rule(analysis, group, kept)
    rule = rule if hard else rule.model_copy(update={"strength": "preference"})
    answer = Judgement("adopted", f"{why} (adjusted p <= {p:.2g})")
    return analysis.finding(rule, answer, _evidence(analysis, group, kept, p))


def _not_adopted(analysis: Analysis, group: SiteEffects, adjusted: Mapping[Key, float]) -> Finding:
    best = max(zip(group.sites, group.differences, strict=True), key=lambda pair: pair[1].value)
    rule = _rule(analysis, group, {best[0]})
    evidence = _evidence(analysis, group, {best[0]}, adjusted[_key(group, best[0])])
    answer = analysis.judge(best[1], adjusted[_key(group, best[0])], evidence.trainings, "site")
    if answer.verdict == "rejected":
        answer = analysis.unseen(group.differences, answer.reason)
    return analysis.finding(rule, answer, evidence)


def _evidence(analysis: Analysis, group: SiteEffects, kept: set[int], p: float) -> Evidence:
    others = set(group.sites) - kept
    inside, outside = (analysis.costs.site_ms(s, group.block) for s in (kept, others))
    return analysis.evidence(
        _rows(analysis, group.block, set(group.sites)),
        group.between(kept, others),
        p=None,
        p_adjusted=p,
        latency_ms=None if inside is None or outside is None else inside - outside,
        method=f"mean of the sites kept minus mean of the others; {analysis.regression}",
    )


def _rule(analysis: Analysis, group: SiteEffects, kept: set[int]) -> SitesRule:
    return SitesRule(block=group.block, sites=SiteSet(numbers=tuple(sorted(kept))), backbone=analysis.scope)


def _nothing(analysis: Analysis) -> Finding:
    used = np.ones(len(analysis.sample), dtype=bool)
    rule = SitesRule(block=_shared_block(analysis), sites=SiteSet(everything=True), backbone=analysis.scope)
    return analysis.finding(rule, analysis.untold("site"), analysis.evidence(used))


def _why_kept(equal: set[int]) -> str:
    return f"; kept as no worse and cheaper: {_list(equal)}" if equal else ""


def _why_open(undecided: set[int]) -> str:
    return f"; a preference until more is known of {_list(undecided)}" if undecided else ""


def _list(numbers: set[int]) -> str:
    return ", ".join(str(n) for n in sorted(numbers))
