"""Live progress of a study: the answer so far, stages, rungs, workers, time left, failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.files.places import DEFAULT_URL
from nas.reporting.dashboard.components import View, badge, blocks, sections
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.progress import progress_bar, seconds_left, study_state
from nas.reporting.dashboard.routing import Route, href
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.document import Badge, Bar, Block, Bullets, Cell, Paragraph, Section, Table, Tiles, code, words
from nas.reporting.numbers import count, hours
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.question import answered
from nas.reporting.story.tried import STATUS_TONES, rungs
from nas.reporting.story.trust import failures
from nas.search import launch_lines, stage_state
from nas.storage.standing import StudyStatus

_WORKERS_SHOWN = 50


def render(snapshot: Snapshot, route: Route, view: View) -> list[object]:
    """The page."""
    data, status = snapshot.data, snapshot.status
    bar = progress_bar(status["trainings"], data.name)
    course = [figure_block(name, data) for name in ("best_so_far", "hypervolume", "training_curves")]
    stages: list[Block] = [_tiles(snapshot), Table((), [[bar]], name="whole"), _stages(status), *rungs(data)]
    return [
        html.Div([html.H1(data.name), badge(study_state(status))], className="title"),
        html.P(["Database ", html.Code(snapshot.database)], className="subtitle") if snapshot.database else None,
        *blocks(answered(data), view),
        html.P(dcc.Link("Explore the front", href=href(str(route.study), "front"))),
        *sections(
            [
                Section("stages", "Stages", stages),
                Section("workers", "Workers", [_workers(snapshot), *_launched(status)]),
                Section("course", "Course of the search", course),
                failures(data),
            ],
            view,
        ),
    ]


def _tiles(snapshot: Snapshot) -> Tiles:
    counts = snapshot.status["trainings"]
    left = seconds_left(snapshot.status, snapshot.workers)
    working = sum(worker["state"] == "working" for worker in snapshot.workers)
    return Tiles(
        [
            (count(counts["finished"]), "finished trainings"),
            (count(counts["running"]), "running now"),
            (count(counts["waiting"]), "waiting"),
            (count(counts["failed"]), "failed"),
            (count(working), "workers"),
            (hours(left) if left is not None else "–", "left for what is planned"),
        ]
    )


def _stages(status: StudyStatus) -> Table:
    rows: list[list[Cell]] = [
        [
            code(stage["stage"]),
            stage["kind"],
            Badge(stage_state(stage, status), STATUS_TONES[stage["status"]]),
            _stage_progress(stage),
            count(sum(stage["trainings"].values())),
            hours(stage["mean_seconds"]),
        ]
        for stage in status["stages"]
    ]
    heads = ("stage", "kind", "state", "progress", "trainings", "time each")
    return Table(heads, rows, name="stages", numeric=frozenset({4, 5}))


def _stage_progress(stage: Mapping[str, Any]) -> Bar | str:
    if stage["status"] == "finished" and not any(stage["trainings"].values()):
        return "needed no training"
    return progress_bar(stage["trainings"], stage["stage"])


def _launched(status: StudyStatus) -> list[Block]:
    """What is wished of the study, how its workers were started, where their logs are, what they wait for."""
    waits = [f"{owner}: {doing}" for owner, doing in status["doing"].items()]
    said = [words(text) for text in (*launch_lines(status), *waits)]
    return [Bullets(said)] if said else []


def _workers(snapshot: Snapshot) -> Block:
    if not snapshot.workers and not snapshot.status["running"]:
        data = snapshot.data
        database = [] if data.find else ["--db", DEFAULT_URL]  # a worker is told its database always
        joins = f"; {code(data.command('worker', data.name, *database))} joins it"
        return Paragraph(f"Nobody works on this study now{'' if snapshot.status['finished'] else joins}.")
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
        for worker in snapshot.workers[:_WORKERS_SHOWN]
    ]
    known = {worker["id"] for worker in snapshot.workers}
    rows += [
        [code(owner), "–", "–", Badge("running", "warn"), code(row["notation"]), "–"]
        for owner, row in doing.items()
        if owner not in known
    ]
    heads = ["worker", "machine", "device", "state", "trains now", "last sign of life"]
    return Table(heads, rows, name="workers", numeric=frozenset({5}))
