"""One study as plain tables in memory: all that figures, reports and the dashboard draw from.

It knows nothing of the database (see `loading`) and nothing of how things are drawn. Missing
numbers are NaN, never 0; every table has its columns even when it has no rows.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pandas as pd

from nas.errors import NasError
from nas.reporting.notations import add_placements
from nas.results.answer import Answer, answer_of
from nas.results.columns import NUMBERS, RESULT_COLUMNS, Metric, failed, finished, metric_of, trainings
from nas.results.costs import COSTS, SLOWER, CostKind
from nas.results.energy import ENERGY_COLUMNS
from nas.results.fronts import on_front
from nas.results.levels import Level, candidates, levels, quoted_level, widest_level
from nas.spaces import DesignSpace
from nas.storage.notes import NoteInfo

T = TypeVar("T")
NO_NOTE = NoteInfo()

LATENCY_COLUMNS: tuple[str, ...] = (
    *("role", "notation", "backbone", "block", "site", "n_blocks", "median_ms", "p5_ms", "p95_ms", "batches_per_s"),
    *("batches", "isolated", "drift", "raw_ms", "how", "unknown", "predicted_ms", "peak_memory_mb", "device"),
    "measured_at",
)
"""The latency table: one row a measured network; `block` and `site` are empty unless it has one placement."""

EPOCH_COLUMNS: tuple[str, ...] = ("training_id", "notation", "seed", "epoch", "lr", "loss", "seconds")
"""The epochs table: one row an epoch of a training; `loss` is the sum of its losses."""

WORKER_COLUMNS: tuple[str, ...] = ("owner", "training_id", "notation", "stage", "lease_until", "attempts")
"""The workers table: one row a training that is being run now."""


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples."""
    return iter(table.itertuples())


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def empty_table(columns: Sequence[str]) -> pd.DataFrame:
    """A table with these columns and no rows."""
    return pd.DataFrame({column: pd.Series(dtype="object") for column in columns})


