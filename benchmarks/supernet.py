"""Do cheap scores order placements as fine-tunings do? Screens held against the table of real trainings.

    python benchmarks/supernet.py --minutes 15 --out benchmarks/results/supernet
    python benchmarks/supernet.py --only naswot synflow

Truth is the table's differences to the control of the single placements at six sites. A score's correlation with it is
given as seen and with the table's noise allowed for (divided by the root of its reliability). A screen is worth having
from .6 (noise allowed for), at a quarter of the price of as many fine-tunings as order placements equally well:
n = noise^2 / spread^2 x r^2 / (1 - r^2) trainings a network. Scores:

- `params`, `macs`: what any score has to beat;
- `synflow` (Tanaka et al. 2020), `naswot` (Mellor et al. 2021, at ReLU modules), `grad_norm` (Abdelfattah et al. 2021):
  fresh weights, published forms, mean over three draws;
- `block_gradient`: norm of the gradient that the block's own parameters get when it is put into the trained plain
  network as the identity, over four batches;
- `two_epochs`: fine-tuning half as long as the table's, difference to its own control;
- `supernet`: one network that holds all these placements, trained from the plain network on uniform paths of none to
  three blocks, BatchNorm counted anew on twelve batches a path.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from real_trainings import Lab, OutOfTime, arguments, written
from torch import nn
from torch.utils.hooks import RemovableHandle

from nas.networks.blocks import get_block
from nas.networks.sites import BlockAfter
from nas.networks.survey import survey
from nas.results.differences import to_controls
from nas.results.noise import noise_of
from nas.spaces import Candidate
from nas.testing import placement_table
from nas.training.schedule import learning_rate
from nas.training.scoring import score
from nas.training.start import start_from
from nas.training.trainer import Trainer

SITES = (4, 6, 8, 11, 14, 17)
DRAWS, BATCHES = 3, 4
SUPERNET_EPOCHS, CALIBRATION = 10, 12
SUPERNET_SEED = 11
BAR, PRICE = 0.6, 0.25

Values = dict[str, float]


def published(candidate: Candidate) -> Candidate:
    """The candidate without the identity form of its blocks."""
    placements = [(p.site, p.block, {k: v for k, v in p.params if k != "start"}) for p in candidate.placements]
    return Candidate.make(candidate.backbone, placements, dict(candidate.backbone_params))


# Scores of one network -----------------------------------------------------------------------------------------------


def synflow(network: nn.Module, images: torch.Tensor) -> float:
    """Sum over parameters of |weight x gradient| of the summed output for an image of ones, all weights positive."""
    network = network.double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones(1, *images.shape[1:], dtype=torch.float64)).sum().backward()
    flow = sum(float((p * p.grad).abs().sum()) for p in network.parameters() if p.grad is not None)
    return math.log(flow)


def naswot(network: nn.Module, images: torch.Tensor) -> float:
    """Log-determinant of how many ReLU units agree between each two images of a batch."""
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def add(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        code = (output.detach().flatten(1) > 0).double()
        kernel.add_(code @ code.T + (1 - code) @ (1 - code).T)

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.ReLU)]
    with torch.no_grad():
        network.train()(images)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(kernel)[1])


def fresh_scores(lab: Lab, candidates: Sequence[Candidate], name: str) -> Values:
    """A score of fresh networks in their published forms."""
    found: Values = {}
    for candidate in candidates:
        values = []
        for draw in range(DRAWS):
            trainer = Trainer(published(candidate), lab.recipe, lab.data, draw, torch.device("cpu"))
            batch = trainer.batches.get(1, 1)
            if name == "grad_norm":
                trainer.prepare()
                trainer.network.train()
                total, _ = trainer.loss(trainer._inputs(batch), None)
                total.backward()
                values.append(norm_of(trainer.network.parameters()))
            else:
                values.append((synflow if name == "synflow" else naswot)(trainer.network, batch.images))
        found[candidate.notation] = float(np.mean(values))
    return found


def norm_of(parameters: object) -> float:
    """Root of the sum of squares of all gradients."""
    return math.sqrt(sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None))  # type: ignore[attr-defined]


def block_gradients(lab: Lab, candidates: Sequence[Candidate]) -> Values:
    """What the loss of the trained plain network asks of a block that was just put in."""
    found, start = {}, lab.start(0)
    for candidate in candidates:
        trainer = Trainer(candidate, lab.recipe.fine_tuned(), lab.data, 1, torch.device("cpu"), "plain")
        start_from(trainer.network, start)
        trainer.prepare()
        trainer.network.train()
        for step in range(1, BATCHES + 1):
            total, _ = trainer.loss(trainer._inputs(trainer.batches.get(1, step)), None)
            total.backward()
        found[candidate.notation] = norm_of(trainer.network.blocks.parameters())
    return found


def sizes(rows: pd.DataFrame, name: str) -> Values:
    """A counted cost, from the table."""
    return {str(n): float(v) for n, v in rows.drop_duplicates("notation").set_index("notation")[name].items()}


def two_epochs(lab: Lab, candidates: Sequence[Candidate]) -> Values:
    """Shorter fine-tunings in one seed of their own; what ran out of time has no value."""
    found: Values = {}
    plain = candidates[0].baseline.notation
    order = np.random.default_rng(0).permutation(len(candidates))
    try:
        control = lab.trained("two", plain, 21, start=0, epochs=2)["map"]
        for at in order:
            notation = candidates[at].notation
            found[notation] = lab.trained("two", notation, 21, start=0, epochs=2)["map"] - control
    except OutOfTime:
        pass
    return found


# Supernet ------------------------------------------------------------------------------------------------------------


class Supernet:
    """All placements in one network; a path switches some of them on."""

    def __init__(self, lab: Lab, candidates: Sequence[Candidate], epochs: int) -> None:
        self.lab, self.recipe = lab, lab.recipe.fine_tuned().with_overrides({"epochs": epochs})
        plain = candidates[0].baseline
        self.trainer = Trainer(plain, self.recipe, lab.data, SUPERNET_SEED, torch.device("cpu"), "plain")
        self.network = self.trainer.network
        start_from(self.network, lab.start(0))
        shapes = survey(plain.backbone, plain.backbone_params, self.recipe.input).sites
        torch.manual_seed(SUPERNET_SEED)
        self.cells = {self.key(c): c.placements[0] for c in candidates}
        built = {
            k: get_block(p.block).build(shapes[p.site - 1].shape, form="fast", **dict(p.params))
            for k, p in self.cells.items()
        }
        self.network.blocks = nn.ModuleDict(built)
        self.hooks: list[RemovableHandle] = []
        self.trainer.prepare()

    @staticmethod
    def key(candidate: Candidate) -> str:
        """Name of a placement within the network."""
        return f"{candidate.placements[0].block}_{candidate.placements[0].site}"

    def activate(self, keys: Sequence[str]) -> None:
        """Switches a path on."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = [
            self.network.backbone.get_submodule(self.network.sites[self.cells[k].site - 1].path).register_forward_hook(
                BlockAfter(self.network.blocks, k)
            )
            for k in keys
        ]

    def train(self) -> None:
        """Uniform paths of none to three blocks."""
        rng = np.random.default_rng(SUPERNET_SEED)
        names, sites = list(self.cells), sorted({p.site for p in self.cells.values()})
        for epoch in range(1, self.recipe.epochs + 1):
            steps = self.trainer.batches.steps(epoch)
            self.network.train()
            for step in range(1, steps + 1):
                chosen = rng.choice(sites, rng.integers(0, 4), replace=False)
                self.activate([str(rng.choice([k for k in names if self.cells[k].site == site])) for site in chosen])
                rate = learning_rate(self.recipe, epoch, step, steps)
                self.trainer.train_step(self.trainer.batches.get(epoch, step), rate)

    def map_of(self, keys: Sequence[str]) -> float:
        """mAP of a path, its BatchNorm statistics counted anew."""
        self.activate(keys)
        norms = [m for m in self.network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
        for module in norms:
            module.reset_running_stats()
            module.momentum = None
        self.network.train()
        with torch.no_grad():
            for step in range(1, min(CALIBRATION, self.trainer.batches.steps(1)) + 1):
                self.network(self.trainer.batches.get(1, step).images)
        for module in norms:
            module.momentum = 0.1
        return float(score(self.network, self.lab.data, self.recipe).map)


def supernet(lab: Lab, candidates: Sequence[Candidate], epochs: int) -> Values:
    """mAP of each path minus the plain path's."""
    net = Supernet(lab, candidates, epochs)
    net.train()
    plain = net.map_of([])
    return {c.notation: net.map_of([net.key(c)]) - plain for c in candidates}


# Judgement -----------------------------------------------------------------------------------------------------------


def judged(
    name: str, values: Mapping[str, float], found: pd.DataFrame, noise: float, seconds: float, full: float
) -> dict[str, object]:
    """A score beside the table.

    Args:
        name: of the score.
        values: by notation.
        found: differences to the control, by notation.
        noise: sd of one training.
        seconds: CPU seconds a network that the score took.
        full: CPU seconds of one of the table's fine-tunings.
    """
    both = found.loc[[n for n in values if n in found.index]]
    ours, theirs = np.array([values[n] for n in both.index]), both["difference"].to_numpy()
    error = noise**2 / float(both["blocks"].mean()) if len(both) else math.nan
    spread = float(np.var(theirs, ddof=1)) - error if len(both) > 2 else math.nan
    known = len(both) > 3 and np.ptp(ours) > 0
    seen = float(np.corrcoef(ours, theirs)[0, 1]) if known else math.nan
    half = 1.96 / math.sqrt(len(both) - 3) if known else math.nan  # Fisher's interval
    low, high = (math.tanh(math.atanh(seen) + sign * half) for sign in (-1, 1))
    reliability = spread / (spread + error) if spread > 0 else math.nan
    true = min(1.0, seen / math.sqrt(reliability)) if reliability == reliability else math.nan
    equal = noise**2 / spread * true**2 / max(1e-9, 1 - true**2) * full if true == true and true > 0 else math.nan
    return {
        "score": name, "networks": len(both), "seen": seen, "low": low, "high": high, "reliability": reliability,
        "true": true, "seconds": seconds, "equal_seconds": equal,
        "reached": bool(true >= BAR and seconds <= PRICE * equal),
    }  # fmt: skip


def report(rows: Sequence[Mapping[str, object]], told: str) -> str:
    """Markdown."""
    head = (
        "score",
        "networks",
        "correlation, 95 %",
        "noise allowed for",
        "CPU s a network",
        "equally good fine-tunings, CPU s",
        "",
    )
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in rows:
        true = f"{r['true']:.2f}" if r["true"] == r["true"] else "not known"
        equal = f"{r['equal_seconds']:.1f}" if r["equal_seconds"] == r["equal_seconds"] else ""
        cells = (r["score"], r["networks"], f"{r['seen']:.2f} [{r['low']:.2f}, {r['high']:.2f}]", true)
        verdict = "reaches the bar" if r["reached"] else "does not" if r["true"] == r["true"] else "not judged"
        cells += (f"{r['seconds']:.2f}", equal, verdict)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n\n".join(["# Screens beside the table of real trainings", told, "\n".join(lines)])


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="*", help="scores to look at; all by default")
    parser.add_argument("--epochs", type=int, default=SUPERNET_EPOCHS, help="of the supernet")
    args = parser.parse_args()
    lab = Lab.of(args)
    rows = placement_table("pedestrians")
    rows = rows[rows["role"].ne("start") & rows["form"].ne("published")]
    noise = noise_of(rows).single.sd
    found = to_controls(rows).dropna(subset=["difference"]).set_index("notation")
    single = rows[rows["n_blocks"].eq(1) & rows["site"].isin(SITES)]
    candidates = [Candidate.parse(n) for n in dict.fromkeys(single["notation"]) if n in found.index]
    _ = lab.data, lab.start(0)
    full = [row["seconds"] for row in lab.done.values() if row["epochs"] == 4]
    scores: dict[str, Callable[[], Values]] = {
        "params": lambda: sizes(single, "params"),
        "macs": lambda: sizes(single, "macs"),
        **{
            name: (lambda name=name: fresh_scores(lab, candidates, name)) for name in ("synflow", "naswot", "grad_norm")
        },
        "block_gradient": lambda: block_gradients(lab, candidates),
        "supernet": lambda: supernet(lab, candidates, args.epochs),
        "two_epochs": lambda: two_epochs(lab, candidates),
    }
    results, kept = [], {}
    for name, make in scores.items():
        if args.only and name not in args.only:
            continue
        begun = time.process_time()
        values = make()
        spent = (time.process_time() - begun) / max(1, len(values))
        if name == "two_epochs":  # those of an earlier run took their time then
            spent = float(
                np.mean([row["seconds"] for row in lab.done.values() if row["key"].endswith("|2")] or [math.nan])
            )
        results.append(judged(name, values, found, noise, spent, float(np.mean(full)) if full else math.nan))
        kept[name] = values
        print(results[-1], flush=True)
    told = (
        f"{len(candidates)} single placements at sites {', '.join(map(str, SITES))}; the table has them in "
        f"{rows['seed'].nunique()} seed(s), and its noise of one training is {noise:.4f}. The bar: a correlation of "
        f"{BAR}, noise allowed for, at a quarter of the price of as good fine-tunings."
    )
    written(args.out, report(results, told), {"scores": results, "values": kept})


if __name__ == "__main__":
    main()
