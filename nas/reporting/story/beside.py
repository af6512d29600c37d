"""Two candidates of a study beside each other: how they differ, how far their numbers do, what each costs."""

from __future__ import annotations

from typing import Any

from nas.errors import NasError
from nas.reporting.document import Badge, Block, Cell, Paragraph, Section, SideBySide, Table, words
from nas.reporting.figures import LatencySpread, NetworkDrawing, RankLists, TrainingCurves
from nas.reporting.numbers import MISSING, count, fixed, interval, is_missing, mean_sd, scaled, signed
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import NO_NOTE, StudyData, records_of
from nas.reporting.tables import cost_cell
from nas.results.differences import difference, verdict_of
from nas.spaces.candidate import Candidate
from nas.spaces.labels import block_title, short_label


def beside(data: StudyData, first: str, second: str) -> list[Section]:
    """Configuration with costs, accuracy, spread of times and curves of two candidates, by their notations."""
    drawings = NetworkDrawing(notations=(first, second))
    spread = LatencySpread(notations=(first, second))
    curves = figure_block(TrainingCurves(notation=first, versus=second), data)
    return [
        Section("accuracy", "Accuracy", _accuracy(data, first, second)),
        Section("configuration", "Configuration", [_configuration(data, first, second), figure_block(drawings, data)]),
        Section("time", "Time", [figure_block(spread, data)]),
        Section("curves", "Curves", [curves]),
    ]


def lists_beside(data: StudyData, first: str, second: str) -> list[Block]:
    """Rank lists of both for the same queries, where they were made."""
    named = enumerate((first, second))
    return [SideBySide([figure_block(RankLists(n), data, f"rank_lists_{i}", short_label(n)) for i, n in named])]


def _accuracy(data: StudyData, first: str, second: str) -> list[Block]:
    """Means at every level that both were trained at, and their difference, paired within seeds."""
    rows: list[list[Cell]] = []
    for level in data.levels:
        means = data.candidates(level).set_index("notation")
        if first not in means.index or second not in means.index:
            continue
        found = difference(level.rows(data.results), first, second, data.metric)
        ends = found.estimate.interval()
        sides = [mean_sd(means.loc[name, "map_mean"], means.loc[name, "map_sd"]) for name in (first, second)]
        told = f"{signed(found.estimate.value)} {interval(*ends)}".replace(f" {MISSING}", " (interval not known)")
        rows.append([level.words, *sides, told, verdict_of(ends, metric=data.metric), count(found.blocks)])
    if not rows:
        return [Paragraph("They share no comparable set, so their numbers may not be compared.")]
    heads = [
        "comparable set",
        short_label(first),
        short_label(second),
        "first minus second, 95 %",
        "the first is",
        "seeds shared",
    ]
    note = "Intervals are of this pair alone: of a pair picked for its difference they are too narrow."
    return [Table(heads, rows, note=note, name="both", numeric=frozenset({1, 2, 3, 5}))]


def _configuration(data: StudyData, first: str, second: str) -> Table:
    """A row a key; what differs first."""
    sides = [_facts(data, name) for name in (first, second)]
    keys = list(dict.fromkeys([*sides[0], *sides[1]]))
    values = [(key, *(side.get(key, MISSING) for side in sides)) for key in keys]
    rows: list[list[Cell]] = [
        [words(key), words(a), words(b), Badge("differs", "warn") if a != b else ""] for key, a, b in values
    ]
    rows.sort(key=lambda row: row[3] == "")
    return Table(["", short_label(first), short_label(second), ""], rows, name="configuration")


def _facts(data: StudyData, notation: str) -> dict[str, str]:
    rows = data.results[data.results["notation"] == notation]
    row = rows.iloc[0]
    time = fixed(row["latency_ms"], 3)
    spread = "" if is_missing(row["latency_p5_ms"]) else f" ({_pair(row, 'latency_p5_ms', 'latency_p95_ms')})"
    return {
        **_placed(notation),
        "parameters, M": scaled(row["params"], 1e6, 3),
        "multiply-adds, G": scaled(row["macs"], 1e9, 3),
        f"time of a {data.batch_words}, ms (5th to 95th percentile)": f"{time}{spread}",
        **{f"{cost.title}, {cost.unit}": cost_cell(row[cost.column], cost.column) for cost in data.further_costs},
        "finished trainings": count(data.finished["notation"].eq(notation).sum()),
        "note": data.notes.get(str(row["candidate_id"]), NO_NOTE).words or MISSING,
    }


def _pair(row: Any, low: str, high: str) -> str:
    return f"{fixed(row[low], 3)} to {fixed(row[high], 3)}"


def _placed(notation: str) -> dict[str, str]:
    """What the notation says, a key a decision; all in one where it no longer reads."""
    try:
        candidate = Candidate.parse(notation)
    except NasError:
        return {"candidate": notation}
    found = {"backbone": candidate.backbone, **{key: str(value) for key, value in candidate.backbone_params}}
    for placed in candidate.placements:
        params = ", ".join(f"{key} {value}" for key, value in placed.params)
        found[f"site {placed.site:02d}"] = block_title(placed.block) + (f" ({params})" if params else "")
    return found | {f"recipe: {key}": str(value) for key, value in candidate.recipe}


def choices(data: StudyData) -> list[tuple[str, str]]:
    """Candidates to choose from as (notation, words): starred ones, then those to quote, then by accuracy."""
    seen: dict[str, str] = {}
    for level in data.levels:
        for row in records_of(data.candidates(level).sort_values(["star", "map_mean"], ascending=False)):
            star = "★ " if row["star"] else ""
            seen.setdefault(str(row["notation"]), f"{star}{row['notation']}")
    return list(seen.items())


def first_pair(data: StudyData) -> tuple[str, str] | None:
    """What is compared where nothing is chosen: the named network, or the best one, with its control."""
    known = [name for name, _ in choices(data)]
    named = [name for name in (data.answer.named, data.answer.control) if name in known]
    rest = [name for name in known if name not in named]
    pair = [*named, *rest][:2]
    return (str(pair[0]), str(pair[1])) if len(pair) == 2 else None
