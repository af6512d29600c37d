"""The histogram of distances: each kind of pair as its own share, over the bins it was counted in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nas.reporting.evaluation import draw_distances, write_distances
from nas.retrieval.verification import DistanceHistogram

FOUND = DistanceHistogram(np.linspace(0.0, 2.0, 5), np.array([3, 1, 0, 0]), np.array([0, 100, 200, 100]))


def test_each_kind_is_drawn_as_its_share_of_its_bins() -> None:
    drawing = draw_distances(FOUND)
    assert [trace.name for trace in drawing.data] == ["same person (4 pairs)", "other person (400 pairs)"]
    for trace, counts in zip(drawing.data, (FOUND.positive, FOUND.negative), strict=True):
        assert (trace.histfunc, trace.histnorm, trace.xbins.size) == ("sum", "probability", 0.5)
        assert list(trace.x) == [0.25, 0.75, 1.25, 1.75]
        assert list(trace.y) == counts.tolist()


def test_numbers_and_page_are_written_whole(tmp_path: Path) -> None:
    table = pd.read_csv(write_distances(FOUND, tmp_path / "pairs.csv"))
    assert table.to_dict("list") == {
        "from": [0.0, 0.5, 1.0, 1.5],
        "to": [0.5, 1.0, 1.5, 2.0],
        "same_person": [3, 1, 0, 0],
        "other_person": [0, 100, 200, 100],
    }
    assert "plotly.js v" in write_distances(FOUND, tmp_path / "pairs.html").read_text(encoding="utf-8")
