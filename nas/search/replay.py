"""A table of results in place of trainings: strategies can be compared on it in seconds.

The table has a column `candidate` in notation, or one column a site (`site01` ...) holding block
names, the objectives `map` and the cost, and optionally `seed`. Rows of one candidate with several
seeds are its replicates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from nas.errors import StudyError
from nas.files.hashes import hash_of_text
from nas.spaces import Candidate

_SITE = re.compile(r"site_?(\d+)$")


@dataclass(frozen=True)
class ReplayTable:
    """Results by candidate and seed.

    Attributes:
        rows: columns `notation`, `seed`, `map`, `cost`.
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
        """Reads a CSV.

        Args:
            path: the table.
            backbone: notation of the network that columns a site belong to.
            cost: name of the cost column, beside `cost`.
            seconds: how long each training is made to take.

        Raises:
            StudyError: the file or a needed column is missing, or a value is not a number.
        """
        if not path.exists():
            raise StudyError(f"objective: there is no table {path}")
        try:
            raw = pd.read_csv(path)
        except (ValueError, UnicodeDecodeError) as error:
            raise StudyError(f"objective: {path} is not a CSV table: {error}") from error
        columns = {str(c).strip().lower(): c for c in raw.columns}
        if "map" not in columns:
            raise StudyError(f"objective: {path} has no column `map`; it has {', '.join(map(str, raw.columns))}")
        notation = _notations(raw, columns, backbone, path)
        cost_column = next((columns[c] for c in ("cost", cost) if c in columns), None)
        rows = pd.DataFrame(
            {
                "notation": notation,
                "seed": raw[columns["seed"]] if "seed" in columns else raw.groupby(notation).cumcount(),
                "map": pd.to_numeric(raw[columns["map"]], errors="coerce"),
                "cost": pd.to_numeric(raw[cost_column], errors="coerce") if cost_column is not None else float("nan"),
            }
        )
        return cls(rows, str(path), seconds)

    @cached_property
    def id(self) -> str:
        """16 hex digits that change with the table's content."""
        return hash_of_text(self.rows.to_csv(index=False))

    @cached_property
    def _maps(self) -> dict[str, list[float]]:
        return {str(n): g.sort_values("seed")["map"].tolist() for n, g in self.rows.groupby("notation")}

    def lookup(self, candidate: Candidate, seed: int) -> float | None:
        """mAP of a candidate; seeds beyond the replicates start again. None when it is not in the table."""
        values = self._maps.get(candidate.notation)
        return None if not values else values[seed % len(values)]

    def costs(self) -> dict[str, float]:
        """Mean cost by notation, where known."""
        return {str(n): float(v) for n, v in self.rows.groupby("notation")["cost"].mean().items() if v == v}


def _notations(raw: pd.DataFrame, columns: Mapping[str, str], backbone: str, path: Path) -> pd.Series:
    written = columns.get("candidate", columns.get("notation"))
    if written is not None:
        text = raw[written]
        return text.map(lambda value: Candidate.parse(str(value)).notation)
    sites = {int(m.group(1)): column for name, column in columns.items() if (m := _SITE.match(name))}
    if not sites:
        raise StudyError(f"objective: {path} needs a column `candidate` or columns `site01`, `site02`, ...")
    return raw.apply(lambda row: _from_sites(row, sites, backbone), axis=1)


def _from_sites(row: pd.Series, sites: Mapping[int, str], backbone: str) -> str:
    empty = {"", "none", "nan", "0", "-"}
    placed = [(s, str(row[c]).strip()) for s, c in sites.items() if str(row[c]).strip().lower() not in empty]
    parts = "".join(f"+{block}@{site}" for site, block in placed)
    return Candidate.parse(f"{backbone}{parts}").notation
