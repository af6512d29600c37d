"""The picture of a verification: false non-match rate over false match rate, both on logarithmic axes.

The diagonal of equal rates is drawn too; where the curve crosses it is the equal error rate. Only Pillow is needed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from nas.retrieval.metrics import Floats
from nas.retrieval.verification import Roc

INK, CURVE, DIAGONAL = (60, 60, 60), (38, 110, 178), (170, 170, 170)
DECADES = 6
"""Powers of ten that each axis shows: from one in a million to all."""
MARGIN = 52


def draw_roc(roc: Roc, size: int = 480) -> Image.Image:
    """Draws the curve (`PairDistances.roc`) as a square picture of `size` pixels."""
    picture = Image.new("RGB", (size, size), "white")
    ink = ImageDraw.Draw(picture)
    _axes(ink, size)
    ends = [_place(np.array([rate]), np.array([rate]), size)[0] for rate in (10.0**-DECADES, 1.0)]
    ink.line(ends, fill=DIAGONAL)
    ink.line(_place(roc.fpr, 1.0 - roc.tpr, size), fill=CURVE, width=2)
    ink.text((size // 2, 12), f"equal error rate {equal_error_rate(roc):.2%}", fill=INK, font_size=12, anchor="mm")
    return picture


def equal_error_rate(roc: Roc) -> float:
    """The rate at which false matches and false non-matches are equal, between the two nearest corners of the curve."""
    missed = 1.0 - roc.tpr
    place = int(np.argmin(np.abs(roc.fpr - missed)))
    return float((roc.fpr[place] + missed[place]) / 2)


def _place(fmr: Floats, fnmr: Floats, size: int) -> list[tuple[float, float]]:
    """Pixels of rates; what is below the axes lies on them."""
    low = 10.0**-DECADES
    share = [1.0 + np.log10(np.clip(rates, low, 1.0)) / DECADES for rates in (fmr, fnmr)]
    x = MARGIN + share[0] * (size - 2 * MARGIN)
    y = size - MARGIN - share[1] * (size - 2 * MARGIN)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _axes(ink: ImageDraw.ImageDraw, size: int) -> None:
    floor = size - MARGIN
    ink.line([(MARGIN, MARGIN), (MARGIN, floor), (floor, floor)], fill=INK)
    for power in range(-DECADES, 1):
        ((x, y),) = _place(np.array([10.0**power]), np.array([10.0**power]), size)
        ink.line([(x, floor), (x, floor + 4)], fill=INK)
        ink.line([(MARGIN - 4, y), (MARGIN, y)], fill=INK)
        ink.text((x, floor + 6), f"1e{power}", fill=INK, font_size=11, anchor="mt")
        ink.text((MARGIN - 6, y), f"1e{power}", fill=INK, font_size=11, anchor="rm")
    ink.text((size // 2, size - 12), "false match rate", fill=INK, font_size=12, anchor="mm")
    ink.text((MARGIN, MARGIN - 10), "false non-match rate", fill=INK, font_size=12, anchor="lb")
