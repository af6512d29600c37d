"""Everything that only a GPU can tell, in one command and ten minutes; the table comes last.

    python benchmarks/gpu.py --out benchmarks/results/gpu [--minutes 10]

- *Training step*: ResNet-50 at 256x128, batch 64, against the same network on one constant batch (target: at least
  0.95 of that) and against the usual loader with all the machine's cores (target: 3 times as fast); hours of a whole
  120-epoch run on a set of Market-1501's size, from at least three epochs' worth of steps. bf16 with and without
  deterministic algorithms, and fp32.
- *Evaluation* at Market-1501's size (3 368 x 15 913 x 2 048), features on the GPU, against the distance product alone.
- *Features*: images a second of `embed_split`.
- *Latency*: how much slower C-NL@6,8,14 and the others of the paper's table are than ResNet-50, in fp16, batch 16.
- *Blocks*: fast against plain forms of the attention blocks, as many as the time that is left allows.

A part that cannot run here says why and the others go on. It needs the project and torch, torchvision, timm, NumPy,
pandas, pydantic and Pillow, and no network; images are generated.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

Lines = list[str]


class Clock:
    """The time that is left of the whole."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


# ------------------------------------------------------------------ parts: each returns its data and its table


def training_step(clock: Clock) -> tuple[Any, Lines]:
    from training_step import Case, as_table, measure

    cases = [
        Case("resnet50", 256, 128, 16, "bf16"),
        Case("resnet50", 256, 128, 16, "bf16", deterministic=False),
        Case("resnet50", 256, 128, 16, "fp32"),
    ]
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for number, case in enumerate(cases):
            if number and clock.left() < 240:
                break
            rows.append(
                measure(
                    case,
                    "cuda",
                    steps=560 if number == 0 else 180,  # an epoch of Market-1501 has 183
                    round_length=20,
                    workers=os.cpu_count() or 1,
                    loader_steps=150 if number == 0 else 0,
                    images=128,
                    cache=Path(cache),
                )
            )
            print(as_table(rows)[-1], flush=True)
    return [asdict(row) for row in rows], as_table(rows)


def evaluation(clock: Clock) -> tuple[Any, Lines]:
    from evaluation import features, people

    from nas.retrieval import evaluate

    rng = np.random.default_rng(0)
    who = people(750, 3368, 15913, 2798, 6, rng)
    query, gallery = (part.cuda() for part in features(who, 2048, 3.0, rng))
    q, qc, g, gc = who.arguments

    def whole() -> None:
        evaluate(query, q, qc, gallery, g, gc)

    def product() -> None:
        query @ gallery.T

    found = {name: best_of(work, 10) for name, work in (("whole", whole), ("product", product))}
    lines = ["| evaluation, Market-1501's size | ms |", "|---|---:|"]
    return found, [*lines, *(f"| {name} | {1e3 * seconds:.1f} |" for name, seconds in found.items())]


def embedding(clock: Clock) -> tuple[Any, Lines]:
    from nas.data.augmentation import Augmentation
    from nas.data.prepared import PackedSplit
    from nas.networks import build_network
    from nas.training.extraction import embed_split

    count = 2048
    store = torch.randint(0, 256, (count, 256, 128, 3), dtype=torch.uint8).permute(0, 3, 1, 2).cuda()
    places = torch.arange(count)
    split = PackedSplit(store, places, places, places, places, ())
    network = build_network("resnet50", seed=0).cuda().to(memory_format=torch.channels_last).eval()
    speed = count / best_of(lambda: embed_split(network, split, Augmentation()), 3)
    return {"images_per_s": speed}, [
        "| features, fp32 | images/s |",
        "|---|---:|",
        f"| resnet50 256x128 | {speed:.0f} |",
    ]


def latency(clock: Clock) -> tuple[Any, Lines]:
    from latency import slowdown

    from nas.latency.protocol import LatencyProtocol

    backends = ("eager", "cuda_graphs")
    found = {}
    for backend in backends:
        protocol = LatencyProtocol(device="cuda", backend=backend, precision="fp16", batch=16, channels_last=True)
        found[backend] = slowdown(protocol, rounds=200)
    names = list(found[backends[0]]["slower_percent"])
    lines = [f"| slower than resnet50, fp16, batch 16 | {' | '.join(f'{b} %' for b in backends)} |", "|---|---:|---:|"]
    for name in names:
        cells = ("{:+.1f} [{:+.1f}, {:+.1f}]".format(*found[b]["slower_percent"][name]) for b in backends)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    base = " | ".join(f"{found[b]['median_ms']['resnet50']:.3f} ms" for b in backends)
    return found, [*lines, f"| resnet50 itself | {base} |"]


def blocks(clock: Clock) -> tuple[Any, Lines]:
    from blocks import BLOCKS, MODES, PRECISIONS, SHAPES, compare, label

    cases = itertools.product(("bf16",), MODES, BLOCKS, (SHAPES[2], SHAPES[3]))
    rows = []
    for precision, mode, (name, settings), shape in cases:
        if clock.left() < 20 or precision not in PRECISIONS:
            break
        rows.append(compare(name, settings, shape, precision, mode, "cuda", "wall"))
    lines = ["| block | shape | run | fast ms | plain ms | plain / fast |", "|---|---|---|---:|---:|---:|"]
    for r in rows:
        numbers = f"{r.fast_ms:.3f} | {r.plain_ms:.3f} | {r.ratio:.2f}"
        lines.append(f"| {r.block} | {r.shape} | {r.mode} {r.precision} | {numbers} |")
    return [asdict(row) for row in rows] or [label(*BLOCKS[0])], lines


PARTS: dict[str, Callable[[Clock], tuple[Any, Lines]]] = {
    "Training step": training_step,
    "Evaluation": evaluation,
    "Features": embedding,
    "Latency": latency,
    "Blocks": blocks,
}


# ------------------------------------------------------------------ running


def best_of(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some runs, after one that is thrown away."""
    work()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def run(wanted: list[str], clock: Clock) -> Iterator[tuple[str, Any, Lines]]:
    """Name, data and table of each part; one that fails says why."""
    for name in wanted:
        print(f"-- {name}, {clock.left():.0f} s left", flush=True)
        if clock.left() < 15:
            yield name, None, ["No time was left for this part."]
            continue
        try:
            yield name, *PARTS[name](clock)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            yield name, {"failed": reason}, [f"Could not run here: {reason}"]
        finally:
            torch.cuda.empty_cache()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="results are written to OUT.json and OUT.md")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="these parts only")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU that torch can use here, so there is nothing to measure.")
        return 0
    from training_step import environment, write

    env = environment(torch.get_num_threads(), "wall")
    found: dict[str, Any] = {"environment": env}
    tables: Lines = []
    for name, data, lines in run(arguments.only or list(PARTS), Clock(arguments.minutes)):
        found[name] = data
        tables += [f"## {name}", "", *lines, ""]
    libraries = ", ".join(f"{key} {value}" for key, value in env["libraries"].items())
    head = ["# On a GPU", "", f"{env['date']}, {env['gpu']}, {env['cores']} cores; {libraries}.", ""]
    text = "\n".join([*head, *tables])
    print(text)
    if arguments.out:
        write(arguments.out, found, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
