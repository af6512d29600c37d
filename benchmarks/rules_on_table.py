"""Rules and searches judged by the table of real trainings, replayed with fresh noise.

    python benchmarks/rules_on_table.py --out benchmarks/results/rules_on_table
    python benchmarks/rules_on_table.py --planted          # a planted table in its place, to see that this works
    python benchmarks/rules_on_table.py --name handwriting --published hac se --own-starts    # these as published

Truth is the table's differences to the control, each part (blocks, sites, what is left; networks of as many blocks)
shrunk by its own reliability: a mean of noisy trainings spreads more than what it measures. Noise is the table's, drawn
anew for every study.

- rules: every study fine-tunes all single placements in so many seeds, with controls, derives rules and confirms them
  on fresh draws. Claims are held against the truth as `nas.testing.planted` says. To be found is what the study itself
  says it sees with 80 % power.
- split: rules derived from some of the table's own seeds, held against the others: contradicted where the others' 95 %
  interval excludes them. Needs two seeds.
- search: the complete subspace, as in `benchmarks/search_efficiency.py`: hypervolume by trainings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rule_recovery import interval
from search_efficiency import RIVALS, Score, machine, overall, strategy_of, table
from search_tasks import Task

from nas.errors import NasError
from nas.files.yaml_source import load_yaml
from nas.networks import complexity
from nas.project import shipped
from nas.results.additive import AdditiveModel
from nas.results.differences import to_controls
from nas.results.intervals import Estimate
from nas.results.noise import noise_of
from nas.search.starts import control_count, identity_forms
from nas.shrinking import confirm, confirmed_findings, propose_child
from nas.shrinking.derive import derive
from nas.shrinking.draws import fresh_draws
from nas.shrinking.settings import RuleFamily
from nas.spaces import Candidate, DesignSpace, Finding, Rule, get_topology
from nas.spaces.rules import BlockPreference, SitesRule, StageEnds
from nas.testing import placement_table
from nas.testing.landscapes import Landscape, landscape_table
from nas.testing.planted import Claim, Truth

Floats = npt.NDArray[np.float64]
FAMILIES: tuple[RuleFamily, ...] = ("sites", "stage_ends", "block_preference")
"""What single placements can answer."""
CONFIRM = 12
LEAST_SITES = 4
FRESH_SEED = 1000
CHECKPOINTS = (10, 20, 30, 60, 90)
GOAL = (30, 90)
"""Ours after so many trainings should reach what the best other sampler does after so many."""


@dataclass(frozen=True)
class Judged:
    """The table as something to draw studies from.

    Attributes:
        rows: fine-tunings and controls.
        space: the table's space.
        noise: sd of one training beside others of its block.
        singles: true differences of single placements, as a landscape.
        networks: true difference of every network of the subspace, by notation.
        own_starts: whether every seed of a study begins from a plain network of its own.
    """

    rows: pd.DataFrame
    space: DesignSpace
    noise: float
    singles: Landscape
    sites: tuple[int, ...]
    networks: dict[str, float]
    told: tuple[str, ...]
    own_starts: bool = False

    @classmethod
    def of(cls, rows: pd.DataFrame, space: DesignSpace) -> Judged:
        rows = rows[rows["role"].ne("start")]
        noise = noise_of(rows)
        found = to_controls(rows).dropna(subset=["difference"]).set_index("notation")
        variance = noise.single.sd**2 / found["blocks"]
        base = float(rows.loc[rows["n_blocks"].eq(0), "map"].mean())
        single = rows.drop_duplicates("notation").set_index("notation").loc[found.index]
        alone = found.assign(variance=variance, block=single["block"], site=single["site"])[single["n_blocks"].eq(1)]
        cells = alone.pivot_table(index="block", columns="site", values="difference").reindex(sorted(space.blocks))
        cells = cells.dropna(axis=1)
        if cells.shape[1] < LEAST_SITES:
            raise SystemExit(f"only {cells.shape[1]} sites have all their blocks: the table is not far enough")
        truth, shares = shrunk_cells(cells.to_numpy(), float(alone["variance"].mean()))
        names, sites = tuple(cells.index), tuple(int(site) for site in cells.columns)
        gains = np.zeros((len(names), 17))
        gains[:, [site - 1 for site in sites]] = truth
        land = Landscape("resnet50", names, base, np.zeros(len(names)), np.zeros(17), gains, seed_sd=noise.single.sd)
        counted = found.assign(blocks_in=single["n_blocks"], variance=variance)
        networks, kept = shrunk_networks(counted[inside(counted.index, space)])
        told = (
            f"{len(rows)} trainings of {rows['notation'].nunique()} networks in {noise.blocks} seeds; noise of one "
            f"training {noise.single.sd:.4f} (df {noise.single.df:.0f}); sites {', '.join(map(str, sites))} complete.",
            f"True part of the variance of single placements: blocks {shares[0]:.0%}, sites {shares[1]:.0%}, rest "
            f"{shares[2]:.0%}; of networks of the subspace ({len(networks)}): {kept:.0%}.",
        )
        return cls(rows, space, noise.single.sd, land, sites, networks, told)

    def studies_space(self) -> DesignSpace:
        """Single placements at the complete sites."""
        return self.space.restrict([{"max_blocks": 1}, {"sites": list(self.sites)}])


def shrunk_cells(cells: Floats, variance: float) -> tuple[Floats, list[float]]:
    """Block, site and residual effects of a full table, each times its reliability 1 - noise / mean square."""
    mean = cells.mean()
    rows, columns = cells.mean(1) - mean, cells.mean(0) - mean
    rest = cells - mean - rows[:, None] - columns[None, :]
    a, b = cells.shape
    parts = [(rows, variance / b, a - 1), (columns, variance / a, b - 1), (rest, variance, (a - 1) * (b - 1))]
    shares = [max(0.0, 1 - noise * df / max(float(np.square(effects).sum()), 1e-18)) for effects, noise, df in parts]
    return mean + shares[0] * rows[:, None] + shares[1] * columns[None, :] + shares[2] * rest, shares


def shrunk_networks(found: pd.DataFrame) -> tuple[dict[str, float], float]:
    """Differences shrunk to the mean of networks with as many blocks, and the share that is kept."""
    if len(found) < 2:
        return {}, 0.0
    middle = found.groupby("blocks_in")["difference"].transform("mean")
    apart = found["difference"] - middle
    share = max(0.0, 1 - float(found["variance"].mean()) / max(float(apart.var()), 1e-18))
    return {str(n): float(v) for n, v in (middle + share * apart).items()}, share


def inside(notations: Sequence[str], space: DesignSpace) -> list[bool]:
    """Which networks belong to the complete subspace."""
    whole = subspace(space)
    return [whole.contains(Candidate.parse(str(notation))) for notation in notations]


def subspace(space: DesignSpace) -> DesignSpace:
    """The part of the table's space that it holds whole."""
    return space.restrict([{"blocks": ["cnl", "se"]}, {"sites": [4, 6, 8, 11, 14, 17]}])


