"""Numbers drawn at random: distinct ones from ranges of any size, and fair shares."""

from __future__ import annotations

import operator
import random
from collections.abc import Mapping

from nas.errors import SpaceError


def as_random(source: object) -> random.Random:
    """Python's generator (whole numbers of any size) from itself, a NumPy generator, or a seed."""
    if isinstance(source, random.Random):
        return source
    if hasattr(source, "__index__") and not isinstance(source, bool):
        return random.Random(operator.index(source))
    if hasattr(source, "bytes"):
        return random.Random(int.from_bytes(source.bytes(16), "big"))
    raise SpaceError(f"randomness must be a random.Random, a NumPy generator or a seed, not {source!r}")


def distinct_numbers(n: int, size: int, rng: random.Random) -> list[int]:
    """n distinct numbers below `size`, every sequence of them equally likely; n steps whatever the size.

    Floyd's algorithm (Bentley and Floyd, A Sample of Brilliance, CACM 1987), then shuffled.
    """
    chosen: dict[int, None] = {}
    for highest in range(size - n, size):
        number = rng.randrange(highest + 1)
        chosen[highest if number in chosen else number] = None
    numbers = list(chosen)
    rng.shuffle(numbers)
    return numbers


def shares(n: int, sizes: Mapping[int, int]) -> dict[int, int]:
    """n divided as evenly as the sizes allow; what is left over goes to the larger keys.

    >>> shares(10, {0: 1, 1: 17, 2: 91})
    {0: 1, 1: 4, 2: 5}
    """
    share = dict.fromkeys(sizes, 0)
    left = min(n, sum(sizes.values()))
    while left:
        open_keys = [key for key in sizes if share[key] < sizes[key]]
        each, rest = divmod(left, len(open_keys))
        for position, key in enumerate(open_keys):
            more = min(each + (position >= len(open_keys) - rest), sizes[key] - share[key])
            share[key] += more
            left -= more
    return share
