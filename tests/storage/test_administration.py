"""Deleting, renaming, trying again, collecting checkpoints, checking and repairing a database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text
from storage_builders import clock_moves, fill, finish_all, outcome, request

from nas.errors import StorageError, StudyError
from nas.storage import Repository
from nas.storage.administration import delete_study, preview_deletion, rename_study, retry_failed
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.collection import collect_checkpoints
from nas.storage.integrity import check_database, repair_database


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "store")


def finish_with_files(repository: Repository, study_id: int, store: CheckpointStore, tmp_path: Path) -> list[str]:
    """Finishes all trainings, each with a checkpoint and a better mAP than the one before."""
    uris = []
    while claim := repository.claim_training(study_id, "w"):
        (tmp_path / "weights").write_text(f"weights of {claim.id}")
        uri, sha256 = store.put(tmp_path / "weights", f"{claim.id}.pt")
        result = outcome(0.5 + claim.id / 1000, checkpoint_uri=uri, checkpoint_sha256=sha256)
        repository.finish_training(claim.id, "w", result)
        uris.append(uri)
    return uris


def kept(store: CheckpointStore) -> list[str]:
    return [file.key for file in store.files()]


def test_deleting_takes_what_is_the_studys_own(repository: Repository, store: CheckpointStore, tmp_path: Path) -> None:
    first, _, ids = fill(repository, 3, study="first")
    fill(repository, 2, study="second")
    uris = finish_with_files(repository, first, store, tmp_path)
    seen = preview_deletion(repository, "first")
    assert (seen.trainings, seen.shared, seen.finished, seen.running) == (1, 2, 1, 0)
    assert delete_study(repository, "first", store=store) == seen
    assert [study.name for study in repository.studies()] == ["second"]
    assert repository.training(ids[2]) is None
    assert repository.results("second")["map"].notna().all()
    assert [store.exists(uri) for uri in uris] == [True, True, False]
    assert check_database(repository, store=store) == []


def test_deleting_may_leave_the_facts(repository: Repository) -> None:
    _, _, ids = fill(repository, 2)
    repository.finish_training(ids[0], "w", outcome())
    delete_study(repository, "made_up", keep_trainings=True)
    _, (stage,), again = fill(repository, 2)
    assert again[0] == ids[0]
    assert repository.stage_trainings(stage) == {"waiting": 1, "running": 0, "finished": 1, "failed": 0}


def test_a_study_at_work_is_not_deleted(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 2)
    repository.claim_training(study_id, "w")
    with pytest.raises(StudyError, match="1 trainings of 'made_up' are running"):
        delete_study(repository, "made_up")
    delete_study(repository, "made_up", force=True)
    assert repository.studies() == []


def test_renaming(repository: Repository) -> None:
    fill(repository, 1, study="first")
    fill(repository, 1, study="second")
    rename_study(repository, "first", "third")
    assert [study.name for study in repository.studies()] == ["third", "second"]
    assert repository.study("third").definition["name"] == "third"
    for wrong in ("second", "", "a/b"):
        with pytest.raises(StudyError):
            rename_study(repository, "third", wrong)
    with pytest.raises(StudyError, match="did you mean 'third'"):
        rename_study(repository, "thirt", "x")


def test_failed_trainings_can_be_tried_again(repository: Repository) -> None:
    study_id, (stage,), ids = fill(repository, 3)
    for kind in ("diverged", "out_of_memory"):
        claim = repository.claim_training(study_id, "w")
        assert claim is not None
        repository.fail_training(claim.id, "w", kind, "no")
    finish_all(repository, study_id)
    repository.set_stage(stage, status="finished")
    assert retry_failed(repository, "made_up", ["out_of_memory"]) == 1
    assert repository.stage(stage).status == "running"
    assert finish_all(repository, study_id) == [ids[1]]
    assert repository.status("made_up")["failures"] == {"diverged": 1}


def test_the_policies(repository: Repository, store: CheckpointStore, tmp_path: Path) -> None:
    study_id, (stage,), ids = fill(repository, 4)
    finish_with_files(repository, study_id, store, tmp_path)
    repository.request_trainings(stage, [request(0, fidelity_label="e40", batch=1, resume_from=ids[0])])
    left = Path(store.root) / "killed.pt.partial-0123"
    left.write_bytes(b"half")
    os.utime(left, (1.0, 1.0))
    assert collect_checkpoints(repository, store, "made_up", "last").kept == 4
    assert not left.exists()
    collected = collect_checkpoints(repository, store, "made_up", "best", keep=[ids[1]])
    assert (collected.kept, len(collected.removed)) == (3, 1)
    assert kept(store) == [f"{i}.pt" for i in (ids[0], ids[1], ids[3])]
    # The next rung still needs the first one; then nobody does.
    assert collect_checkpoints(repository, store, "made_up", "none").kept == 1
    assert kept(store) == [f"{ids[0]}.pt"]
    finish_all(repository, study_id)
    collect_checkpoints(repository, store, "made_up", "none")
    assert kept(store) == []
    assert check_database(repository, store=store) == []
    with pytest.raises(StudyError, match="last"):
        collect_checkpoints(repository, store, "made_up", "lst")


def test_another_studys_checkpoints_stay(repository: Repository, store: CheckpointStore, tmp_path: Path) -> None:
    first, _, ids = fill(repository, 2, study="first")
    finish_with_files(repository, first, store, tmp_path)
    fill(repository, 1, study="second")
    collect_checkpoints(repository, store, "first", "none")
    assert kept(store) == [f"{ids[0]}.pt"]


def test_a_healthy_database_has_no_problems(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 3)
    repository.claim_training(study_id, "w")
    assert check_database(repository) == []


def damage(repository: Repository, *statements: str) -> None:
    with repository.database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


DAMAGES = {
    "running_for_nobody": "UPDATE nas_training SET status = 'running', lease_until = NULL WHERE id = 1",
    "finished_without_result": "UPDATE nas_training SET status = 'finished' WHERE id = 1",
    "ended_but_open": "UPDATE nas_training SET status = 'failed' WHERE id = 1",
    "unfinished_but_closed": "UPDATE nas_stage_training SET is_open = (1 = 0) WHERE training_id = 1",
    "unasked_training": "DELETE FROM nas_stage_training WHERE training_id = 1",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found_named_and_repaired(repository: Repository, kind: str) -> None:
    fill(repository, 2)
    damage(repository, DAMAGES[kind])
    problems = check_database(repository)
    found = next(problem for problem in problems if problem.kind == kind)
    assert found.count == 1
    assert found.repairable
    assert found.sentence.startswith("1 training ")
    for _ in range(3):  # one repair may lay another problem open
        repair_database(repository, check_database(repository))
    assert check_database(repository) == []


def test_a_stage_that_ended_too_early_is_left_to_a_person(repository: Repository) -> None:
    _, (stage,), _ = fill(repository, 1)
    repository.set_stage(stage, status="finished")
    (problem,) = check_database(repository)
    assert (problem.kind, problem.repairable) == ("finished_stage_with_open_trainings", False)


def test_silent_owners_and_workers_are_found(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 1)
    repository.register_worker("w", study_id, host="here", pid=1)
    repository.claim_training(study_id, "w")
    clock_moves(repository, 3600.0)
    problems = check_database(repository)
    assert {problem.kind for problem in problems} == {"expired_lease", "silent_worker"}
    assert all(problem.harmless for problem in problems)
    assert repair_database(repository, problems) == 2
    assert check_database(repository) == []
    assert repository.status("made_up")["trainings"]["waiting"] == 1
    assert repository.workers(study_id)[0]["state"] == "stopped"


def test_lost_and_damaged_checkpoints_are_found(repository: Repository, store: CheckpointStore, tmp_path: Path) -> None:
    study_id, _, _ = fill(repository, 3)
    first, second, _ = finish_with_files(repository, study_id, store, tmp_path)
    Path(first).unlink()
    Path(second).write_text("rubbish")
    assert [p.kind for p in check_database(repository, store=store)] == ["missing_checkpoint"]
    problems = check_database(repository, store=store, deep=True)
    assert [p.kind for p in problems] == ["missing_checkpoint", "damaged_checkpoint"]
    repair_database(repository, problems)
    assert check_database(repository, store=store, deep=True) == []
    assert repository.results("made_up")["map"].notna().all()


def test_a_training_that_kills_its_workers_ends(repository: Repository) -> None:
    study_id, (stage,), (training_id,) = fill(repository, 1)
    for attempt in range(4):
        claim = repository.claim_training(study_id, f"w{attempt}", max_silences=2)
        clock_moves(repository, 61.0)
        assert (claim is None) == (attempt == 3)
    assert not repository.has_open_trainings(stage)
    stored = repository.training(training_id)
    assert stored is not None
    assert (stored["status"], stored["failure_kind"]) == ("failed", "killed")
    assert "silent 3 times" in stored["failure_reason"]


def test_a_checkpoint_proves_that_a_training_gets_on(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)
    for attempt in range(6):
        assert repository.claim_training(study_id, f"w{attempt}", max_silences=2) is not None
        repository.record_checkpoint(training_id, f"w{attempt}", "x.pt", "0" * 64)
        clock_moves(repository, 61.0)


def test_a_new_epoch_proves_it_too_an_old_one_does_not(repository: Repository) -> None:
    study_id, _, (training_id,) = fill(repository, 1)

    def silent_after(epoch: int) -> int:
        assert repository.claim_training(study_id, "w", max_silences=50) is not None
        repository.record_epochs(training_id, [{"epoch": epoch, "lr": 0.1, "losses": {}}])
        clock_moves(repository, 61.0)
        return int((repository.training(training_id) or {})["silences"])

    assert [silent_after(epoch) for epoch in (1, 1, 2, 2, 1, 3)] == [0, 1, 0, 1, 2, 0]


def test_a_dead_workers_training_is_taken_back_a_set_number_of_times(repository: Repository) -> None:
    study_id, (stage,), (training_id,) = fill(repository, 1)
    for death in range(3):
        claim = repository.claim_training(study_id, f"w{death}", 600)
        assert claim is not None
        assert repository.take_back(training_id, "another", "not its worker") is None
        taken = repository.take_back(training_id, f"w{death}", "its worker ended with exit code -9", max_silences=2)
        assert taken == ("failed" if death == 2 else "waiting")
        assert repository.take_back(training_id, f"w{death}", "told again", max_silences=2) is None
    assert not repository.has_open_trainings(stage)
    stored = repository.training(training_id) or {}
    assert (stored["status"], stored["failure_kind"]) == ("failed", "killed")
    assert stored["failure_reason"].startswith("its worker ended with exit code -9; its worker fell silent 3 times")


def test_workers_show_signs_of_life(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 1)
    for name in ("a", "b"):
        repository.register_worker(name, study_id, host="here", pid=1, device="cuda:0")
        repository.worker_says(name, "timing")
    repository.worker_stopped("a")
    damage(repository, "UPDATE nas_worker SET heartbeat_at = heartbeat_at - 300 WHERE id = 'b'")
    assert {w["id"]: w["state"] for w in repository.workers(study_id)} == {"a": "stopped", "b": "silent"}
    claim = repository.claim_training(study_id, "b")
    assert claim is not None
    repository.heartbeat(claim.id, "b")
    (worker,) = [w for w in repository.workers(study_id) if w["id"] == "b"]
    assert (worker["state"], worker["details"]) == ("working", {"doing": "timing"})
    repository.worker_alive("b")


def test_jobs_for_a_far_device(repository: Repository) -> None:
    job = {
        "device": "jetson", "architecture_id": "a", "notation": "resnet50", "protocol_id": "p",
        "protocol": {"batch": 1}, "network": b"onnx\0", "sha256": "0" * 64,
    }  # fmt: skip
    (first,) = repository.request_latency_jobs([job])
    both = repository.request_latency_jobs([{**job, "architecture_id": "b"}, job])
    assert both[1] == first
    assert repository.latency_job_network(first) == b"onnx\0"
    waiting = repository.latency_jobs(device="jetson", status="waiting")
    assert [(j["id"], j["protocol"]) for j in waiting] == [(first, {"batch": 1}), (both[0], {"batch": 1})]
    repository.finish_latency_job(first, {"median_ms": 3.0})
    repository.finish_latency_job(both[0], None, "engine does not build")
    (done,) = repository.latency_jobs(status="finished")
    assert (done["result"], done["collected"]) == ({"median_ms": 3.0}, True)
    assert repository.latency_job_network(first) is None
    repository.retry_latency_jobs([both[0]])
    assert [j["id"] for j in repository.latency_jobs(status="waiting")] == [both[0]]


def test_the_store_of_another_study_is_no_problem(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        CheckpointStore(tmp_path).delete("elsewhere/x.pt")
