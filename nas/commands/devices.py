"""`measure`, `profile`: what networks cost on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import latency, storage
from nas.errors import LatencyError
from nas.latency.measuring import What
from nas.latency.placements import plan_profile
from nas.latency.placements import profile as run_profile
from nas.latency.record import LatencyRecord
from nas.progress import Progress
from nas.search.context import reference_candidate
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.latency.placement_table import PlacementTable


def protocol_of(written: latency.LatencyProtocol | None, settings: Mapping[str, object]) -> latency.LatencyProtocol:
    """A protocol as given, or from settings; a `LatencyError` where they are unknown, or the backend is not here."""
    chosen = latency.LatencyProtocol.from_dict(settings) if written is None else written
    reason = latency.unavailable(chosen)
    if reason is not None:
        raise LatencyError(f"backend {chosen.backend!r} cannot measure on {chosen.device}: {reason}", "nas doctor")
    return chosen


def references(notation: str | None, baselines: Sequence[Candidate]) -> list[Candidate]:
    """The network that placements must not be slower than, as wide as the first baseline; none for None and `none`."""
    if notation is None or notation == "none":
        return []
    return [reference_candidate(notation, baselines[0]) if baselines else Candidate.parse(notation)]


def measure(
    what: What,
    protocol: latency.LatencyProtocol | None = None,
    *,
    reference: What | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> LatencyRecord:
    """Milliseconds a batch of one network on this machine.

    Args:
        what: a candidate, its notation, or a function without arguments that makes an `nn.Module` for images
            (B, 3, H, W).
        protocol: how to measure; None: from `settings`.
        reference: a network to time in turns with; the record then holds the ratio with its 95 % interval.
        progress: told the batches done.
        settings: of a `LatencyProtocol`: backend, device, precision, batch, input, batches, time_budget_s, threads, ...

    Raises:
        LatencyError: the backend is not available, or cannot run the network.
    """
    return latency.measure(what, protocol_of(protocol, settings), progress, reference=reference)


def profile(
    space: DesignSpace | str | Path,
    protocol: latency.LatencyProtocol | None = None,
    *,
    db: str | None = None,
    reference: str | None = "resnet101",
    checks: int = 2,
    several: int = 0,
    progress: Progress | None = None,
    tell: Callable[[str], object] = lambda message: None,
    **settings: Any,
) -> PlacementTable:
    """Times the baselines and every distinct placement of a space, as `nas latency profile` does; resumes.

    Args:
        space: or its file.
        protocol: how to measure; None: from `settings`, see `measure`.
        db: database that keeps the figures; None: in memory, for this call.
        reference: network that a placement must not be slower than; None for none.
        checks: placements measured although an equal tensor was.
        several: random networks with several blocks, to fit and judge the prediction.
        progress: told the networks done.
        tell: told what went wrong in passing: warnings, networks that could not be measured.
        settings: of a `LatencyProtocol`.

    Raises:
        LatencyError: the backend is not available.
        SpaceError: the space is not valid.
    """
    how = protocol_of(protocol, settings)
    chosen = space if isinstance(space, DesignSpace) else DesignSpace.from_yaml(space)
    limits = references(reference, chosen.baselines())
    how = how.of_code(chosen.own_code.union(*(network.own_code for network in limits)))
    planned = plan_profile(chosen, limits, checks, several=several)
    with storage.open_database(db or "sqlite://") as database:
        found = run_profile(planned, how, latency.RepositoryStore(storage.Repository(database)), progress)
    for warning in found.warnings:
        tell(f"Warning: {warning}")
    for candidate, why in found.failures.items():
        tell(f"Not measured: {candidate.notation}: {why}")
    return latency.PlacementTable(found.records)
