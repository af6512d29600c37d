"""Everything that only a GPU can tell, in one command and at most eight minutes.

    python benchmarks/gpu.py --out benchmarks/results/gpu [--minutes 8] [--only latency] [--wheels FOLDER]

In this order, each in a process of its own with a limit of its own; OUT.json and OUT.md are written after each part,
and what was left out is named:

1. *parity* with the CPU (training, evaluation, each block), equality to the bit of deterministic runs and a resumed
   one, no wait in ordinary steps by torch's own watch, recorded and compiled steps beside eager ones;
2. *step*: ResNet-50 at 256x128, batch 64, recorded, eager and compiled, against the same step's GPU time alone;
3. *training* of a set of Market-1501's size: seconds an epoch and of evaluation, in fp32 and in autocast;
4. *latency*: C-NL@6,8,14 in turns with ResNet-50 - graphs, eager, compile, batch 1 and 16, layout, TF32; clocks;
5. *memory* of a step, out of memory on purpose and a normal training after it;
6. *two on one card*, one killed and gone on with.

It needs this checkout, torch from 2.11 on, torchvision, NumPy, SciPy and Pillow, no network, and three small wheels
where they are not installed; the command that fetches them is printed. pydantic, Optuna, pandas and plotly are not
needed. Images are random. `--rehearse` runs the same parts small, on whatever device there is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WHEELS = ("lazy_loader", "packaging", "fasteners", "psutil")
"""What importing `nas` takes beside torch's own company: some 0.6 MB."""


def missing() -> list[str]:
    return [name for name in WHEELS if importlib.util.find_spec(name) is None]


def unpacked(wheels: Path, into: Path) -> Path:
    """The wheels of a folder as a folder of packages."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into)
    return into


def run_part(name: str, plan: Path, folder: Path, limit: float) -> dict[str, Any]:
    """What a part said until its end or its limit."""
    result = folder / f"{name.replace(' ', '-')}.jsonl"
    begun = time.monotonic()
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "gpu_parts.py"), name, str(plan), str(result)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code: int | str = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = f"stopped at its limit of {limit:.0f} s; what it had not said is left out"
    lines = result.read_text().splitlines() if result.exists() else []
    found: dict[str, Any] = {"seconds": round(time.monotonic() - begun, 1), "end": code, "said": {}}
    for line in lines:
        key, value = json.loads(line)
        found["said"][key] = value
    if code != 0:
        found["log"] = (folder / "log.txt").read_text(errors="replace").splitlines()[-12:]
    return found


def as_text(answer: dict[str, Any]) -> str:
    lines = [
        f"# {answer['title']}",
        "",
        ", ".join(f"{key} {value}" for key, value in answer["environment"].items()),
        "",
    ]
    for name, part in answer["parts"].items():
        lines += [f"## {name}", "", f"{part.get('seconds', 0)} s, end: {part['end']}", ""]
        for key, value in part.get("said", {}).items():
            lines.append(f"- {key}: {_short(value)}")
        lines += ["", *(f"    {line}" for line in part.get("log", [])), ""]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_short(inside)}" for key, inside in value.items())
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def write(out: Path | None, answer: dict[str, Any]) -> None:
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(answer, indent=2) + "\n")
    out.with_suffix(".md").write_text(as_text(answer) + "\n")


def environment(device: str) -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if device != "cpu" else platform.processor() or platform.machine()
    versions = {"torch": torch.__version__, "CUDA": torch.version.cuda, "Python": platform.python_version()}
    return {"device": name, **versions, "cores": os.cpu_count(), "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="results are written to OUT.json and OUT.md after each part")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--only", nargs="+", help="these parts only")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels for what is not installed")
    parser.add_argument("--rehearse", action="store_true", help="the same parts, small, on whatever device there is")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = [str(HERE.parent), str(HERE)]
        if options.wheels:
            paths.append(str(unpacked(options.wheels, folder / "wheels")))
        sys.path[:0] = paths
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        if missing():
            names = " ".join(missing())
            print(f"Missing: {names}. On a machine with a network:")
            print(f"  pip download -d wheels --only-binary=:all: --python-version {platform.python_version()} {names}")
            print("then give --wheels wheels.")
            return 2
        return run(options, folder, end)


def run(options: argparse.Namespace, folder: Path, end: float) -> int:
    import torch
    from gpu_parts import PARTS, Plan, rehearsal

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.rehearse:
        print("There is no GPU that torch can use here, so there is nothing to measure; see --rehearse.")
        return 0
    unknown = sorted(set(options.only or ()) - set(PARTS))
    if unknown:
        print(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}.")
        return 2
    plan = rehearsal(device, str(folder)) if options.rehearse else Plan(folder=str(folder))
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    title = f"A rehearsal on {device}: whether the script works, nothing else" if options.rehearse else "On a GPU"
    answer: dict[str, Any] = {"title": title, "environment": environment(device), "parts": {}}
    spare = end - time.monotonic() - sum(limit for _, limit in PARTS.values())
    for name, (_, limit) in PARTS.items():
        if options.only and name not in options.only:
            continue
        allowed = min(end - time.monotonic(), limit + max(0.0, spare))
        if allowed < 10:
            answer["parts"][name] = {"end": "left out: no time was left"}
            continue
        print(f"-- {name}, at most {allowed:.0f} s", flush=True)
        found = run_part(name, folder / "plan.json", folder, allowed)
        spare += limit - found["seconds"]
        answer["parts"][name] = found
        write(options.out, answer)
    write(options.out, answer)
    print(as_text(answer))
    return 0 if all(part["end"] == 0 for part in answer["parts"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
