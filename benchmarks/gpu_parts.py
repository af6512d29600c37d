"""The parts of `benchmarks/gpu.py`: each runs in a process of its own and says what it finds line by line.

    python benchmarks/gpu_parts.py PART PLAN.json RESULT.jsonl

What was said before a part was killed stays. Everything that `nas` needs and a borrowed machine may lack is handled
in `benchmarks/gpu.py`, which starts these.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gpu_models import without_pydantic

without_pydantic()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from nas.data.prepared import PackedSplit, PreparedData  # noqa: E402
from nas.data.records import ImageRecord  # noqa: E402
from nas.errors import NasError  # noqa: E402
from nas.latency.gpu import read_clocks  # noqa: E402
from nas.latency.measuring import measure  # noqa: E402
from nas.latency.protocol import LatencyProtocol  # noqa: E402
from nas.networks.network import build_network  # noqa: E402
from nas.retrieval.evaluation import evaluate  # noqa: E402
from nas.spaces.blocks import block_names  # noqa: E402
from nas.spaces.candidate import Candidate  # noqa: E402
from nas.training.checkpoints import load_checkpoint  # noqa: E402
from nas.training.failures import OutOfMemory  # noqa: E402
from nas.training.recipe import LOSS_SETUPS, Recipe, load_recipe  # noqa: E402
from nas.training.reproducible import reproducible  # noqa: E402
from nas.training.run import train  # noqa: E402
from nas.training.trainer import Trainer  # noqa: E402

EVERYTHING = {"brightness": 0.3, "contrast": 0.2, "saturation": 0.2, "blur": 0.5}
CNL = "resnet50+cnl@6,8,14"


@dataclass(frozen=True)
class Plan:
    """Where the parts run, and how large they are."""

    device: str = "cuda"
    folder: str = "."
    small: str = "resnet18(width=0.25)"
    large: str = "resnet50"
    input: tuple[int, int] = (256, 128)
    persons: int = 16
    steps: int = 40
    market: tuple[int, int, int] = (751, 17, 3368)  # persons and images of each to train on, queries
    gallery: int = 15913
    batches: int = 150
    latency_batch: int = 16

    @property
    def place(self) -> torch.device:
        return torch.device(self.device)

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"


def rehearsal(device: str, folder: str) -> Plan:
    """The same parts, small enough for a CPU."""
    return Plan(
        device,
        folder,
        large="resnet18(width=0.25)",
        input=(32, 16),
        persons=3,
        steps=4,
        market=(6, 4, 6),
        gallery=12,
        batches=3,
        latency_batch=2,
    )


Say = Callable[[str, Any], None]


# ------------------------------------------------------------------ what is trained


def split(size: tuple[int, int], raw: list[int], seed: int) -> PackedSplit:
    """Random pixels: to train on (seed 0) by three cameras in turn, queries by the first, gallery by the second."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (len(raw), *size, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)
    numbers = torch.tensor(raw)
    cameras = torch.full_like(numbers, seed) if seed else torch.arange(len(raw)) % 3 + 1
    records = tuple(ImageRecord(Path(f"{n}.png"), i, int(cameras[n])) for n, i in enumerate(raw))
    return PackedSplit(
        pixels, torch.arange(len(raw)), numbers, torch.unique(numbers, return_inverse=True)[1], cameras, records
    )