# Rules ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What one study adopted, held against the truth: claims, false ones, visible ones and those found."""

    seeds: int
    study: int
    rules: int
    claims: int
    false: int
    visible: int
    found: int


class TableStudy:
    """One study on the table, with noise of its own."""

    def __init__(self, judged: Judged, seed: int) -> None:
        self.judged, self.space = judged, judged.studies_space()
        self.land = replace(judged.singles, seed=seed)
        self.rng = np.random.default_rng([seed, 91])
        self.seed, self.next_id = seed, 1

    def trained(self, candidates: Sequence[Candidate], seeds: Sequence[int]) -> pd.DataFrame:
        """The candidates and their controls in these seeds; what a seed moves is the same for all."""
        parts = [self._rows(candidates, seeds, 0)]
        parts += [self._rows(self.space.baselines(), seeds, n) for n in range(control_count(len(candidates)))]
        shift = {seed: self.rng.normal(0, self.judged.noise) for seed in seeds}
        rows = pd.concat(parts, ignore_index=True)
        return rows.assign(map=rows["map"] + rows["seed"].map(shift))

    def _rows(self, candidates: Sequence[Candidate], seeds: Sequence[int], moved: int) -> pd.DataFrame:
        drawn = [seed + 1_000_000 * moved for seed in seeds]  # a moved control has noise of its own in the same seed
        rows = landscape_table(self.land, list(candidates), drawn, first_id=self.next_id)
        self.next_id += len(rows)
        seed = rows["seed"] % 1_000_000
        start = "plain:" + seed.astype(str) if self.judged.own_starts else "plain:0"
        return rows.assign(seed=seed, role="control" if moved else "candidate", start=start)

    def findings(self, seeds: int) -> tuple[list[Finding], dict[str, float]]:
        """After confirmation, and the smallest effect that each family said it sees."""
        rows = self.trained(list(self.space.enumerate(1)), range(seeds))
        findings, sights = derive(rows, self.space, families=FAMILIES, seed=self.seed)
        seen = {sight.family: sight.visible for sight in sights if sight.visible is not None}
        child = propose_child(self.space, findings)
        if child is None:
            return findings, seen
        drawn = [fresh_draws(space, CONFIRM, self.rng) for space in (self.space, child)]
        fresh = self.trained(list(dict.fromkeys([*drawn[0], *drawn[1]])), [FRESH_SEED])
        sides = [fresh[fresh["notation"].isin([c.notation for c in side])] for side in drawn]
        return confirmed_findings(findings, confirm(*sides, seed=self.seed)), seen

    def outcome(self, seeds: int) -> Outcome:
        """The study judged."""
        findings, seen = self.findings(seeds)
        truth = Truth(self.land, self.space)
        adopted = [finding.rule for finding in findings if finding.adopted]
        claims = list(dict.fromkeys(claim for rule in adopted for claim in truth.claims(rule)))
        wanted = visible_claims(truth, seen)
        score = truth.score(adopted)
        found = sum(any(covers(made, claim) for made in claims) for claim in wanted)
        return Outcome(seeds, self.seed, len(adopted), len(claims), sum(score.false.values()), len(wanted), found)


