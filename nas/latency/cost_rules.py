"""Rules from a profile alone, before anything is trained: no block where it makes the network slower than a reference.

One finding a block (and setting) and verdict: sites slower than the reference by `beside_reference`'s rule, sites of
which that is not known, and blocks that are nowhere slower. What a placement gains in mAP is left to `nas.shrinking`.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import LatencyError
from nas.latency.placement_table import PlacementTable
from nas.results.costs import SLOWER, Quote
from nas.results.placement_costs import Beside, beside_reference
from nas.spaces import Candidate, Evidence, Finding, as_candidate
from nas.spaces.rules import Cost
from nas.spaces.site_sets import compact

METHOD = "profile alone: 95 % interval of the network's time over the reference's"
_VERDICTS = {True: "adopted", False: "rejected", None: "not enough data"}


def cost_findings(table: PlacementTable, reference: str | Candidate, margin: float = SLOWER) -> list[Finding]:
    """The cost rule of each block with its numbers, its verdict and its reason.

    Args:
        table: a profile with the reference in it.
        reference: the network a placement must not be slower than, e.g. `resnet101`.
        margin: share of the reference's time up to which two networks count as equally fast.

    Raises:
        LatencyError: when the reference was not measured.
    """
    limit = as_candidate(reference).architecture
    if limit not in table.records:
        raise LatencyError(f"the reference {limit.notation} was not measured", "profile it with the space")
    placed = [b for b in beside_reference(table.times, table.times[limit], margin) if b.network.baseline != limit]
    backbones = {b.network.baseline for b in placed}
    findings: list[Finding] = []
    for backbone, pattern in sorted({(b.network.baseline.notation, b.pattern) for b in placed}):
        rows = [b for b in placed if (b.network.baseline.notation, b.pattern) == (backbone, pattern)]
        scope = rows[0].network.backbone if len(backbones) > 1 else None
        findings += _findings(rows, limit.notation, table.times[limit], scope)
    return findings


def _findings(rows: Sequence[Beside], reference: str, time: Quote, backbone: str | None) -> list[Finding]:
    """What is slower, and what may be; a block that is neither anywhere is a rule that does not hold."""
    parts = {slower: [row for row in rows if row.slower is slower] for slower in (True, None)}
    chosen = {slower: part for slower, part in parts.items() if part} or {False: list(rows)}
    return [_finding(part, _VERDICTS[slower], reference, time, backbone) for slower, part in chosen.items()]


def _finding(rows: Sequence[Beside], verdict: str, reference: str, time: Quote, backbone: str | None) -> Finding:
    rule = Cost(reference=reference, placements={rows[0].pattern: [row.site for row in rows]}, backbone=backbone)
    over = [row.quote.value - time.value for row in rows if row.quote.value is not None and time.value is not None]
    evidence = Evidence(latency_ms=-sum(over) / len(over) if over else None, method=METHOD)
    reason = _reason(rows, reference, time)
    return Finding.model_validate({"rule": rule, "evidence": evidence, "verdict": verdict, "reason": reason})


def _reason(rows: Sequence[Beside], reference: str, time: Quote) -> str:
    """The times at the sites, equal ones together, beside the reference's.

    Example: `resnet101 53.45 ms per batch; at 1-4: 75.20 ms (x 1.407 [1.403, 1.411])`.
    """
    groups: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: row.site):
        groups.setdefault(_time_words(row), []).append(row.site)
    parts = [f"at {compact(sites)}: {words}" for words, sites in groups.items()]
    base = f"not known ({time.why})" if time.value is None else f"{time.value:.2f} ms per batch"
    return f"{reference} {base}; {'; '.join(parts)}"


def _time_words(row: Beside) -> str:
    if row.quote.value is None:
        return f"not known ({row.quote.why})"
    over = row.ratio
    if over is None:
        return f"{row.quote.value:.2f} ms"
    interval = "interval not known" if over.low is None else f"[{over.low:.3f}, {over.high:.3f}]"
    return f"{row.quote.value:.2f} ms (x {over.value:.3f} {interval})"
