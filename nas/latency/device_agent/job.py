"""One job: its network timed by its protocol, beside the reference it is a ratio to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from nas.latency.device_agent.engines import engine_versions, open_engine
from nas.latency.device_agent.machine import (
    QUIET_SHARE,
    PowerMeter,
    others_share,
    power_rails,
    read_machine,
    read_temperatures,
    work_so_far,
)
from nas.latency.device_agent.statistics import pool_builds, pool_pairs
from nas.latency.device_agent.timing import HANGING_S, clocked, time_limit, time_rounds, warm_up

ENERGY_S = 3.0  # thirty readings of a monitor that is read ten times a second


def measure_job(
    job: dict[str, Any], paths: Sequence[str], on_round: Callable[..., None] | None = None
) -> dict[str, Any]:
    """Times the ONNX file of a job by its protocol; the record as plain data, its milliseconds as read.

    Args:
        job: of the mailbox: protocol, device, notation, and the notation of the reference or None.
        paths: ONNX files: the network, and the reference that takes turns with it where there is one.
        on_round: told the rounds done and their total, if known.

    Raises:
        EngineError: when this device cannot do it.
        TimeoutError: when a build takes longer than an hour.
    """
    protocol = job["protocol"]
    before, warm = work_so_far(), read_temperatures()
    time.sleep(0.2)
    others = [others_share(before)]
    builds, seconds, memory, energy, dla = [], [], None, None, None
    for _ in range(protocol["builds"]):
        with time_limit(HANGING_S), contextlib.ExitStack() as opened:
            begun = time.perf_counter()
            engines = [opened.enter_context(contextlib.closing(open_engine(path, protocol))) for path in paths]
            seconds.append((time.perf_counter() - begun) / len(engines))
            memory, dla = engines[0].peak_memory_mb(), getattr(engines[0], "dla_layers", None)
            warm_up([engine.run for engine in engines], max(protocol["warmup"] or 0, 1), protocol.get("warmup_s"))
            batches, budget_s, least = (protocol[key] for key in ("batches", "time_budget_s", "min_batches"))
            before = work_so_far()
            builds.append(time_rounds([clocked(engine.run) for engine in engines], batches, budget_s, least, on_round))
            others.append(others_share(before))
            energy = energy_of(engines[0].run, PowerMeter(power_rails()))
    figures = pool_builds([[times[0] for times in build] for build in builds], seconds)
    if len(paths) > 1:
        figures.update(pool_pairs(builds), reference=job["reference"])
    known = [share for share in others if share is not None]
    environment = dict(read_machine(), libraries=engine_versions(), others_cpu_share=max(known) if known else None)
    if dla is not None:
        environment["dla_layers"] = dla
    states = {"before": warm, "after": read_temperatures()}
    return dict(
        figures,
        protocol=protocol,
        device_name=job["device"],
        peak_memory_mb=memory,
        energy_mj=energy,
        clocks=states if any(states.values()) else None,
        isolated=all(share <= QUIET_SHARE for share in known),
        drift=None,
        environment=environment,
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        notation=job["notation"],
    )


def energy_of(run: Callable[[], object], meter: PowerMeter, seconds: float = ENERGY_S) -> float | None:
    """Millijoule a batch of a network that runs alone for some seconds; None where no monitor is read."""
    if not meter.reads():
        return None
    begun, batches = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        run()
        meter.sample()
        batches += 1
    milliwatt = meter.mean_mw()
    return None if milliwatt is None else milliwatt * (time.monotonic() - begun) / batches
