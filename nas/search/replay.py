"""A table of results in place of trainings: strategies can be compared on it in seconds.

The table has a column `candidate` in notation, or one column a site (`site01` ...) holding block names; `map` as a
fraction, or `map_percent`; costs by their names (`latency_ms`, `params`, ...; `cost` is the study's own); `seed` where
candidates have replicates; and, as results tables have them, `start` (trainings from trained plain networks, controls
with the number of their move), `role` (rows of `start` networks are left out, those of `source` networks are what a
`pretrain` stage is given) and `failure` (why a training has no value). A column `time_ratio`, the time over that of the
plain network of the same backbone on the same machine, makes times of several machines and days those of one. Every
value is read or named with its line and column: nothing is guessed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from nas.errors import NasError, StudyError
from nas.files.given import read_table_text
from nas.files.hashes import hash_of_text
from nas.results.cost_tables import given_table, parse_once
from nas.results.costs import COSTS
from nas.search.starts import SCRATCH, SOURCE_ROLE, START_ROLE, split_start
from nas.spaces import Candidate

_SITE = re.compile(r"site_?(\d+)$")
_PLAIN = re.compile(r"[\w .%()/-]{1,40}$")
_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst")
_UNENDED = ("waiting", "running")
_EMPTY = frozenset({"", "none", "nan", "0", "-"})
_ALIKE = ("fidelity", "split")
"""Columns in which all trainings of a table must be alike, as a study on it has one level."""
LATER_START = 10_000
"""Seeds of a second start are counted from here, of a third from twice this: a seed is one block."""


@dataclass(frozen=True)
class ReplayTable:
    """Results by candidate and seed.

    Attributes:
        rows: columns `notation`, `seed`, `map`, and a column a cost, by its name; `start` and `move` (number of a
            control), where the table has starts, `source`, where it has sources, `failure`, where it has failures, and
            `time_ratio`, where it has ratios.
        name: where it came from, for messages.
        seconds: how long a training takes (0: no time), to rehearse a study with its real rhythm.
    """

    rows: pd.DataFrame
    name: str
    seconds: float = 0.0

    @classmethod
    def read(
        cls, path: Path, backbone: str = "resnet50", cost: str = "latency_ms", seconds: float = 0.0
    ) -> ReplayTable:
        """Reads a CSV, with commas, semicolons or tabs between its cells.

        Args:
            path: the table.
            backbone: notation of the network that columns a site belong to.
            cost: what a column `cost` holds.
            seconds: how long each training is made to take.

        Raises:
            StudyError: the file or a needed column is missing, a value is not what its column holds, or two rows
                contradict each other.
        """
        raw = _read(path)
        columns = _columns(raw, path, cost)
        role = raw[columns["role"]].str.strip() if "role" in columns else pd.Series("", index=raw.index)
        status = raw[columns["status"]].str.strip() if "status" in columns else pd.Series("", index=raw.index)
        raw = raw[role.ne(START_ROLE) & ~status.isin(_UNENDED)]
        quality = "map" if "map" in columns else "map_percent"
        if quality not in columns:
            found = [str(c) for c in raw.columns if _PLAIN.match(str(c))]
            raise StudyError(
                f"objective: {path} has no column `map`; it has {', '.join(found) or 'none with a name'}",
                "a fraction in `map`, or percent in `map_percent`",
            )
        if raw.empty:
            raise StudyError(f"objective: {path} holds no results")
        rows = pd.DataFrame({"notation": _notations(raw, columns, backbone, path)}, index=raw.index)
        _require_alike(raw[role[raw.index] != SOURCE_ROLE], columns, path)
        if role.eq(SOURCE_ROLE).any():
            rows["source"] = role.eq(SOURCE_ROLE)
        rows["seed"] = _seeds(raw, columns["seed"], path) if "seed" in columns else 0
        if "start" in columns:
            rows = _with_starts(rows, raw[columns["start"]].str.strip(), path)
        failed = raw[columns["failure"]].str.strip() if "failure" in columns else pd.Series("", index=raw.index)
        failed = failed.mask(failed.eq("") & status[raw.index].eq("failed"), "failed")
        if failed.ne("").any():
            rows["failure"] = failed
        rows["map"] = _map(raw, columns[quality], path, percent=quality == "map_percent", missing=failed.ne(""))
        for name in COSTS:
            if name in columns:
                rows[name] = _cost(raw, columns[name], path, name)
        if "time_ratio" in columns and "latency_ms" in rows:
            rows["time_ratio"] = _cost(raw, columns["time_ratio"], path, "time_ratio")
        return cls(_one_row_each(rows, path, seeded="seed" in columns), str(path), seconds)

    @cached_property
    def id(self) -> str:
        """16 hex digits that change with the table's content."""
        return hash_of_text(self.rows.to_csv(index=False))

    def as_begun(self, table_id: str) -> ReplayTable:
        """This table as a study began on it: one begun before ratios were read keeps its milliseconds.

        Args:
            table_id: `id` of the table that the study began on; empty: it has not begun.
        """
        before = replace(self, rows=self.rows.drop(columns="time_ratio", errors="ignore"))
        return before if before.id == table_id else self

    @cached_property
    def _maps(self) -> dict[str, dict[int, dict[int, float]]]:
        """Values by notation, seed and number of the control."""
        return _by_seed(self.rows[~self.rows["source"]] if "source" in self.rows else self.rows)

    @cached_property
    def _sources(self) -> dict[str, dict[int, dict[int, float]]]:
        """The same of source networks; a table that names none has one value for both."""
        return _by_seed(self.rows[self.rows["source"]]) if "source" in self.rows else self._maps

    def seeds(self, candidate: Candidate, *, source: bool = False) -> list[int]:
        """The seeds that the table has of a candidate, or of it as a source, ascending; empty when it has none."""
        return sorted((self._sources if source else self._maps).get(candidate.notation, {}))

    def lookup(self, candidate: Candidate, seed: int, moved: int = 0, *, source: bool = False) -> float | None:
        """mAP of a candidate with that seed; None when the table does not have it, NaN of a training that failed.

        Args:
            candidate: the network.
            seed: one of `seeds`.
            moved: number of a control.
            source: of the network that is fine-tuned, before it is.
        """
        maps = self._sources if source else self._maps
        return maps.get(candidate.notation, {}).get(seed, {}).get(moved)

    def failure(self, candidate: Candidate, seed: int) -> str:
        """Why a training of the table failed."""
        rows = self.rows[self.rows["notation"].eq(candidate.notation) & self.rows["seed"].eq(seed)]
        return ", ".join(dict.fromkeys(rows["failure"])) if "failure" in rows else ""

    @cached_property
    def starts(self) -> dict[int, str]:
        """The start of each seed, without the moves of controls; empty where the table does not say."""
        return dict(zip(self.rows["seed"], self.rows["start"], strict=True)) if "start" in self.rows else {}

    @property
    def is_warm(self) -> bool | None:
        """Whether its trainings went on from trained networks; None where it does not say."""
        return any(start != SCRATCH for start in self.starts.values()) if self.starts else None

    @cached_property
    def costs(self) -> dict[str, dict[str, float]]:
        """Mean cost by notation where it is known, by name of the cost.

        Raises:
            StudyError: a time is told as a ratio to that of a plain network that has none.
        """
        names = [name for name in COSTS if name in self.rows]
        rows = _in_one_unit(self.rows, self.name) if "time_ratio" in self.rows else self.rows
        means = rows.groupby("notation")[names].mean()
        return {name: {str(n): float(v) for n, v in means[name].dropna().items()} for name in names}

    @cached_property
    def given(self) -> pd.DataFrame:
        """The costs by architecture, as `nas.results.cost_tables.given_table` has them."""
        return given_table(self.costs)


