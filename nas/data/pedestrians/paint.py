"""Paints: colour as a function of the place on a body part.

A paint gets t (0 at the part's upper end, 1 at its lower) and the angle around the axis (0 = front,
positive = the person's left) and returns RGB. Patterns combine two colours by a mask.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.data.pedestrians.appearance import Colour
from nas.data.pedestrians.raster import Floats, Paint

Mask = Callable[[Floats, Floats], NDArray[np.bool_]]


def plain(colour: Colour) -> Paint:
    """One colour all over."""
    rgb = np.array(colour, dtype=np.float32)
    return lambda t, angle: np.broadcast_to(rgb, (len(t), 3))


def masked(base: Paint, over: Paint, mask: Mask) -> Paint:
    """`over` where the mask holds, `base` elsewhere."""
    return lambda t, angle: np.where(mask(t, angle)[:, None], over(t, angle), base(t, angle))


def rings(count: float, share: float = 0.5) -> Mask:
    """Stripes around the axis, `count` along it."""
    return lambda t, angle: (t * count) % 1 < share


def checks(rows: float, columns: float) -> Mask:
    """A chequered pattern."""
    return lambda t, angle: ((t * rows) % 1 < 0.5) ^ ((angle / (2 * np.pi) * columns) % 1 < 0.5)


def below(limit: float) -> Mask:
    """Everything beyond `limit` along the axis."""
    return lambda t, angle: t > limit


def band(top: float, bottom: float) -> Mask:
    """One ring between two places on the axis."""
    return lambda t, angle: (t > top) & (t < bottom)


def front(half_width: float, top: float = 0.0, bottom: float = 1.0) -> Mask:
    """A field on the front."""
    return lambda t, angle: (np.abs(angle) < half_width) & (t > top) & (t < bottom)


def back(half_width: float, top: float = 0.0, bottom: float = 1.0) -> Mask:
    """A field on the back."""
    return lambda t, angle: (np.abs(angle) > np.pi - half_width) & (t > top) & (t < bottom)


def sides(half_width: float) -> Mask:
    """A stripe down each side."""
    return lambda t, angle: np.abs(np.abs(angle) - np.pi / 2) < half_width


def strap(side: float, half_width: float = 0.10) -> Mask:
    """A strap from one shoulder to the other hip, on front and back; `side` is +1 (left hip) or -1."""
    return lambda t, angle: np.abs(np.sin(angle) * side - (t * 1.6 - 0.8)) < half_width
