"""Runs one's own trainer for one candidate, and reads what it gives: numbers, or one sentence about what is wrong.

A function runs in a thread of its own, so that a worker can go on when it hangs; a command runs in a process group
that is ended as a whole.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import IO, SupportsFloat, TypeGuard, TypeVar

from nas.errors import StudyError, TrainingError, unknown_name
from nas.files.hashes import hash_of_data
from nas.files.plain import JsonDict
from nas.search import own_function
from nas.search.settings import FRACTIONS, ObjectiveSettings
from nas.spaces import Candidate
from nas.training.failures import Diverged, TrainingInterrupted
from nas.training.fidelity import Fidelity

T = TypeVar("T")
ARGUMENTS = ("candidate", "seed", "fidelity", "start")
PLACES = ("notation", "seed", "epochs", "fidelity", "start")
POLL_S = 0.05
GRACE_S = 5.0
"""What a command has to end itself after it was asked to."""
_LONGEST_OUTPUT = 1 << 20
_PLACE = re.compile(r"\{(\w+)\}")


class LeftBehindError(TrainingInterrupted):
    """A function was left running in its thread: nothing can end it but the end of the process."""


@dataclass(frozen=True)
class Told:
    """What a trainer gave, checked.

    Attributes:
        judged: what candidates are judged by, more is better.
        numbers: all metrics by name, as given.
        costs: costs by name.
        checkpoint: file with its weights, from which others may start; None: none.
    """

    judged: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    checkpoint: Path | None = None

    def fraction(self, name: str) -> float | None:
        """One of the metrics that have columns of their own."""
        return self.numbers.get(name)

    def stored(self) -> JsonDict:
        """Beside the judged value, as the database keeps it."""
        return {"told": dict(self.numbers), "costs": dict(self.costs)}


@dataclass(frozen=True)
class OwnTrainer:
    """The objective of a study, ready to run."""

    settings: ObjectiveSettings

    @cached_property
    def code(self) -> str:
        """Hash of its code, as part of every training's identity; "" for ask and tell."""
        return own_function.hash_of(self.settings.python, self.settings.command)

    @cached_property
    def meaning(self) -> str:
        """Hash of what its numbers mean: trainings of other metrics or costs are others."""
        return hash_of_data(self.settings.model_dump(mode="json", include={"metrics", "costs"}))

    @property
    def what(self) -> str:
        """Names it in sentences."""
        python = self.settings.python
        return "the command" if python is None else f"the objective {python.removeprefix('<here> ')}"

    def check(self) -> None:
        """Finds what is wrong with it before anything is trained.

        Raises:
            StudyError: the function or program is not there, or asks for what nobody gives.
        """
        if self.settings.command is not None:
            own_function.require_program(self.settings.command)
            filled(self.settings.command, dict.fromkeys(PLACES, ""))
        if self.settings.python is not None:
            _named_arguments(own_function.find(self.settings.python), self.what)

    def run(
        self,
        candidate: Candidate,
        seed: int,
        fidelity: Fidelity,
        start: Path | None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Told:
        """Trains one candidate.

        Raises:
            TrainingError: it failed for this candidate; `Diverged`: it gave NaN or infinity; `TrainingInterrupted`:
                it was asked to stop.
            StudyError: what it gave is not what the study says: nothing else would be either.
        """
        if self.settings.command is not None:
            values = {
                "notation": candidate.notation,
                "seed": seed,
                "epochs": "" if fidelity.epochs is None else fidelity.epochs,
                "fidelity": fidelity.label,
                "start": start or "",
            }
            given = _last_line(run_command(filled(self.settings.command, values), should_stop))
        else:
            function = own_function.find(self.settings.python or "")
            named = _named_arguments(function, self.what)
            values = {"candidate": candidate, "seed": seed, "fidelity": fidelity, "start": start}
            given = call(lambda: function(**{argument: values[name] for argument, name in named.items()}), self.what)(
                should_stop
            )
        return self.read(given)

    def read(self, given: object) -> Told:
        """What was given, checked.

        Raises:
            Diverged: what candidates are judged by is NaN or infinite.
            StudyError: a metric or cost is missing, or is no number.
        """
        settings, judged = self.settings, self.settings.judged
        numbers = {judged: given} if not isinstance(given, Mapping) and _is_number(given) else given
        if not isinstance(numbers, Mapping):
            raise StudyError(f"{self.what} gave {_shown(given)}, not a number or a dictionary of numbers")
        for name in (*settings.metrics, *settings.costs):
            if name not in numbers:
                raise StudyError(
                    f"{self.what} gave no {name!r}, only {', '.join(map(str, numbers)) or 'an empty dictionary'}",
                    "declare what it gives: objective: {metrics: [...], costs: [...]}",
                )
        checkpoint = numbers.get("checkpoint")
        found = {str(name): self._number(str(name), value) for name, value in numbers.items() if name != "checkpoint"}
        if not math.isfinite(found[judged]):
            raise Diverged(f"{self.what} gave {judged} = {found[judged]}")
        for name in settings.costs:
            if not (math.isfinite(found[name]) and (found[name] > 0 or name == "slowdown_percent")):
                raise StudyError(f"{self.what} gave {name} = {found[name]}, which is no cost: it must be above 0")
        for name in FRACTIONS:
            if name in found and not 0.0 <= found[name] <= 1.0:
                raise StudyError(
                    f"{self.what} gave {name} = {found[name]:g}, which is no fraction between 0 and 1",
                    "divide percent by 100, or declare another name: objective: {metrics: [accuracy_percent]}",
                )
        sign = 1.0 if settings.metrics[judged].better == "more" else -1.0
        kept = {name: value for name, value in found.items() if name not in settings.costs and math.isfinite(value)}
        return Told(sign * found[judged], kept, {name: found[name] for name in settings.costs}, self._file(checkpoint))

    def _number(self, name: str, value: object) -> float:
        if not _is_number(value):
            raise StudyError(f"{self.what} gave {name} = {_shown(value)}, which is no number")
        return float(value)

    def _file(self, given: object) -> Path | None:
        if given is None:
            return None
        if not isinstance(given, (str, os.PathLike)) or not Path(given).is_file():
            raise StudyError(f"{self.what} gave the checkpoint {_shown(given)}, which is no file")
        return Path(given)


def _is_number(value: object) -> TypeGuard[SupportsFloat]:
    if isinstance(value, (bool, str)):
        return False
    return isinstance(value, Real) or (getattr(value, "ndim", None) == 0 and hasattr(value, "__float__"))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# -- functions


def _named_arguments(function: Callable[..., object], what: str) -> dict[str, str]:
    """Which of a function's parameters is given what: by name, or the candidate where there is only one.

    Raises:
        StudyError: it needs a parameter that nobody gives.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {name: name for name in ARGUMENTS}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return {name: name for name in ARGUMENTS}
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)]
    if len(needed) == 1 and needed[0].name not in ARGUMENTS:
        return {needed[0].name: "candidate"} | {p.name: p.name for p in parameters if p.name in ARGUMENTS}
    for parameter in needed:
        if parameter.name not in ARGUMENTS:
            raise StudyError(
                f"{what} needs {unknown_name('argument', parameter.name, ARGUMENTS)}", "give the others a default"
            )
    return {p.name: p.name for p in parameters if p.name in ARGUMENTS}


def call(function: Callable[[], T], what: str) -> Callable[[Callable[[], bool]], T]:
    """The function's value, computed in a thread that is left behind when it is to stop.

    Raises:
        LeftBehindError: it was to stop before the function came back.
        TrainingError: the function raised something.
    """

    def waited(should_stop: Callable[[], bool]) -> T:
        values: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                values.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, name="objective", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_S)
            if thread.is_alive() and should_stop():
                raise LeftBehindError(f"{what} was stopped")
        if errors:
            error = errors[0]
            if isinstance(error, TrainingError):
                raise error
            said = str(error).strip().splitlines()
            raise TrainingError(f"{what} raised {type(error).__name__}{f': {said[0]}' if said else ''}") from error
        return values[0]

    return waited


# -- commands


def filled(command: Iterable[str], values: Mapping[str, object]) -> list[str]:
    """The arguments of a command with their places filled in.

    >>> filled(["python", "train.py", "{notation}", "--seed={seed}"], {"notation": "resnet50+cnl@6", "seed": 1})
    ['python', 'train.py', 'resnet50+cnl@6', '--seed=1']

    Raises:
        StudyError: for a place that nobody fills.
    """

    def value(place: re.Match[str]) -> str:
        if place[1] not in values:
            raise StudyError(f"objective: {unknown_name('place', place[1], PLACES)}")
        return str(values[place[1]])

    return [_PLACE.sub(value, word) for word in command]


def run_command(arguments: list[str], should_stop: Callable[[], bool]) -> str:
    """The end of what a command wrote to its standard output; its other stream is the worker's.

    Raises:
        TrainingError: it ended with another code than 0, or could not be started.
        TrainingInterrupted: it was to stop; its whole process group was ended.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise StudyError(f"objective: {arguments[0]!r} cannot be started: {error.strerror}") from error
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
                if process.poll() is None and should_stop():
                    raise TrainingInterrupted("the command was stopped")
        finally:
            _end_group(process)
        said, text = _tail(errors), _tail(output)
    if process.returncode:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it wrote no error")
        how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        raise TrainingError(f"the command ended with {how}: {last.strip()[:300]}")
    return text


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _tail(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_OUTPUT))
    return bytes(file.read()).decode("utf-8", "replace")


def _last_line(output: str) -> object:
    """The JSON on the last line that is not empty.

    Raises:
        StudyError: there is none.
    """
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    hint = 'write one line such as {"map": 0.81} last, to standard output'
    if not last:
        raise StudyError("the command wrote nothing to its standard output", hint)
    try:
        return json.loads(last)
    except ValueError as error:
        raise StudyError(f"the last line of the command is not JSON: {last[:100]!r}", hint) from error
