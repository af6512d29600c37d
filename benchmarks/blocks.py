"""What do the fast forms of the attention blocks save? Time and peak memory against the plain forms.

    python benchmarks/blocks.py --out benchmarks/results/blocks [--device cuda] [--threads 2] [--questions times,memory]

Every block with a fast form, at the five site shapes of ResNet-50 (256x128 input), batch 16, fp32 and bf16 (autocast),
forward in evaluation mode and a training step (forward, backward). Fast and plain runs alternate, so that a drift of
the machine meets both; the ratio is of medians. `--clock cpu` counts the time the process itself computed (for one
thread on a machine that others use), `wall` the time that passed. Peak memory: a fresh process for each form; on a CPU
the growth of its largest resident size, on CUDA the allocator's peak, both above what stood before the forward; at the
shape where the matrix that the fast form avoids is largest. Questions asked one at a time keep each other's answers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from nas.networks.blocks import FORMS, AttentionBlock, FeatureShape, Form, get_block

BATCH = 16
SHAPES = tuple(
    FeatureShape(*sizes) for sizes in ((64, 64, 32), (256, 64, 32), (512, 32, 16), (1024, 16, 8), (2048, 16, 8))
)
BLOCKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cnl", {"norm": "softmax"}),
    ("cnl", {"norm": "dot"}),
    ("agw", {"inner": "half"}),
    ("agw", {"inner": "one"}),
    ("abd", {"mode": "pam"}),
    ("abd", {"mode": "cam"}),
    ("raga", {"mode": "s"}),
    ("raga", {"mode": "c"}),
)
PRECISIONS = ("fp32", "bf16")
MODES = ("forward", "training step")
LEAST_PAIRS, MOST_PAIRS, SECONDS = 3, 40, 0.8
QUESTIONS = ("times", "memory")
FEW_CHANNELS, MANY_CHANNELS = SHAPES[1], SHAPES[4]
LARGEST_MATRIX = {
    "cnl": MANY_CHANNELS,
    "agw": FEW_CHANNELS,
    "pam": FEW_CHANNELS,
    "cam": MANY_CHANNELS,
    "s": FEW_CHANNELS,
    "c": MANY_CHANNELS,
}


@dataclass(frozen=True)
class Row:
    """Times in milliseconds; `ratio` is plain over fast, above 1 where the fast form is faster."""

    block: str
    shape: str
    precision: str
    mode: str
    fast_ms: float
    fast_p5_ms: float
    fast_p95_ms: float
    plain_ms: float
    plain_p5_ms: float
    plain_p95_ms: float
    pairs: int
    ratio: float


@dataclass(frozen=True)
class Memory:
    """Peak memory in MB above what stood before the run; `share` is fast over plain."""

    block: str
    shape: str
    mode: str
    fast_mb: float
    plain_mb: float
    share: float


def label(name: str, settings: dict[str, Any]) -> str:
    return f"{name}({','.join(f'{key}={value}' for key, value in settings.items())})"


def build(name: str, settings: dict[str, Any], shape: FeatureShape, form: Form, device: str) -> AttentionBlock:
    torch.manual_seed(0)
    return get_block(name).build(shape, form=form, **settings).to(device)


def make_input(shape: FeatureShape, device: str) -> torch.Tensor:
    x = torch.randn(BATCH, shape.channels, shape.height, shape.width).relu().to(device)
    return x.contiguous(memory_format=torch.channels_last)


def step(block: AttentionBlock, x: torch.Tensor, mode: str, precision: str) -> Callable[[], None]:
    """One run of the block as it is trained or deployed."""
    autocast = torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    x = x.to(torch.bfloat16) if precision == "bf16" else x
    block.train(mode != "forward")

    def forward() -> None:
        with torch.no_grad(), autocast:
            block(x)

    def train() -> None:
        given = x.detach().requires_grad_()
        block.zero_grad()
        with autocast:
            out = block(given)
        out.backward(x)

    return forward if mode == "forward" else train


def timed(run: Callable[[], None], device: str, clock: str) -> float:
    now = time.process_time if clock == "cpu" else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    begun = now()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return (now() - begun) * 1e3


def compare(
    name: str, settings: dict[str, Any], shape: FeatureShape, precision: str, mode: str, device: str, clock: str
) -> Row:
    x = make_input(shape, device)
    runs = {form: step(build(name, settings, shape, form, device), x, mode, precision) for form in FORMS}
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    begun = time.perf_counter()
    while enough(len(times["fast"]), time.perf_counter() - begun):
        for form in FORMS:
            times[form].append(timed(runs[form], device, clock))
    fast, plain = (summary(times[form]) for form in ("fast", "plain"))
    ratio, pairs = round(plain[0] / fast[0], 2), len(times["fast"])
    row = Row(label(name, settings), str(shape), precision, mode, *fast, *plain, pairs, ratio)
    print(
        f"{row.block:20} {row.shape:12} {precision} {mode:14} {fast[0]:9.2f} {plain[0]:9.2f} ms  x{ratio}", flush=True
    )
    return row


def enough(pairs: int, seconds: float) -> bool:
    """Whether another pair is due."""
    return pairs < LEAST_PAIRS or (pairs < MOST_PAIRS and seconds < SECONDS)


def summary(times: list[float]) -> tuple[float, float, float]:
    """Median, 5th and 95th percentile."""
    ordered = sorted(times)
    last = len(ordered) - 1
    return tuple(round(v, 4) for v in (median(ordered), ordered[round(0.05 * last)], ordered[round(0.95 * last)]))  # type: ignore[return-value]


def peak_here(name: str, settings: dict[str, Any], shape: FeatureShape, form: Form, mode: str, device: str) -> float:
    """Megabytes that one run needs above what stood before it; meaningful once a process only."""
    run = step(build(name, settings, shape, form, device), make_input(shape, device), mode, "fp32")
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    # A small run first loads the libraries' code and makes their threads.
    small = FeatureShape(16, 4, 4)
    step(build(name, settings, small, form, device), make_input(small, device), mode, "fp32")()
    before = largest_resident_mb(reset=True)
    run()
    return largest_resident_mb() - before


def largest_resident_mb(reset: bool = False) -> float:
    """The largest resident size so far, of this program alone (`ru_maxrss` would begin with that of its parent)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def peak(index: int, shape: FeatureShape, mode: str, form: Form, arguments: argparse.Namespace) -> float:
    """The same from a fresh process."""
    which = json.dumps([index, SHAPES.index(shape), mode, form])
    settings = ["--device", arguments.device, "--threads", str(arguments.threads)]
    command = [sys.executable, __file__, *settings, "--peak", which]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memories(arguments: argparse.Namespace) -> Iterator[Memory]:
    for index, (name, settings) in enumerate(BLOCKS):
        if arguments.only not in label(name, settings):
            continue
        shape = LARGEST_MATRIX[str(settings.get("mode", name))]
        for mode in MODES:
            fast, plain = (peak(index, shape, mode, form, arguments) for form in FORMS)
            share = round(fast / max(plain, 1e-9), 3)
            row = Memory(label(name, settings), str(shape), mode, round(fast, 1), round(plain, 1), share)
            print(f"{row.block:20} {row.shape:12} {mode:14} {fast:9.1f} {plain:9.1f} MB  x{row.share}", flush=True)
            yield row