def _read(path: Path) -> pd.DataFrame:
    """All cells as text."""
    if not path.exists():
        raise StudyError(f"objective: there is no table {path}")
    try:
        text = read_table_text(path)
        separator = max(",;\t", key=text.partition("\n")[0].count)
        lines = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row)]
    except (ValueError, OSError, csv.Error) as error:
        raise StudyError(
            f"objective: {path} is not a CSV table: {getattr(error, 'strerror', None) or error}",
            "a packed table must be unpacked first" if path.suffix in _PACKED else None,
        ) from error
    header, *rows = lines or [[]]
    for number, row in enumerate(rows, 1):
        if any(cell.strip() for cell in row[len(header) :]):
            raise StudyError(
                f"objective: {path}, row {number}: more cells than columns",
                "decimals have a point, and a value that holds the separator is in quotes",
            )
    width = len(header)
    return pd.DataFrame([[*row[:width], *[""] * (width - len(row))] for row in rows], columns=header, dtype=str)


def _columns(raw: pd.DataFrame, path: Path, cost: str) -> dict[str, str]:
    """Names of the columns by what they hold; `cost` is the study's cost."""
    names = [str(c).strip().lower() for c in raw.columns]
    if twice := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise StudyError(f"objective: {path} has two columns {twice[0]!r}", "leave one of them out")
    columns = dict(zip(names, map(str, raw.columns), strict=True))
    for name, same in (("cost", cost), ("map_percent", "map"), ("notation", "candidate")):
        if name in columns and same in columns:
            raise StudyError(f"objective: {path} has both columns {name!r} and {same!r}", "leave one of them out")
    if "cost" in columns:
        columns[cost] = columns.pop("cost")
    if "failure_kind" in columns:  # as results tables call it
        columns.setdefault("failure", columns["failure_kind"])
    return columns


