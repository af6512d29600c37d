"""What goes into the repository and comes out of it: small frozen values, no database in them.

Rows of the database stay inside `nas.storage`; callers see these and pandas tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict

from nas.files.plain import JsonDict
from nas.spaces import Candidate
from nas.storage.models import SCRATCH


@dataclass(frozen=True)
class TrainingRequest:
    """One training a stage wants done; equal natural keys mean the same training.

    The natural key is (candidate_id, code, recipe_id, dataset_id, fidelity_label, start, seed).

    Attributes:
        candidate_id: of a candidate stored before by `ensure_candidates`.
        recipe_id: hash of `recipe`, every number of the training recipe as it will be used.
        dataset_id: of a data-set view stored before by `ensure_dataset`.
        fidelity: what is cheaper than the full recipe; `fidelity_label` names it ("e60").
        role: "candidate", "baseline" or "reference".
        sampler: who proposed it ("random", "nsga2", ...); adaptive samples are biased, so it is kept.
        batch: number of the proposal round inside the stage; one (role, batch) is planned once.
        position: order inside the batch, the order in which trainings are claimed.
        code: hash of the code of own blocks, losses and objectives it uses; "" where it uses none.
        start: which weights it starts from, by content: "scratch", "plain:<hash>" or "checkpoint:<hash>".
        view: of the data: "select", "final" or "source".
        split: "val", "test" or "transfer", the split its metrics are read on.
        epochs: epochs it will have run at its end; None when not known before.
        stop_epoch: the rung it stops at; None: the end of its schedule.
        resume_from: training whose checkpoint it continues (next rung of the same candidate).
        init_from: training that left the weights it starts from; `start` says them by content.
    """

    candidate_id: str
    recipe_id: str
    recipe: JsonDict
    dataset_id: str
    fidelity: JsonDict
    fidelity_label: str
    seed: int
    role: str = "candidate"
    sampler: str = "given"
    batch: int = 0
    position: int = 0
    sampler_attrs: JsonDict = field(default_factory=dict)
    code: str = ""
    start: str = SCRATCH
    view: str = "select"
    split: str = "val"
    epochs: int | None = None
    stop_epoch: int | None = None
    resume_from: int | None = None
    init_from: int | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimedTraining(TrainingRequest):
    """A training that is now this owner's: what was asked for, and all that is needed to run it.

    `definition` is its candidate's, `stage` the name of the first stage that waits for it, and `dataset` says how to
    make the data again. `checkpoint_uri` is its own last checkpoint when somebody began it before; the `resume_from_*`
    and `init_from_*` checkpoints are those of the trainings it builds on.
    """

    id: int
    owner: str
    attempt: int
    lease_until: float
    study: str
    stage_id: int
    stage: str
    definition: JsonDict
    notation: str
    dataset: JsonDict
    dataset_counts: Mapping[str, Mapping[str, int]]
    checkpoint_uri: str | None
    checkpoint_sha256: str | None
    resume_from_uri: str | None
    resume_from_sha256: str | None
    init_from_uri: str | None
    init_from_sha256: str | None

    @cached_property
    def candidate(self) -> Candidate:
        """What is trained, read once."""
        return Candidate.from_dict(self.definition)


@dataclass(frozen=True)
class TrainingOutcome:
    """What a finished training measured; `map`, `rank1` and `minp` are shares, 0-1.

    `metrics` holds everything else worth keeping (the whole CMC curve, query counts, protocol).
    """

    map: float
    rank1: float | None = None
    minp: float | None = None
    metrics: JsonDict = field(default_factory=dict)
    seconds: float | None = None
    images_per_s: float | None = None
    epochs: int | None = None
    checkpoint_uri: str | None = None
    checkpoint_sha256: str | None = None
    environment_id: str | None = None


@dataclass(frozen=True)
class StudyInfo:
    """A stored study; `definition` is the content of its file as it was given."""

    id: int
    name: str
    definition: dict[str, Any]
    seed: int
    space_id: str | None
    protocol_id: str | None
    device: str | None
    created_at: float


@dataclass(frozen=True)
class StageInfo:
    """A stored stage; `status` is one of waiting, running, finished, failed."""

    id: int
    study_id: int
    position: int
    name: str
    kind: str
    settings: dict[str, object]
    status: str
    space_id: str | None
    result: dict[str, Any] | None
    started_at: float | None
    finished_at: float | None


class StudySummary(TypedDict):
    """A line of the list of studies; `trainings` counts those asked for by status.

    `state` is "finished", "running" (a worker holds a training), "failed" (a stage failed) or "waiting".
    """

    study: str
    seed: int
    created_at: float
    stages: int
    stages_finished: int
    trainings: dict[str, int]
    state: str


class LatencyJobInfo(TypedDict):
    """A job for a device elsewhere, without its network; `protocol` and `result` are plain data."""

    id: int
    device: str
    architecture_id: str
    notation: str
    protocol_id: str
    protocol: dict[str, object]
    sha256: str
    status: str
    owner: str | None
    lease_until: float | None
    attempts: int
    result: dict[str, object] | None
    reason: str | None
    collected: bool
    created_at: float
    finished_at: float | None


class UsedDataset(TypedDict):
    """A data-set view that trainings of a study use; `warnings` are {fact, consequence} each, None: nobody looked."""

    id: str
    name: str
    spec: dict[str, object]
    counts: dict[str, dict[str, int]]
    known_by: str
    warnings: list[dict[str, str]] | None
    split: str


class UsedEnvironment(TypedDict):
    """Where some trainings of a study ran."""

    facts: dict[str, object]
    trainings: int


@dataclass(frozen=True)
class SpaceInfo:
    """A stored design space; `size` is its exact number of candidates."""

    id: str
    name: str
    size: int
    parent_id: str | None
    definition: dict[str, object]
    rules: list[object]


@dataclass(frozen=True)
class LatencyInfo:
    """The newest latency of one architecture under one protocol on one device."""

    id: int
    architecture_id: str
    notation: str
    protocol_id: str
    device: str
    measured: bool
    median_ms: float
    p5_ms: float | None
    p95_ms: float | None
    batches_per_s: float | None
    record: dict[str, Any]
    measured_at: float
