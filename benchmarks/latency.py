"""Can the latencies be trusted? Spread of repeats, error of additive prediction, slow-down beside the paper's.

    flock /tmp/nas-bench.lock python benchmarks/latency.py --out benchmarks/results/latency
    python benchmarks/latency.py --device cuda --questions slowdown --out benchmarks/results/latency_gpu

- `pairs`: seven networks, again and again: how much a network's time relative to the plain network's moves when it is
  timed alone, when the reference's time before and after is divided out, and when the two take turns batch by batch.
  `--questions pairs --short --out benchmarks/results/latency_pairs` is a form of a few minutes.
- `spread`: ten whole measurements (lock, build, warm-up, timing) of one network; relative sd of their medians.
  Target: under 2 % on an isolated CPU.
- `additive`: baseline and one network a block and shape, then random networks with 2 to 5 blocks; how far the sum of
  the parts is from the measurement, with and without a cost once a network, each network left out of its own fit.
- `slowdown`: C-NL, HAC and AGW at 6, 8, 14 and ResNet-101 against ResNet-50. All sessions are open at once and take
  turns batch by batch, so that a change of the machine's speed meets all of them; ratios within a round.
- `weights`: the same network with its own weights and with the noise a far device uses, in ONNX Runtime, in turns.

Everything is timed under the machine's latency lock; the load of other programs is recorded beside each figure. Each
answer is written when it is there, beside those that an earlier run gave to other questions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from nas.latency import LatencyProtocol, available_backends, measure
from nas.latency.backends import get_backend
from nas.latency.device_agent.engines import open_engine
from nas.latency.device_agent.machine import usable_cpus
from nas.latency.device_agent.program import unpack
from nas.latency.device_agent.statistics import pool_pairs
from nas.latency.device_agent.timing import clocked, time_rounds, warm_up
from nas.latency.environment import device_name, read_environment
from nas.latency.isolation import TrainingPresence, exclusive_measurement
from nas.latency.jobs import pack
from nas.latency.load import LoadMeter
from nas.latency.onnx_file import exported
from nas.latency.placements import plan_profile, profile
from nas.latency.store import RepositoryStore
from nas.latency.subject import as_subject
from nas.results.additive import AdditiveModel, FitError, Row, cross_validate
from nas.spaces import Candidate, DesignSpace
from nas.storage import Repository, open_database

PAPER = {
    "resnet50+cnl@6,8,14": 100 * (1000 / 25.89 / 36.917 - 1),
    "resnet50+hac@6,8,14": 100 * (1000 / 24.93 / 36.917 - 1),
    "resnet50+agw@6,8,14": 100 * (1000 / 19.88 / 36.917 - 1),
    "resnet101": 100 * (53.454 / 36.917 - 1),
}
BLOCKS = ("se", "hac", "cnl", "agw")
Answer = dict[str, Any]


def spread(protocol: LatencyProtocol, repeats: int) -> Answer:
    """Whole measurements of one network, again and again."""
    records = [measure("resnet50", protocol, memory=False) for _ in range(repeats)]
    medians = [record.median_ms for record in records]
    return {
        "protocol": protocol.to_dict(),
        "medians_ms": medians,
        "relative_sd_percent": 100 * statistics.stdev(medians) / statistics.fmean(medians),
        "within_percent": 100 * statistics.median((r.sd_ms or 0.0) / r.mean_ms for r in records),
        "isolated": sum(record.isolated for record in records),
        "others_cpu_share": [(record.environment or {}).get("others_cpu_share") for record in records],
    }


def lock(calls: int = 2000) -> Answer:
    """What asking for a waiting measurement costs a training, between any two steps."""
    with TrainingPresence() as presence:
        begun = time.perf_counter()
        for _ in range(calls):
            presence.give_way()
        return {"give_way_us": (time.perf_counter() - begun) / calls * 1e6}


FORMS = {"alone": "alone", "before and after": "before_after", "in turns": "pairs"}


def pairs(protocol: LatencyProtocol, repeats: int, batches: int) -> Answer:
    """Each way to compare a network with the plain one, side by side in time, several times over minutes."""
    plain = "resnet50(width=0.25)"
    blocks = ("", "+se@8", "+hac@15", "+agw@1", "+cnl(fuse=gate2)@6", "+raga@2")
    names = [*(plain + block for block in blocks), "resnet101(width=0.25)"]
    answer: Answer = {"protocol": protocol.to_dict(), "repeats": repeats, "batches": batches, "networks": {}}
    found: dict[str, dict[str, list[float]]] = {name: {form: [] for form in FORMS.values()} for name in names}
    covers: list[float] = []
    with _sessions(protocol, names) as runs, exclusive_measurement(None), LoadMeter() as meter:
        warm_up(list(runs.values()), 20)
        base = _median(runs[plain], batches)
        for repeat in range(repeats):
            for name in names:
                tell("pairs")(repeat, repeats, name)
                values = found[name]
                before = _median(runs[plain], batches // 3)
                alone = _median(runs[name], batches)
                after = _median(runs[plain], batches // 3)
                turns = pool_pairs([time_rounds([clocked(runs[name]), clocked(runs[plain])], batches, 0.0)])
                values["alone"].append(alone / base)
                values["before_after"].append(2.0 * alone / (before + after))
                values["pairs"].append(turns["ratio"])
                if name == plain:
                    covers.append(float(turns["ratio_low"] <= 1.0 <= turns["ratio_high"]))
    answer["others_cpu_share"], answer["plain_covers_one"] = meter.load.cpu_share, statistics.fmean(covers)
    for name, values in found.items():
        spread_ = {f"{form}_sd_percent": 100 * float(np.std(np.log(v), ddof=1)) for form, v in values.items()}
        answer["networks"][name] = {"ratio": statistics.median(values["pairs"]), **spread_}
    return answer


def _median(run: Callable[[], None], batches: int) -> float:
    return statistics.median(ms for (ms,) in time_rounds([clocked(run)], batches, 0.0))


def additive(protocol: LatencyProtocol, networks: int, seed: int) -> Answer:
    """Singles and random networks, each in turns with the plain network; then predicted."""
    space = DesignSpace.from_dict(
        {"name": "benchmark", "backbones": ["resnet50"], "sites": "1-17", "blocks": {name: {} for name in BLOCKS}}
    )
    rng = random.Random(seed)
    several = [c for blocks in (2, 3, 4, 5) for c in space.sample(-(-networks // 4), rng, blocks=blocks)][:networks]
    rng.shuffle(several)
    planned = [*plan_profile(space, references=(), checks=6, seed=seed), *(c.architecture for c in several)]
    store = RepositoryStore(Repository(open_database("sqlite://")))
    found = profile(planned, protocol, store, tell("additive"))
    rows = [Row(candidate, record.median_ms) for candidate, record in found.records.items()]
    singles = [row for row in rows if len(row.candidate.placements) < 2]
    tested = [row for row in rows if len(row.candidate.placements) > 1]
    model = AdditiveModel.fit(singles)
    predicted = [model.predict(row.candidate) for row in tested]
    return {
        "protocol": protocol.to_dict(),
        "networks": len(tested),
        "kendall_tau": float(kendalltau([row.ms for row in tested], predicted).statistic),
        "fitted_on_singles": _error(model.error(tested)),
        "cross_validated": {once: _error(cross_validate(rows, once)) for once in ("none", "network", "block")},
        "once_ms": AdditiveModel.fit(rows, "network").once_ms[""],
        "baseline_ms": model.predict("resnet50"),
        "isolated": sum(record.isolated for record in found.records.values()),
        "measured": len(found.records),
        "warnings": found.warnings,
        "rows": [[row.candidate.notation, row.ms] for row in rows],
    }


def _error(error: FitError | None) -> dict[str, float] | None:
    return None if error is None else vars(error)


def slowdown(protocol: LatencyProtocol, rounds: int) -> Answer:
    """Networks against the baseline in one backend, in turns."""
    names = ["resnet50", *PAPER]
    with _sessions(protocol, names) as runs, exclusive_measurement(None), LoadMeter() as meter:
        times = take_turns(runs, rounds)
    return {"protocol": protocol.to_dict(), "others_cpu_share": meter.load.cpu_share, **_against_first(times)}


@contextmanager
def _sessions(protocol: LatencyProtocol, names: list[str]) -> Iterator[dict[str, Callable[[], None]]]:
    backend = get_backend(protocol.backend)
    with ExitStack() as stack:
        runs = {}
        for name in names:
            session = backend.open(as_subject(name), protocol, 0)
            stack.callback(session.close)
            runs[name] = session.run
        yield runs


def take_turns(runs: dict[str, Callable[[], None]], rounds: int, warmup: int = 2) -> dict[str, list[float]]:
    """Milliseconds of single batches, one of each network a round, in an order drawn anew each round."""
    rng, times = random.Random(0), {name: [] for name in runs}
    for number in range(rounds + warmup):
        for name in rng.sample(list(runs), len(runs)):
            ((ms,),) = time_rounds([clocked(runs[name])], 1, 0.0)
            if number >= warmup:
                times[name].append(ms)
    return times


def _against_first(times: dict[str, list[float]]) -> Answer:
    """Medians, and the median ratio to the first network with its bootstrap interval over rounds."""
    first, *others = times
    rng, base = np.random.default_rng(0), np.array(times[first])
    answer: Answer = {"rounds": len(base), "median_ms": {k: statistics.median(v) for k, v in times.items()}}
    answer["slower_percent"] = {}
    for name in others:
        ratios = 100 * (np.array(times[name]) / base - 1)
        resampled = np.median(rng.choice(ratios, (4000, ratios.size)), axis=1)
        low, high = np.percentile(resampled, (2.5, 97.5))
        answer["slower_percent"][name] = [float(np.median(ratios)), float(low), float(high)]
    return answer


def weights(protocol: LatencyProtocol, rounds: int) -> Answer:
    """Own weights against the noise of a far device."""
    candidate = Candidate.parse("resnet50+cnl@6,8,14")
    with exported(as_subject(candidate), protocol) as own, tempfile.TemporaryDirectory() as folder:
        packed = pack(candidate, protocol)
        (noise,) = unpack(packed, hashlib.sha256(packed).hexdigest(), folder)
        paths = {"own weights": own, "noise": noise, "own weights again": own}
        engines = {name: open_engine(str(path), protocol.to_dict()) for name, path in paths.items()}
        with exclusive_measurement(None), LoadMeter() as meter:
            times = take_turns({name: engine.run for name, engine in engines.items()}, rounds)
    return {
        "protocol": protocol.to_dict(),
        "job_bytes": len(packed),
        "others_cpu_share": meter.load.cpu_share,
        **_against_first(times),
    }


def tell(title: str) -> Callable[..., None]:
    """Progress on one line."""
    return lambda done, total, what="": print(f"\r{title} {done}/{total} {what:60}", end="", flush=True)


# -- the report


def report(answers: Answer) -> str:
    """The answers as Markdown."""
    environment = answers["environment"]
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    lines = ["# Latency", "", f"{answers['date']}, {answers['device']}, {environment['system']}, {libraries}.", ""]
    for name, text in (
        ("pairs", _pairs_lines),
        ("spread", _spread_lines),
        ("additive", _additive_lines),
        ("slowdown", _slowdown_lines),
    ):
        if name in answers:
            lines += text(answers[name])
    if "lock" in answers:
        lines += [
            f"Asking whether a measurement waits costs a training {answers['lock']['give_way_us']:.0f} us a step.",
            "",
        ]
    if "weights" in answers:
        lines += _weights_lines(answers["weights"])
    return "\n".join(lines) + "\n"


def _pairs_lines(answer: Answer) -> list[str]:
    batches, input_ = answer["batches"], answer["protocol"]["input"]
    lines = ["## A network's time relative to the plain network's: spread of one measurement (sd, percent)", ""]
    lines += [
        f"| {batches} batches of 3x{input_[0]}x{input_[1]} | ratio, in turns | {' | '.join(FORMS)} |",
        "|---" * 5 + "|",
    ]
    for name, row in answer["networks"].items():
        cells = [f"{row[f'{form}_sd_percent']:.1f}" for form in FORMS.values()]
        lines.append(f"| {name} | {row['ratio']:.3f} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{answer['repeats']} repeats; others' load {answer['others_cpu_share']:.0%}. The interval of the plain ",
    ]
    lines[-1] += f"network beside itself held 1 in {answer['plain_covers_one']:.0%} of them (95 % are promised)."
    return [*lines, ""]


def _spread_lines(found: dict[str, Answer]) -> list[str]:
    lines = ["## Spread of repeated measurements of ResNet-50", ""]
    lines += [
        "| backend | repeats | median ms | sd of medians | sd within | isolated | others' load |",
        "|---" * 7 + "|",
    ]
    for backend, answer in found.items():
        medians, shares = answer["medians_ms"], [s for s in answer["others_cpu_share"] if s is not None]
        cells = [backend, len(medians), f"{statistics.median(medians):.1f}"]
        cells += [f"{answer[key]:.2f} %" for key in ("relative_sd_percent", "within_percent")]
        cells += [f"{answer['isolated']} of {len(medians)}", f"{min(shares):.0%} to {max(shares):.0%}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, "", "Target: sd of the medians under 2 % on an isolated CPU.", ""]


def _additive_lines(answer: Answer) -> list[str]:
    kinds = {
        "baseline + increments of singles": answer["fitted_on_singles"],
        "increments fitted on all, left out in turn": answer["cross_validated"]["none"],
        "with a cost once a network, left out in turn": answer["cross_validated"]["network"],
        "with a cost once a block type, left out in turn": answer["cross_validated"]["block"],
    }
    lines = [f"## Additive prediction of {answer['networks']} random networks with 2 to 5 blocks", ""]
    lines += ["| model | mean error | worst | bias |", "|---" * 4 + "|"]
    for name, error in kinds.items():
        mean, worst, bias = (error[f"{key}_percent"] for key in ("mean", "worst", "bias"))
        lines.append(f"| {name} | {mean:.2f} % | {worst:.2f} % | {bias:+.2f} % |")
    lines += [
        "",
        f"Rank correlation (Kendall) of prediction from singles and measurement: {answer['kendall_tau']:.2f}.",
    ]
    lines += [f"Cost once a network: {answer['once_ms']:+.2f} ms on a baseline of {answer['baseline_ms']:.1f} ms."]
    lines += [f"{answer['isolated']} of {answer['measured']} figures isolated. {' '.join(answer['warnings'])}", ""]
    return [*lines, "The paper's own figures: singles overestimate its triples by 1.3, 6.5 and 8.9 %.", ""]


def _slowdown_lines(found: dict[str, Answer]) -> list[str]:
    head = "".join(f" {backend} |" for backend in found)
    lines = ["## Slower than ResNet-50, in percent", "", f"| network | paper (TensorRT fp16) |{head}"]
    lines.append("|---" * (2 + len(found)) + "|")
    for name, paper in PAPER.items():
        cells = ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*answer["slower_percent"][name]) for answer in found.values()]
        lines.append(f"| {name} | {paper:+.1f} | {' | '.join(cells)} |")
    base = [f"{answer['median_ms']['resnet50']:.1f} ms" for answer in found.values()]
    load = ["" if a["others_cpu_share"] is None else f"{a['others_cpu_share']:.0%}" for a in found.values()]
    lines += [f"| resnet50 itself | 36.9 ms | {' | '.join(base)} |", f"| others' load | | {' | '.join(load)} |", ""]
    return [*lines, "Median ratio within rounds and its 95 % bootstrap interval.", ""]


def _weights_lines(answer: Answer) -> list[str]:
    rows = [f"| {n} | " + "{:+.2f} % [{:+.2f}, {:+.2f}] |".format(*v) for n, v in answer["slower_percent"].items()]
    head = ["## Noise instead of weights, in ONNX Runtime", "", "| file | slower than own weights |", "|---|---|"]
    return [
        *head,
        *rows,
        "",
        f"A job is {answer['job_bytes'] / 1000:.1f} kB; others' load {answer['others_cpu_share']:.0%}.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = ("pairs", "spread", "additive", "slowdown", "weights")
    parser.add_argument("--questions", nargs="+", default=list(questions), choices=questions)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--input", type=int, nargs=2, default=(256, 128))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--repeats", type=int, default=10, help="of `spread`")
    parser.add_argument("--networks", type=int, default=50, help="of `additive`")
    parser.add_argument("--short", action="store_true", help="`pairs`: four repeats of 30 batches of 4")
    parser.add_argument("--rounds", type=int, default=15, help="of `slowdown` and `weights`")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds a measurement of `spread` on a CPU")
    parser.add_argument("--additive-batch", type=int, default=4, help="images a batch in `additive`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    given = parser.parse_args()
    common = {"device": given.device, "input": tuple(given.input), "precision": given.precision}
    base = LatencyProtocol(batch=given.batch, time_budget_s=given.budget, **common)
    here = [name for name, reason in available_backends(given.device).items() if reason is None]
    protocols = {name: LatencyProtocol.from_dict({**base.to_dict(), "backend": name}) for name in here}
    answers: Answer = _earlier(given.out) | {
        "date": datetime.now(UTC).date().isoformat(),
        "device": device_name(base),
        "environment": read_environment(base),
    }
    torch.set_num_threads(usable_cpus())
    if given.questions != ["pairs"]:
        answers["lock"] = lock()
    small = LatencyProtocol(batch=given.additive_batch, time_budget_s=given.budget / 4, **common)
    ask: dict[str, Callable[[], Answer]] = {
        "pairs": lambda: pairs(
            LatencyProtocol(batch=4 if given.short else given.batch, **common | {"input": (64, 32)}),
            4 if given.short else given.repeats,
            30 if given.short else 60,
        ),
        "spread": lambda: {n: spread(protocols[n], given.repeats) for n in ("eager", "onnxruntime") if n in here},
        "slowdown": lambda: {name: slowdown(protocol, given.rounds) for name, protocol in protocols.items()},
        "weights": lambda: weights(protocols["onnxruntime"], given.rounds),
        "additive": lambda: additive(small, given.networks, given.seed),
    }
    for question in given.questions:
        if question != "weights" or "onnxruntime" in here:
            answers[question] = ask[question]()
            _write(answers, given.out)
    print("\n" + report(answers))


def _earlier(out: Path | None) -> Answer:
    """What earlier runs answered."""
    known = out is not None and out.with_suffix(".json").exists()
    return json.loads(out.with_suffix(".json").read_text()) if out is not None and known else {}


def _write(answers: Answer, out: Path | None) -> None:
    if out is not None:
        out.with_suffix(".md").write_text(report(answers))
        out.with_suffix(".json").write_text(json.dumps(answers, indent=1))


if __name__ == "__main__":
    main()
