"""The time left, against studies whose course is known: simulated looks at a quickstart, second by second."""

from __future__ import annotations

from pathlib import Path

import pytest
from course_builders import Course, Stretch

from nas.search.context import StudyParts
from nas.search.definition import load_study
from nas.search.remaining import Remaining

LOOK_S = 5
CLOSE = 0.3
QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"


@pytest.mark.parametrize("between", [0.5, 6.0])
@pytest.mark.parametrize("start_s", [80.0, 325.0])
def test_from_a_quarter_on_it_is_within_30_percent(start_s: float, between: float) -> None:
    """A quickstart: two plain networks beside each other, then the short trainings."""
    context = StudyParts(load_study(QUICKSTART))
    stages = [Stretch("profile", 0, 0, 60.0), Stretch("start", 2, 24, start_s)]
    stages += [Stretch(kind, number, 4, 18.0) for kind, number in (("sweep", 26), ("shrink", 15), ("confirm", 4))]
    course, left = Course(stages, 2, between), Remaining(context, 2)
    late, good = 0, 0
    for now in range(0, int(course.ends), LOOK_S):
        said = left.seconds_left(course.at(now))
        if now >= course.ends / 4 and said is not None:
            late, good = late + 1, good + (abs(said - (course.ends - now)) <= CLOSE * (course.ends - now))
    assert good >= 0.9 * late > 20


@pytest.fixture
def quickstart() -> StudyParts:
    return StudyParts(load_study(QUICKSTART))


@pytest.mark.parametrize(("workers", "rounds"), [(2, 19 + 8 + 2), (8, 5 + 2 + 1), (19, 2 + 1 + 1), (37, 4), (38, 3)])
def test_a_round_that_fills_some_places_only_takes_as_long_as_a_full_one(
    quickstart: StudyParts, workers: int, rounds: int
) -> None:
    """Sweep of 38, shrink of 15, confirmation of 4: each 100 s, a sixth of what the plain network took."""
    stages = [Stretch("profile", 0, 0, 1.0), Stretch("start", 1, 24, 600.0), Stretch("sweep", 38, 4, 100.0)]
    course = Course([*stages, Stretch("shrink", 15, 4, 100.0), Stretch("confirm", 4, 4, 100.0)], workers, 0.0)
    left = Remaining(quickstart, workers)
    left.seconds_left(course.at(0.0))
    for half in range(2):
        said = left.seconds_left(course.at(601.0 + 50.0 * half))
        assert said == pytest.approx(100.0 * rounds - 50.0 * half, abs=0.1)


def test_a_machine_that_others_share_by_now_is_expected_to_stay_so(quickstart: StudyParts) -> None:
    stages = [Stretch("profile", 0, 0, 1.0), Stretch("start", 1, 4, 10.0), Stretch("sweep", 38, 4, 10.0)]
    course = Course([*stages, Stretch("shrink", 15, 4, 10.0), Stretch("confirm", 4, 4, 10.0)], 1, 0.0, slower=3.0)
    left, now = Remaining(quickstart, 1), 0.0
    while now < 0.52 * course.ends:
        said, now = left.seconds_left(course.at(now)), now + LOOK_S
    assert said == pytest.approx(course.ends - now, rel=0.15)


def test_trainings_of_workers_that_joined_from_elsewhere_are_waited_for(quickstart: StudyParts) -> None:
    stages = [Stretch("profile", 0, 0, 1.0), Stretch("start", 1, 24, 600.0), Stretch("sweep", 38, 4, 100.0)]
    stages += [Stretch("shrink", 15, 4, 100.0), Stretch("confirm", 4, 4, 100.0)]
    status, left = Course(stages, 2, 0.0).at(601.0), Remaining(quickstart, 2)
    status["stages"][2]["trainings"] = {"finished": 35, "failed": 0, "running": 3, "waiting": 0}
    status["running"] = [{"epoch": epoch, "epochs": 4, "started_at": 601.0} for epoch in (3, 2, 0)]
    assert left.seconds_left(status) == pytest.approx(100.0 * (1 + 8 + 2), abs=0.1)