def outcome_of(judged: Judged, job: tuple[int, int]) -> Outcome:
    """One study, by its number of seeds and its own."""
    seeds, study = job
    return TableStudy(judged, study).outcome(seeds)


def visible_claims(truth: Truth, seen: dict[str, float]) -> list[Claim]:
    """True effects as large as what the study says it sees with 80 % power."""
    never = float("inf")
    gain = {block: truth.block_gain(block) for block in truth.landscape.blocks}
    pairs = [(a, b) for a in gain for b in gain if gain[a] - gain[b] >= seen.get("block_preference", never)]
    of_whom = (None, *truth.landscape.blocks)
    sites = [
        (block, n)
        for block in of_whom
        for n, gain in truth.site_gain(block).items()
        if gain >= seen.get("sites", never)
    ]
    premiums = truth.end_premiums()
    ends = bool(premiums) and float(np.mean(premiums)) >= seen.get("stage_ends", never)
    found = [Claim("block_preference", pair) for pair in pairs] + [Claim("sites", (*site, "better")) for site in sites]
    return found + ([Claim("stage_ends", ())] if ends else [])


def covers(made: Claim, wanted: Claim) -> bool:
    """Whether a claim says what was to be found; a site of all blocks together is found with that of one, and back."""
    if made.family == wanted.family == "sites":
        return bool(made.what[1:] == wanted.what[1:]) and (
            made.what[0] == wanted.what[0] or None in (made.what[0], wanted.what[0])
        )
    return made == wanted


