"""What a program did on the stand-in for the CUDA runtime: launches, copies and waits, with where each came from.

To be imported in a program that the stand-in was loaded before (`gpu_standin.environment`).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

torch.backends.cudnn.enabled = False  # not stood in for; torch's own convolutions launch as kernels

_library = ctypes.CDLL(None)
_library.standin_count.restype = ctypes.c_long
_library.standin_count.argtypes = [ctypes.c_char_p]
_library.standin_used.restype = ctypes.c_long
_Hook = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_long)


@dataclass
class Calls:
    """Calls of the CUDA runtime while it was watched.

    Attributes:
        waits: by what waited and the line of the package that asked for it; copies to the host wait too.
        numbers: of all calls by name.
    """

    waits: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)

    @property
    def launches(self) -> int:
        return self.numbers["launch"]


NAMES = (
    "launch",
    "graph launch",
    "copy to host",
    "copy to device",
    "copy on device",
    "malloc",
    "pinned memory",
    "work on a stream of another device",
    "work on the default stream while capturing",
)
_watching: Calls | None = None


def _line() -> str:
    """Where in the package, or else in torch, the call came from."""
    frame, nearest = sys._getframe(2), ""
    while frame is not None:
        name = frame.f_code.co_filename
        if "/nas/" in name:
            return f"{name[name.rindex('/nas/') + 1 :]}:{frame.f_lineno}{nearest and ' <- ' + nearest}"
        if not nearest and "/torch/" in name:
            nearest = f"{name[name.rindex('/torch/') + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return nearest or "?"


@_Hook
def _hook(name: bytes, number: int) -> None:
    if _watching is None:
        return
    _watching.waits[f"{name.decode().removeprefix('WAIT ')} at {_line()}"] += 1


_library.standin_hook(_hook)


@contextlib.contextmanager
def watched() -> Iterator[Calls]:
    """Counts the calls inside."""
    global _watching
    _library.standin_reset()
    _watching = calls = Calls()
    try:
        yield calls
    finally:
        _watching = None
        calls.numbers.update({name: _library.standin_count(name.encode()) for name in NAMES})


def used(device: int = 0) -> int:
    """Bytes that the program holds of a card, torch's cache included."""
    return int(_library.standin_used(device))
