"""The rules of a study: evidence, a view of what taking or leaving each would mean, and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from dash import Input, Output, State, ctx, no_update

from nas.errors import NasError
from nas.reporting.dashboard.components import View, blocks, component, problem
from nas.reporting.dashboard.filters import default_level
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.routing import Route, study_at
from nas.reporting.dashboard.source import Snapshot, StudySource
from nas.reporting.figures import ParetoFront
from nas.reporting.finding_rows import VERDICTS, finding_table
from nas.reporting.html import cell_html
from nas.reporting.numbers import MISSING, count, is_missing, mean_sd, p_value, plural
from nas.reporting.rules_file import finding_of, rule_set
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.rules import rule_table, why_none
from nas.reporting.study_data import StudyData, mark_front
from nas.spaces.findings import Finding
from nas.spaces.rule_formats import FORMATS
from nas.spaces.ruleset import RuleSet

_SUFFIX = {"text": "txt", "latex": "tex"}


def layout(snapshot: Snapshot, route: Route) -> list[object]:
    """The page; the list of rules and what follows from the choice are filled by callbacks."""
    data, shown = snapshot.data, route.query.get("verdict", "")
    verdicts = [{"label": "all", "value": ""}, *[{"label": verdict, "value": verdict} for verdict in VERDICTS]]
    exports = [html.Button(name, id=f"rules-export-{name}", className="plain") for name in FORMATS]
    return [
        html.H1("Rules"),
        html.Div(
            [html.Span("Show", className="label"), dcc.RadioItems(verdicts, shown, id="rules-verdict", inline=True)],
            className="control",
            role="group",
            **{"aria-label": "Verdict"},
        ),
        html.P(
            "Ticked rules are taken; the study's own verdict is the start. Your choice changes this view and the "
            "export, never the study.",
            className="note",
        ),
        html.Div(_none_yet(data), id="rules-none"),
        dcc.Checklist(rule_options(data, shown), adopted(data), id="rules-ticks", className="rule-cards"),
        dcc.Store(id="rules-known", data=len(data.findings)),
        html.H2("What the ticked rules would mean"),
        html.Div(id="rules-outcome", role="status"),
        html.Div([html.Span("Export the ticked rules as"), *exports], className="bar"),
        html.Div(id="rules-effects"),
        dcc.Download(id="rules-download"),
    ]


def register(app: Any, source: StudySource) -> None:
    """Adds the callbacks of the page."""

    def listed(verdict: str, version: Any, view: View | None, pathname: str, known: int) -> object:
        try:
            data = source.data(study_at(pathname))
        except NasError as error:
            return no_update, no_update, no_update, problem(error.message, error.hint), no_update
        # A new finding begins with the study's verdict; while there is none, the reader's ticks stay.
        ticks = no_update if known == len(data.findings) else adopted(data)
        effects = blocks([figure_block("rule_effects", data)], view or {})
        return rule_options(data, verdict), ticks, len(data.findings), _none_yet(data), effects

    def outcome(taken: Sequence[int] | None, version: Any, view: View | None, pathname: str) -> object:
        try:
            return outcome_of(source.data(study_at(pathname)), taken or [], view or {})
        except NasError as error:
            return problem(error.message, error.hint)

    def export(*values: Any) -> object:
        *_, taken, pathname = values
        name = str(ctx.triggered_id or "").rpartition("-")[2]
        if name not in FORMATS or not any(values[: len(FORMATS)]):
            return no_update
        chosen = chosen_rules(source.data(study_at(pathname)), taken or [])
        return dcc.send_string(FORMATS[name](chosen), f"rules.{_SUFFIX.get(name, name)}")

    place = State("url", "pathname")
    app.callback(
        [
            Output("rules-ticks", "options"),
            Output("rules-ticks", "value"),
            Output("rules-known", "data"),
            Output("rules-none", "children"),
            Output("rules-effects", "children"),
        ],
        [
            Input("rules-verdict", "value"),
            Input("version", "data"),
            Input("view", "data"),
            place,
            State("rules-known", "data"),
        ],
    )(listed)
    app.callback(
        Output("rules-outcome", "children"),
        [Input("rules-ticks", "value"), Input("version", "data"), Input("view", "data"), place],
    )(outcome)
    app.callback(
        Output("rules-download", "data"),
        [*[Input(f"rules-export-{name}", "n_clicks") for name in FORMATS], State("rules-ticks", "value"), place],
        prevent_initial_call=True,
    )(export)


def adopted(data: StudyData) -> list[int]:
    """Numbers of the findings the study adopted."""
    return [i for i, finding in enumerate(data.findings) if finding.get("verdict") == "adopted"]


def rule_options(data: StudyData, verdict: str) -> list[dict[str, Any]]:
    """Every rule of the asked verdict as a card with a box to tick, adopted ones first; hidden ones keep their tick."""
    order = list(VERDICTS)
    numbered = sorted(enumerate(data.findings), key=lambda pair: order.index(str(pair[1].get("verdict"))))
    return [
        {"label": _card(finding, data), "value": i}
        for i, finding in numbered
        if not verdict or finding.get("verdict") == verdict
    ]


def _none_yet(data: StudyData) -> object:
    if data.findings:
        return None
    return html.P(why_none(data), className="empty")


def _card(finding: Mapping[str, Any], data: StudyData) -> object:
    row = rule_table(finding_table([finding]), data.metric).rows[0]
    verdict, sentence, *_ = (component(cell_html(cell)) for cell in row)
    evidence = finding.get("evidence") or {}
    p = evidence.get("p_adjusted")
    numbers = [
        "" if is_missing(p) else f"adjusted p {p_value(p)}",
        "its effect on time was not measured" if data.pays_time and is_missing(evidence.get("latency_ms")) else "",
        plural(int(evidence.get("trainings") or 0), "training"),
        str(evidence.get("method") or ""),
    ]
    told = html.P(" · ".join(part for part in numbers if part), className="note")
    return html.Div([html.Div([html.Div(sentence), verdict]), told], className="rule-card")


def chosen_rules(data: StudyData, taken: Sequence[int]) -> RuleSet:
    """The rule set with the reader's verdicts: ticked rules adopted, others as the study left them or rejected."""
    read = enumerate(map(finding_of, data.findings))
    findings = [_with_choice(finding, i in taken) for i, finding in read if finding is not None]
    whole = rule_set(data)
    return RuleSet(tuple(findings), whole.provenance, whole.name)


