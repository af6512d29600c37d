"""The running hypervolume against moocore's, on random points."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.reporting.figures.hypervolume import RunningFront


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=25))
def test_running_hypervolume_is_moocores(points: list[tuple[int, int]]) -> None:
    ceiling, floor = 10.0, 2.0
    front = RunningFront(ceiling, floor)
    for n, (ms, value) in enumerate(points, start=1):
        area = front.add(float(ms), float(value))
        seen = np.array([(a, -b) for a, b in points[:n]], dtype=float)
        assert area == pytest.approx(float(moocore.hypervolume(seen, ref=[ceiling, -floor])))
