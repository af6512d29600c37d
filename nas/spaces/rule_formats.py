"""A rule set as people and programs want it: text, Markdown, LaTeX, YAML, JSON, and HTML for notebooks.

All forms show the same findings with the same numbers, adopted ones first, rejected and undecided ones after them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING

from nas.files.shown import latex_text, markdown_text
from nas.files.yaml_source import dump_yaml
from nas.spaces.findings import Evidence, Finding, Verdict
from nas.spaces.sites import Topology, get_topology

if TYPE_CHECKING:
    from nas.spaces.ruleset import RuleSet

_HEADINGS: Mapping[Verdict, str] = MappingProxyType(
    {"adopted": "Adopted", "rejected": "Rejected", "not enough data": "Not enough data"}
)
_WIDTH = 7
"""Columns of a table of rules."""


def as_text(rules: RuleSet) -> str:
    """For a terminal: one rule a line, its numbers under it."""
    lines = [f"{rules.name}: {_origin(rules)}"]
    for verdict, findings in _groups(rules):
        lines += ["", _HEADINGS[verdict]]
        for finding in findings:
            lines.append(f"  {finding.claim(_topology(rules, finding))}")
            lines += [f"      {words}" for words in (finding.evidence.support(), finding.reason) if words]
    return "\n".join(lines if len(rules) else [*lines, "", "no findings"]) + "\n"


def as_markdown(rules: RuleSet) -> str:
    """For a report: a table for each verdict."""
    lines = [f"# Rules: {rules.name}", "", f"From {_origin(rules)}."]
    for verdict, findings in _groups(rules):
        lines += ["", f"## {_HEADINGS[verdict]}", "", _row(_columns(rules)), _row(["---"] * _WIDTH)]
        lines += [_row(list(map(markdown_text, _cells(rules, finding)))) for finding in findings]
    return "\n".join(lines if len(rules) else [*lines, "", "No findings."]) + "\n"


def as_latex(rules: RuleSet) -> str:
    """For a paper: one table as wide as the page (`table*` of two columns; needs the package booktabs)."""
    lines = [f"% {rules.name}: {_origin(rules)}", r"\footnotesize\setlength{\tabcolsep}{3pt}"]
    lines += [r"\begin{tabular}{@{}p{0.31\linewidth}p{0.14\linewidth}rrrlp{0.15\linewidth}@{}}", r"\toprule"]
    lines += [_latex_row(_columns(rules))]
    for verdict, findings in _groups(rules):
        lines += [r"\midrule", rf"\multicolumn{{{_WIDTH}}}{{l}}{{\emph{{{_HEADINGS[verdict]}}}}} \\"]
        lines += [_latex_row(_cells(rules, finding)) for finding in findings]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def as_yaml(rules: RuleSet) -> str:
    """For this program and people: what `RuleSet.load` reads."""
    return dump_yaml(rules.to_dict())


def as_json(rules: RuleSet) -> str:
    """For other programs: the same content as the YAML form; its schema is `RuleSet.json_schema()`."""
    return json.dumps(rules.to_dict(), indent=2, ensure_ascii=False) + "\n"


def as_html(rules: RuleSet) -> str:
    """For a notebook: a table for each verdict; everything a user wrote is escaped."""
    parts = [f"<p><strong>{escape(rules.name)}</strong>: {escape(_origin(rules))}</p>"]
    for verdict, findings in _groups(rules):
        rows = "".join(_html_row(_cells(rules, finding), "td") for finding in findings)
        parts.append(f"<p>{_HEADINGS[verdict]}</p><table>{_html_row(_columns(rules), 'th')}{rows}</table>")
    return "".join(parts if len(rules) else [*parts, "<p>No findings.</p>"])


FORMATS: Mapping[str, Callable[[RuleSet], str]] = MappingProxyType(
    {"text": as_text, "md": as_markdown, "yaml": as_yaml, "json": as_json, "latex": as_latex}
)
"""Every form, by the name the command line uses."""


def _groups(rules: RuleSet) -> Iterator[tuple[Verdict, list[Finding]]]:
    for verdict in _HEADINGS:
        findings = [finding for finding in rules if finding.verdict == verdict]
        if findings:
            yield verdict, findings


def _topology(rules: RuleSet, finding: Finding) -> Topology | None:
    """What is spoken of, when the rule does not say itself."""
    name = rules.provenance.backbone
    return get_topology(name) if name is not None and finding.rule.backbone in (None, name) else None


def _origin(rules: RuleSet) -> str:
    origin = rules.provenance
    parts = [f"study {origin.study}" if origin.study else "no named study"]
    parts += [get_topology(origin.backbone).title] if origin.backbone else []
    parts += [f"space {origin.space}"] if origin.space else []
    parts += [f"{origin.data}{f' ({origin.split})' if origin.split else ''}"] if origin.data else []
    parts += [f"{origin.trainings} trainings"] if origin.trainings else []
    return ", ".join(parts)


def _columns(rules: RuleSet) -> tuple[str, ...]:
    unit = next((finding.evidence.unit for finding in rules), Evidence().unit)
    effect = f"{unit} by following it [95 %]"
    return ("rule", effect, "adjusted p", "ms per batch", "trainings", "stage", "remark")


def _cells(rules: RuleSet, finding: Finding) -> list[str]:
    e = finding.evidence
    latency = "" if e.latency_ms is None else f"{e.latency_ms:+.2f}"
    p = "" if e.p_adjusted is None else f"{e.p_adjusted:.2g}"
    return [
        finding.claim(_topology(rules, finding)),
        e.effect_words().removesuffix(f" {e.unit}"),
        p,
        latency,
        str(e.trainings or ""),
        e.stage or "",
        finding.reason,
    ]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _html_row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _latex_row(cells: list[str] | tuple[str, ...]) -> str:
    return rf"{' & '.join(map(latex_text, cells))} \\"
