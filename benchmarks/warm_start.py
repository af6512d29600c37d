"""Is a warm start a fair proxy? Contrasts of fine-tunings beside the same contrasts of trainings from scratch.

    python benchmarks/warm_start.py --minutes 30 --out benchmarks/results/warm_start     # goes on where it was cut off
    python benchmarks/warm_start.py --rounds 3 --known benchmarks/results/noise.json     # what was trained, read again

Single placements cannot be compared from scratch (a training's own noise is several times their spread), so *contrasts*
are: means of blocks, of early against late sites, of blocks against none, of forms. Each is given with its interval and
with the size it sees with 80 % power, in both; `in the table` is the same contrast over all sites of the placement
table. Trainings are those of `benchmarks/noise.py`, in the same folder, and are not repeated; behind them come SE from
scratch as the identity, and fine-tunings in other schedules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from noise import CNL, PLAIN, SCRATCH, SITES, TUNED, spread, trained
from real_trainings import CONTROLS, Lab, OutOfTime, arguments, compared, identity, mixed, written
from scipy.stats import norm
from scipy.stats import t as student

from nas.results.differences import to_controls
from nas.results.intervals import Estimate, mean_of
from nas.results.noise import BLOCKS, noise_of
from nas.results.power import POWER
from nas.spaces import Candidate
from nas.spaces.labels import block_title
from nas.testing import placement_table

SE = tuple(f"{PLAIN}+se@{site}" for site in SITES)
EARLY, LATE = range(1, 9), range(9, 18)
STAGES = {1: range(2, 5), 2: range(5, 9), 3: range(9, 15), 4: range(15, 18)}
"""Sites of ResNet-50 by stage; the first site is behind the stem."""
CONTRASTS = {
    "C-NL minus SE": (CNL, SE, ("block", ["cnl"], ["se"])),
    f"early minus late (site {SITES[0]} minus {SITES[1]}; in the table 1-8 minus 9-17)": (
        (CNL[0], SE[0]),
        (CNL[1], SE[1]),
        ("site", EARLY, LATE),
    ),
    "C-NL minus none": (CNL, (PLAIN,), ("block", ["cnl"], ())),
    "SE minus none": (SE, (PLAIN,), ("block", ["se"], ())),
    "a block minus none": ((*CNL, *SE), (PLAIN,), ("block", ["cnl", "se"], ())),
}
"""What both were trained for, networks in their published forms; and where the table's sides differ."""
SCHEDULES: dict[str, dict[str, Any]] = {
    "2 epochs": {"epochs": 2},
    "8 epochs": {"epochs": 8},
    "rate 0.001": {"rate": 0.001},
    "rate 0.01": {"rate": 0.01},
}
"""Beside four epochs from a rate of 0.003 to nothing."""
OWN_FORM = "scratch identity"
COMMAND = "`python benchmarks/warm_start.py --minutes 120 --rounds 3 --out benchmarks/results/warm_start`"
WANTED = 0.003
FORMS = """Paired within site, start and seed. Fine-tuned here: every pair counts as independent, so it is said of these
sites alone; in the table: a site is one value, the mean over its seeds and starts. C-NL (gate2) is the identity as
published."""


def visible(found: Estimate) -> float:
    """The smallest contrast whose 95 % interval excludes 0 with 80 % power."""
    return float(student.ppf(0.975, found.df) + norm.ppf(POWER)) * found.se if found.known else math.nan


def told(found: Estimate) -> str:
    """A contrast with its interval and what it could see."""
    if not math.isfinite(found.value):
        return "not trained"
    low, high = found.interval()
    return f"{found.value:+.4f} [{low:+.4f}, {high:+.4f}], sees {visible(found):.4f}"