def rule_table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: a row a number of seeds."""
    lines = [
        "| seeds | studies | with a rule | claims | false, 95 % | visible effects | found, 95 % |",
        "|---" * 7 + "|",
    ]
    for seeds in dict.fromkeys(outcome.seeds for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.seeds == seeds]
        claims, false = sum(o.claims for o in own), sum(o.false for o in own)
        visible, found = sum(o.visible for o in own), sum(o.found for o in own)
        cells = [
            seeds,
            len(own),
            sum(o.rules > 0 for o in own),
            claims,
            share(false, claims),
            visible,
            share(found, visible),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def share(hits: int, n: int) -> str:
    """A share with Wilson's interval."""
    if not n:
        return "none"
    low, high = interval(hits, n)
    return f"{hits / n:.1%} [{low:.1%}, {high:.1%}]"


# The table's own seeds -----------------------------------------------------------------------------------------------


def split(judged: Judged) -> Iterator[tuple[str, str, Estimate]]:
    """Rules derived from one seed of the table's own, with what the other seeds say of them."""
    space = judged.studies_space()
    singles = judged.rows[judged.rows["n_blocks"].le(1)]
    for seed in sorted(singles["seed"].unique()):
        findings, _ = derive(singles[singles["seed"].eq(seed)], space, families=FAMILIES, seed=0)
        rest = singles[singles["seed"].ne(seed)]
        for finding in findings:
            if finding.adopted:
                yield str(seed), finding.rule.sentence(), effect(finding.rule, rest)


def effect(rule: Rule, rows: pd.DataFrame) -> Estimate:
    """What following a rule brings in other trainings: mean difference to the control of those that do minus others."""
    found = to_controls(rows).dropna(subset=["difference"])
    placed = [Candidate.parse(str(n)).placements[0] for n in found["notation"]]
    if isinstance(rule, BlockPreference):
        side = [1 if p.block == rule.better else -1 if p.block == rule.worse else 0 for p in placed]
    elif isinstance(rule, (SitesRule, StageEnds)):
        topology = get_topology("resnet50")
        kept = set(topology.stage_ends) if isinstance(rule, StageEnds) else rule.sites.resolve(topology)
        block = getattr(rule, "block", None)
        side = [0 if block not in (None, p.block) else 1 if p.site in kept else -1 for p in placed]
    else:
        return Estimate(float("nan"))
    values, signs = found["difference"].to_numpy(), np.array(side)
    if not ((signs > 0).any() and (signs < 0).any()):
        return Estimate(float("nan"))
    noise = noise_of(rows).single
    own = noise.sd / np.sqrt(found["blocks"].to_numpy())
    error = np.hypot(*(np.sqrt(np.square(own[signs == s]).sum()) / (signs == s).sum() for s in (1, -1)))
    return Estimate(float(values[signs > 0].mean() - values[signs < 0].mean()), float(error), noise.df)


# Search --------------------------------------------------------------------------------------------------------------


def search_task(judged: Judged, seed: int) -> Task:
    """The complete subspace: true differences, and time by the additive model of the singles, or parameters."""
    space = subspace(judged.space)
    base = judged.singles.base
    lowest = base + min(judged.networks.values())
    costs = costs_of(judged, space)

    def worth(candidates: Sequence[Candidate]) -> Floats:
        known = {c.notation: 0.0 for c in space.baselines()} | judged.networks
        return np.array([base + known.get(c.notation, lowest - base) for c in candidates])

    def cost(candidates: Sequence[Candidate]) -> Floats:
        return np.array([costs[c.notation] for c in candidates])

    return Task("subspace", seed, space, worth, cost, judged.noise)


