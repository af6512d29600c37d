"""Everything that only a GPU can tell, in one command and ten minutes; the table comes last.

    python benchmarks/gpu.py --out benchmarks/results/gpu [--minutes 9.5] [--rehearse]

- *Training step*: ResNet-50 at 256x128, batch 64, against the same network on one constant batch (target: at least
  0.95 of that) and against the usual loader with all the machine's cores (target: 3 times as fast); hours of a whole
  120-epoch run on a set of Market-1501's size, from at least three epochs' worth of steps. bf16 with and without
  deterministic algorithms, and fp32.
- *Evaluation* at Market-1501's size (3 368 x 15 913 x 2 048), features on the GPU, against the distance product alone.
- *Features*: images a second of `embed_split`.
- *Latency*: how much slower C-NL@6,8,14 and the others of the paper's table are than ResNet-50, in fp16, batch 16.
- *Blocks*: fast against plain forms of the attention blocks, as many as the time that is left allows.

A part that cannot run here says why and the others go on. It needs this checkout and torch, torchvision, timm, NumPy,
SciPy, pandas, pydantic and Pillow, and no network; images are generated. `--rehearse` runs the same parts on the CPU,
small: it tells whether this script works, nothing else.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

if importlib.util.find_spec("nas") is None:
    # A borrowed machine has the checkout but nothing installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Lines = list[str]


@dataclass(frozen=True)
class Plan:
    """How large the parts are, where they run and when all must be over (on the monotonic clock)."""

    end: float
    device: str = "cuda"
    candidate: str = "resnet50"
    input: tuple[int, int] = (256, 128)
    persons: int = 16
    precisions: tuple[str, ...] = ("bf16", "fp32")
    steps: int = 560  # an epoch of Market-1501 has 183
    round_length: int = 20
    loader_steps: int = 150
    images: int = 128
    embedded: int = 2048
    test_split: tuple[int, int, int, int] = (750, 3368, 15913, 2798)  # persons, queries, gallery, distractors
    dimensions: int = 2048
    repeats: int = 10
    backends: tuple[str, ...] = ("eager", "cuda_graphs")
    latency_precision: str = "fp16"
    latency_batch: int = 16
    latency_rounds: int = 200

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def rehearsal(end: float) -> Plan:
    """The same parts, small enough for a CPU."""
    return Plan(
        end,
        device="cpu",
        candidate="resnet18(width=0.25)",
        input=(64, 32),
        persons=4,
        steps=8,
        round_length=2,
        loader_steps=2,
        images=64,
        embedded=64,
        test_split=(10, 20, 80, 10),
        dimensions=64,
        repeats=2,
        backends=("eager",),
        latency_precision="fp32",
        latency_batch=1,
        latency_rounds=2,
    )


# ------------------------------------------------------------------ parts: each returns its data and its table


def training_step(plan: Plan) -> tuple[Any, Lines]:
    from training_step import Case, as_table, measure

    first = Case(plan.candidate, *plan.input, plan.persons, plan.precisions[0])
    others = [Case(plan.candidate, *plan.input, plan.persons, p, deterministic=False) for p in plan.precisions]
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for case in (first, *others):
            if rows and plan.left() < 240 and plan.device == "cuda":
                break
            rows.append(
                measure(
                    case,
                    plan.device,
                    steps=plan.steps if case is first else plan.steps // 3,
                    round_length=plan.round_length,
                    workers=os.cpu_count() or 1,
                    loader_steps=plan.loader_steps if case is first else 0,
                    images=plan.images,
                    cache=Path(cache),
                )
            )
            print(as_table(rows)[-1], flush=True)
    return [asdict(row) for row in rows], as_table(rows)


def evaluation(plan: Plan) -> tuple[Any, Lines]:
    from evaluation import features, people

    from nas.retrieval import evaluate

    rng = np.random.default_rng(0)
    who = people(*plan.test_split, 6, rng)
    query, gallery = (part.to(plan.device) for part in features(who, plan.dimensions, 3.0, rng))
    q, qc, g, gc = who.arguments
    forms: dict[str, Callable[[], object]] = {
        "whole evaluation": lambda: evaluate(query, q, qc, gallery, g, gc),
        "distance product alone": lambda: query @ gallery.T,
    }
    found = {name: best_of(plan, work) for name, work in forms.items()}
    size = f"{len(query)} x {len(gallery)} x {plan.dimensions}"
    return found, [f"| {size} | ms |", "|---|---:|", *(f"| {n} | {1e3 * s:.1f} |" for n, s in found.items())]


def embedding(plan: Plan) -> tuple[Any, Lines]:
    from nas.data.augmentation import Augmentation
    from nas.data.prepared import PackedSplit
    from nas.networks import build_network
    from nas.training.extraction import embed_split

    pixels = torch.randint(0, 256, (plan.embedded, *plan.input, 3), dtype=torch.uint8)
    places = torch.arange(plan.embedded)
    split = PackedSplit(pixels.permute(0, 3, 1, 2).to(plan.device), places, places, places, places, ())
    network = build_network(plan.candidate, input_size=plan.input, seed=0).to(plan.device)
    network.to(memory_format=torch.channels_last).eval()
    speed = plan.embedded / best_of(plan, lambda: embed_split(network, split, Augmentation()))
    lines = ["| features, fp32 | images/s |", "|---|---:|"]
    return {"images_per_s": speed}, [*lines, f"| {plan.candidate} {plan.input[0]}x{plan.input[1]} | {speed:.0f} |"]


def latency(plan: Plan) -> tuple[Any, Lines]:
    from latency import slowdown

    from nas.latency.protocol import LatencyProtocol

    found = {}
    for backend in plan.backends:
        protocol = LatencyProtocol(
            device=plan.device,
            backend=backend,
            precision=plan.latency_precision,
            batch=plan.latency_batch,
            input=plan.input,
            channels_last=True,
        )
        found[backend] = slowdown(protocol, rounds=plan.latency_rounds)
    settings = f"{plan.latency_precision}, batch {plan.latency_batch}"
    lines = [
        f"| slower than resnet50, {settings} | {' | '.join(f'{b}, %' for b in found)} |",
        "|---" * (1 + len(found)) + "|",
    ]
    for name in next(iter(found.values()))["slower_percent"]:
        cells = ("{:+.1f} [{:+.1f}, {:+.1f}]".format(*answer["slower_percent"][name]) for answer in found.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    base = " | ".join(f"{answer['median_ms']['resnet50']:.3f} ms" for answer in found.values())
    return found, [*lines, f"| resnet50 itself | {base} |"]


def blocks(plan: Plan) -> tuple[Any, Lines]:
    from blocks import BLOCKS, MODES, SHAPES, compare

    shapes = (SHAPES[2], SHAPES[3]) if plan.device == "cuda" else (SHAPES[3],)
    rows = []
    for (name, settings), mode, shape in itertools.product(BLOCKS, MODES, shapes):
        if plan.left() < 20 or (plan.device == "cpu" and len(rows) == 2):
            break
        rows.append(compare(name, settings, shape, "bf16", mode, plan.device, "wall"))
    lines = [
        "| block, bf16, batch 16 | shape | run | fast ms | plain ms | plain / fast |",
        "|---|---|---|---:|---:|---:|",
    ]
    for r in rows:
        lines.append(f"| {r.block} | {r.shape} | {r.mode} | {r.fast_ms:.3f} | {r.plain_ms:.3f} | {r.ratio:.2f} |")
    return [asdict(row) for row in rows], lines


PARTS: dict[str, Callable[[Plan], tuple[Any, Lines]]] = {
    "Training step": training_step,
    "Evaluation": evaluation,
    "Features": embedding,
    "Latency": latency,
    "Blocks": blocks,
}


# ------------------------------------------------------------------ running


def best_of(plan: Plan, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs, after one that is thrown away."""
    seconds = []
    for _ in range(1 + plan.repeats):
        wait(plan)
        begun = time.perf_counter()
        work()
        wait(plan)
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])


