"""How a machine's speed changes while many networks are measured: a reference network, timed again and again.

Readings are joined by straight lines in time. A drift of 0.01 means that the reference ran 1 % slower than at its
first reading; figures are kept as measured, with the drift of their moment beside them.
"""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

WARNING_DRIFT = 0.02


class Reading(NamedTuple):
    """One timing of the reference: when (seconds on any clock), and its median in ms."""

    at: float
    ms: float


@dataclass
class DriftMonitor:
    """Times a reference every so often and says how far the machine drifted in between.

    Attributes:
        read_ms: times the reference network; returns its median in milliseconds.
        every: measurements between two readings.
        base_ms: what drift is relative to; None: the first reading.
        clock: seconds.
        readings: readings so far.
    """

    read_ms: Callable[[], float]
    every: int
    base_ms: float | None = None
    clock: Callable[[], float] = time.monotonic
    readings: list[Reading] = field(default_factory=list)

    def read(self) -> Reading:
        """Times the reference once more."""
        ms = self.read_ms()
        reading = Reading(self.clock(), ms)
        self.readings.append(reading)
        if self.base_ms is None:
            self.base_ms = ms
        return reading

    def at(self, moment: float) -> float | None:
        """The drift at a moment: between two readings interpolated, outside them that of the nearest; None unread."""
        if not self.readings or self.base_ms is None:
            return None
        return interpolate(self.readings, moment) / self.base_ms - 1.0

    def largest(self) -> float | None:
        """The drift of the reading farthest from the base, with its sign."""
        if not self.readings or self.base_ms is None:
            return None
        return max((reading.ms / self.base_ms - 1.0 for reading in self.readings), key=abs)

    def warning(self) -> str | None:
        """A sentence when the machine drifted by more than 2 %, else None."""
        drift = self.largest()
        if drift is None or abs(drift) <= WARNING_DRIFT:
            return None
        return (
            f"the machine drifted: the reference network ran up to {abs(drift):.1%} "
            f"{'slower' if drift > 0 else 'faster'} than at the start; compare the corrected figures, or measure again"
        )


def interpolate(readings: Sequence[Reading], moment: float) -> float:
    """The reference's time at a moment.

    >>> interpolate([Reading(0.0, 10.0), Reading(10.0, 12.0)], 5.0)
    11.0
    """
    place = bisect([reading.at for reading in readings], moment)
    if place == 0 or place == len(readings):
        return readings[max(place - 1, 0)].ms
    before, after = readings[place - 1], readings[place]
    share = (moment - before.at) / (after.at - before.at)
    return before.ms + share * (after.ms - before.ms)
