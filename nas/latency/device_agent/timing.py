"""Times single batches: of one network, or of several in turns so that every moment meets all of them."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

LEAST_PAIRS = 8  # four blocks: Student's factor is 3.2 there, 12.7 for the two blocks of five pairs
HANGING_S = 3600.0  # a build whose timing takes longer is given up; 10 000 pairs of 150 ms end in time
ALARM_AGAIN_S = 10.0  # longer than what closes engines and frees memory takes, which the next alarm would disturb


def clocked(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A function that runs one batch (`run` returns when it is finished) and returns its milliseconds by `clock`."""

    def read() -> float:
        begun = clock()
        run()
        return (clock() - begun) * 1000.0

    return read


def warm_up(
    runs: Sequence[Callable[[], object]],
    batches: int | None,
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Runs batches of each network, which are thrown away: so many, and for so long (either may be None)."""
    for run in runs:
        done, until = 0, clock() + (seconds or 0.0)
        while done < (batches or 0) or clock() < until:
            run()
            done += 1


def time_rounds(
    reads: Sequence[Callable[[], float]],
    batches: int | None,
    budget_s: float,
    min_batches: int = 5,
    on_round: Callable[[int, int | None], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, ...]]:
    """Milliseconds of single batches, one of each network a round; every other round in the opposite order.

    Args:
        reads: a function a network that runs one batch and returns its milliseconds (`clocked`).
        batches: rounds; None: until `budget_s` seconds are spent on all of them, at least `min_batches`.
        min_batches: see `batches`; of several networks 8 rounds at least, for an interval of their ratio.
        on_round: called between rounds, outside the timed part, with the number done and the total if known.
    """
    times: list[tuple[float, ...]] = []
    least = max(min_batches, LEAST_PAIRS) if len(reads) > 1 else min_batches
    collecting = gc.isenabled()
    gc.disable()
    try:
        until = clock() + budget_s
        while (len(times) < batches) if batches is not None else (len(times) < least or clock() < until):
            if len(times) % 2:
                times.append(tuple([read() for read in reversed(reads)][::-1]))
            else:
                times.append(tuple([read() for read in reads]))
            if on_round is not None:
                on_round(len(times), batches)
    finally:
        if collecting:
            gc.enable()
    return times


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Ends what runs too long, with a `TimeoutError`, at the next instruction of Python.

    Works in the main thread; elsewhere nothing is ended. Python drops an error that strikes while it tidies up (in a
    `__del__`, a callback of the collector), and a library may catch it: so the alarm comes again. A library that never
    returns to Python is not ended either: whoever waits for the machine is told which process to stop. An alarm that is
    set already keeps its time.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier, begun = signal.getitimer(signal.ITIMER_REAL)[0], time.monotonic()
    if earlier and earlier <= seconds:
        yield
        return

    def end(*_: object) -> None:
        raise TimeoutError(f"given up after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if earlier:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, earlier - (time.monotonic() - begun)))