def wait(plan: Plan) -> None:
    """Until the GPU has done what it was given."""
    if plan.device == "cuda":
        torch.cuda.synchronize()


def run(wanted: list[str], plan: Plan) -> Iterator[tuple[str, Any, Lines]]:
    """Name, data and table of each part; one that fails says why."""
    for name in wanted:
        print(f"-- {name}, {plan.left():.0f} s left", flush=True)
        if plan.left() < 15:
            yield name, None, ["No time was left for this part."]
            continue
        try:
            data, lines = PARTS[name](plan)
        except Exception as error:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            data, lines = {"failed": reason}, [f"Could not run here: {reason}"]
        if plan.device == "cuda":
            torch.cuda.empty_cache()
        yield name, data, lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="results are written to OUT.json and OUT.md")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="these parts only")
    parser.add_argument("--rehearse", action="store_true", help="the same parts on the CPU, small")
    arguments = parser.parse_args()
    if not (torch.cuda.is_available() or arguments.rehearse):
        print("There is no GPU that torch can use here, so there is nothing to measure.")
        return 0
    from training_step import environment, write

    end = time.monotonic() + 60 * arguments.minutes
    plan = rehearsal(end) if arguments.rehearse else Plan(end)
    env = environment(torch.get_num_threads(), "wall")
    found: dict[str, Any] = {"environment": env}
    tables: Lines = []
    for name, data, lines in run(arguments.only or list(PARTS), plan):
        found[name] = data
        tables += [f"## {name}", "", *lines, ""]
    libraries = ", ".join(f"{key} {value}" for key, value in env["libraries"].items())
    title = "# A rehearsal on a CPU" if arguments.rehearse else "# On a GPU"
    head = [title, "", f"{env['date']}, {env['gpu'] or env['processor']}, {env['cores']} cores; {libraries}.", ""]
    text = "\n".join([*head, *tables])
    print(text)
    if arguments.out:
        write(arguments.out, found, text)
    return 1 if any(isinstance(data, dict) and "failed" in data for data in found.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