def costs_of(judged: Judged, space: DesignSpace) -> dict[str, float]:
    """Predicted time relative to the plain network where all singles were timed, else parameters."""
    ratios = judged.rows.dropna(subset=["time_ratio"]).drop_duplicates("notation").set_index("notation")["time_ratio"]
    candidates = [*space.enumerate(), *space.baselines()]
    model = AdditiveModel.fit([(n, v) for n, v in ratios.items()]) if len(ratios) else None
    predicted = {c.notation: model.predict(c) if model is not None else None for c in candidates}
    if None not in predicted.values():
        return {n: float(v) for n, v in predicted.items() if v is not None}
    return {c.notation: float(complexity(c, input_size=(64, 32)).params) for c in candidates}


def searched(judged: Judged, gp_seeds: int, seed: int) -> list[Score]:
    """Every strategy on a seed's own noise; GP on the first seeds only."""
    task = search_task(judged, seed)
    names = [name for name in ("placement", *RIVALS) if name != "gp" or seed < gp_seeds]
    return [score for name in names for score in strategy_of(name)(task, CHECKPOINTS)]


def goal(scores: pd.DataFrame) -> str:
    """Ours after 30 trainings against each rival after 90, on the same seeds."""
    lines = []
    ours = scores[(scores["strategy"] == "placement") & (scores["trainings"] == GOAL[0])].set_index("seed")["reached"]
    for name in sorted(set(scores["strategy"]) - {"placement"}):
        theirs = scores[(scores["strategy"] == name) & (scores["trainings"] == GOAL[1])].set_index("seed")["reached"]
        apart = 100 * (ours - theirs).dropna()
        low, high = Estimate(apart.mean(), apart.sem(), len(apart) - 1).interval()
        lines.append(
            f"- placement after {GOAL[0]} minus {name} after {GOAL[1]}: {apart.mean():+.1f} "
            f"[{low:+.1f}, {high:+.1f}] percent points ({len(apart)} seeds)"
        )
    return "\n".join(lines)


# The report ----------------------------------------------------------------------------------------------------------


def study_space(name: str, published: Sequence[str] = ()) -> DesignSpace:
    """The space of the table's study, with blocks put in as the identity; or some blocks of it as published."""
    data = load_yaml(shipped("studies") / f"placement_table_{name}.yaml", NasError).data
    if not published:
        return identity_forms(DesignSpace.from_dict(data["space"]))
    return DesignSpace.from_dict({**data["space"], "blocks": {block: {"start": "published"} for block in published}})


def of_form(rows: pd.DataFrame, published: Sequence[str] = ()) -> pd.DataFrame:
    """Trainings with blocks put in as the identity, or with these as published; and the controls beside them."""
    if not published:
        return rows[rows["form"].ne("published")]
    placed = rows[rows["form"].eq("published") & rows["n_blocks"].eq(1) & rows["block"].isin(published)]
    beside = placed[["start", "seed"]].drop_duplicates()
    controls = rows[rows["n_blocks"].eq(0) & rows["role"].ne("start")].merge(beside)
    return pd.concat([placed, controls], ignore_index=True)


