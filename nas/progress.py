"""How long-running functions tell how far they are, without knowing who listens.

Library code calls `progress(done, total, what)`; the command line turns it into a bar with an
estimate of the time left, tests into a list.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with the number of finished steps, the total number and a short description."""

    def __call__(self, done: int, total: int, what: str = "") -> None: ...


def silent(done: int, total: int, what: str = "") -> None:
    """A `Progress` that tells nobody."""


def duration(seconds: float) -> str:
    """A time span as a person says it.

    >>> duration(3725), duration(75), duration(4.2)
    ('1 h 02 min', '1 min 15 s', '4 s')
    """
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
