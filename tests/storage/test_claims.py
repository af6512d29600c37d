"""Claims: exactly once, in order, with leases by the database's clock; results once and for all."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from pathlib import Path

import pytest
from storage_builders import candidate_row, clock_moves, fill, finish_all, in_processes, outcome, request

from nas.errors import StorageError
from nas.storage import Repository, open_database


def claim_all(url: str, study_id: int, owner: str) -> list[int]:
    """What a worker process does."""
    claimed = []
    with open_database(url) as database:
        repository = Repository(database)
        while claim := repository.claim_training(study_id, owner, 60):
            assert repository.heartbeat(claim.id, owner)
            assert repository.finish_training(claim.id, owner, outcome())
            claimed.append(claim.id)
    return claimed


def test_a_claim_carries_all_that_is_needed(repository: Repository) -> None:
    study_id, (stage_id,), ids = fill(repository, 2)
    before = time.time()
    claim = repository.claim_training(study_id, "w1", 30)
    assert claim is not None
    assert (claim.id, claim.stage_id, claim.owner, claim.attempt) == (ids[0], stage_id, "w1", 1)
    assert claim.definition == candidate_row(0)["definition"]
    assert (claim.recipe["epochs"], claim.dataset, claim.fidelity) == (60, {"generated": {"seed": 0}}, {"epochs": 10})
    assert (claim.stage, claim.study, claim.role, claim.split) == ("0-sweep", "made_up", "candidate", "val")
    assert before + 29 < claim.lease_until < time.time() + 31


def test_trainings_are_claimed_in_the_order_of_stage_batch_and_position(repository: Repository) -> None:
    study_id, stages, _ = fill(repository, 8, stages=("sweep", "search"))
    repository.request_trainings(stages[1], [request(0, seed=1, position=0)])
    repository.request_trainings(stages[0], [request(3, seed=1, batch=1, position=1), request(4, seed=1, batch=1)])
    done = [repository.training(id_) for id_ in finish_all(repository, study_id)]
    numbers = [(int(row["candidate_id"][1:]), row["seed"]) for row in done if row]
    assert numbers == [*((n, 0) for n in range(8)), (3, 1), (4, 1), (0, 1)]


def test_a_silent_owner_loses_its_training_and_hears_of_it(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    assert repository.claim_training(study_id, "silent", 60) is not None
    assert repository.claim_training(study_id, "other", 60) is None
    clock_moves(repository, 61.0)
    again = repository.claim_training(study_id, "other", 60)
    assert again is not None
    assert (again.id, again.attempt) == (training_id, 2)
    assert not repository.heartbeat(training_id, "silent")
    assert not repository.release(training_id, "silent")
    assert repository.fail_training(training_id, "silent", "error", "too late") is None
    assert repository.heartbeat(training_id, "other")


def test_the_clock_of_a_worker_does_not_matter(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    real, before = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: real() + 7200)  # a worker two hours ahead
    ahead = repository.claim_training(study_id, "ahead", 30)
    assert ahead is not None
    monkeypatch.setattr(time, "time", lambda: real() - 7200)  # and one two hours behind
    assert repository.claim_training(study_id, "behind", 30) is None
    assert repository.heartbeat(training_id, "ahead")
    stored = repository.training(training_id)
    assert stored is not None
    assert before + 29 < stored["lease_until"] < real() + 31


def test_heartbeats_keep_a_short_lease_alive(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    repository.claim_training(study_id, "w", 60.0)
    for _ in range(3):
        clock_moves(repository, 40.0)
        assert repository.heartbeat(training_id, "w")
        assert repository.claim_training(study_id, "thief", 60.0) is None


def test_a_released_training_does_not_count_as_an_attempt(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    repository.claim_training(study_id, "w1")
    assert repository.record_checkpoint(training_id, "w1", "store/1.pt", "ab" * 32)
    assert repository.release(training_id, "w1")
    claim = repository.claim_training(study_id, "w2")
    assert claim is not None
    assert (claim.attempt, claim.checkpoint_uri, claim.checkpoint_sha256) == (1, "store/1.pt", "ab" * 32)


def test_the_first_result_wins_and_telling_it_again_is_harmless(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    repository.claim_training(study_id, "slow", 60)
    clock_moves(repository, 61.0)
    repository.claim_training(study_id, "quick", 60)
    assert repository.finish_training(training_id, "slow", outcome(0.4))
    assert not repository.heartbeat(training_id, "quick")
    assert not repository.finish_training(training_id, "quick", outcome(0.9))
    assert repository.finish_training(training_id, "slow", outcome(0.4))
    stored = repository.training(training_id)
    assert stored is not None
    assert (stored["map"], stored["owner"], stored["status"]) == (0.4, "slow", "finished")


def test_no_result_without_a_finite_number(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    repository.claim_training(study_id, "w")
    for value in (math.nan, math.inf):
        with pytest.raises(StorageError, match="diverged"):
            repository.finish_training(training_id, "w", outcome(value))
    assert repository.heartbeat(training_id, "w")


def test_failures_are_retried_a_set_number_of_times(repository: Repository) -> None:
    study_id, (stage_id,), (training_id,) = fill(repository, 1)
    for attempt in (1, 2, 3):
        claim = repository.claim_training(study_id, "w")
        assert claim is not None
        assert claim.attempt == attempt
        status = repository.fail_training(training_id, "w", "error", "boom", "Traceback \0 ...", retry=True)
        assert status == ("waiting" if attempt < 3 else "failed")
    assert repository.claim_training(study_id, "w") is None
    assert not repository.has_open_trainings(stage_id)
    row = repository.results("made_up").iloc[0]
    assert (row["status"], row["failure_kind"]) == ("failed", "error")
    assert math.isnan(row["map"])


def test_a_hopeless_failure_is_not_retried(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    repository.claim_training(study_id, "w")
    assert repository.fail_training(training_id, "w", "out_of_memory", "needs 9 GiB") == "failed"


def test_epochs_told_twice_are_kept_once(repository: Repository) -> None:
    _, _, (training_id,) = fill(repository, 1)
    repository.record_epochs(training_id, [{"epoch": 1, "lr": 0.1, "losses": {"id": 2.0}, "seconds": 3.0}])
    repository.record_epochs(training_id, [{"epoch": e, "lr": 0.1, "losses": {"id": 1.0}} for e in (1, 2)])
    curve = repository.epochs(training_id)
    assert curve["epoch"].tolist() == [1, 2]
    assert curve["id"].tolist() == [1.0, 1.0]


def test_eight_processes_claim_every_training_exactly_once(repository: Repository, url: str) -> None:
    study_id, _, ids = fill(repository, 80)
    claimed = in_processes(claim_all, [(url, study_id, f"w{i}") for i in range(8)])
    assert Counter(itertools.chain(*claimed)) == Counter(ids)
    assert sum(1 for each in claimed if each) > 1
    attempts = [repository.training(id_)["attempts"] for id_ in ids[:10]]  # type: ignore[index]
    assert attempts == [1] * 10


def test_a_training_of_two_stages_is_one_in_the_list_of_studies(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 3)
    later = repository.ensure_stage(study_id, 1, "confirm", "confirm", {})
    repository.request_trainings(later, [request(0), request(1)])
    (summary,) = repository.study_summaries()
    assert summary["trainings"] == repository.status("made_up")["trainings"]
    assert summary["trainings"]["waiting"] == 3


def test_a_training_shared_by_two_studies_is_done_once(repository: Repository, tmp_path: Path) -> None:
    first, _, ids = fill(repository, 2, study="first")
    finish_all(repository, first)
    second, (stage,), shared = fill(repository, 2, study="second")
    assert shared == ids
    assert repository.claim_training(second, "w") is None
    assert repository.stage_trainings(stage) == {"waiting": 0, "running": 0, "finished": 2, "failed": 0}
    assert repository.results("second")["map"].notna().all()
