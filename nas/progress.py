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