def _numbers(raw: pd.DataFrame, column: str, path: Path, *, optional: bool = False) -> pd.Series:
    """A column as finite numbers; NaN where a cell is empty and may be."""
    text = raw[column].str.strip()
    values = pd.to_numeric(text, errors="coerce").astype(float)
    wrong = values.isna() | values.abs().eq(float("inf"))
    if optional:
        wrong &= ~text.str.lower().isin(["", "nan"])
    _refuse(raw, column, path, wrong, "is not a number", "decimals have a point, units stand in the column's name")
    return values


def _seeds(raw: pd.DataFrame, column: str, path: Path) -> pd.Series:
    values = _numbers(raw, column, path)
    wrong = values.ne(values.round()) | values.abs().ge(2**53)  # beyond, two seeds are one number
    _refuse(raw, column, path, wrong, "is not a whole number below 2^53", "number the replicates 0, 1, 2")
    return values.astype(int)


def _require_alike(raw: pd.DataFrame, columns: Mapping[str, str], path: Path) -> None:
    for name in _ALIKE:
        values = sorted(set(raw[columns[name]].str.strip())) if name in columns else []
        if len(values) > 1:
            raise StudyError(
                f"objective: {path} holds trainings of several kinds, column {columns[name]!r}: {', '.join(values)}",
                "a study on a table reads trainings that can be compared: put each kind into a table of its own",
            )


def _with_starts(rows: pd.DataFrame, written: pd.Series, path: Path) -> pd.DataFrame:
    """The rows with `start` and `move`; a seed that several starts have is a seed of its own for each but the first."""
    split = [split_start(value or SCRATCH) for value in written]
    starts = list(dict.fromkeys(start for start, _ in split))
    if SCRATCH in starts and len(starts) > 1:
        raise StudyError(
            f"objective: {path} holds trainings from scratch beside others from {starts[starts[0] == SCRATCH]}",
            "a study on a table reads trainings that can be compared: put each kind into a table of its own",
        )
    rows = rows.assign(start=[start for start, _ in split], move=[move for _, move in split])
    again = rows.groupby("seed")["start"].transform("nunique") > 1
    later = LATER_START * rows["start"].map({start: number for number, start in enumerate(starts)})
    return rows.assign(seed=rows["seed"] + later.where(again, 0))


def _map(raw: pd.DataFrame, column: str, path: Path, *, percent: bool, missing: pd.Series) -> pd.Series:
    values = _numbers(raw.assign(**{column: raw[column].mask(missing, "0")}), column, path).mask(missing)
    wrong = ~values.between(0.0, 100.0 if percent else 1.0) & values.notna()
    within = "between 0 and 100" if percent else "a fraction between 0 and 1"
    _refuse(raw, column, path, wrong, f"is not {within}", "call the column `map_percent` if it holds percent")
    if percent and 0.0 < values.max() <= 1.0:
        raise StudyError(
            f"objective: {path}, column {column!r}: no value is above 1 %", "fractions stand in a column `map`"
        )
    return values / 100.0 if percent else values


