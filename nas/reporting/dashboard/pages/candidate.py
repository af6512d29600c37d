"""One candidate: its network, its numbers at every level, its trainings, its latency, what the rules say of it."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pandas as pd

from nas.errors import NasError
from nas.reporting.dashboard.components import View, blocks, problem, sections
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.routing import Route, href
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.document import (
    Badge,
    Block,
    Bullets,
    Cell,
    Code,
    Facts,
    Paragraph,
    Section,
    Stacked,
    Table,
    code,
    words,
)
from nas.reporting.figures import NetworkDrawing, RankLists, TrainingCurves
from nas.reporting.numbers import MISSING, count, fixed, hours, interval, is_missing, mean_sd, scaled
from nas.reporting.rules_file import rule_set
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.tried import STATUS_TONES
from nas.reporting.study_data import EPOCH_COLUMNS, NO_NOTE, StudyData, records_of, rows_of, with_columns
from nas.reporting.tables import cost_cell
from nas.results.costs import HOW_WORDS
from nas.results.levels import fidelity_words
from nas.spaces.labels import short_label


def render(snapshot: Snapshot, route: Route, view: View) -> list[object]:
    """The page of the candidate named in the address, by id or notation."""
    data = snapshot.data
    wanted = str(route.candidate)
    rows = data.results[(data.results["candidate_id"] == wanted) | (data.results["notation"] == wanted)]
    if rows.empty:
        return [problem(f"There is no candidate {wanted} in this study.", "It may belong to another study.")]
    notation = str(rows["notation"].iloc[0])
    own = replace(data, epochs=_curves(snapshot, rows))
    curves = figure_block(TrainingCurves(notation=notation), own)
    lists = figure_block(RankLists(notation=notation), data)
    drawn = [figure for figure in (curves, lists) if not isinstance(figure.drawing, str)]
    parts = [
        Section("levels", "In every comparable set", [_level_table(data, str(rows["candidate_id"].iloc[0]))]),
        Section("cost", "What it costs", [_latency_facts(data, rows)]),
        Section("rules", "What the rules say", _rules(data, notation)),
        Section("files", "Its weights, and what to type", _files(data, rows)),
        Section("trainings", "Trainings", [_training_table(rows, data.metric.title), *drawn]),
    ]
    return [
        html.P(
            [
                dcc.Link("← Front", href=href(str(route.study), "front")),
                " · ",
                dcc.Link("Compare with another", href=href(str(route.study), "compare", first=notation)),
            ],
            className="back",
        ),
        html.H1(short_label(notation)),
        html.P(html.Code(notation), className="subtitle"),
        *blocks(_noted(data, str(rows["candidate_id"].iloc[0]), notation), view),
        *blocks([figure_block(NetworkDrawing(notations=(notation,)), data, title="Its network")], view),
        *sections(parts, view),
    ]


def _noted(data: StudyData, candidate_id: str, notation: str) -> list[Block]:
    """The note, and how to write one: the dashboard itself never writes."""
    note = data.notes.get(candidate_id, NO_NOTE)
    command = data.command("note", data.name, notation, "--star", "--tag", "robot", "--comment", "...")
    how = Paragraph(f"Note something of it: {code(command)}")
    return [Paragraph(words(note.words), "noted"), how] if note != NO_NOTE else [how]


def _files(data: StudyData, rows: pd.DataFrame) -> list[Block]:
    """Weights that were kept, the most accurate first, and commands for them."""
    kept = rows[rows["checkpoint"].notna()] if "checkpoint" in rows else rows.iloc[:0]
    kept = kept.drop_duplicates("training_id").sort_values("map", ascending=False)
    explain = f"nas explain {shlex.quote(str(rows['notation'].iloc[0]))}"
    if kept.empty:
        return [Paragraph("No weights of it were kept (`keep_checkpoints` of the study)."), Code(explain, "sh")]
    files = [str(uri).removeprefix("file://") for uri in kept["checkpoint"]]
    facts = Facts([(f"training {r.training_id}", code(file)) for r, file in zip(rows_of(kept), files, strict=True)])
    best = shlex.quote(files[0])
    typed = (
        f"nas evaluate {best} --data DATA",
        f"nas export {best}",
        f"nas extract {best} IMAGES --out features.npy",
        explain,
    )
    return [facts, Code("\n".join(typed), "sh")]


def _curves(snapshot: Snapshot, rows: pd.DataFrame) -> pd.DataFrame:
    """The epochs of the candidate's trainings; a study's own tables hold only the best and latest ones."""
    read = snapshot.read_curves([int(number) for number in rows["training_id"].unique()])
    facts = rows[["training_id", "notation", "seed"]].drop_duplicates("training_id")
    return read.merge(facts, on="training_id").reindex(columns=list(EPOCH_COLUMNS))


def _level_table(data: StudyData, candidate_id: str) -> Table:
    rows: list[list[Cell]] = []
    for level in data.levels:
        summary = data.candidates(level)
        for row in records_of(summary[summary["candidate_id"] == candidate_id]):
            rank = int((summary["map_adjusted"] > row["map_adjusted"]).sum()) + 1
            rows.append(
                [
                    level.words,
                    Badge("front", "good") if row["on_front"] else "",
                    mean_sd(row["map_mean"], row["map_sd"]),
                    interval(row["map_low"], row["map_high"]).replace("+", ""),
                    fixed(row["rank1"], 4),
                    fixed(row["minp"], 4),
                    count(row["seeds"]),
                    f"{rank} of {len(summary)}",
                ]
            )
    heads = ["comparable set", "", data.metric.title, "95 % interval", "rank-1", "mINP", "seeds", "place"]
    return Table(
        heads, rows or [["no training has finished", *[""] * 7]], name="levels", numeric=frozenset(range(2, 8))
    )


def _latency_facts(data: StudyData, rows: pd.DataFrame) -> Facts:
    first = rows.iloc[0]
    if is_missing(first["latency_ms"]):
        why = words(first["latency_unknown"]) if isinstance(first["latency_unknown"], str) else "it was not timed"
        timed = [(f"time of a {data.batch_words}", f"not known: {why}")]
    else:
        how = HOW_WORDS.get(str(first["latency_how"]), "timed")
        spread = f"{fixed(first['latency_p5_ms'], 3)} to {fixed(first['latency_p95_ms'], 3)} ms"
        timed = [
            (f"time of a {data.batch_words}", f"{fixed(first['latency_ms'], 3)} ms ({how})"),
            ("5th to 95th percentile", spread),
            ("speed", f"{fixed(first['batches_per_s'], 2)} batches/s"),
        ]
    sizes = [
        ("parameters", f"{scaled(first['params'], 1e6, 2)} M"),
        ("multiply-adds", f"{scaled(first['macs'], 1e9, 3)} G"),
    ]
    sizes += [(cost.title, f"{cost_cell(first[cost.column], cost.column)} {cost.unit}") for cost in data.further_costs]
    return Facts([(what, told) for what, told in (*timed, *sizes) if not told.startswith(MISSING)])


def _rules(data: StudyData, notation: str) -> list[Block]:
    rules = rule_set(data)
    if not rules.rules:
        return [Paragraph("No rule has been adopted yet.")]
    try:
        said = rules.admits(notation)
    except NasError as error:
        return [Paragraph(words(error.message))]
    admitted = f"The adopted rules admit it. It follows {100 * said.score:.0f} % of the preferences."
    verdict = Paragraph(admitted if said else "The adopted rules leave it out:")
    return [verdict, *([Bullets([words(reason) for reason in said.reasons])] if said.reasons else [])]


def _training_table(rows: pd.DataFrame, metric: str) -> Table:
    rows = with_columns(rows, ["worker", "log"])
    cells: list[list[Cell]] = [
        [
            count(r.training_id),
            words(r.stage),
            fidelity_words(str(r.fidelity), float(r.epochs)),
            str(r.split),
            count(r.seed),
            Badge(str(r.status), STATUS_TONES.get(str(r.status), "quiet")),
            fixed(r.map, 4),
            fixed(r.rank1, 4),
            hours(r.seconds),
            code(r.failure_kind) if isinstance(r.failure_kind, str) else "",
            Stacked(code(r.worker), code(r.log)) if isinstance(r.worker, str) else "",
        ]
        for r in rows_of(rows)
    ]
    heads = ["training", "stage", "length", "split", "seed", "state", metric, "rank-1", "time", "failure"]
    heads += ["worker, its log"]
    return Table(heads, cells, name="trainings", numeric=frozenset({0, 4, 6, 7, 8}))
