"""Is a warm start a fair proxy? Contrasts of fine-tunings beside the same contrasts of trainings from scratch.

    python benchmarks/warm_start.py --minutes 30 --out benchmarks/results/warm_start     # goes on where it was cut off

Single placements cannot be compared from scratch (a training's own noise is several times their spread), so *contrasts*
are: means of blocks, of sites, of blocks against none. Each is given with its interval and with the size it sees with
80 % power, in both; `in the table` is the same contrast over all sites of the placement table. Trainings are those of
`benchmarks/noise.py`, in the same folder, and are not repeated.
"""

from __future__ import annotations

import math

import pandas as pd
from noise import CNL, PLAIN, SCRATCH, SITES, trained
from real_trainings import Lab, arguments, compared, identity, mixed, written
from scipy.stats import norm
from scipy.stats import t as student

from nas.results.differences import to_controls
from nas.results.intervals import Estimate
from nas.results.noise import noise_of
from nas.results.power import POWER
from nas.testing import placement_table

SE = tuple(f"{PLAIN}+se@{site}" for site in SITES)
CONTRASTS = {
    "C-NL minus SE": (CNL, SE, ("cnl", "se")),
    f"site {SITES[0]} minus site {SITES[1]}": ((CNL[0], SE[0]), (CNL[1], SE[1]), None),
    "C-NL minus none": (CNL, (PLAIN,), ("cnl", None)),
    "SE minus none": (SE, (PLAIN,), ("se", None)),
    "a block minus none": ((*CNL, *SE), (PLAIN,), ("cnl se", None)),
}
"""What both were trained for, networks in their published forms; and the blocks of the same contrast in the table."""


def visible(found: Estimate) -> float:
    """The smallest contrast whose 95 % interval excludes 0 with 80 % power."""
    return float(student.ppf(0.975, found.df) + norm.ppf(POWER)) * found.se if found.known else math.nan


def told(found: Estimate) -> str:
    """A contrast with its interval and what it could see."""
    if not math.isfinite(found.value):
        return "not trained"
    low, high = found.interval()
    return f"{found.value:+.4f} [{low:+.4f}, {high:+.4f}], sees {visible(found):.4f}"


def of_table(better: str, worse: str | None) -> Estimate:
    """Blocks against a block, or against none, over all sites of the placement table."""
    rows = placement_table("pedestrians")
    rows = rows[rows["role"].ne("start") & rows["n_blocks"].le(1) & rows["form"].ne("published")]
    found = to_controls(rows).dropna(subset=["difference"]).set_index("notation")
    block = rows.drop_duplicates("notation").set_index("notation")["block"].loc[found.index]
    noise = noise_of(rows).single
    sides = [found[block.isin(side.split())] for side in (better, worse or "")]
    means = [float(side["difference"].mean()) if len(side) else 0.0 for side in sides]
    variance = sum(float((1 / side["blocks"]).sum()) / len(side) ** 2 for side in sides if len(side))
    if worse is None:
        variance += 1 / max(1, int(rows["n_blocks"].eq(0).sum()))
    return Estimate(means[0] - means[1], noise.sd * math.sqrt(variance), noise.df)


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    lab = Lab(args.folder, args.minutes, smoke=args.smoke)
    rows, whole = trained(lab, args.rounds)
    table = pd.DataFrame(rows)
    tuned, scratch = (table[table["design"].eq(name)] for name in ("identity", "scratch"))
    lines = ["| contrast | fine-tuned | from scratch | in the table, all sites | sign |", "|---|---|---|---|---|"]
    numbers = []
    for name, (better, worse, blocks) in CONTRASTS.items():
        warm, _ = compared(tuned, mixed([identity(n) for n in better], [identity(n) for n in worse]))
        cold, _ = compared(scratch, mixed(better, worse))
        wide = Estimate(math.nan) if blocks is None else of_table(*blocks)
        apart = [e.known and e.interval()[0] * e.interval()[1] > 0 for e in (warm, cold)]
        sign = "agrees" if warm.value * cold.value > 0 else "disagrees"
        verdict = sign if all(apart) else "not told apart in both"
        lines.append(f"| {name} | {told(warm)} | {told(cold)} | {told(wide)} | {verdict} |")
        numbers.append({"contrast": name, "tuned": warm.value, "scratch": cold.value, "se": [warm.se, cold.se]})
    values = pd.DataFrame(numbers)[["tuned", "scratch"]].dropna()
    agreement = "Too few contrasts were trained in both for a correlation."
    if len(values) >= 4:
        r = float(values["tuned"].corr(values["scratch"]))
        agreement = f"Correlation over the {len(values)} contrasts: {r:.2f}; they overlap, so it has no interval."
    size = f"{len(tuned)} fine-tunings in {tuned['seed'].nunique()} seeds, {len(scratch)} trainings from scratch in "
    size += f"{scratch['seed'].nunique()}." + ("" if whole else " The time ran out: the last seed is not whole.")
    text = "\n\n".join(["# Fine-tuned beside from scratch", size, "\n".join(lines), agreement])
    written(args.out, text, {"contrasts": numbers, "scratch": SCRATCH})


if __name__ == "__main__":
    main()
