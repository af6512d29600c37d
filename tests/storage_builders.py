"""Small made-up studies for tests: candidates, requests and outcomes with as little as they need."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from sqlalchemy import text

from nas.spaces import Candidate
from nas.storage import Repository, TrainingOutcome, TrainingRequest

T = TypeVar("T")
RECIPE = {"name": "strong_baseline", "epochs": 60}


def candidate_row(number: int) -> dict[str, Any]:
    """The row of a made-up candidate: `resnet50+cnl@<number>`."""
    return {
        "id": f"c{number:015d}",
        "architecture_id": f"a{number:015d}",
        "notation": f"resnet50+cnl@{number}",
        "backbone": "resnet50",
        "n_blocks": 1,
        "definition": {"backbone": "resnet50", "placements": [[number, "cnl", {}]]},
    }


def real_row(number: int) -> dict[str, Any]:
    """The row of a candidate that says what it is made of, as archives are checked for: `cnl` at one or two sites."""
    sites = sorted({number % 17 + 1, number // 17 + 1})
    found = Candidate.parse(f"resnet50+cnl@{','.join(map(str, sites))}")
    made = {"id": found.id, "architecture_id": found.architecture.id, "notation": found.notation}
    return {**made, "backbone": "resnet50", "n_blocks": len(found.placements), "definition": found.to_dict()}


def request(number: int, **changes: Any) -> TrainingRequest:
    """The wish to train made-up candidate `number`; `position` is the number unless given."""
    values: dict[str, Any] = {
        "candidate_id": f"c{number:015d}",
        "recipe_id": "recipe",
        "recipe": RECIPE,
        "dataset_id": "data",
        "fidelity": {"epochs": 10},
        "fidelity_label": "e10",
        "seed": 0,
        "position": number,
        "sampler": "random",
        "epochs": 10,
    }
    return TrainingRequest(**{**values, **changes})


def fill(
    repository: Repository,
    trainings: int,
    *,
    study: str = "made_up",
    stages: Sequence[str] = ("sweep",),
    row_of: Callable[[int], dict[str, Any]] = candidate_row,
    **changes: Any,
) -> tuple[int, list[int], list[int]]:
    """A study whose first stage asks for `trainings` trainings: (study id, stage ids, training ids)."""
    repository.ensure_candidates([row_of(number) for number in range(trainings)])
    repository.ensure_dataset("data", "generated", {"generated": {"seed": 0}}, {"train": 10})
    study_id = repository.ensure_study(study, {"name": study, "seed": 1}, 1, None)
    stage_ids = [repository.ensure_stage(study_id, i, f"{i}-{kind}", kind, {}) for i, kind in enumerate(stages)]
    ids = repository.request_trainings(
        stage_ids[0],
        [request(number, **{"candidate_id": row_of(number)["id"], **changes}) for number in range(trainings)],
    )
    return study_id, stage_ids, ids


def outcome(map_: float = 0.5, **changes: Any) -> TrainingOutcome:
    """A result."""
    values: dict[str, Any] = {"rank1": 0.7, "minp": 0.2, "metrics": {"cmc": [0.7, 0.8]}, "seconds": 60.0}
    return TrainingOutcome(**{"map": map_, **values, **changes})


def finish_all(repository: Repository, study_id: int, owner: str = "w") -> list[int]:
    """Claims and finishes everything there is to do; returns the ids in that order."""
    done = []
    while claim := repository.claim_training(study_id, owner):
        assert repository.finish_training(claim.id, owner, outcome(0.5 + 0.001 * (claim.id % 100)))
        done.append(claim.id)
    return done


def clock_moves(repository: Repository, seconds: float) -> None:
    """What a step of the database's clock, or time that passes, is for what was stored before: it lies further back."""
    moved = {
        "nas_training": ("lease_until", "heartbeat_at"),
        "nas_stage": ("planner_until",),
        "nas_worker": ("heartbeat_at",),
    }
    with repository.database.write() as session:
        for table, columns in moved.items():
            changes = ", ".join(f"{column} = {column} - ({seconds})" for column in columns)
            session.execute(text(f"UPDATE {table} SET {changes}"))


def processes() -> BaseContext:
    """Processes that start from a clean one: a fork of the test runner would have its threads' locks and signals."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "psycopg", "nas.storage"])
    return context


def in_processes(work: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """The answers of real processes that all begin at the same moment."""
    with processes().Pool(len(arguments)) as pool:
        return pool.starmap(work, arguments, chunksize=1)