def of_table(column: str, better: Sequence[object], worse: Sequence[object]) -> Estimate:
    """Single placements of the placement table, as the identity, against others; against none if `worse` is empty."""
    rows = placement_table("pedestrians")
    rows = rows[rows["role"].ne("start") & rows["n_blocks"].le(1) & rows["form"].ne("published")]
    found = to_controls(rows).dropna(subset=["difference"]).set_index("notation")
    own = rows.drop_duplicates("notation").set_index("notation")[column].loc[found.index]
    noise = noise_of(rows).single
    sides = [found[own.isin(side)] for side in (better, worse)]
    means = [float(side["difference"].mean()) if len(side) else 0.0 for side in sides]
    variance = sum(float((1 / side["blocks"]).sum()) / len(side) ** 2 for side in sides if len(side))
    if not worse:
        variance += 1 / max(1, int(rows["n_blocks"].eq(0).sum()))
    return Estimate(means[0] - means[1], noise.sd * math.sqrt(variance), noise.df)


def further(lab: Lab, rounds: int) -> list[dict[str, object]]:
    """SE from scratch as the identity, and fine-tunings in other schedules, seed by seed, as far as time reaches."""
    rows: list[dict[str, object]] = []
    try:
        for seed in range(1, rounds + 1):
            for notation in map(identity, SE):
                rows.append(lab.trained(OWN_FORM, notation, seed))
            for name, own in SCHEDULES.items():
                for notation in map(identity, (*CNL, *SE)):
                    rows.append(lab.trained(name, notation, seed, start=0, **own))
                for moved in range(CONTROLS):
                    rows.append(lab.trained(name, PLAIN, seed, start=0, moved=moved, **own))
    except OutOfTime:
        pass
    return rows


def formed(rows: pd.DataFrame, block: str, over: Sequence[str]) -> Estimate:
    """Identity minus published form of a block alone, paired within site, start and seed.

    Args:
        rows: with form, block, site, start, seed and map.
        block: its name.
        over: columns whose values are taken as independent; what remains is averaged.
    """
    own = rows[rows["block"].eq(block) & rows["n_blocks"].eq(1)]
    wide = own.pivot_table(index=["site", *BLOCKS], columns="form", values="map")
    if not {"identity", "published"} <= set(wide):
        return Estimate(math.nan)
    return mean_of((wide["identity"] - wide["published"]).dropna().groupby(list(over)).mean())


def placed(rows: pd.DataFrame, identities: Sequence[str]) -> pd.DataFrame:
    """Trainings with their block, site and form; `identities`: designs whose blocks are put in as the identity."""
    found = [Candidate.parse(notation).placements for notation in rows["notation"]]
    return rows.assign(
        n_blocks=list(map(len, found)),
        block=[one[0].block if one else "none" for one in found],
        site=[one[0].site if one else None for one in found],
        form=np.where(rows["design"].isin(identities), "identity", "published"),
    )


def forms(table: pd.DataFrame) -> str:
    """Markdown: a row a block."""
    rows = placement_table("pedestrians")
    sides = [rows[rows["site"].isin(part)] for part in (EARLY, LATE)]
    designs = (("identity", "published"), (OWN_FORM, "scratch"))
    trained_here = [placed(table[table["design"].isin(pair)], pair[:1]) for pair in designs]
    sites = " and ".join(map(str, SITES))
    lines = [
        f"| block | fine-tuned, sites {sites} | in the table, sites 1-8 | sites 9-17 | from scratch, sites {sites} |"
    ]
    lines.append("|---" * 5 + "|")
    for block in dict.fromkeys(Candidate.parse(notation).placements[0].block for notation in TUNED):
        warm, cold = (formed(own, block, ("site", "seed")) for own in trained_here)
        cells = [warm, *(formed(side, block, ("site",)) for side in sides), cold]
        lines.append(f"| {block_title(block)} | " + " | ".join(map(told, cells)) + " |")
    if "identity" not in set(trained_here[1]["form"]):
        lines += ["", f"From scratch, none was trained as the identity: {COMMAND} trains SE so."]
    return "\n".join(lines)


