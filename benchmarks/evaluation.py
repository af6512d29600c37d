"""How fast is an evaluation? Against sorting, against torchreid, and against the distance product it cannot do without.

    flock /tmp/nas-bench.lock python benchmarks/evaluation.py --out benchmarks/results/evaluation
    flock /tmp/nas-bench.lock python benchmarks/evaluation.py --msmt17 --out benchmarks/results/evaluation_msmt17

Sizes are Market-1501's (3 368 x 15 913 x 2 048) with its structure: 750 persons in six cameras, one query a person and
camera, 2 798 distractors; features are clustered by person so that mAP is that of a good network. `--random` gives
distances without any order instead (the worst case for nothing, counting does not care).

- `ranking`: distances given; ours, a plain NumPy argsort form of the protocol, and torchreid's evaluation when
  `--torchreid FOLDER` points at an installation of it. Average precisions must agree to 1e-9 on the same distances.
- `whole`: features in, metrics out, against the distance product alone (one matrix product of the same size).
- `--msmt17`: 11 659 x 82 161 x 2 048; peak memory of the process while evaluating.

All forms take turns in one run, so that a change of the machine's speed meets all of them; the fastest turn counts, as
others may use the machine, and the spread is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import platform
import re
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from nas.retrieval import evaluate
from nas.retrieval.counting import compiled
from nas.retrieval.evaluation import evaluate_distances

Answer = dict[str, Any]


@dataclass(frozen=True)
class People:
    """Identities and cameras of queries and gallery."""

    query_ids: np.ndarray
    query_cameras: np.ndarray
    gallery_ids: np.ndarray
    gallery_cameras: np.ndarray

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        """In the order `evaluate_distances` takes them."""
        return self.query_ids, self.query_cameras, self.gallery_ids, self.gallery_cameras


def people(
    persons: int, queries: int, gallery: int, distractors: int, cameras: int, rng: np.random.Generator
) -> People:
    """A test split with one query a person and camera, and few or many gallery images a person, as real ones have."""
    places = np.array([(p, c) for p in range(1, persons + 1) for c in range(1, cameras + 1)])
    two_each = np.flatnonzero(places[:, 1] <= 2)
    others = np.flatnonzero(places[:, 1] > 2)
    asked = places[np.concatenate([two_each, rng.choice(others, queries - len(two_each), replace=False)])]
    shares = rng.lognormal(0, 0.7, persons + 1)[asked[:, 0]]
    more = rng.choice(len(asked), gallery - distractors - len(asked), p=shares / shares.sum())
    nobody = np.stack([np.zeros(distractors, np.int64), rng.integers(1, cameras + 1, distractors)], axis=1)
    found = rng.permutation(np.concatenate([asked, asked[more], nobody]))
    asked = rng.permutation(asked)
    return People(asked[:, 0].copy(), asked[:, 1].copy(), found[:, 0].copy(), found[:, 1].copy())


def features(who: People, width: int, noise: float, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (Q, D) and (G, D), float32, clustered by person; distractors have no cluster."""
    centres = rng.standard_normal((int(who.gallery_ids.max()) + 1, width), dtype=np.float32)
    centres[0] = 0
    made = []
    for ids in (who.query_ids, who.gallery_ids):
        values = np.empty((len(ids), width), dtype=np.float32)
        for start in range(0, len(ids), 4096):
            part = ids[start : start + 4096]
            # Some images are much harder than the rest: plain clusters would be all right or all wrong.
            hard = noise * rng.lognormal(0, 0.5, (len(part), 1)).astype(np.float32)
            values[start : start + 4096] = centres[part] + hard * rng.standard_normal(
                (len(part), width), dtype=np.float32
            )
        made.append(torch.from_numpy(values))
    return made[0], made[1]


def argsort_form(distances: np.ndarray, who: People, kind: str | None = None) -> np.ndarray:
    """Average precision of each query by sorting the whole gallery: the protocol as it is usually written."""
    found = np.full(len(distances), np.nan)
    for i, row in enumerate(distances):
        order = np.argsort(row, kind=kind)
        same = who.gallery_ids[order] == who.query_ids[i]
        keep = ~(same & (who.gallery_cameras[order] == who.query_cameras[i]))
        matches = same[keep]
        if not matches.any():
            continue
        hits = matches.cumsum()
        precision = hits / np.arange(1, len(matches) + 1)
        found[i] = (precision * matches).sum() / matches.sum()
    return found


