"""The picture of distances: how far pairs of one person are apart, and pairs of two persons.

Each kind of pair is drawn as its own share, so that the few pairs of one person are as visible as the many others.
Only Pillow is needed; interactive figures are `nas.reporting`'s matter.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from nas.retrieval.metrics import Floats
from nas.retrieval.verification import DistanceHistogram

Colour = tuple[int, int, int]
COLOURS: dict[str, Colour] = {"same person": (38, 110, 178), "other person": (214, 116, 36)}
INK: Colour = (60, 60, 60)
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 40, 40
TICKS = 6


def draw_histogram(histogram: DistanceHistogram, width: int = 720, height: int = 360) -> Image.Image:
    """Draws both kinds of pairs over distance.

    Args:
        histogram: from `PairDistances.histogram`.
        width, height: of the picture in pixels.
    """
    picture = Image.new("RGB", (width, height), "white")
    shares = {"same person": _shares(histogram.positive), "other person": _shares(histogram.negative)}
    top = max(float(values.max()) for values in shares.values())
    ink = ImageDraw.Draw(picture, "RGBA")
    for name, values in shares.items():
        ink.polygon(_outline(values / top, width, height), fill=(*COLOURS[name], 110), outline=COLOURS[name])
    _axes(ink, histogram.edges, top, width, height)
    _legend(ink, {"same person": int(histogram.positive.sum()), "other person": int(histogram.negative.sum())})
    return picture


def _shares(counts: np.ndarray) -> Floats:
    return counts / max(int(counts.sum()), 1)


def _outline(values: Floats, width: int, height: int) -> list[tuple[float, float]]:
    """The steps of a histogram whose highest bin is 1, as the corners of a polygon."""
    x = np.linspace(LEFT, width - RIGHT, len(values) + 1)
    y = height - BOTTOM - values * (height - TOP - BOTTOM)
    steps = [(float(at), float(level)) for i, level in enumerate(y) for at in (x[i], x[i + 1])]
    return [(float(x[0]), float(height - BOTTOM)), *steps, (float(x[-1]), float(height - BOTTOM))]


def _axes(ink: ImageDraw.ImageDraw, edges: Floats, top: float, width: int, height: int) -> None:
    floor = height - BOTTOM
    ink.line([(LEFT, TOP), (LEFT, floor), (width - RIGHT, floor)], fill=INK)
    ink.text((LEFT - 6, TOP), f"{top:.1%}", fill=INK, font_size=11, anchor="rt")
    ink.text((LEFT - 6, floor), "0%", fill=INK, font_size=11, anchor="rb")
    for share in np.linspace(0, 1, TICKS):
        x = LEFT + share * (width - LEFT - RIGHT)
        ink.line([(x, floor), (x, floor + 4)], fill=INK)
        value = edges[0] + share * (edges[-1] - edges[0])
        ink.text((x, floor + 6), f"{value:.2f}", fill=INK, font_size=11, anchor="mt")
    ink.text(((LEFT + width - RIGHT) / 2, height - 4), "distance", fill=INK, font_size=11, anchor="mb")


def _legend(ink: ImageDraw.ImageDraw, pairs: dict[str, int]) -> None:
    x: float = LEFT
    for name, count in pairs.items():
        ink.rectangle((x, 12, x + 12, 24), fill=COLOURS[name])
        text = f"{name} ({count:,} pairs)"
        ink.text((x + 18, 18), text, fill=INK, font_size=12, anchor="lm")
        x += 18 + ink.textlength(text, font_size=12) + 24