def planted_table(space: DesignSpace, seed: int = 0) -> pd.DataFrame:
    """A table of the same form with known effects, two seeds: C-NL is best, early sites are."""
    rng = np.random.default_rng(seed)
    gain = {"cnl": 0.005, "raga": 0.004, "agw": 0.003, "abd": 0.003, "se": 0.001, "hac": 0.0}
    networks = [*space.restrict([{"max_blocks": 1}]).enumerate(1), *subspace(space).enumerate()]
    rows = []
    for candidate in dict.fromkeys(c for c in networks if c.placements):
        worth = (
            sum(gain[p.block] + 0.002 * (p.site < 9) for p in candidate.placements)
            * 3
            / (2 + len(candidate.placements))
        )
        rows += [(candidate, "candidate", "plain:0", s, 0.6 + worth + rng.normal(0, 0.002)) for s in (1, 2)]
    rows += [
        (c, "control", f"plain:0+{m}", s, 0.6 + rng.normal(0, 0.002))
        for c in space.baselines()
        for s in (1, 2)
        for m in range(1, 11)
    ]
    return pd.DataFrame(
        [
            {
                "notation": c.notation, "role": role, "start": start, "seed": s, "map": value, "status": "finished",
                "form": "identity",
                "n_blocks": len(c.placements), "block": c.placements[0].block if c.placements else "none",
                "site": c.placements[0].site if len(c.placements) == 1 else None,
                "time_ratio": 1.0 + 0.02 * len(c.placements) if len(c.placements) < 2 else None,
            }
            for c, role, start, s, value in rows
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="pedestrians", help="of the table")
    parser.add_argument(
        "--published", nargs="+", default=[], metavar="BLOCK", help="blocks as published, not the identity"
    )
    parser.add_argument(
        "--own-starts", action="store_true", help="each seed of a study from a plain network of its own"
    )
    parser.add_argument("--planted", action="store_true", help="a planted table in place of the real one")
    parser.add_argument("--studies", type=int, default=50, help="studies a number of seeds")
    parser.add_argument("--in-seeds", type=int, nargs="+", default=[1, 2, 6], help="seeds of a study")
    parser.add_argument("--seeds", type=int, default=20, help="searches a strategy")
    parser.add_argument("--gp-seeds", type=int, default=5, help="of GP, which takes its time")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    args = parser.parse_args()
    space = study_space(args.name, args.published)
    rows = planted_table(space) if args.planted else placement_table(args.name)
    judged = replace(Judged.of(of_form(rows, args.published), space), own_starts=args.own_starts)
    with ProcessPoolExecutor(args.jobs) as pool:
        jobs = [(n, study) for n in args.in_seeds for study in range(args.studies)]
        outcomes = list(pool.map(partial(outcome_of, judged), jobs))
    parts = ["# Rules and searches on the table of real trainings", "\n".join(judged.told)]
    parts += ["## Rules\n\n" + rule_table(outcomes), "## The table's own seeds\n\n" + split_table(judged)]
    found: list[Score] = []
    whole = sum(n for blocks, n in subspace(space).size_by_blocks().items() if blocks)
    if args.published:
        parts.append("## Search\n\nNot searched: the complete subspace is of blocks put in as the identity.")
    elif len(judged.networks) == whole:
        with ProcessPoolExecutor(args.jobs) as pool:
            each = pool.map(partial(searched, judged, args.gp_seeds), range(args.seeds))
            found = [score for scores in each for score in scores]
        frame = pd.DataFrame([asdict(score) for score in found])
        parts += ["## Search\n\n" + overall(frame), goal(frame), table(frame, "reached")]
    else:
        held = f"{len(judged.networks)} of the {whole} networks of the subspace"
        parts.append(f"## Search\n\nThe table holds {held}: not complete, so not searched.")
    text = "\n\n".join(parts)
    print(text)
    if args.out is not None:
        args.out.with_suffix(".md").write_text(text + "\n")
        data = {"machine": machine(), "rules": [asdict(o) for o in outcomes], "search": [asdict(s) for s in found]}
        args.out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")


def split_table(judged: Judged) -> str:
    """Markdown: a row a rule derived from one seed."""
    if judged.rows["seed"].nunique() < 2:
        return "The table has one seed: there are no others to hold a rule against."
    lines = ["| derived from seed | rule | what following it brings in the other seeds, 95 % | |", "|---|---|---|---|"]
    for seed, sentence, found in split(judged):
        low, high = found.interval()
        verdict = "contradicted" if high < 0 else "holds" if low > 0 else "not told"
        lines.append(f"| {seed} | {sentence} | {found.value:+.4f} [{low:+.4f}, {high:+.4f}] | {verdict} |")
    return "\n".join(lines) if len(lines) > 2 else "No single seed of the table gives a rule."


if __name__ == "__main__":
    main()
