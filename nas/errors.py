"""The errors a user can cause, each one clear sentence and a hint.

Everything a user can get wrong is raised as a `NasError`; the command line prints it without a
traceback and exits with 2. Any other exception is our fault and exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator


class NasError(Exception):
    """Something the user can put right.

    >>> NasError("there is no file space.yaml", "nas init writes one.").hint
    'nas init writes one.'

    Args:
        message: one sentence that says what is wrong and where.
        hint: what to do about it; printed on its own line.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"

    def __reduce__(self) -> tuple[type[NasError], tuple[str, str | None]]:
        # Exceptions cross process borders (workers): keep message and hint apart when pickled.
        return type(self), (self.message, self.hint)


class SpaceError(NasError):
    """A candidate, rule or design space is not valid."""


class DataError(NasError):
    """A data set is missing, incomplete or cannot be read."""


class StudyError(NasError):
    """A study file is not valid, or a study cannot go on as asked."""


class StorageError(NasError):
    """The database or a checkpoint cannot be read or written."""


class LatencyError(NasError):
    """A latency cannot be measured as asked."""


class TrainingError(NasError):
    """A training cannot start, go on or be read back."""


class SourceError(TrainingError):
    """A file of weights or a teacher is missing, damaged, or not the one of before: no network's own fault."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, each once: chains that lead back to themselves end."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is near.

    >>> closest("cnll", ["cnl", "hac"])
    'cnl'
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: what is known, and what was probably meant.

    >>> unknown_name("block", "cnll", ["hac", "cnl"])
    "unknown block 'cnll'; did you mean 'cnl'? Known: cnl, hac"
    """
    names = sorted(known)
    guess = closest(name, names)
    meant = f"; did you mean {guess!r}?" if guess else ";"
    return f"unknown {kind} {name!r}{meant} {'Known' if guess else 'known'}: {', '.join(names) or 'none'}"
