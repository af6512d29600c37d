"""What `Repository.status` tells of a study: where its stages, trainings and workers stand; plain data."""

from __future__ import annotations

from typing import TypedDict


class StageStanding(TypedDict):
    """One stage; `trainings` are counts by status, `seconds` the sum over finished ones."""

    stage_id: int
    position: int
    stage: str
    kind: str
    status: str
    space_id: str | None
    trainings: dict[str, int]
    seconds: float | None
    mean_seconds: float | None
    started_at: float | None
    finished_at: float | None


class RunningTraining(TypedDict):
    """A training that somebody holds: `epoch` was reached, `epochs` are to do."""

    training_id: int
    owner: str
    notation: str
    attempts: int
    seed: int
    fidelity_label: str
    epochs: int | None
    epoch: int
    started_at: float
    heartbeat_at: float
    lease_until: float


class LaunchedJob(TypedDict):
    """A worker as its engine knows it; see `nas.search.launchers.base.Job`."""

    id: str
    worker: str
    state: str
    code: int | None
    log: str
    reason: str


class Launch(TypedDict, total=False):
    """How a study's workers were started; see `ControlWish`."""

    launcher: str
    host: str
    pid: int
    log: str
    jobs: list[LaunchedJob]
    ends_at: float | None
    until: float


class LiveWorker(TypedDict):
    """A worker that gave a sign of life lately and did not say that it ended."""

    id: str
    host: str | None
    pid: int | None


class StudyStatus(TypedDict):
    """A study: `trainings` are distinct ones over all stages, `doing` is by worker, `now` the database's time, s."""

    study: str
    study_id: int
    now: float
    stages: list[StageStanding]
    trainings: dict[str, int]
    failures: dict[str, int]
    running: list[RunningTraining]
    doing: dict[str, str]
    workers: list[LiveWorker]
    wish: str
    why: str
    failed: bool
    launch: Launch
    finished: bool
