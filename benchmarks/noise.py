"""What does it cost to tell a placement from the plain network? Noise and price of the ways to compare them.

    python benchmarks/noise.py --minutes 30 --out benchmarks/results/noise      # goes on where it was cut off
    python benchmarks/noise.py --rounds 3 --known benchmarks/results/noise.json     # what was trained, read again

Trains a few networks in each way, and reports the sd of one training beside others of its seed (what is left in a
difference taken within a seed) and over seeds (in a difference that is not), with intervals; then the CPU seconds that
a study of 36 placements takes until the standard error of a difference to the control is 0.001 mAP, starts and controls
counted. Ways:

- scratch, unpaired: the full recipe from random weights, candidate and control in seeds of their own;
- scratch, pairs: the same in one seed, with the same batches (common random numbers);
- warm, published forms; warm, identity forms: fine-tuned from one trained plain network, within seeds;
- two starts: identity forms from two plain networks, what a placement is worth to each of them counted as noise; in the
  placement table, too, where the same networks were trained in several seeds of one start and in one of each of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from real_trainings import CONTROLS, Lab, OutOfTime, arguments, identity, written

from nas.results.intervals import Spread
from nas.results.noise import noise_of
from nas.search.starts import PLAIN_SEEDS, control_count
from nas.testing import placement_table

PLAIN = "resnet50(width=0.25)"
SITES = (4, 17)
TUNED = tuple(f"{PLAIN}+{block}@{site}" for site in SITES for block in ("se", "hac", "raga"))
CNL = tuple(f"{PLAIN}+cnl(fuse=gate2)@{site}" for site in SITES)
SCRATCH = (PLAIN, *(f"{PLAIN}+{block}@{site}" for site in SITES for block in ("cnl(fuse=gate2)", "se")))
PLACEMENTS, WANTED = 36, 0.001
"""A study of 36 placements; the standard error that tells 0.003 mAP, about the spread of placements, from none."""


@dataclass(frozen=True)
class Way:
    """One way to compare, with what it costs.

    Attributes:
        name: in the table.
        noise: what is left in a difference.
        seconds: CPU seconds a training.
        once: CPU seconds before the first one (starts).
        trainings: that this was read from.
    """

    name: str
    noise: Spread
    seconds: float
    once: float
    trainings: int

    @property
    def seeds(self) -> float:
        """Seeds until the standard error is `WANTED`; a broken number, so that ways can be compared."""
        return self.noise.sd**2 * (1 + 1 / control_count(PLACEMENTS)) / WANTED**2

    @property
    def price(self) -> float:
        """CPU seconds of the study; at least one seed has to be trained."""
        return self.once + max(1.0, self.seeds) * (PLACEMENTS + control_count(PLACEMENTS)) * self.seconds


def trained(lab: Lab, rounds: int) -> tuple[list[dict[str, object]], bool]:
    """All trainings, the cheap ones first, seed by seed; and whether the time was enough."""
    rows: list[dict[str, object]] = []
    try:
        for design, notation, seed, start, moved in planned(range(1, rounds + 1)):
            rows.append(lab.trained(design, notation, seed, start=start, moved=moved))
    except OutOfTime:
        return rows, False
    return rows, True


def planned(seeds: Sequence[int]) -> Iterator[tuple[str, str, int, int | None, int]]:
    """Design, network, seed, start and move of every training."""
    for seed in seeds:
        yield from warm("identity", 0, seed)
        yield from (("published", n, seed, 0, 0) for n in TUNED)
    yield from (("scratch", n, seed, None, 0) for seed in seeds for n in SCRATCH)
    for seed in seeds:
        yield from warm("second start", 1, seed)


def warm(design: str, start: int, seed: int) -> Iterator[tuple[str, str, int, int | None, int]]:
    """Identity forms and controls from one start in one seed."""
    yield from ((design, identity(n), seed, start, 0) for n in (*TUNED, *CNL))
    yield from ((design, PLAIN, seed, start, m) for m in range(CONTROLS))


def ways(rows: pd.DataFrame, once: float) -> list[Way]:
    """The ways that can be told from what was trained."""
    by = {str(name): own for name, own in rows.groupby("design")}
    controls = by["identity"][by["identity"]["notation"].eq(PLAIN)] if "identity" in by else rows.iloc[:0]
    found = []
    if (scratch := by.get("scratch")) is not None:
        noise = noise_of(scratch)
        whole = noise.whole if noise.whole.known else noise.single
        found += [Way("scratch, unpaired", whole, scratch["seconds"].mean(), 0.0, len(scratch))]
        found += [Way("scratch, pairs", noise.single, scratch["seconds"].mean(), 0.0, len(scratch))]
    for name, title in (("published", "warm, published forms"), ("identity", "warm, identity forms")):
        if name in by:
            own = by[name] if name == "identity" else pd.concat([by[name], controls])
            found.append(Way(title, noise_of(own).single, own["seconds"].mean(), once, len(own)))
    if "second start" in by:
        both = pd.concat([by["identity"], by["second start"]])
        found.append(Way("two starts", noise_of(both).single, both["seconds"].mean(), 2 * once, len(both)))
    return found


def starts_of_table(seconds: float, once: float) -> list[Way]:
    """The same networks of the placement table in all seeds of one start, and in one seed of it beside another's.

    Args:
        seconds: CPU seconds a training; the table's own are of a busy machine.
        once: CPU seconds of a start.
    """
    rows = placement_table("pedestrians")
    rows = rows[rows["role"].ne("start") & rows["form"].ne("published")]
    names = rows["start"].str.partition("+")[0]
    first = names.eq(rows["seed"].groupby(names).nunique().idxmax())
    seeds = rows[first].groupby("notation")["seed"].nunique()
    same = rows["notation"].isin(seeds.index[seeds.eq(seeds.max())])
    sides = {"one start": first, "two starts": ~first | rows["seed"].eq(rows["seed"].min())}
    return [
        Way(f"the table, {name}", noise_of(own := rows[same & side]).single, seconds, n * once, len(own))
        for n, (name, side) in enumerate(sides.items(), 1)
    ]


def of_table() -> str:
    """The noise of the placement table, which has many more fine-tunings, by how blocks are put in."""
    rows = placement_table("pedestrians")
    rows = rows[rows["role"].ne("start")]
    told, beside = [], starts_on_handwriting()
    for form, other in (("identity", "published"), ("published", "identity")):
        own = rows[rows["form"].ne(other)]
        noise, placed = noise_of(own).single, own[own["form"].eq(form)]
        if len(placed) and noise.known:
            told.append(f"{form} forms {spread(noise)} (df {noise.df:.0f})")
    own = f"The placement table's own noise of one training: {'; '.join(told) or 'not known yet'}."
    same = "`the table`: the same networks there in all seeds of one start, and in one seed each of two; the seconds of"
    return f"{own} {same} a training are those of the warm identity forms above. {beside}"


def starts_on_handwriting() -> str:
    """The same comparison for two blocks as published, which six seeds of two starts hold whole."""
    rows = placement_table("handwriting")
    rows = rows[rows["role"].ne("start")]
    names = rows["start"].str.partition("+")[0]
    seeds = rows["seed"].groupby(names).transform("nunique")
    rows, names = rows[seeds.eq(seeds.max())], names[seeds.eq(seeds.max())]
    within = [noise_of(own).single for _, own in rows.groupby(names)]
    df = sum(one.df for one in within)
    pooled = Spread(math.sqrt(sum(one.df * one.sd**2 for one in within) / df), df)
    one, both = map(spread, (pooled, noise_of(rows).single))
    told = f"On handwriting, HAC and SE as published in {seeds.max()} seeds of each of {names.nunique()} starts"
    return f"{told}: {one} within a start, {both} over all."


def spread(noise: Spread) -> str:
    """An sd with its interval."""
    low, high = noise.interval()
    return f"{noise.sd:.4f} [{low:.4f}, {high:.4f}]"


def report(found: list[Way], whole: bool) -> str:
    """Markdown."""
    head = (
        "way",
        "trainings",
        "noise of one, 95 %",
        "df",
        "CPU s each",
        "seeds",
        "CPU s of the study",
        "of the first two",
    )
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    prices = {way.name: way.price for way in found if way.noise.known}
    for way in found:
        known = way.noise.known
        rivals = [
            prices[name] / way.price for name in ("scratch, unpaired", "scratch, pairs") if known and name in prices
        ]
        cells = [way.name, way.trainings, spread(way.noise) if known else "not known"]
        cells += [f"{way.noise.df:.0f}", f"{way.seconds:.0f}"]
        cells += [f"{way.seeds:.1f}", f"{way.price:,.0f}"] if known else ["", ""]
        cells += [" and ".join(f"1/{r:.1f}" for r in rivals)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    note = "" if whole else "\n\nThe time ran out: the last seed is not whole. Run it again to go on."
    return "\n\n".join(
        [
            "# Noise and price of a difference",
            f"A study of {PLACEMENTS} placements and {control_count(PLACEMENTS)} controls a seed, until the standard "
            f"error of a difference is {WANTED} mAP; at least one seed. Intervals of the noise come from its degrees "
            "of freedom (df): with few of them they are wide, and the price goes with the square of the noise.",
            "\n".join(lines) + note,
            of_table(),
        ]
    )


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    lab = Lab.of(args)
    rows, whole = trained(lab, args.rounds)
    if not rows:
        raise SystemExit("nothing was trained: give it more --minutes")
    start = lab.trained("start", PLAIN, PLAIN_SEEDS)
    found = ways(pd.DataFrame(rows), start["seconds"])
    tuned = [way.seconds for way in found if way.name == "warm, identity forms"]
    found += starts_of_table(tuned[0] if tuned else math.nan, start["seconds"])
    numbers = [asdict(way) | {"seeds": way.seeds, "price": way.price} for way in found]
    written(args.out, report(found, whole), {"ways": numbers, "trainings": [start, *rows]})


if __name__ == "__main__":
    main()