def _with_choice(finding: Finding, taken: bool) -> Finding:
    if taken == finding.adopted:
        return finding
    reason = f"chosen by a reader; the study says {finding.verdict}" + (f": {finding.reason}" if finding.reason else "")
    return finding.model_copy(update={"verdict": "adopted" if taken else "rejected", "reason": reason})


def outcome_of(data: StudyData, taken: Sequence[int], view: View) -> list[object]:
    """How many trained candidates the ticked rules admit, the mean on both sides, and the front without the rest."""
    level = default_level(data)
    summary = data.candidates(level)
    candidates = summary[summary["n_blocks"] > 0] if len(summary) else summary
    if candidates.empty:
        return [html.P("No candidate has finished training yet, so there is nothing to compare.", className="empty")]
    rules = chosen_rules(data, taken)
    admitted = pd.Series([_admits(rules, str(notation)) for notation in candidates["notation"]], candidates.index)
    inside, outside = candidates[admitted], candidates[~admitted]
    share = f"{count(len(inside))} of {plural(len(candidates), 'trained candidate')}"
    said = f"{plural(len(rules.rules), 'rule')} taken: {share} admitted"
    table = ParetoFront(level=level).table(data)
    shown = table[(table["n_blocks"] == 0) | table["candidate_id"].isin(inside["candidate_id"])]
    shown = mark_front(shown, *data.costs)
    shown.attrs = table.attrs
    whole = figure_block(ParetoFront(level=level), data, name="admitted", title="Front of the admitted candidates")
    return [
        html.P(f"{said} ({level.words if level else ''})."),
        html.P(
            f"Mean {data.metric.title} ± sd over networks: {_mean(inside)} admitted, {_mean(outside)} the "
            "others. This is no test."
        ),
        *blocks([replace(whole, drawing=ParetoFront(level=level).draw(shown))], view),
    ]


def _admits(rules: RuleSet, notation: str) -> bool:
    try:
        return bool(rules.admits(notation))
    except NasError:
        return False


def _mean(rows: pd.DataFrame) -> str:
    """Mean over networks with its sd, as far as there is one."""
    scores = rows["map_adjusted"].dropna()
    return mean_sd(scores.mean(), scores.std()) if len(scores) else MISSING
