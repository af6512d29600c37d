"""Real trainings for benchmarks: those of the placement table's study, resumable, each done once.

Every training is a line of `trainings.jsonl` in the folder that a benchmark was given; a training that is there is not
repeated, whichever benchmark asks. Seconds are CPU seconds of this process, so that a busy machine does not count.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from search_efficiency import machine

from nas.data import PreparedData, dataset_view, load_dataset, prepare
from nas.project import shipped
from nas.results.intervals import Estimate
from nas.results.noise import block_codes, noise_of
from nas.search import load_study
from nas.search.starts import PLAIN_SEEDS, moved_start
from nas.spaces import Candidate, get_block_spec
from nas.training import Fidelity, Recipe, load_recipe, train

STUDY = "placement_table_pedestrians.yaml"
"""Whose data, recipe and plain network."""
CONTROLS = 3
"""Trainings of the control a seed, where a benchmark does not say otherwise."""


class OutOfTime(Exception):  # noqa: N818 - an end, no error
    """The minutes are over; what was trained is kept."""


class Lab:
    """Trains what a benchmark asks for, once.

    Args:
        folder: of weights and the list of trainings.
        minutes: after which nothing new is begun; None: no end.
        smoke: the smoke profile of the study, to see that a benchmark runs: its numbers mean nothing.
    """

    def __init__(self, folder: Path, minutes: float | None = None, *, smoke: bool = False) -> None:
        folder = folder / "smoke" if smoke else folder
        self.folder, self.log = folder, folder / "trainings.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self.study = load_study(shipped("studies") / STUDY, "smoke" if smoke else None)
        self.recipe: Recipe = load_recipe(self.study.recipe)
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.done: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}
        torch.set_num_threads(1)

    @classmethod
    def of(cls, args: argparse.Namespace) -> Lab:
        """As the options of `arguments` say."""
        lab = cls(args.folder, args.minutes, smoke=args.smoke)
        if args.known:
            lab.end = -math.inf
        for file in args.known:
            lab.done |= {row["key"]: row for row in json.loads(file.read_text())["trainings"]}
        return lab

    @cached_property
    def data(self) -> PreparedData:
        """The test view, as the table's study selects on it."""
        dataset = dataset_view(load_dataset(self.study.data, cache=self.folder / "cache"), "final")
        return prepare(dataset, self.recipe.input, self.folder / "cache")

    def start(self, number: int) -> Path:
        """The trained plain network of that number; the study's own is number 0."""
        file = self.folder / f"plain_{number}.pt"
        self.trained("", "resnet50(width=0.25)", PLAIN_SEEDS + number, checkpoint=file)
        return file

    def trained(
        self,
        design: str,
        notation: str,
        seed: int,
        *,
        start: int | None = None,
        moved: int = 0,
        epochs: int | None = None,
        rate: float | None = None,
        checkpoint: Path | None = None,
    ) -> dict[str, Any]:
        """One training, from the list or now; `epochs` and `rate`, the highest, are the recipe's where none are told.

        Raises:
            OutOfTime: it would have to begin after the end.
        """
        begun = "scratch" if start is None else moved_start(f"plain:{start}", moved)
        key = f"{notation}|{seed}|{begun}|{epochs or ''}" + ("" if rate is None else f"|{rate:g}")
        if key not in self.done:
            source = None if start is None else self.start(start)
            if self.end is not None and time.monotonic() > self.end:
                raise OutOfTime
            cpu = time.process_time()
            result = train(
                notation,
                self.recipe,
                self.data,
                seed=seed,
                fidelity=None if start is None and epochs is None else Fidelity(epochs=epochs, base_lr=rate),
                init_from=source,
                moved=moved,
                checkpoint=checkpoint,
            )
            row = {"key": key, "notation": notation, "seed": seed, "start": begun, "epochs": result.epochs[-1].epoch}
            row |= {"map": result.metrics.map, "seconds": round(time.process_time() - cpu, 2)}
            self.done[key] = row
            with self.log.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return {**self.done[key], "design": design, "status": "finished"}


def compared(rows: pd.DataFrame, weights: dict[str, float]) -> tuple[Estimate, int]:
    """A contrast of networks within blocks, and in how many blocks it could be taken.

    Args:
        rows: of one design.
        weights: by notation, summing to zero; several trainings of a network in a block are averaged.
    """
    keyed = rows.assign(block=block_codes(rows))
    cells = keyed[keyed["notation"].isin(weights)].groupby(["block", "notation"])["map"].agg(["mean", "size"])
    means, sizes = cells["mean"].unstack(), cells["size"].unstack()
    whole = means.dropna() if set(means) == set(weights) else means.iloc[:0]
    if whole.empty:
        return Estimate(float("nan")), 0
    each = pd.Series(weights)
    noise = noise_of(rows).single
    variance = float((each.pow(2) / sizes.loc[whole.index, each.index]).sum(axis=1).sum()) / len(whole) ** 2
    return Estimate(float((whole[each.index] * each).sum(axis=1).mean()), noise.sd * variance**0.5, noise.df), len(
        whole
    )


def mixed(better: Sequence[str], worse: Sequence[str]) -> dict[str, float]:
    """Weights of a mean against another."""
    return dict.fromkeys(better, 1 / len(better)) | dict.fromkeys(worse, -1 / len(worse))


def identity(notation: str) -> str:
    """The network with its blocks put in as the identity, where they are not as published."""
    candidate = Candidate.parse(notation)
    placements = [
        (p.site, p.block, dict(p.params))
        if get_block_spec(p.block).is_identity(dict(p.params))
        else (p.site, p.block, {**dict(p.params), "start": "identity"})
        for p in candidate.placements
    ]
    return Candidate.make(candidate.backbone, placements, dict(candidate.backbone_params)).notation


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that benchmarks of real trainings share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="nothing new is trained after so many; what is there is reported")
    parser.add_argument("--folder", type=Path, default=Path(".nas/real_trainings"), help="weights, list of trainings")
    parser.add_argument(
        "--known", type=Path, nargs="+", default=[], help="reads the trainings of such .json again, and trains nothing"
    )
    parser.add_argument("--rounds", type=int, default=2, help="seeds")
    parser.add_argument("--smoke", action="store_true", help="tiny trainings, to see that it runs")
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    return parser


def written(out: Path | None, text: str, data: dict[str, Any]) -> None:
    """Prints a report, and writes it with its numbers."""
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    print(text)
    if out is not None:
        out.with_suffix(".md").write_text(f"{text}\n\n{where}\n")
        out.with_suffix(".json").write_text(json.dumps({"machine": machine(), **data}, indent=1) + "\n")