def _cost(raw: pd.DataFrame, column: str, path: Path, name: str) -> pd.Series:
    values = _numbers(raw, column, path, optional=True)
    if name != "slowdown_percent":
        _refuse(
            raw, column, path, values <= 0, "is no cost: it must be above 0", "leave the cell empty if it is not known"
        )
    return values


def _in_one_unit(rows: pd.DataFrame, path: str) -> pd.DataFrame:
    """Times as shares of the plain network's: milliseconds of different machines and days are not averaged."""
    networks = rows["notation"].map(parse_once)
    plain = networks.map(lambda network: network.baseline.notation)
    is_plain = networks.map(lambda network: not network.placements)
    ratio = rows["time_ratio"].mask(is_plain, 1.0)
    own = rows["latency_ms"].where(is_plain).groupby(plain).transform("mean")
    missing = plain[ratio.notna() & own.isna() & ~is_plain]
    if len(missing):
        raise StudyError(
            f"objective: {path}, column 'time_ratio': there is no time of {missing.iloc[0]}, over which its ratios are",
            "add a row of this network with its `latency_ms`, or leave the column `time_ratio` out",
        )
    found = rows.assign(latency_ms=ratio * own)
    if "latency_p95_ms" in rows:
        found["latency_p95_ms"] *= found["latency_ms"] / rows["latency_ms"]
    return found


def _by_seed(rows: pd.DataFrame) -> dict[str, dict[int, dict[int, float]]]:
    found: dict[str, dict[int, dict[int, float]]] = {}
    moves = rows["move"] if "move" in rows else [0] * len(rows)
    for notation, seed, move, value in zip(rows["notation"], rows["seed"], moves, rows["map"], strict=True):
        found.setdefault(notation, {}).setdefault(int(seed), {})[int(move)] = float(value)
    return found


def _refuse(raw: pd.DataFrame, column: str, path: Path, wrong: pd.Series, what: str, hint: str) -> None:
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        where = f"row {raw.index[place] + 1}, column {column!r}"
        raise StudyError(f"objective: {path}, {where}: {raw[column].iloc[place]!r} {what}", hint)


def _one_row_each(rows: pd.DataFrame, path: Path, *, seeded: bool) -> pd.DataFrame:
    """Each candidate and seed once; rows that say the same twice are one."""
    numbered = rows.assign(_row=rows.index + 1).drop_duplicates(list(rows.columns))
    one = ["notation", "seed", *(name for name in ("move", "source") if name in rows)]
    again = numbered[numbered.duplicated(one, keep=False)]
    if len(again):
        notation, seed = again["notation"].iloc[0], again["seed"].iloc[0]
        same = again[(again["notation"] == notation) & (again["seed"] == seed)]["_row"].tolist()
        which = f"{notation} with seed {seed}" if seeded else f"{notation}"
        raise StudyError(
            f"objective: {path}, rows {same[0]} and {same[1]} contradict each other: both hold {which}",
            "keep one of them" if seeded else "a column `seed` tells replicates apart",
        )
    return numbered.drop(columns="_row").sort_values(one).reset_index(drop=True)


def _notations(raw: pd.DataFrame, columns: Mapping[str, str], backbone: str, path: Path) -> list[str]:
    written = columns.get("candidate", columns.get("notation"))
    numbered = [(int(m.group(1)), column) for name, column in columns.items() if (m := _SITE.match(name))]
    sites = dict(numbered)
    if len(sites) < len(numbered):
        raise StudyError(f"objective: {path} has two columns of one site", "leave one of them out")
    if written is not None:
        texts = raw[written].tolist()
    elif sites:
        texts = [_from_sites(row, sites, backbone) for _, row in raw.iterrows()]
    else:
        raise StudyError(f"objective: {path} needs a column `candidate` or columns `site01`, `site02`, ...")
    return [_notation(text, path, row + 1) for row, text in zip(raw.index, texts, strict=True)]


def _notation(text: str, path: Path, row: int) -> str:
    try:
        return parse_once(text).notation
    except NasError as error:
        raise StudyError(f"objective: {path}, row {row}: {error.message}", error.hint) from error


def _from_sites(row: pd.Series, sites: Mapping[int, str], backbone: str) -> str:
    placed = {site: str(row[column]).strip() for site, column in sites.items()}
    return backbone + "".join(f"+{block}@{site}" for site, block in placed.items() if block.lower() not in _EMPTY)