def data(size: tuple[int, int], persons: int, images: int, queries: int, gallery: int) -> PreparedData:
    """A set of these sizes; every query has right answers."""
    others = max(2, queries // 4)
    train_split = split(size, [1 + n for n in range(persons) for _ in range(images)], 0)
    parts = (split(size, [1000 + n % others for n in range(count)], k) for k, count in enumerate((queries, gallery), 1))
    return PreparedData(train_split, *parts, persons, "random", size, "random")


def recipe(plan: Plan, **changes: Any) -> Recipe:
    own = {"extends": "quickstart", "input": plan.input, "identities": plan.persons, "images": 4, "warmup_epochs": 1}
    return load_recipe({**own, **changes})


def small(plan: Plan, **changes: Any) -> tuple[PreparedData, Recipe]:
    """A training of seconds on any device."""
    own = {"extends": "quickstart", "input": (64, 32), "epochs": 2, "warmup_epochs": 1, "identities": 4, "images": 4}
    return data((64, 32), 16, 8, 24, 48), load_recipe({**own, "precision": "fp32", **changes})


def trainer(plan: Plan, candidate: str, own: Recipe, given: PreparedData) -> Trainer:
    made = Trainer(Candidate.parse(candidate), own, given.to(plan.place), 0, plan.place)
    made.prepare()
    return made


def losses(made: Trainer, steps: int) -> list[float]:
    found = [made.train_step(made.batches.get(1, step), 1e-3)[0].clone() for step in range(1, steps + 1)]
    return [float(loss) for loss in found]


def off(one: Any, other: Any) -> float:
    """The largest difference, relative to the largest value."""
    a, b = (torch.as_tensor(v, dtype=torch.float64).cpu() for v in (one, other))
    return float((a - b).abs().amax() / a.abs().amax().clamp(min=1e-12))


# ------------------------------------------------------------------ 1 parity


def parity(plan: Plan, say: Say) -> None:
    given, own = small(plan)
    there, here = (train(plan.small, own, given, seed=1, device=d) for d in (plan.device, "cpu"))
    say(
        "training, losses beside the CPU's, relative",
        [off(t.losses["total"], h.losses["total"]) for t, h in zip(there.epochs, here.epochs, strict=True)],
    )
    say("training, mAP and the CPU's", [there.metrics.map, here.metrics.map])

    rng = np.random.default_rng(0)
    query, gallery = (torch.from_numpy(rng.normal(size=(n, 64)).astype(np.float32)) for n in (40, 400))
    persons = np.arange(40) % 20, np.ones(40, int), np.arange(400) % 20, np.full(400, 2)
    maps = [evaluate(query.to(d), *persons[:2], gallery.to(d), *persons[2:]).map for d in (plan.device, "cpu")]
    say("evaluation, difference of mAP", abs(maps[0] - maps[1]))

    for block in block_names():
        say(f"block {block}, output and gradient beside the CPU's", attempt(lambda name=block: beside_cpu(plan, name)))

    for precision in ("fp32", *(("bf16", "fp16") if plan.on_gpu else ())):
        say(f"equal to the bit, {precision}", attempt(lambda name=precision: repeated(plan, name)))
    say("equal to the bit, bf16, C-NL", attempt(lambda: repeated(plan, "bf16", f"{plan.small}+cnl@4,6")))

    if not plan.on_gpu:
        return
    for precision in ("fp32", "bf16", "fp16"):
        for loss in LOSS_SETUPS:
            say(
                f"no wait in ordinary steps, {precision}, {loss}",
                attempt(lambda p=precision, k=loss: unwaited(plan, p, k)),
            )
    for key in ("capture", "compile"):
        say(f"{key}: losses of ten steps beside eager ones", attempt(lambda k=key: executed(plan, k)))


def attempt(work: Callable[[], Any]) -> Any:
    """What it gives, or why it cannot."""
    try:
        return work()
    except Exception as error:
        return f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def beside_cpu(plan: Plan, block: str) -> list[float]:
    found = []
    for device in (plan.place, torch.device("cpu")):
        network = build_network(f"{plan.small}+{block}@4", input_size=(64, 32), seed=0, num_classes=8).to(device)
        images = torch.rand(4, 3, 64, 32, generator=torch.Generator().manual_seed(0)).to(device)
        outputs = network(images)
        outputs.pooled.square().mean().backward()
        weight = next(p for name, p in network.named_parameters() if name == "backbone.conv1.weight")
        found.append((outputs.pooled.detach(), weight.grad))
    return [off(mine, theirs) for mine, theirs in zip(*found, strict=True)]


def repeated(plan: Plan, precision: str, candidate: str | None = None) -> dict[str, bool]:
    """Whether two deterministic trainings, and one that was interrupted and resumed, are equal to the last bit."""
    given, own = small(plan, precision=precision, augmentation=EVERYTHING)
    files = [Path(plan.folder) / f"{precision}-{name}.pt" for name in ("one", "two", "resumed")]
    for file in files:
        file.unlink(missing_ok=True)
    what = candidate or plan.small
    train(what, own, given, seed=1, device=plan.device, checkpoint=files[2], stop_epoch=1)
    for file in files:
        train(what, own, given, seed=1, device=plan.device, checkpoint=file)
    one, *others = [load_checkpoint(file).network for file in files]
    equal = [all(torch.equal(one[name], other[name]) for name in one) for other in others]
    return {"twice": equal[0], "resumed": equal[1]}


def unwaited(plan: Plan, precision: str, loss: str) -> str:
    given, own = small(plan, precision=precision, loss=loss, augmentation=EVERYTHING, ema_decay=0.9)
    made = trainer(plan, plan.small, own, given)
    losses(made, 2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 7):
            made.train_step(made.batches.get(1, step), 1e-3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "none"


def executed(plan: Plan, key: str) -> float:
    found = []
    for changes in ({}, {key: True}):
        given, own = small(plan, precision="bf16", **changes)
        with reproducible(0, plan.place, deterministic=True):
            found.append(losses(trainer(plan, plan.small, own, given), 6))
    return off(*found)


# ------------------------------------------------------------------ 2 the training step


def step(plan: Plan, say: Say) -> None:
    given = data(plan.input, max(plan.persons, 4), 16, 4, 8)
    for deterministic in (True, False):
        alone: dict[str, Any] = {}
        for how in ("capture", "eager", "compile") if plan.on_gpu else ("eager",):
            name = f"{plan.large}, batch {4 * plan.persons}, {how}, {'' if deterministic else 'not '}deterministic"
            own = recipe(plan, deterministic=deterministic, **({} if how == "eager" else {how: True}))
            found = attempt(lambda own=own, on=deterministic: stepped(plan, own, given, on))
            if how == "capture" and isinstance(found, dict):
                alone = found
            if isinstance(found, dict) and alone.get("graph_ms"):
                found["times the GPU's own time"] = found["step_ms"] / alone["graph_ms"]
            say(name, found)


def stepped(plan: Plan, own: Recipe, given: PreparedData, deterministic: bool) -> dict[str, Any]:
    """Milliseconds of a step: the median of rounds of five, waited for once a round."""
    with reproducible(0, plan.place, deterministic=deterministic):
        made = trainer(plan, plan.large, own, given)
        steps = made.batches.steps(1)
        number, rounds = 0, []
        for turn in range(2 + max(1, plan.steps // 5)):
            wait(plan)
            begun = time.perf_counter()
            for _ in range(5):
                made.train_step(made.batches.get(1, number % steps + 1), 1e-3)
                number += 1
            wait(plan)
            rounds.append((time.perf_counter() - begun) / 5 * 1e3 if turn >= 2 else float("nan"))
        found: dict[str, Any] = {"step_ms": median(rounds[2:]), "precision": made.precision}
        graph = None if made.recorded is None else made.recorded.graph
        if graph is not None:
            found["graph_ms"] = median(on_card(graph.replay) for _ in range(20))
        return found


def on_card(work: Callable[[], object]) -> float:
    """Milliseconds by the card's own clock."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def wait(plan: Plan) -> None:
    if plan.on_gpu:
        torch.cuda.synchronize()


# ------------------------------------------------------------------ 3 a real training


def market(plan: Plan, say: Say) -> None:
    persons, images, queries = plan.market
    given = data(plan.input, persons, images, queries, plan.gallery)
    say("images", [len(given.train), len(given.query), len(given.gallery)])
    for evaluation in ("fp32", "training"):
        own = recipe(plan, epochs=2, evaluation_precision=evaluation)
        found = train(
            plan.large, own, given, seed=1, device=plan.device, on_epoch=lambda r: say(f"epoch {r.epoch}, s", r.seconds)
        )
        say(f"evaluation in {evaluation}, s", found.evaluation_seconds)
        say("images a second, precision", [found.images_per_second, found.precision])


# ------------------------------------------------------------------ 4 latency


def latency(plan: Plan, say: Say) -> None:
    say("process", os.getpid())
    say("clocks before", read_clocks(0) if plan.on_gpu else None)
    half = {"precision": "fp16" if plan.on_gpu else "fp32"}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("graphs, fp16, channels last, batch 16", {"backend": "cuda_graphs", **half}),
        ("graphs, fp16, channels last, batch 1", {"backend": "cuda_graphs", **half, "batch": 1}),
        ("eager, fp16, channels last, batch 16", {"backend": "eager", **half}),
        ("graphs, fp16, channels first, batch 16", {"backend": "cuda_graphs", **half, "channels_last": False}),
        ("graphs, fp32, batch 16", {"backend": "cuda_graphs"}),
        ("graphs, fp32 with TF32, batch 16", {"backend": "cuda_graphs", "tf32": True}),
        ("compile, fp16, channels last, batch 16", {"backend": "compile", **half}),
    ]
    what = CNL if plan.large == "resnet50" else f"{plan.large}+cnl@4"
    for name, changes in cases:
        if not plan.on_gpu and changes["backend"] != "eager":
            continue
        settings = {
            "batch": plan.latency_batch,
            "input": plan.input,
            "batches": plan.batches,
            "warmup_s": 1.0,
            **changes,
        }
        say(name, attempt(lambda given=settings: timed(plan, what, given)))
    say("clocks after", read_clocks(0) if plan.on_gpu else None)


def timed(plan: Plan, what: str, settings: dict[str, Any]) -> dict[str, Any]:
    record = measure(what, LatencyProtocol(device=plan.device, **settings), reference=plan.large)
    keys = (
        "median_ms",
        "ratio",
        "ratio_low",
        "ratio_high",
        "reference_read_ms",
        "peak_memory_mb",
        "energy_mj",
        "isolated",
        "clocks",
    )
    return {"protocol": record.protocol.sentence(), **{key: getattr(record, key) for key in keys}}


# ------------------------------------------------------------------ 5 memory


def memory(plan: Plan, say: Say) -> None:
    given = data(plan.input, max(plan.persons, 4), 8, 4, 8)
    for precision in ("bf16", "fp32") if plan.on_gpu else ("fp32",):
        if plan.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        own = recipe(plan, precision=precision)
        made = trainer(plan, plan.large, own, given)
        losses(made, min(2, made.batches.steps(1)))
        say(f"peak of a step, {precision}, MB", torch.cuda.max_memory_allocated() / 1e6 if plan.on_gpu else None)
        del made
    if not plan.on_gpu:
        return
    given, own = small(plan)
    train(plan.small, own, given, seed=1, device=plan.device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()

    def fill() -> None:
        torch.empty(1 << 44, dtype=torch.uint8, device=plan.place)

    try:
        train(plan.small, own, given, seed=1, device=plan.device, between_steps=fill)
        say("out of memory on purpose", "failed: nothing was raised")
    except OutOfMemory as error:
        say("out of memory on purpose", error.message[:160])
    say("MB that stayed afterwards", (torch.cuda.memory_reserved() - before) / 1e6)
    say("a training after it", len(train(plan.small, own, given, seed=1, device=plan.device).epochs) == 2)


# ------------------------------------------------------------------ 6 two on one card


def pair(plan: Plan, say: Say) -> None:
    """Two trainings at once on one card; one is killed, the other must not notice, the killed one goes on."""
    files = [Path(plan.folder) / f"pair-{name}.pt" for name in ("killed", "other")]
    workers = [start_one(plan, file, seed) for seed, file in enumerate(files)]
    until = time.monotonic() + 90
    while not files[0].exists() and workers[0].poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    early = workers[0].poll()
    workers[0].send_signal(signal.SIGKILL)
    say("killed", {"before its end": early is None, "had a checkpoint": files[0].exists(), "code": workers[0].wait(10)})
    say("the other one's exit code", workers[1].wait(120))
    say("the killed one, gone on with", start_one(plan, files[0], 0).wait(120))
    for seed, file in enumerate(files):
        given, own = small(plan, epochs=4, checkpoint_seconds=0)
        fresh = train(plan.small, own, given, seed=seed, device=plan.device)
        met = load_checkpoint(file).records
        equal = [a.losses == b.losses for a, b in zip(met, fresh.epochs, strict=True)]
        say(f"{file.stem}: epochs equal to undisturbed ones, to the bit", equal)


def start_one(plan: Plan, file: Path, seed: int) -> subprocess.Popen[bytes]:
    own = Path(plan.folder) / "plan.json"
    return subprocess.Popen([sys.executable, __file__, f"one:{seed}:{file}", str(own), os.devnull])


def one(plan: Plan, seed: int, file: Path) -> None:
    given, own = small(plan, epochs=4, checkpoint_seconds=0)
    train(plan.small, own, given, seed=seed, device=plan.device, checkpoint=file)


PARTS: dict[str, tuple[Callable[[Plan, Say], None], float]] = {
    "parity": (parity, 110.0),
    "step": (step, 90.0),
    "training": (market, 90.0),
    "latency": (latency, 95.0),
    "memory": (memory, 35.0),
    "two on one card": (pair, 60.0),
}
"""Each part and the seconds it may take at most, 480 together; what one leaves, the later ones may have."""


def main() -> int:
    name, plan_file, result = sys.argv[1:]
    values = json.loads(Path(plan_file).read_text())
    plan = Plan(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    if name.startswith("one:"):
        _, seed, file = name.split(":", 2)
        one(plan, int(seed), Path(file))
        return 0
    with open(result, "a") as out:

        def say(what: str, value: Any) -> None:
            out.write(json.dumps([what, value], default=str) + "\n")
            out.flush()

        try:
            PARTS[name][0](plan, say)
        except (NasError, RuntimeError) as error:
            say("failed", f"{type(error).__name__}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
