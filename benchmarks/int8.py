"""Do single placements keep their rank when the network is quantised to int8: in accuracy and in cost?

    OMP_NUM_THREADS=1 nice -n 19 python benchmarks/int8.py --out benchmarks/results/int8

A plain network is trained on generated pedestrians; every single placement goes on from it for a few epochs with its
block put in as the identity, and is exported to int8 as `nas export --int8` does. mAP is that of the same weights in
fp32 (PyTorch) and in int8 (ONNX Runtime), so that no noise of training lies between the two; cost is processor time of
one thread in ONNX Runtime, batch by batch in rounds over all networks, so that what else the machine does meets all of
them. Rank correlations are Spearman's, with 95 % bootstrap percentile intervals over the placements (2 000 resamples).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

import nas
from nas.commands.networks import Int8Export, prepared
from nas.latency.onnx_file import EngineSession
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import as_subject
from nas.spaces import get_block_spec

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Of the bootstrap: the ends of a 95 % interval are then the mean of fifty resamples each."""
CHANNEL_GATES = ("se", "hac", "cnl", "eca")
BLOCKS = (*CHANNEL_GATES, "cbam", "gc", "agw", "abd")


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        notation: the network; without blocks the plain one.
        block, family, site: of its placement.
        map_fp32, map_int8: mAP of the same weights.
        ms_fp32, ms_int8: processor time of a batch, median over the rounds.
        again_fp32, again_int8: the same over every second round and over the others, for how far ranks repeat.
    """

    notation: str
    block: str
    family: str
    site: int
    map_fp32: float
    map_int8: float
    ms_fp32: float = float("nan")
    ms_int8: float = float("nan")
    again_fp32: tuple[float, float] = (float("nan"), float("nan"))
    again_int8: tuple[float, float] = (float("nan"), float("nan"))


def networks(backbone: str, blocks: Sequence[str], sites: Sequence[int]) -> list[str]:
    """The plain network and every single placement, put in as the identity."""
    return [backbone, *(f"{backbone}+{block}(start=identity)@{site}" for block in blocks for site in sites)]


def exported(arguments: argparse.Namespace, folder: Path) -> list[Row]:
    """Trains and exports every network; what it scored in fp32 and in int8."""
    height, width = arguments.size
    spec = {"train_identities": arguments.identities, "test_identities": arguments.identities, "images": 4}
    data = prepared({"generated": {**spec, "cameras": 3}}, (height, width), cache=folder / "cache")
    recipe = {"extends": "quickstart", "input": [height, width], "identities": 8, "images": 4, "keep": "last"}
    plain = folder / "plain.pt"
    nas.train(arguments.backbone, data, recipe, epochs=arguments.plain_epochs, seed=arguments.seed, out=plain)
    rows = []
    for number, notation in enumerate(networks(arguments.backbone, arguments.blocks, arguments.sites)):
        (placement,) = nas.Candidate.parse(notation).placements or (None,)
        path = folder / f"{number}.pt"
        nas.train(notation, data, recipe, epochs=arguments.epochs, seed=arguments.seed, out=path, start=plain)
        made = nas.export(
            path, path.with_suffix(".onnx"), precision="int8", data=data, calibration=arguments.calibration
        )
        assert isinstance(made, Int8Export)
        block = "" if placement is None else placement.block
        family = "" if placement is None else get_block_spec(block).family
        site = 0 if placement is None else placement.site
        rows.append(Row(notation, block, family, site, made.before.map, made.after.map))
        print(f"{notation}: {made.sentence()}", flush=True)
    return rows


def timed(rows: Sequence[Row], arguments: argparse.Namespace) -> list[Row]:
    """The rows with their costs: a few batches of every network in every round."""
    found: dict[tuple[int, str], list[float]] = {}
    settings: dict[str, Any] = {"backend": "onnxruntime", "batch": 1, "input": tuple(arguments.size), "threads": 1}
    sessions = {
        (i, kind): EngineSession(as_subject(row.notation), LatencyProtocol(precision=kind, **settings))
        for i, row in enumerate(rows)
        for kind in ("fp32", "int8")
    }
    for _ in range(arguments.rounds):
        for key, session in sessions.items():
            session.run()
            begun = time.process_time()
            for _ in range(arguments.batches):
                session.run()
            found.setdefault(key, []).append(1000 * (time.process_time() - begun) / arguments.batches)
    costs = [{kind: np.array(found[i, kind]) for kind in ("fp32", "int8")} for i in range(len(rows))]
    return [
        Row(
            **{
                **asdict(row),
                **{f"ms_{kind}": float(np.median(ms)) for kind, ms in cost.items()},
                **{f"again_{k}": (float(np.median(ms[::2])), float(np.median(ms[1::2]))) for k, ms in cost.items()},
            }
        )
        for row, cost in zip(rows, costs, strict=True)
    ]


def rank_correlation(one: Floats, other: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Spearman's, with the ends of its 95 % bootstrap percentile interval over the rows; NaN where one is constant."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(one), (RESAMPLES, len(one)))
    drawn = [_spearman(one[rows], other[rows]) for rows in draws]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return _spearman(one, other), float(low), float(high)


def _spearman(one: Floats, other: Floats) -> float:
    return float("nan") if np.ptp(one) == 0 or np.ptp(other) == 0 else float(spearmanr(one, other).statistic)


def mean_change(change: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Mean with the ends of its 95 % bootstrap percentile interval over the rows."""
    draws = np.random.default_rng(seed).integers(0, len(change), (RESAMPLES, len(change)))
    low, high = np.quantile(change[draws].mean(axis=1), [0.025, 0.975])
    return float(change.mean()), float(low), float(high)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Rank correlations over all placements and over channel gates alone; changes beside the plain network's."""
    plain, placed = rows[0], rows[1:]

    def column(name: str, of: Sequence[Row]) -> Floats:
        return np.array([getattr(row, name) for row in of], dtype=np.float64)

    groups = {"all placements": placed, "channel gates": [row for row in placed if row.block in CHANNEL_GATES]}
    groups["others"] = [row for row in placed if row.block not in CHANNEL_GATES]
    found: dict[str, Any] = {}
    for name, of in groups.items():
        if len(of) < 4:  # fewer have no interval worth its name
            continue
        halves = np.array([row.again_fp32 for row in of]), np.array([row.again_int8 for row in of])
        found[name] = {
            "placements": len(of),
            "map": rank_correlation(column("map_fp32", of), column("map_int8", of)),
            "ms": rank_correlation(column("ms_fp32", of), column("ms_int8", of)),
            "ms_fp32_repeats": _spearman(halves[0][:, 0], halves[0][:, 1]),
            "ms_int8_repeats": _spearman(halves[1][:, 0], halves[1][:, 1]),
            "map_sd": float(column("map_fp32", of).std(ddof=1)),
            "map_change_sd": float((column("map_int8", of) - column("map_fp32", of)).std(ddof=1)),
            "map_change": mean_change(column("map_int8", of) - column("map_fp32", of)),
            "ms_ratio": mean_change(column("ms_int8", of) / column("ms_fp32", of)),
        }
    found["plain"] = {"map_change": plain.map_int8 - plain.map_fp32, "ms_ratio": plain.ms_int8 / plain.ms_fp32}
    return found


