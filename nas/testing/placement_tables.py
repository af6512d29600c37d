"""Tables of real placement trainings, kept in the project: besides landscapes, what methods can be judged on.

Columns, sources, licence and limits stand in `benchmarks/placement_table/README.md`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nas.errors import StudyError, unknown_name
from nas.project.layout import shipped


def placement_table_file(name: str) -> Path:
    """The CSV of a table, such as a study replays: `objective: {table: FILE}`.

    Raises:
        StudyError: there is no such table; names those there are.
        NasError: this installation came without them.
    """
    files = {file.stem: file for file in shipped("benchmarks/placement_table").glob("*.csv")}
    if name not in files:
        raise StudyError(unknown_name("placement table", name, files))
    return files[name]


def placement_table(name: str) -> pd.DataFrame:
    """A table of real placement trainings as a results table, one row a training.

    The columns of `nas.results.columns.RESULTS` that were kept, and `block`, `site`, `form`, `failure` and `time_ratio`
    with its 95 % interval. Trainings of one start and seed are a block: `nas.results.differences.to_controls` on the
    rows of one level compares within it. The plain network that the others start from has the role `start`.

    Args:
        name: of the table, such as `pedestrians`.

    Raises:
        StudyError: there is no such table; names those there are.
    """
    rows = pd.read_csv(placement_table_file(name), dtype={"block": "string"}, keep_default_na=False, na_values=[""])
    ids = rows["notation"].astype("category").cat.codes.astype(str)
    return rows.assign(training_id=range(1, len(rows) + 1), candidate_id=ids, architecture_id=ids, stage_kind="sweep")