def torchreid_form(folder: str | None) -> tuple[Callable[[np.ndarray, People], Any], str] | None:
    """torchreid's own evaluation from an installation of it, with the name of what runs; None when there is none."""
    if folder is None:
        return None
    sys.path.insert(0, str(Path(folder) / "torchreid" / "reid" / "metrics"))
    with contextlib.redirect_stdout(io.StringIO()):
        rank = importlib.import_module("rank")
    cython = bool(getattr(rank, "IS_CYTHON_AVAI", False))

    def run(distances: np.ndarray, who: People) -> Any:
        order = (who.query_ids, who.gallery_ids, who.query_cameras, who.gallery_cameras)
        return rank.evaluate_rank(distances, *order, max_rank=50, use_cython=cython)

    return run, "torchreid 0.2.5, " + ("Cython" if cython else "Python (its Cython part is not built by pip)")


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def in_turns(forms: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each form, all once a round, in a rotating order."""
    names = list(forms)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(timed(forms[name]))
    return seconds


def summary(seconds: list[float]) -> Answer:
    """Fastest, median and slowest."""
    return {"best_s": min(seconds), "median_s": statistics.median(seconds), "worst_s": max(seconds), "n": len(seconds)}


def ranking(distances: np.ndarray, who: People, repeats: int, slow_repeats: int, torchreid: str | None) -> Answer:
    """Distances given: ours against sorting."""
    ours = lambda: evaluate_distances(distances, *who.arguments, per_query=True)  # noqa: E731
    found = ours().per_query.ap  # type: ignore[union-attr]  # asked for
    expected = argsort_form(distances, who, "stable")
    both = ~(np.isnan(found) & np.isnan(expected))
    seconds = in_turns({"ours": ours, "argsort": lambda: argsort_form(distances, who)}, slow_repeats)
    seconds["ours"] += [timed(ours) for _ in range(repeats)]
    answer: Answer = {
        "largest_difference_of_ap": float(np.abs(found - expected)[both].max()),
        "same_queries_skipped": bool((np.isnan(found) == np.isnan(expected)).all()),
        "map": float(np.nanmean(found)),
        "positives_a_query": float(np.mean([_positives(who, i) for i in range(0, len(who.query_ids), 16)])),
        "ours": summary(seconds["ours"]),
        "argsort": summary(seconds["argsort"]),
    }
    answer["times_faster"] = answer["argsort"]["best_s"] / answer["ours"]["best_s"]
    answer["times_faster_by_medians"] = answer["argsort"]["median_s"] / answer["ours"]["median_s"]
    other = torchreid_form(torchreid)
    if other is not None:
        run, name = other
        took = [timed(lambda: run(distances, who)) for _ in range(2)]
        cmc_map = run(distances, who)
        answer["torchreid"] = {**summary(took), "form": name, "map": float(cmc_map[1])}
        answer["times_faster_than_torchreid"] = min(took) / answer["ours"]["best_s"]
    return answer


def _positives(who: People, query: int) -> int:
    same = who.gallery_ids == who.query_ids[query]
    return int((same & (who.gallery_cameras != who.query_cameras[query])).sum())


def whole(query: torch.Tensor, gallery: torch.Tensor, who: People, repeats: int) -> Answer:
    """Features in, metrics out, against the product alone."""
    q, qc, g, gc = who.arguments
    product = torch.empty((len(query), len(gallery)))
    forms: dict[str, Callable[[], Any]] = {
        "product": lambda: torch.mm(query, gallery.T, out=product),
        "evaluation": lambda: evaluate(query, q, qc, gallery, g, gc),
    }
    for work in forms.values():
        work()
    seconds = in_turns(forms, repeats)
    paired = [e / p for e, p in zip(seconds["evaluation"], seconds["product"], strict=True)]
    return {
        **{name: summary(values) for name, values in seconds.items()},
        "times_the_product": min(seconds["evaluation"]) / min(seconds["product"]),
        "times_the_product_by_rounds": {"median": statistics.median(paired), "least": min(paired), "most": max(paired)},
        "map": evaluate(query, q, qc, gallery, g, gc).map,
    }


def msmt17(width: int, seed: int) -> Answer:
    """MSMT17's size: does it fit in 4 GiB, and how long does it take?"""
    rng = np.random.default_rng(seed)
    who = people(3_060, 11_659, 82_161, 0, 15, rng)
    query, gallery = features(who, width, 2.6, rng)
    q, qc, g, gc = who.arguments
    before = _resident()
    with peak_memory() as peak:
        seconds = timed(lambda: evaluate(query, q, qc, gallery, g, gc))
    return {
        "size": [len(query), len(gallery), width],
        "seconds": seconds,
        "features_gib": (query.nbytes + gallery.nbytes) / 2**30,
        "resident_before_gib": before / 2**30,
        "resident_peak_gib": peak[0] / 2**30,
        "process_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


@contextlib.contextmanager
def peak_memory(every_s: float = 0.01) -> Iterator[list[int]]:
    """Largest resident memory of this process while inside, in bytes."""
    peak, stop = [_resident()], threading.Event()

    def watch() -> None:
        while not stop.wait(every_s):
            peak[0] = max(peak[0], _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def environment(threads: int) -> Answer:
    """What the figures were taken with."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "threads": threads,
        "load_average": os.getloadavg(),
        "versions": {
            "nas": nas.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "numba": importlib.import_module("numba").__version__ if compiled() else None,
        },
    }


def to_markdown(answer: Answer) -> str:
    """The answer as a page."""
    env = answer["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items())
    lines = [
        "# Evaluation",
        "",
        f"{env['machine']}, {env['threads']} threads; {versions}; {env['date']}; "
        f"load average {env['load_average'][0]:.1f}.",
        "",
    ]
    if "ranking" in answer:
        lines += _market_lines(answer)
    if "msmt17" in answer:
        m = answer["msmt17"]
        lines += [
            f"MSMT17's size ({m['size'][0]} x {m['size'][1]} x {m['size'][2]}): {m['seconds']:.1f} s; "
            f"resident memory {m['resident_before_gib']:.2f} GiB before (features {m['features_gib']:.2f}), "
            f"at most {m['resident_peak_gib']:.2f} GiB while evaluating (target: 4).",
        ]
    return "\n".join(lines) + "\n"


def _market_lines(answer: Answer) -> list[str]:
    r, w = answer["ranking"], answer["whole"]
    rows = [("ours", r["ours"], 1.0), ("plain NumPy argsort", r["argsort"], r["times_faster"])]
    if "torchreid" in r:
        rows.append((r["torchreid"]["form"], r["torchreid"], r["times_faster_than_torchreid"]))
    return [
        f"Market-1501's size (3 368 x 15 913 x 2 048), mAP {r['map']:.3f}, "
        f"{r['positives_a_query']:.1f} right answers a query.",
        "",
        "| ranking, distances given | best s | median s | times ours |",
        "|---|---|---|---|",
        *(f"| {name} | {t['best_s']:.3f} | {t['median_s']:.3f} | {ratio:.1f} |" for name, t, ratio in rows),
        "",
        "Largest difference of an average precision from the (stable) argsort form: "
        f"{r['largest_difference_of_ap']:.1e}. Targets: at least 25 times the argsort form, at most 1e-9.",
        "",
        "| whole evaluation | best s | median s |",
        "|---|---|---|",
        f"| distance product alone | {w['product']['best_s']:.3f} | {w['product']['median_s']:.3f} |",
        f"| features in, metrics out | {w['evaluation']['best_s']:.3f} | {w['evaluation']['median_s']:.3f} |",
        "",
        f"{w['times_the_product']:.3f} times the product by the best of each; by rounds "
        f"{w['times_the_product_by_rounds']['median']:.3f} ({w['times_the_product_by_rounds']['least']:.3f}-"
        f"{w['times_the_product_by_rounds']['most']:.3f}). Target: at most 1.1.",
        "",
    ]


def main() -> None:
    """Run and write JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="distances without any order")
    parser.add_argument("--msmt17", action="store_true", help="MSMT17's size and memory instead")
    parser.add_argument("--torchreid", help="folder torchreid was installed to (pip install --no-deps --target)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    answer: Answer = {"environment": environment(options.threads)}
    if options.msmt17:
        answer["msmt17"] = msmt17(2_048, options.seed)
    else:
        rng = np.random.default_rng(options.seed)
        who = people(750, 3_368, 15_913, 2_798, 6, rng)
        query, gallery = features(who, 2_048, 2.6, rng)
        unit = torch.nn.functional.normalize
        distances = (1 - unit(query) @ unit(gallery).T).numpy()
        if options.random:
            distances = rng.random(distances.shape, dtype=np.float32)
        answer["ranking"] = ranking(distances, who, options.repeats, 3, options.torchreid)
        answer["whole"] = whole(query, gallery, who, options.repeats)
    print(to_markdown(answer))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(answer, indent=2) + "\n")
        options.out.with_suffix(".md").write_text(to_markdown(answer))


if __name__ == "__main__":
    main()
