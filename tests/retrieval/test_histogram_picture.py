"""The picture of distances shows both kinds of pairs where they are."""

from __future__ import annotations

import numpy as np

from nas.retrieval.histogram_picture import BOTTOM, COLOURS, LEFT, draw_histogram
from nas.retrieval.verification import DistanceHistogram


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns of the plot whose outline has that colour."""
    plot = pixels[40:-BOTTOM, LEFT + 1 :]
    return np.flatnonzero((plot == colour).all(-1).any(0)) + LEFT + 1


def test_each_kind_of_pair_is_drawn_where_its_distances_are() -> None:
    edges = np.linspace(0.0, 1.0, 11)
    positive, negative = np.zeros(10, dtype=np.int64), np.zeros(10, dtype=np.int64)
    positive[1], negative[8] = 7, 9_000  # few and many pairs are drawn equally high
    pixels = np.asarray(draw_histogram(DistanceHistogram(edges, positive, negative), 548, 200))
    same, other = (near(pixels, COLOURS[name]) for name in ("same person", "other person"))
    per_bin = (548 - LEFT - 16) / 10
    tall = pixels[42]  # just below the top: only the highest bins reach it
    columns = np.flatnonzero((tall != 255).any(-1))
    assert LEFT + per_bin - 1 <= columns[columns > LEFT][0] <= LEFT + 2 * per_bin
    assert LEFT + 8 * per_bin - 1 <= columns[-1] <= LEFT + 9 * per_bin + 1
    assert same.size
    assert other.size


def test_one_bin_is_enough() -> None:
    one = np.array([3])
    assert draw_histogram(DistanceHistogram(np.array([0.0, 0.0]), one, one)).size == (720, 360)
