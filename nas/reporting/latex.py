"""Tables ready for a LaTeX document (booktabs): systems like the paper's Table I, the front, the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.reporting.numbers import is_missing
from nas.reporting.rules_file import rule_set
from nas.reporting.study_data import StudyData, records_of, rows_of
from nas.reporting.tables import systems_rows
from nas.spaces.labels import short_label
from nas.spaces.rule_formats import as_latex

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
}


def escape(text: object) -> str:
    """Any text as LaTeX text, on one line.

    >>> escape("a_b & 5 %")
    'a\\\\_b \\\\& 5 \\\\%'
    """
    return "".join(_SPECIAL.get(char, char) for char in " ".join(str(text).split()))


@dataclass(frozen=True)
class LatexTable:
    """A booktabs table; cells are finished LaTeX, `rules_before` are rows with a line above."""

    columns: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    label: str
    rules_before: frozenset[int] = frozenset()

    def render(self) -> str:
        """The table environment."""
        lines = [
            r"\begin{table}[t]",
            r"  \centering",
            rf"  \caption{{{self.caption}}}",
            rf"  \label{{{self.label}}}",
            rf"  \begin{{tabular}}{{{self.columns}}}",
            r"    \toprule",
            f"    {' & '.join(self.headings)} \\\\",
            r"    \midrule",
        ]
        for i, row in enumerate(self.rows):
            lines += [r"    \midrule"] if i in self.rules_before else []
            lines.append(f"    {' & '.join(row)} \\\\")
        return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


def render_latex(data: StudyData) -> str:
    """tables.tex: to `\\input`; needs the package booktabs."""
    head = f"% Tables of the study {escape(data.name)}, made by nas report. Needs \\usepackage{{booktabs}}."
    tables = [table.render() for table in (systems_latex(data), front_latex(data)) if table is not None]
    rules = rules_latex(data)
    body = [*tables, *([rules] if rules else [])] or ["% No training has finished yet."]
    return "\n\n".join([head, *body]) + "\n"


def systems_latex(data: StudyData) -> LatexTable | None:
    """The paper's Table I: attention @ positions, loss, mAP, batches/s; best mAP of each loss in bold."""
    frame = systems_rows(data)
    if frame.empty:
        return None
    best = frame.groupby("loss")["map_mean"].transform("max") == frame["map_mean"]
    rows = [
        [
            escape(row.system),
            escape(row.loss),
            _bold(_mean_sd(row.map_mean, row.map_sd), top),
            _number(row.batches_per_s, 2),
        ]
        for row, top in zip(rows_of(frame), best, strict=True)
    ]
    breaks = frozenset(i for i in range(1, len(frame)) if frame["loss"].iloc[i] != frame["loss"].iloc[i - 1])
    level = data.quoted
    what, how = escape(level.words if level else ""), escape(data.batch_words)
    caption = f"mAP (mean $\\pm$ sd over seeds; {what}) and speed ({how})."
    headings = ["attention @ positions", "loss", "mAP", "batches/s"]
    return LatexTable("llcr", headings, rows, caption, "tab:systems", breaks)


def front_latex(data: StudyData) -> LatexTable | None:
    """Members of the front, fastest first."""
    summary = data.candidates(data.quoted)
    front = summary[summary["on_front"].astype(bool)].sort_values("latency_ms") if len(summary) else summary
    if front.empty:
        return None
    rows = [
        [escape(short_label(str(r["notation"]))), _mean_sd(r["map_mean"], r["map_sd"]), _number(r["latency_ms"], 2)]
        for r in records_of(front)
    ]
    caption = "Pareto front: candidates that no other beats in both mAP and time."
    return LatexTable("lcr", ["candidate", "mAP", "ms a batch"], rows, caption, "tab:front")


def rules_latex(data: StudyData) -> str | None:
    """All findings with evidence and verdict, as `nas rules export` writes them."""
    rules = rule_set(data)
    if not len(rules):
        return None
    caption = "Rules with their effect on mAP, 95\\,\\% intervals and verdicts."
    head = [r"\begin{table}[t]", r"  \centering", rf"  \caption{{{caption}}}", r"  \label{tab:rules}"]
    return "\n".join([*head, as_latex(rules).rstrip(), r"\end{table}"])


def _bold(text: str, bold: bool) -> str:
    return rf"\textbf{{{text}}}" if bold else text


def _number(value: object, digits: int) -> str:
    if is_missing(value):
        return "--"
    return f"{float(str(value)):.{digits}f}"


def _mean_sd(mean: object, sd: object) -> str:
    return _number(mean, 4) if is_missing(sd) else rf"{_number(mean, 4)} $\pm$ {_number(sd, 4)}"