def markdown(rows: Sequence[Row], found: dict[str, Any], facts: dict[str, Any]) -> str:
    """The tables with what they mean."""

    def told(three: tuple[float, float, float], digits: int = 2) -> str:
        return f"{three[0]:.{digits}f} [{three[1]:.{digits}f}, {three[2]:.{digits}f}]"

    about = (__doc__ or "").split("\n\n", 2)[2].strip().replace("\n", " ")
    lines = [
        "# Single placements in fp32 and in int8",
        "",
        about,
        "",
        ", ".join(f"{k} {v}" for k, v in facts.items()),
        "",
    ]
    lines += [
        "| placements | n | rank correlation of mAP | of cost | cost repeats: fp32, int8 | change of mAP "
        "| sd of mAP, of its change | cost, int8 / fp32 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in found.items():
        if name == "plain":
            lines.append(f"| plain network | 1 | | | | {row['map_change']:+.4f} | | {row['ms_ratio']:.2f} |")
            continue
        lines.append(
            f"| {name} | {row['placements']} | {told(row['map'])} | {told(row['ms'])} | {row['ms_fp32_repeats']:.2f}, "
            f"{row['ms_int8_repeats']:.2f} | {told(row['map_change'], 4)} "
            f"| {row['map_sd']:.4f}, {row['map_change_sd']:.4f} | {told(row['ms_ratio'])} |"
        )
    lines += [
        "",
        "Cost repeats: rank correlation of the placements' costs in every second round with those in the others; costs "
        "in fp32 and int8 cannot be expected to agree better than each with itself. Where mAP changes as much as the "
        "placements differ, int8 reorders what was hardly told apart. One training a placement: this is "
        "about these weights, this processor and this version of ONNX Runtime.",
        "",
        "| network | mAP fp32 | mAP int8 | ms fp32 | ms int8 |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| `{r.notation}` | {r.map_fp32:.4f} | {r.map_int8:.4f} | {r.ms_fp32:.3f} | {r.ms_int8:.3f} |" for r in rows
    ]
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    vnni = "with VNNI" if "vnni" in info else "without VNNI"
    return {
        "processor": f"{names[0] if names else platform.machine()} {vnni}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "torch": version("torch"),
        "onnxruntime": version("onnxruntime"),
        "date": date.today().isoformat(),
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18(width=0.25)")
    parser.add_argument("--blocks", nargs="+", default=list(BLOCKS))
    parser.add_argument("--sites", nargs="+", type=int, default=[3, 5, 7, 9], help="the stage ends of ResNet-18")
    parser.add_argument("--size", nargs=2, type=int, default=[64, 32], help="height and width of the images in pixels")
    parser.add_argument("--identities", type=int, default=32, help="generated to train on, and again to find")
    parser.add_argument("--plain-epochs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3, help="of each placement")
    parser.add_argument("--calibration", type=int, default=64, help="training images that ranges are read from")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batches", type=int, default=20, help="timed in a round, of every network")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    return parser.parse_args()


def main() -> None:
    arguments, begun, facts = parsed(), time.process_time(), machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = timed(exported(arguments, Path(folder)), arguments)
    found = summary(rows)
    facts |= {
        "processor time": f"{(time.process_time() - begun) / 60:.1f} min",
        "images": "x".join(map(str, arguments.size)),
    }
    facts |= {"identities": arguments.identities, "epochs": f"{arguments.plain_epochs} + {arguments.epochs}"}
    text = markdown(rows, found, facts)
    print(text)
    if arguments.out is not None:
        data = {"environment": facts, "summary": found, "rows": [asdict(row) for row in rows]}
        arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
        arguments.out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