def with_columns(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table with every named column present (missing ones empty), named ones first."""
    extra = [column for column in table.columns if column not in columns]
    return table.reindex(columns=[*columns, *extra])


@dataclass(frozen=True, eq=False)
class StudyData:
    """Everything a report of one study is made from.

    Args:
        name: the study's name, as its user wrote it (escape it before it meets any markup).
        results: one row a (stage, training), columns `RESULT_COLUMNS`; mAP as a fraction, times in ms a batch.
        latencies: one row a measured network, columns `LATENCY_COLUMNS`.
        spaces: dictionaries with id, name, size, parent_id, stage and rules (sentences), parents first.
        findings: findings as dictionaries (`Finding.to_dict()`), with an optional `sentence`.
        stages: dictionaries with position, name, kind, status, settings and result, in order.
        epochs: one row an epoch of a training, columns `EPOCH_COLUMNS`; None when not loaded.
        workers: who is training what now, columns `WORKER_COLUMNS`.
        dataset: name, id, counts and view of the data.
        protocol: the latency protocol as it is stored with the figures; the study file's until one is measured.
        rank_lists: candidate notation -> list of rank lists, where they were kept.
        maps: candidate notation -> picture of where it looks, as a data address.
        notes: candidate id -> what a person noted of it.
        energy: what counters ran up during trainings, columns `ENERGY_COLUMNS`.
        samples: picture of a few images of the data set, as a data address; empty where they are not here.
        no_samples: why there are none, where that is known.
        find: options by which a command finds its database; none for that of the folder.
    """

    name: str
    definition: Mapping[str, Any] = field(default_factory=dict)
    results: pd.DataFrame = field(default_factory=lambda: empty_table(RESULT_COLUMNS))
    latencies: pd.DataFrame = field(default_factory=lambda: empty_table(LATENCY_COLUMNS))
    spaces: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Mapping[str, Any]] = ()
    stages: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    epochs: pd.DataFrame | None = None
    workers: pd.DataFrame = field(default_factory=lambda: empty_table(WORKER_COLUMNS))
    dataset: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    rank_lists: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    maps: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, NoteInfo] = field(default_factory=dict)
    energy: pd.DataFrame = field(default_factory=lambda: empty_table(ENERGY_COLUMNS))
    samples: str = ""
    no_samples: str = ""
    find: Sequence[str] = ()
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        results = with_columns(self.results, RESULT_COLUMNS)
        numbers = {column: pd.to_numeric(results[column], errors="coerce") for column in NUMBERS}
        object.__setattr__(self, "results", results.assign(**numbers))
        object.__setattr__(self, "latencies", with_columns(self.latencies, LATENCY_COLUMNS))
        object.__setattr__(self, "workers", with_columns(self.workers, WORKER_COLUMNS))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, made at the first call with this key: figures share the same summaries."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def command(self, *arguments: str) -> str:
        """A command of `nas` to type or paste, with the database that it needs.

        >>> StudyData(name="a", find=["--db", "sqlite:///b.db"]).command("report", "a")
        'nas report a --db sqlite:///b.db'
        """
        return shlex.join(["nas", *arguments, *self.find])

    @classmethod
    def from_results(cls, results: pd.DataFrame, name: str | None = None) -> StudyData:
        """A study of which only the results table is known (notebooks, tables from elsewhere)."""
        if name is None:
            named = list(results["study"].dropna().unique()) if "study" in results else []
            name = str(named[0]) if named else "results"
        return cls(name=name, results=results)

    @cached_property
    def space(self) -> DesignSpace | None:
        """The space that the study began with, where this version can read it."""
        try:
            return DesignSpace.from_dict(self.definition["space"])
        except (NasError, KeyError, TypeError):
            return None

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """One row a training, see `nas.results.columns.trainings`; its stage is one of those that asked for it."""
        return trainings(self.results)

    def trained_in(self, rows: pd.DataFrame) -> pd.Series:
        """The stage that asked for each training first, and so had it trained; later ones share it."""
        asked = self.results.dropna(subset=["training_id"]).drop_duplicates("training_id")
        return rows["training_id"].map(asked.set_index("training_id")["stage"]).fillna(rows["stage"])

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The trainings that finished with a finite mAP, one row each."""
        return finished(self.results)

    @cached_property
    def failed(self) -> pd.DataFrame:
        """The trainings that failed for good, one row each."""
        return failed(self.results)

    @cached_property
    def levels(self) -> list[Level]:
        """The comparable sets of trainings, the most trusted first."""
        return levels(self.results)

    @cached_property
    def quoted(self) -> Level | None:
        """The level to quote."""
        return quoted_level(self.levels)

    @cached_property
    def widest(self) -> Level | None:
        """The level that saw the most candidates."""
        return widest_level(self.levels)

    @cached_property
    def answer(self) -> Answer:
        """What the study may say so far."""
        return answer_of(self.results, str(self.definition.get("cost") or "latency_ms"), self.metric)

    @property
    def metric(self) -> Metric:
        """What candidates are judged by: mAP, or what one's own trainer gives."""
        return metric_of(self.definition)

    def candidates(self, level: Level | None) -> pd.DataFrame:
        """One row a candidate that finished at a level, see `nas.results.levels.candidates`; with `on_front`, where its
        blocks are in `block` and `sites`, and what was noted of it in `star`, `tags`, `comment` and `note` (in words).
        """
        key = ("candidates", level)
        if key not in self._made:
            table = candidates(self.results, level)
            self._made[key] = mark_front(self._noted(table[table["trainings"] > 0]), *self.costs)
        made: pd.DataFrame = self._made[key]
        return made.copy()

    def failed_candidates(self, level: Level | None) -> pd.DataFrame:
        """Candidates of a level all of whose trainings failed: ranked last, in every table that quotes."""
        table = candidates(self.results, level)
        return mark_front(self._noted(table[table["trainings"] == 0]), *self.costs)

    def _noted(self, table: pd.DataFrame) -> pd.DataFrame:
        """Candidates with their placements, and what was noted of them."""
        noted = [self.notes.get(str(name), NO_NOTE) for name in table["candidate_id"]]
        return add_placements(table).assign(
            star=[note.star for note in noted],
            tags=[", ".join(note.tags) for note in noted],
            comment=[note.comment for note in noted],
            note=[note.words for note in noted],
        )

    @property
    def table(self) -> str | None:
        """The table that the study replays; None where candidates are trained."""
        named = (self.definition.get("objective") or {}).get("table")
        return None if named is None else str(named)

    @property
    def latency_protocol(self) -> Mapping[str, Any]:
        """How networks were timed (backend, precision, batch, input, ...): as measured, else as the file says.

        Empty for a study on a table, or with told times, for which nothing is timed.
        """
        told = (self.definition.get("objective") or {}).get("costs") or ()
        if self.table is not None or any(COSTS[name].kind == "timed" for name in told):
            return {}
        section = self.definition.get("latency") or {}
        far = str(section.get("device") or "auto").split(":")[0] not in ("auto", "cpu", "cuda")
        given = {k: v for k, v in section.items() if v is not None and (far or k not in ("on", "wait_for_device"))}
        return given | {key: value for key, value in self.protocol.items() if value is not None}

    @property
    def batch_words(self) -> str:
        """What one timed batch is: `batch of 16, fp16, tensorrt` - as far as it is known."""
        protocol = self.latency_protocol
        batch = f"batch of {protocol['batch']}" if "batch" in protocol else "batch"
        return ", ".join([batch, *(str(protocol[key]) for key in ("precision", "backend") if protocol.get(key))])

    @property
    def cost(self) -> str:
        """The column that the study pays mAP with (its `cost` key); what follows from time is drawn as time."""
        return COSTS[str(self.definition.get("cost") or "latency_ms")].column

    @property
    def costs(self) -> tuple[str, ...]:
        """The columns of everything that is paid: `cost`, and the study's `more_costs`."""
        return (self.cost, *(COSTS[str(name)].column for name in self.definition.get("more_costs") or ()))

    @property
    def further_costs(self) -> tuple[CostKind, ...]:
        """What is paid that is not told of every study anyway, as time, parameters and multiply-adds are."""
        return tuple(COSTS[column] for column in dict.fromkeys(self.costs) if column not in _TOLD_ANYWAY)

    @property
    def pays_time(self) -> bool:
        """Whether a network without a known time is on no front."""
        return any(column.startswith("latency") for column in self.costs)

    @property
    def margin(self) -> float:
        """Share of another network's time up to which two count as equally fast (the study's `latency: margin`)."""
        given = (self.definition.get("latency") or {}).get("margin")
        return SLOWER if given is None else float(given)

    @cached_property
    def backbone(self) -> str:
        """The backbone most trainings (or latencies) are of; `resnet50` for an empty study."""
        for table in (self.results, self.latencies):
            names = table["backbone"].dropna()
            if len(names):
                return str(names.mode().iloc[0])
        return "resnet50"


_TOLD_ANYWAY = frozenset({"latency_ms", "params", "macs"})
_MEASURED_COSTS = frozenset({"latency_ms", "latency_p95_ms", "peak_memory_mb", "energy_j"})


def mark_front(table: pd.DataFrame, *costs: str) -> pd.DataFrame:
    """Candidates with `on_front` by these costs: only those to quote, and none whose cost was predicted."""
    known = table["quoted"].astype(bool)
    if _MEASURED_COSTS.intersection(costs):
        known &= table["latency_measured"].astype(bool)
    points = table[["map_adjusted", *costs]].astype(float).where(known)
    return table.assign(on_front=on_front(points, (False, *[True] * len(costs))))