def times(arguments: argparse.Namespace) -> Iterator[Row]:
    for (name, settings), shape, precision, mode in itertools.product(BLOCKS, SHAPES, PRECISIONS, MODES):
        if arguments.only in label(name, settings):
            yield compare(name, settings, shape, precision, mode, arguments.device, arguments.clock)


def environment(arguments: argparse.Namespace) -> dict[str, Any]:
    libraries = {name: version(name) for name in ("torch", "timm", "numpy", "nas-reid")}
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else None
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_after": round(os.getloadavg()[0], 2),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "gpu": gpu,
        "python": platform.python_version(),
        "libraries": libraries,
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def as_markdown(found: dict[str, Any]) -> str:
    env = found["environment"]
    lines = [
        "# Fast against plain forms of the attention blocks",
        "",
        f"{env['date']}, {env['gpu'] or env['processor']}, {env['threads']} thread(s), {env['clock']} time,"
        f" load {env['load_after']} at the end, torch {env['libraries']['torch']}; batch {BATCH}."
        " Median ms [p5, p95] over alternating runs; ratio = plain / fast.",
        "",
        "| block | shape | precision | run | fast | plain | ratio |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    for r in found["times"]:
        fast = f"{r['fast_ms']:.2f} [{r['fast_p5_ms']:.2f}, {r['fast_p95_ms']:.2f}]"
        plain = f"{r['plain_ms']:.2f} [{r['plain_p5_ms']:.2f}, {r['plain_p95_ms']:.2f}]"
        lines.append(
            f"| {r['block']} | {r['shape']} | {r['precision']} | {r['mode']} | {fast} | {plain} | {r['ratio']:.2f} |"
        )
    lines += ["", "Peak memory of one fp32 run, MB above what stood before it.", ""]
    lines += ["| block | shape | run | fast | plain | fast / plain |", "|---|---|---|---:|---:|---:|"]
    for m in found["memory"]:
        lines.append(
            f"| {m['block']} | {m['shape']} | {m['mode']} | {m['fast_mb']} | {m['plain_mb']} | {m['share']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="results are written to OUT.json and OUT.md")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--only", default="", help="blocks whose label contains this")
    parser.add_argument("--questions", default=",".join(QUESTIONS), help="times, memory, or both")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        index, shape, mode, form = json.loads(arguments.peak)
        print(peak_here(*BLOCKS[index], SHAPES[shape], form, mode, arguments.device))
        return
    for question in arguments.questions.split(","):
        rows = [asdict(row) for row in (times if question == "times" else memories)(arguments)]
        if arguments.out:
            write(arguments.out, {question: rows, "environment": environment(arguments)})


def write(out: Path, answered: dict[str, Any]) -> None:
    """Writes what was answered beside what earlier runs answered."""
    target = out.with_suffix(".json")
    found = {question: [] for question in QUESTIONS} | (json.loads(target.read_text()) if target.exists() else {})
    found |= answered
    out.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")
    out.with_suffix(".md").write_text(as_markdown(found))


if __name__ == "__main__":
    main()
