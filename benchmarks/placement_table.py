"""Writes the table of real placement trainings from the database of its study: one row a training.

    nas run studies/placement_table_pedestrians.yaml
    python benchmarks/placement_table.py sqlite:///placement_table_pedestrians.db
    python benchmarks/placement_table.py URL --study placement_table_pedestrians placement_table_published
    python benchmarks/placement_table.py URL --add         # another machine, another start: to the table as it is
    python benchmarks/placement_table.py URL... --add --start 12952d3e22898279     # from a plain network it knows
    python benchmarks/placement_table.py --picture docs/images/placement_table.png

The database is only read, and may be in use: trainings that have not ended are left out and counted. Several databases
(another machine, another start) and several studies make one table. A start is named by its weights, but those of the
tables by their files, of which no second is alike: `--start` gives a network the name that the table has for it, after
a look at whether trainings that both have are the same. `--picture` draws the map of the single placements.
Columns, sources and limits: `benchmarks/placement_table/README.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from nas import Study
from nas.reporting import StudyData
from nas.reporting.figures import FIGURES
from nas.reporting.stills import write_still
from nas.results.cost_tables import parse_once, time_quote
from nas.results.costs import Quote, ratio
from nas.spaces import get_block_spec
from nas.testing import placement_table

FOLDER = Path(__file__).parent / "placement_table"
ENDED = ("finished", "failed")
COLUMNS = (
    *("notation", "block", "site", "form", "backbone", "n_blocks", "role", "start", "seed", "fidelity", "epochs"),
    *("split", "status", "failure", "map", "rank1", "minp", "time_ratio", "time_ratio_low", "time_ratio_high"),
    *("latency_ms", "latency_low_ms", "latency_high_ms", "params", "macs", "activations", "seconds", "images_per_s"),
)
TOLD = ("time_ratio", "time_ratio_low", "time_ratio_high", "block", "site", "form")
"""What the notation and the times say, beside the columns of a results table."""
COUNTS = ("n_blocks", "site", "seed", "epochs", "params", "macs", "activations")
SAME = ["notation", "start", "seed", "fidelity", "split"]
EQUAL = 1e-5
"""mAP of trainings that are one: the table has six digits, and rounding may differ by the last."""
DIGITS = {"map": 6, "rank1": 6, "minp": 6, "seconds": 1, "images_per_s": 0}
"""Fewer than were measured: beyond them is nothing but the machine."""


def table_of(study: Study) -> pd.DataFrame:
    """The ended trainings of a study, one row each, with the time of their network relative to its plain one.

    Where it has sweeps, not those of later stages: what is trained there was chosen by what the sweeps found.
    """
    rows = study.results()
    swept = rows["stage_kind"].isin(["sweep", "start"])
    rows = rows[rows["status"].isin(ENDED) & (swept | ~swept.any())].drop_duplicates("training_id")
    timed = study.results()
    timed = timed[timed["latency_measured"].eq(True)].drop_duplicates("notation")
    times = {str(row["notation"]): time_quote(row) for row in timed.to_dict("records")}
    told = [(*_ratio(str(notation), times), *_placed(str(notation))) for notation in rows["notation"]]
    return rows.assign(
        **dict(zip(TOLD, map(list, zip(*told, strict=True)), strict=True)),
        failure=rows["failure_kind"].where(rows["status"].eq("failed")),
    ).reindex(columns=list(COLUMNS))


def _ratio(notation: str, times: dict[str, Quote]) -> tuple[float | None, float | None, float | None]:
    network = parse_once(notation).architecture
    if network.notation not in times or network.baseline.notation not in times:
        return None, None, None
    if not network.placements:
        return 1.0, 1.0, 1.0
    found = ratio(times[network.notation], times[network.baseline.notation])
    return (None, None, None) if found is None else (found.value, found.low, found.high)


def _placed(notation: str) -> tuple[str, int | None, str]:
    """Block (`none`, one type, `mixed`), site of a lone block, and how the blocks are put in."""
    placements = parse_once(notation).placements
    blocks = {p.block for p in placements}
    identity = [get_block_spec(p.block).is_identity(dict(p.params)) for p in placements]
    form = "" if not placements else "identity" if all(identity) else "published" if not any(identity) else "mixed"
    block = "none" if not blocks else blocks.pop() if len(blocks) == 1 else "mixed"
    return block, placements[0].site if len(placements) == 1 else None, form


def from_start(added: pd.DataFrame, table: pd.DataFrame, start: str) -> pd.DataFrame:
    """Trainings of several databases, all from the plain network that the table knows as `start`, under that name.

    Raises:
        SystemExit: their plain networks are not one, or trainings that both have differ, or there are none to compare.
    """
    plain = added.loc[added["role"].eq("start"), "map"]
    if plain.max() - plain.min() > EQUAL:
        raise SystemExit(f"the plain networks of these databases differ: mAP {plain.min():.6f} to {plain.max():.6f}")
    moves = added["start"].str.partition("+")
    named = added["start"].where(moves[0].eq("scratch"), f"plain:{start}" + moves[1] + moves[2])
    renamed = added.assign(start=named)
    both = renamed[renamed["role"].ne("start")].merge(table, on=SAME, suffixes=("", "_known"))
    apart = (both["map"] - both["map_known"]).abs().max()
    if both.empty or apart > EQUAL:
        raise SystemExit(f"{len(both)} trainings are in both, and differ by up to {apart} mAP: another plain network?")
    print(f"{len(both)} trainings are in both, and are the same")
    return renamed


def written(table: pd.DataFrame, file: Path) -> None:
    """The CSV: sorted, so that a table that grew differs from the former by lines that were added."""
    rounded = table.assign(**{name: table[name].astype(float).round(digits) for name, digits in DIGITS.items()})
    for name in table:
        if name.startswith(("time_", "latency_")):
            rounded[name] = table[name].astype(float).round(4)
    rounded = rounded.assign(**{name: rounded[name].astype("Int64") for name in COUNTS})
    order = ["start", "seed", "role", "n_blocks", "site", "notation"]
    file.parent.mkdir(parents=True, exist_ok=True)
    rounded.sort_values(order, na_position="last").to_csv(file, index=False, lineterminator="\n")


def picture(name: str, file: Path) -> None:
    """The map of the single placements as a PNG, made from the CSV."""
    table = placement_table(name)
    table = table[table["form"].ne("published")]  # forms are not mixed in one picture
    drawn = FIGURES["placement_map"](kind="single")(StudyData.from_results(table, name))
    if isinstance(drawn, str):
        raise SystemExit(drawn)
    write_still(drawn, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="*", help="databases of the study")
    parser.add_argument("--study", nargs="*", help="names of the studies, where a database has several")
    parser.add_argument("--add", action="store_true", help="keep the trainings that the table has already")
    parser.add_argument("--start", metavar="HASH", help="the table's name of the plain network behind what is added")
    parser.add_argument("--name", default="pedestrians", help="name of the table")
    parser.add_argument("--picture", type=Path, help="PNG to draw from the table")
    arguments = parser.parse_args()
    if arguments.urls:
        studies = [Study.open(url, name) for url in arguments.urls for name in arguments.study or [None]]
        table = pd.concat([table_of(study) for study in studies], ignore_index=True)
        file = FOLDER / f"{arguments.name}.csv"
        if arguments.add and file.exists():
            known = placement_table(arguments.name)[list(COLUMNS)]
            table = from_start(table, known, arguments.start) if arguments.start else table
            table = pd.concat([known, table], ignore_index=True)
        table = table.drop_duplicates(SAME)  # controls that studies of one database share
        written(table, file)
        left = sum(int((~study.results()["status"].isin(ENDED)).sum()) for study in studies)
        print(f"{file}: {len(table)} trainings of {table['notation'].nunique()} networks; {left} have not ended")
    if arguments.picture:
        picture(arguments.name, arguments.picture)
        print(arguments.picture)


if __name__ == "__main__":
    main()
