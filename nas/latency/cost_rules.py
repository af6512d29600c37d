"""Rules from a profile alone, before anything is trained: no block where it makes the network slower than a reference.

One finding a block (and setting) and verdict: sites surely slower than the reference, sites that may be either, and
blocks that are nowhere slower. What a placement gains in mAP is left to `nas.shrinking`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.errors import LatencyError
from nas.latency.intervals import Interval, increment_interval
from nas.latency.placement_table import PlacementTable
from nas.spaces import Candidate, Evidence, Finding, as_candidate
from nas.spaces.blocks import Params
from nas.spaces.rules import Cost
from nas.spaces.site_sets import compact
from nas.spaces.values import format_value

METHOD = "profile: 95 % bootstrap interval of the network's time minus the reference's"


@dataclass(frozen=True)
class Excess:
    """How much slower than the reference one placement makes the network.

    Attributes:
        site: where the block is.
        ms: milliseconds a batch of the network.
        interval: of that time minus the reference's; above 0 is slower.
        isolated: whether both were measured while the machine did nothing else.
    """

    site: int
    ms: float
    interval: Interval
    isolated: bool

    @property
    def verdict(self) -> str:
        """`slower` or `faster` when the interval leaves no doubt; `unsure` too when the machine was disturbed."""
        if self.interval.low <= 0 <= self.interval.high:
            return "unsure"
        slower = self.interval.low > 0
        return "faster" if not slower else "slower" if self.isolated else "unsure"


def cost_findings(table: PlacementTable, reference: str | Candidate, stage: str | None = None) -> list[Finding]:
    """The cost rule of each block with its numbers, its verdict and its reason.

    Args:
        table: a profile with the reference in it.
        reference: the network a placement must not be slower than, e.g. `resnet101`.
        stage: name of the study's stage, kept with the evidence.

    Raises:
        LatencyError: when the reference was not measured.
    """
    limit = as_candidate(reference).architecture
    if limit not in table.records:
        raise LatencyError(f"the reference {limit.notation} was not measured", "profile it with the space")
    reference_ms = table.records[limit].corrected_ms
    findings: list[Finding] = []
    excesses = _excesses(table, limit)
    several = len({backbone for backbone, _ in excesses}) > 1
    for (backbone, pattern), rows in sorted(excesses.items(), key=lambda item: (item[0][0].notation, item[0][1])):
        scope = backbone.backbone if several else None
        findings += _findings(pattern, rows, limit.notation, reference_ms, stage, scope)
    return findings


def _findings(
    pattern: str, rows: Sequence[Excess], reference: str, reference_ms: float, stage: str | None, backbone: str | None
) -> list[Finding]:
    made = []
    for verdict, decision in (("slower", "adopted"), ("unsure", "not enough data")):
        chosen = [row for row in rows if row.verdict == verdict]
        if chosen:
            made.append(_finding(pattern, chosen, reference, reference_ms, stage, backbone, decision))
    return made or [_finding(pattern, rows, reference, reference_ms, stage, backbone, "rejected")]


def _finding(
    pattern: str,
    rows: Sequence[Excess],
    reference: str,
    reference_ms: float,
    stage: str | None,
    backbone: str | None,
    verdict: str,
) -> Finding:
    rule = Cost(reference=reference, placements={pattern: [row.site for row in rows]}, backbone=backbone)
    mean_excess = sum(row.interval.value for row in rows) / len(rows)
    evidence = Evidence(latency_ms=-mean_excess, stage=stage, method=METHOD)
    return Finding.model_validate(
        {"rule": rule, "evidence": evidence, "verdict": verdict, "reason": _reason(rows, reference, reference_ms)}
    )


def _reason(rows: Sequence[Excess], reference: str, reference_ms: float) -> str:
    """The times at the sites, equal ones together, beside the reference's.

    Example: `resnet101 53.45 ms a batch; at 1-4: 75.20 ms (+21.75 [+21.52, +21.97])`.
    """
    groups: dict[tuple[float, float, float], list[Excess]] = {}
    for row in sorted(rows, key=lambda row: row.site):
        groups.setdefault((row.ms, row.interval.low, row.interval.high), []).append(row)
    parts = []
    for (ms, low, high), same in groups.items():
        sites = compact(row.site for row in same)
        parts.append(f"at {sites}: {ms:.2f} ms ({same[0].interval.value:+.2f} [{low:+.2f}, {high:+.2f}])")
    disturbed = "" if all(row.isolated for row in rows) else "; the machine was busy with other work meanwhile"
    return f"{reference} {reference_ms:.2f} ms a batch; {'; '.join(parts)}{disturbed}"


def _excesses(table: PlacementTable, limit: Candidate) -> dict[tuple[Candidate, str], list[Excess]]:
    """Every single placement, measured or of equal shape, against the reference, by backbone and block."""
    patterns = _patterns(table)
    found: dict[tuple[Candidate, str], list[Excess]] = {}
    sources = {candidate: candidate for candidate in table.singles} | table.filled()
    for candidate, measured in sources.items():
        placement = candidate.placements[0]
        if candidate.backbone == limit.backbone and candidate.backbone_params == limit.backbone_params:
            continue
        record = table.records[measured]
        excess = Excess(
            placement.site,
            record.corrected_ms,
            increment_interval(record, table.records[limit]),
            record.isolated and table.records[limit].isolated,
        )
        key = candidate.baseline, patterns[placement.block, placement.params]
        found.setdefault(key, []).append(excess)
    return found


def _patterns(table: PlacementTable) -> Mapping[tuple[str, Params], str]:
    """How a rule names each block setting: by the block alone unless several settings were measured."""
    settings = {(c.placements[0].block, c.placements[0].params) for c in table.singles}
    found = {}
    for block, params in settings:
        others = [dict(other) for name, other in settings if name == block and other != params]
        varying = {key for other in others for key, value in params if other.get(key) != value}
        shown = tuple((key, value) for key, value in params if key in varying)
        found[block, params] = _pattern(block, shown)
    return found


def _pattern(block: str, shown: Params) -> str:
    if not shown:
        return block
    # Written in full, defaults too: a pattern without a hyperparameter would mean every value of it.
    values = ", ".join(f"{key}={format_value(value)}" for key, value in shown)
    return f"{block}({values})"
