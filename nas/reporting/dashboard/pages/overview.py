"""Live progress of a study: stages, rungs, workers, failures, time left; the answer so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.dashboard.components import View, badge, block, blocks, figure
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.progress import progress_bar, seconds_left, study_state
from nas.reporting.dashboard.routing import Route, href
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.document import Badge, Cell, Paragraph, Table, Tiles, code, words
from nas.reporting.numbers import count, hours
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.question import question
from nas.reporting.story.tried import STATUS_TONES
from nas.reporting.study_data import StudyData, rows_of

_FAILURES_SHOWN = 30


def render(snapshot: Snapshot, route: Route, view: View) -> list[Any]:
    """The page."""
    data, status = snapshot.data, snapshot.status
    return [
        html.Div([html.H1(data.name), badge(study_state(status))], className="title"),
        _tiles(snapshot),
        progress_bar(status["trainings"], data.name),
        html.H2("Stages"),
        _stages(status),
        *_rungs(data),
        html.H2("Workers"),
        _workers(snapshot),
        html.H2("The answer so far"),
        *blocks([item for item in question(data).blocks if not isinstance(item, Tiles)], view),
        html.P(dcc.Link("Explore the front", href=href(data.name, "front"))),
        html.H2("Course of the search"),
        figure(figure_block("hypervolume", data), view),
        figure(figure_block("training_curves", data), view),
        html.H2("Failures"),
        *_failures(snapshot),
    ]


def _tiles(snapshot: Snapshot) -> Any:
    counts = snapshot.status["trainings"]
    left = seconds_left(snapshot.status, snapshot.workers)
    working = sum(worker["state"] == "working" for worker in snapshot.workers)
    tiles = [
        (count(counts["finished"]), "finished trainings"),
        (count(counts["running"]), "running now"),
        (count(counts["waiting"]), "waiting"),
        (count(counts["failed"]), "failed"),
        (count(working), "workers"),
        (hours(left) if left is not None else "–", "left for what is planned"),
    ]
    return block(Tiles(tiles))


def _stages(status: Mapping[str, Any]) -> Any:
    rows = [
        html.Tr(
            [
                html.Td(html.Code(stage["stage"])),
                html.Td(stage["kind"]),
                html.Td(badge(Badge(stage["status"], STATUS_TONES[stage["status"]]))),
                html.Td(_stage_progress(stage)),
                html.Td(count(sum(stage["trainings"].values())), className="n"),
                html.Td(hours(stage["mean_seconds"]), className="n"),
            ]
        )
        for stage in status["stages"]
    ]
    heads = ("stage", "kind", "state", "progress", "trainings", "time each")
    head = html.Tr([html.Th(name, scope="col", className="n" if i > 3 else None) for i, name in enumerate(heads)])
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="stages")
    return html.Div(table, className="scroll", tabIndex=0, role="region", **{"aria-label": "Stages"})


def _stage_progress(stage: Mapping[str, Any]) -> Any:
    if stage["status"] == "finished" and not any(stage["trainings"].values()):
        return html.Span("needed no training", className="quiet")
    return progress_bar(stage["trainings"], stage["stage"])


def _rungs(data: StudyData) -> list[Any]:
    """Trainings by rung, where a stage promotes its better candidates to longer trainings."""
    searched = data.results[data.results["stage_kind"] == "search"]
    rungs = searched[searched["fidelity"].astype(str).str.contains(r"(?:^|-)to\d+", regex=True)]
    if rungs.empty:
        return []
    counted = rungs.groupby(["stage", "epochs", "status"]).size().unstack(fill_value=0)
    statuses = ("finished", "running", "waiting", "failed")
    rows = [
        [code(stage), count(epochs), *[count(row.get(status, 0)) for status in statuses]]
        for (stage, epochs), row in _pairs(counted)
    ]
    table = Table(["stage", "rung (epochs)", *statuses], rows, name="rungs", numeric=frozenset(range(1, 6)))
    return [html.H2("Rungs"), block(table)]


def _pairs(table: pd.DataFrame) -> list[tuple[tuple[Any, Any], Any]]:
    return [((index[0], index[1]), row) for index, row in table.iterrows() if isinstance(index, tuple)]


def _workers(snapshot: Snapshot) -> Any:
    if not snapshot.workers and not snapshot.status["running"]:
        return block(Paragraph("Nobody works on this study now; `nas worker STUDY` joins it from any machine."))
    doing = {row["owner"]: row for row in snapshot.status["running"]}
    tones = {"working": "good", "silent": "bad", "stopped": "quiet"}
    rows: list[list[Cell]] = [
        [
            code(worker["id"]),
            words(worker["host"] or "–"),
            words(worker["device"] or "–"),
            Badge(worker["state"], tones.get(worker["state"], "quiet")),
            code(doing[worker["id"]]["notation"]) if worker["id"] in doing else "–",
            hours(worker["silent_s"]),
        ]
        for worker in snapshot.workers[:50]
    ]
    known = {worker["id"] for worker in snapshot.workers}
    rows += [
        [code(owner), "–", "–", Badge("running", "warn"), code(row["notation"]), "–"]
        for owner, row in doing.items()
        if owner not in known
    ]
    heads = ["worker", "machine", "device", "state", "trains now", "last sign of life"]
    return block(Table(heads, rows, name="workers", numeric=frozenset({5})))


def _failures(snapshot: Snapshot) -> list[Any]:
    failed = snapshot.data.failed
    if failed.empty:
        return [html.P("No training failed.")]
    kinds = ", ".join(
        f"{number} {kind}" for kind, number in failed["failure_kind"].fillna("unknown").value_counts().items()
    )
    reasons = failed["failure_reason"] if "failure_reason" in failed else pd.Series("", index=failed.index)
    latest = failed.assign(why=reasons).sort_values("training_id").tail(_FAILURES_SHOWN)[::-1]
    rows = [
        [count(r.training_id), code(r.notation), str(r.stage), str(r.failure_kind), words(r.why or "–")]
        for r in rows_of(latest)
    ]
    table = Table(["training", "candidate", "stage", "kind", "why"], rows, name="failures", numeric=frozenset({0}))
    return [html.P(f"{count(len(failed))} failed for good: {kinds}. They stay in every count."), block(table)]
