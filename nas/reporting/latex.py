"""Tables ready for a LaTeX document (booktabs), by pandas' Styler: systems like the paper's Table I, front, rules."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from nas.files.shown import latex_text
from nas.reporting.numbers import fixed, mean_sd
from nas.reporting.rules_file import rule_set
from nas.reporting.study_data import StudyData
from nas.reporting.tables import cost_cell, cost_heading, systems_rows
from nas.results.costs import COSTS
from nas.spaces.labels import short_label
from nas.spaces.rule_formats import as_latex

PAGE_ROWS, PAGE_RULES = 40, 18
"""What fits on a page: rows of a table, and rules, which take several lines each."""


def render_latex(data: StudyData) -> str:
    """tables.tex: to `\\input`; needs the package booktabs."""
    head = f"% Tables of the study {latex_text(data.name)}, made by nas report. Needs \\usepackage{{booktabs}}."
    tables = [table for table in (systems_latex(data), front_latex(data), rules_latex(data)) if table]
    return "\n\n".join([head, *(tables or ["% No training has finished yet."])]) + "\n"


def systems_latex(data: StudyData) -> str:
    """The paper's Table I: attention @ positions, loss, the metric, batches/s; the best of each loss in bold."""
    frame = systems_rows(data)
    best = frame.groupby("loss")["map_mean"].transform("max") == frame["map_mean"]
    shown = pd.DataFrame(
        {
            "attention @ positions": frame["system"],
            "loss": frame["loss"],
            "judged": list(map(mean_sd, frame["map_mean"], frame["map_sd"])),
            "batches/s": [fixed(speed, 2) for speed in frame["batches_per_s"]],
        }
    )
    what = data.quoted.words if data.quoted else ""
    caption = f"{data.metric.title} (mean ± sd over seeds; {what}) and speed ({data.batch_words})."
    return _table(shown, "llcr", caption, "systems", best, data.metric.title)


def front_latex(data: StudyData) -> str:
    """Members of the front with what the study pays, the cheapest first."""
    summary, costs = data.candidates(data.quoted), list(dict.fromkeys(data.costs))
    front = summary[summary["on_front"].astype(bool)].sort_values(costs)
    shown = pd.DataFrame(
        {
            "candidate": [short_label(str(notation)) for notation in front["notation"]],
            "judged": list(map(mean_sd, front["map_mean"], front["map_sd"])),
            **{cost_heading(cost): [cost_cell(value, cost) for value in front[cost]] for cost in costs},
        }
    )
    nouns = [COSTS[cost].noun for cost in costs]
    beaten = ", ".join([f"{'both ' if len(nouns) == 1 else ''}{data.metric.words}", *nouns[:-1]])
    caption = f"Pareto front: candidates that no other beats in {beaten} and {nouns[-1]}."
    return _table(shown, f"lc{'r' * len(costs)}", caption, "front", judged=data.metric.title)


def rules_latex(data: StudyData) -> str:
    """All findings with evidence and verdict, as `nas rules export` writes them, a page at a time."""
    rules = rule_set(data)
    caption = rf"Rules with their effect on {latex_text(data.metric.words)}, 95\,\% intervals and verdicts"
    tables = []
    for place in range(0, len(rules), PAGE_RULES):
        page = replace(rules, findings=rules.findings[place : place + PAGE_RULES])
        head = [r"\begin{table*}[t]", r"\centering", rf"\caption{{{caption}{' (continued)' if place else ''}.}}"]
        head += [] if place else [r"\label{tab:rules}"]
        tables.append("\n".join([*head, as_latex(page).rstrip(), r"\end{table*}"]))
    return "\n\n".join(tables)


def _table(
    shown: pd.DataFrame, columns: str, caption: str, label: str, bold: pd.Series | None = None, judged: str = ""
) -> str:
    """The table environment; nothing for a table without rows. `bold` says in which rows the third column is, `judged`
    is the heading of the column of that name: an own metric may be called like another column.
    """
    if shown.empty:
        return ""
    if len(shown) > PAGE_ROWS:
        caption = f"{caption} The first {PAGE_ROWS} of {len(shown)} rows."
        shown, bold = shown.head(PAGE_ROWS), None if bold is None else bold.head(PAGE_ROWS)
    styler = shown.style.hide(axis="index").format(latex_text)
    styler = styler.format_index(lambda name: latex_text(judged if name == "judged" else name), axis=1)
    if bold is not None:
        styler = styler.apply(lambda _: ["textbf:--rwrap" if top else "" for top in bold], subset=[shown.columns[2]])
    text = styler.to_latex(
        hrules=True,
        column_format=columns,
        position="t",
        position_float="centering",
        caption=latex_text(caption),
        label=f"tab:{label}",
    )
    return text.replace(r"\begin{tabular}", "\\footnotesize\\setlength{\\tabcolsep}{3pt}\n\\begin{tabular}").rstrip()
