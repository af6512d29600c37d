"""Figures from the times of single batches, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

BLOCKS_KEPT = 20  # of a build: enough for an interval of a median, few enough to store with every record
PAIR_BLOCKS = 6
"""For the interval of a ratio. Of 60 pairs with a tenth of the batches disturbed, or alike one after the other, six
blocks cover the truth in 93 to 95 %, ten in 89 to 95 % and twenty are up to seven times as wide (simulated)."""


def percentile(ordered: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100) of ascending values, linear between neighbours as numpy does.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.5
    """
    place = (len(ordered) - 1) * q / 100.0
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median_of(values: Sequence[float]) -> float:
    """The median of values in any order."""
    return percentile(sorted(values), 50)


def block_medians(times: Sequence[float], blocks: int = BLOCKS_KEPT, multiple: int = 1) -> list[float]:
    """Medians of at most `blocks` consecutive, nearly equal parts of the times.

    Args:
        blocks: parts at most.
        multiple: parts but the last are a multiple of so many values.

    >>> block_medians([1.0, 2.0, 3.0, 9.0], 2)
    [1.5, 6.0]
    """
    units = max(1, len(times) // multiple)
    count = min(blocks, units)
    edges = [multiple * round(i * units / count) for i in range(count)] + [len(times)]
    return [median_of(times[edges[i] : edges[i + 1]]) for i in range(count)]


def summarise(times: Sequence[float]) -> dict[str, Any]:
    """Median, mean, 5th and 95th percentile, sd, count and block medians of the times of single batches (ms)."""
    if not times:
        raise ValueError("no batch was timed")
    ordered, n = sorted(times), len(times)
    mean = math.fsum(times) / n
    sd = math.sqrt(math.fsum((t - mean) ** 2 for t in times) / (n - 1)) if n > 1 else None
    return {
        "median_ms": percentile(ordered, 50),
        "mean_ms": mean,
        "p5_ms": percentile(ordered, 5),
        "p95_ms": percentile(ordered, 95),
        "sd_ms": sd,
        "batches": n,
        "block_medians_ms": block_medians(times),
    }


def pool_builds(times: Sequence[Sequence[float]], seconds: Sequence[float | None]) -> dict[str, Any]:
    """The figures of a record from the times (ms) of the batches of each build, and how long each build took."""
    builds = []
    for own, took in zip(times, seconds):  # noqa: B905 - no `strict` in Python 3.6
        figures = summarise(own)
        kept = ("batches", "median_ms", "mean_ms", "sd_ms", "block_medians_ms")
        builds.append(dict([(key, figures[key]) for key in kept], build_s=took))
    together = summarise([time_ for own in times for time_ in own])
    del together["block_medians_ms"]
    return dict(together, builds=builds)


def pool_pairs(builds: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """The ratio of a network to its reference from the pairs of each build, with its 95 % interval.

    The median of the pairs' ratios, not the ratio of medians: the two of a pair share the moment. The interval is
    Student's, on the logarithm, from independent units: the builds where there are several (two engines of one
    network differ by more than their batches), else the medians of blocks of consecutive pairs, in which both orders
    are equally frequent.

    Args:
        builds: pairs of milliseconds (network, reference) in the order timed, a sequence a build.

    Returns:
        The fields ratio, ratio_low, ratio_high (None with fewer than two units), pairs and reference_read_ms (median
        of the reference in these pairs) of a `LatencyRecord`.
    """
    logs = [[math.log(own / reference) for own, reference in pairs] for pairs in builds]
    together = [value for build in logs for value in build]
    units = [median_of(build) for build in logs] if len(logs) > 1 else block_medians(logs[0], PAIR_BLOCKS, 2)
    middle, half = median_of(together), half_width(units)
    return {
        "ratio": math.exp(middle),
        "ratio_low": None if half is None else math.exp(middle - half),
        "ratio_high": None if half is None else math.exp(middle + half),
        "pairs": len(together),
        "reference_read_ms": median_of([reference for pairs in builds for _, reference in pairs]),
    }


def half_width(units: Sequence[float]) -> float | None:
    """Half of Student's 95 % interval of a mean of independent values; None with fewer than two."""
    n = len(units)
    if n < 2:
        return None
    mean = math.fsum(units) / n
    variance = math.fsum((unit - mean) ** 2 for unit in units) / (n - 1)
    return student_975(n - 1) * math.sqrt(variance / n)


def student_975(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution, within 0.2 %.

    Exact up to 4 degrees of freedom, then Fisher's expansion around the normal quantile (Abramowitz and Stegun,
    26.7.5).

    >>> round(student_975(9), 2)
    2.26
    """
    exact = (12.706, 4.303, 3.182, 2.776)
    if freedom <= len(exact):
        return exact[freedom - 1]
    z = 1.959964
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