def schedules(table: pd.DataFrame) -> str:
    """Markdown: a row a schedule; and what is missing."""
    names = {"identity": "4 epochs, rate 0.003"} | {name: name for name in SCHEDULES}
    contrasts = list(CONTRASTS)[:3]
    lines = [
        "| schedule | trainings | noise of one | " + " | ".join(contrasts) + " |",
        "|---" * (3 + len(contrasts)) + "|",
    ]
    for design, title in names.items():
        own = table[table["design"].eq(design)]
        if own.empty:
            continue
        found = [
            compared(own, mixed(*(list(map(identity, side)) for side in CONTRASTS[name][:2])))[0] for name in contrasts
        ]
        noise = noise_of(own).single
        cells = [title, str(len(own)), spread(noise) if noise.known else "not known", *map(told, found)]
        lines.append("| " + " | ".join(cells) + " |")
    missing = [name for name in SCHEDULES if table["design"].ne(name).all()]
    said = (
        f"Not trained: {', '.join(missing)}. How contrasts depend on the schedule is not known; {COMMAND} trains them."
    )
    return "\n".join(lines) + (f"\n\n{said}" if missing else "")


def sight(tuned: pd.DataFrame, scratch: pd.DataFrame) -> str:
    """What both see of the first contrast, and what trainings from scratch would cost that see as much as is wanted."""
    name = next(iter(CONTRASTS))
    better, worse, _ = CONTRASTS[name]
    warm, _ = compared(tuned, mixed([identity(n) for n in better], [identity(n) for n in worse]))
    cold, seeds = compared(scratch, mixed(better, worse))
    if not (warm.known and cold.known):
        return "What it can see is not known yet."
    needed = seeds * (visible(cold) / WANTED) ** 2
    hours = needed * len(SCRATCH) * float(scratch["seconds"].mean()) / 3600
    return (
        f"What it can see with 80 % power, {name}: {visible(warm):.4f} fine-tuned, {visible(cold):.4f} from scratch. "
        f"To see {WANTED} from scratch takes about {needed:.0f} seeds, {hours:.0f} CPU hours."
    )


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    lab = Lab.of(args)
    rows, whole = trained(lab, args.rounds)
    more = further(lab, args.rounds)
    table = pd.DataFrame([*rows, *more])
    tuned, scratch = (table[table["design"].eq(name)] for name in ("identity", "scratch"))
    lines = ["| contrast | fine-tuned | from scratch | in the table, all sites | sign |", "|---|---|---|---|---|"]
    numbers = []
    for name, (better, worse, sides) in CONTRASTS.items():
        warm, _ = compared(tuned, mixed([identity(n) for n in better], [identity(n) for n in worse]))
        cold, _ = compared(scratch, mixed(better, worse))
        apart = [e.known and e.interval()[0] * e.interval()[1] > 0 for e in (warm, cold)]
        sign = "agrees" if warm.value * cold.value > 0 else "disagrees"
        verdict = sign if all(apart) else "not told apart in both"
        lines.append(f"| {name} | {told(warm)} | {told(cold)} | {told(of_table(*sides))} | {verdict} |")
        numbers.append({"contrast": name, "tuned": warm.value, "scratch": cold.value, "se": [warm.se, cold.se]})
    values = pd.DataFrame(numbers)[["tuned", "scratch"]].dropna()
    agreement = "Too few contrasts were trained in both for a correlation."
    if len(values) >= 4:
        r = float(values["tuned"].corr(values["scratch"]))
        agreement = f"Correlation over the {len(values)} contrasts: {r:.2f}; they overlap, so it has no interval."
    size = f"{len(tuned)} fine-tunings in {tuned['seed'].nunique()} seeds, {len(scratch)} trainings from scratch in "
    size += f"{scratch['seed'].nunique()}." + ("" if whole else " The time ran out: the last seed is not whole.")
    stages = ["| stage minus all others | in the table |", "|---|---|"]
    for stage, sites in STAGES.items():
        others = [site for n, own in STAGES.items() if n != stage for site in own]
        stages.append(f"| {stage} (sites {sites[0]}-{sites[-1]}) | {told(of_table('site', sites, others))} |")
    parts = ["# Fine-tuned beside from scratch", f"{size} {sight(tuned, scratch)}", "\n".join(lines), agreement]
    parts += [
        "## By stage",
        "Blocks put in as the identity; from scratch, only the sites above were trained.",
        "\n".join(stages),
    ]
    parts += ["## Identity minus published form", FORMS, forms(table), "## By schedule", schedules(table)]
    written(args.out, "\n\n".join(parts), {"contrasts": numbers, "scratch": SCRATCH, "trainings": more})


if __name__ == "__main__":
    main()
