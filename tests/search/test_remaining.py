"""The time left, against studies whose course is known: simulated looks at a quickstart, second by second."""

from __future__ import annotations

from pathlib import Path

import pytest
from course_builders import Course, Stretch

from nas.search.context import StudyContext
from nas.search.definition import load_study
from nas.search.remaining import Remaining
from nas.storage import Repository, open_database

LOOK_S = 5
CLOSE = 0.3
QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"


@pytest.mark.parametrize("between", [0.5, 6.0])
@pytest.mark.parametrize("start_s", [80.0, 325.0])
def test_from_a_quarter_on_it_is_within_30_percent(start_s: float, between: float) -> None:
    """A quickstart, whose plain network trains alone before two workers share the rest."""
    context = StudyContext(load_study(QUICKSTART), Repository(open_database("sqlite://")), 0)
    stages = [Stretch("profile", 0, 0, 60.0), Stretch("start", 1, 24, start_s)]
    stages += [Stretch(kind, number, 4, 18.0) for kind, number in (("sweep", 46), ("shrink", 12), ("confirm", 4))]
    course, left = Course(stages, 2, between), Remaining(context, 2)
    late, good = 0, 0
    for now in range(0, int(course.ends), LOOK_S):
        said = left.seconds_left(course.at(now))
        if now >= course.ends / 4 and said is not None:
            late, good = late + 1, good + (abs(said - (course.ends - now)) <= CLOSE * (course.ends - now))
    assert good >= 0.9 * late > 20
