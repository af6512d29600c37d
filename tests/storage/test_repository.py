"""Studies, stages, spaces, requests, latencies, findings: stored once, found again, alike on both engines."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest
from sqlalchemy import select
from storage_builders import candidate_row, fill, finish_all, outcome, request

from nas.errors import StorageError, StudyError
from nas.results.columns import RESULT_COLUMNS
from nas.results.cost_tables import COST_COLUMNS
from nas.storage import Repository, open_database, tables, trainings
from nas.storage.models import Environment


def test_results_have_the_agreed_columns(repository: Repository) -> None:
    """What storage writes is what `nas.results.columns` lists: nothing more, and nothing left empty for want of it."""
    read = [column.name for column in tables.results_query("", tables.sizes(None)).selected_columns]
    assert {*read, *COST_COLUMNS} == set(RESULT_COLUMNS)
    fill(repository, 0)
    empty = repository.results("made_up")
    assert list(empty.columns) == list(RESULT_COLUMNS)
    assert empty.empty


def test_results_tell_what_is_known_and_nothing_else(repository: Repository) -> None:
    study_id, _, ids = fill(repository, 3)
    repository.set_complexity("a000000000000001", 25_000_000, 4_000_000_000)
    repository.set_study_latency(study_id, "p1", "gpu")
    times = {"architecture_id": "a000000000000001", "notation": "x", "protocol_id": "p1", "device": "gpu"}
    repository.store_latency({"median_ms": 9.0, "p5_ms": 8.5, "p95_ms": math.nan}, **times)
    repository.store_latency({"median_ms": 1.0}, **{**times, "device": "cpu"})
    repository.store_latency({"median_ms": 7.0}, **times, measured=False)
    claim = repository.claim_training(study_id, "w")
    table = repository.results("made_up").set_index("training_id")
    assert claim is not None
    assert table.loc[claim.id, "status"] == "running"
    assert table["map"].isna().all()
    assert table.loc[ids[1], "latency_ms"] == 9.0
    assert bool(table.loc[ids[1], "latency_measured"]) is True
    assert math.isnan(table.loc[ids[1], "latency_p95_ms"])
    assert math.isnan(table.loc[ids[0], "latency_ms"])
    assert table.loc[ids[0], "latency_measured"] is None
    assert table.loc[ids[1], "macs"] == 4e9
    assert table["finished_at"].isna().all()
    repository.set_study_latency(study_id, "p1", "cpu")
    assert repository.results("made_up").set_index("training_id").loc[ids[1], "latency_ms"] == 1.0


def test_studies_that_deploy_a_network_otherwise_have_sizes_of_their_own(repository: Repository) -> None:
    """The one that trained it last overwrote the other's: 25 million parameters with one head, 26 with another."""
    sizes = {"usual": 25_000_000, "wider": 26_000_000}
    for name, params in sizes.items():
        study_id, _, _ = fill(repository, 1, study=name)
        repository.set_study_latency(study_id, name, "gpu")
        told = {"activation_elements": params // 10}
        repository.set_complexity("a000000000000000", params, 4_000_000_000, told, protocol_id=name)
    fill(repository, 1, study="unsized")
    for name, params in {**sizes, "unsized": 26_000_000}.items():
        row = repository.results(name).iloc[0]
        assert row[["params", "macs", "activations"]].tolist() == [params, 4e9, params / 10]


def test_results_count_latencies_without_the_machines_drift(repository: Repository) -> None:
    study_id, _, ids = fill(repository, 1)
    repository.set_study_latency(study_id, "p", "gpu")
    where = {"architecture_id": "a000000000000000", "notation": "x", "protocol_id": "p", "device": "gpu"}
    build = {"median_ms": 5.4, "block_medians_ms": [5.39, 5.4, 5.41]}
    record = {"median_ms": 5.4, "p5_ms": 4.86, "p95_ms": 6.48, "drift": 0.08, "builds": [build]}
    repository.store_latency(record, **where)
    row = repository.results("made_up").set_index("training_id").loc[ids[0]]
    assert row[["latency_ms", "latency_p5_ms", "latency_p95_ms"]].tolist() == pytest.approx([5.0, 4.5, 6.0])
    assert row["batches_per_s"] == pytest.approx(200.0)
    assert row[["latency_low_ms", "latency_high_ms"]].tolist() == pytest.approx([4.977, 5.023], abs=1e-3)
    assert row["latency_how"] == "corrected"
    assert repository.latencies(protocol_id="p", device="gpu")["median_ms"].tolist() == [5.4]


def test_a_time_from_a_drifted_machine_is_not_known(repository: Repository) -> None:
    study_id, _, ids = fill(repository, 1)
    repository.set_study_latency(study_id, "p", "gpu")
    where = {"architecture_id": "a000000000000000", "notation": "x", "protocol_id": "p", "device": "gpu"}
    repository.store_latency({"median_ms": 47.7, "p5_ms": 40.0, "peak_memory_mb": 90.0, "drift": 3.77}, **where)
    row = repository.results("made_up").set_index("training_id").loc[ids[0]]
    assert row[["latency_ms", "latency_p5_ms", "batches_per_s"]].isna().all()
    assert row["latency_unknown"] == "the machine had drifted by +377%"
    assert row["peak_memory_mb"] == 90.0


def test_pairs_are_counted_in_the_references_time(repository: Repository) -> None:
    study_id, _, ids = fill(repository, 2)
    repository.set_study_latency(study_id, "p", "gpu")
    where = {"protocol_id": "p", "device": "gpu"}
    repository.store_latency({"median_ms": 30.0}, architecture_id="a000000000000000", notation="x", **where)
    pairs = {"reference": "x", "ratio": 1.2, "ratio_low": 1.19, "ratio_high": 1.21, "pairs": 60}
    repository.store_latency({"median_ms": 99.0} | pairs, architecture_id="a000000000000001", notation="y", **where)
    rows = repository.results("made_up").set_index("training_id").loc[list(ids)]
    assert rows["latency_ms"].tolist() == pytest.approx([30.0, 36.0])
    assert rows["latency_high_ms"].tolist() == pytest.approx([30.0, 36.3])
    assert rows["latency_how"].tolist() == ["paired", "paired"]


def test_a_predicted_latency_fills_in_until_it_is_measured(repository: Repository) -> None:
    study_id, _, _ = fill(repository, 1)
    repository.set_study_latency(study_id, "p", "gpu")
    where = {"architecture_id": "a000000000000000", "notation": "x", "protocol_id": "p", "device": "gpu"}
    repository.store_latency({"median_ms": 5.0}, **where, measured=False)
    row = repository.results("made_up").iloc[0]
    assert (row["latency_ms"], bool(row["latency_measured"])) == (5.0, False)
    assert repository.find_latency("a000000000000000", "p", "gpu") is None
    repository.store_latency({"median_ms": 6.0, "protocol": {"batch": 16}}, **where)
    repository.store_latency({"median_ms": 6.5, "protocol": {"batch": 16}}, **where)
    found = repository.find_latency("a000000000000000", "p", "gpu")
    assert found is not None
    assert found.median_ms == 6.5
    assert len(repository.latencies()) == 3
    assert repository.latencies(protocol_id="p", device="gpu")["median_ms"].tolist() == [5.0, 6.0, 6.5]
    assert repository.find_latencies(None, "p", "gpu").keys() == {"a000000000000000"}


def test_a_batch_is_planned_once(repository: Repository) -> None:
    _, (stage, *_), ids = fill(repository, 3)
    assert repository.request_trainings(stage, [request(number) for number in range(3)]) == ids
    other_plan = [request(number, seed=5) for number in range(3)]
    assert repository.request_trainings(stage, other_plan) == ids
    assert repository.stage_trainings(stage)["waiting"] == 3
    fresh = repository.request_trainings(stage, [request(n, seed=5, batch=1) for n in range(3)])
    assert not set(fresh) & set(ids)
    assert len(repository.request_trainings(stage, [request(0, role="baseline", seed=9)])) == 1


def test_two_planners_at_once_end_with_one_plan(repository: Repository) -> None:
    _, (stage,), _ = fill(repository, 0)
    repository.ensure_candidates([candidate_row(number) for number in range(20)])
    answers: list[list[int]] = []

    def plan(seed: int) -> None:
        answers.append(repository.request_trainings(stage, [request(n, seed=seed) for n in range(20)]))

    threads = [threading.Thread(target=plan, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)
    assert repository.stage_trainings(stage)["waiting"] == 20


def test_a_training_that_ends_while_it_is_linked_is_not_waited_for(
    repository: Repository, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, (training_id,) = fill(repository, 1, study="first")
    repository.claim_training(first, "w")
    second = repository.ensure_study("second", {}, 1, None)
    stage = repository.ensure_stage(second, 0, "sweep", "sweep", {})
    with open_database(url) as database:
        finish = threading.Thread(target=lambda: Repository(database).finish_training(training_id, "w", outcome()))
        stored = trainings._stored

        def read_then_dawdle(*arguments: Any) -> Any:
            found = stored(*arguments)
            finish.start()
            time.sleep(0.5)
            return found

        monkeypatch.setattr(trainings, "_stored", read_then_dawdle)
        assert repository.request_trainings(stage, [request(0)]) == [training_id]
        finish.join()
    assert repository.stage_trainings(stage)["finished"] == 1
    assert not repository.has_open_trainings(stage)


def test_what_was_not_stored_cannot_be_asked_for(repository: Repository) -> None:
    _, (stage,), _ = fill(repository, 1)
    with pytest.raises(StorageError, match="candidate c000000000000009"):
        repository.request_trainings(stage, [request(0, batch=1), request(9, batch=1)])
    with pytest.raises(StorageError, match="data set elsewhere"):
        repository.request_trainings(stage, [request(0, batch=1, dataset_id="elsewhere")])
    assert repository.stage_trainings(stage)["waiting"] == 1


def test_a_rung_names_the_training_it_continues(repository: Repository) -> None:
    study_id, (stage,), (low,) = fill(repository, 1)
    claim = repository.claim_training(study_id, "w")
    assert claim is not None
    repository.record_checkpoint(low, "w", "store/low.pt", "c" * 64)
    finish_all(repository, study_id)
    repository.release(low, "w")
    repository.request_trainings(stage, [request(0, fidelity_label="e40", batch=1, resume_from=low, init_from=low)])
    finish_all(repository, study_id, "w")
    high = repository.results("made_up").iloc[-1]
    assert (high["fidelity"], high["status"]) == ("e40", "finished")
    stored = repository.training(int(high["training_id"]))
    assert stored is not None
    assert (stored["resume_from_id"], stored["init_from_id"]) == (low, low)


def test_a_changed_definition_replaces_the_stored_one(repository: Repository) -> None:
    first = repository.ensure_study("s", {"seed": 1, "stages": []}, 1, None)
    assert repository.ensure_study("s", {"stages": [], "seed": 1}, 1, None) == first
    assert repository.ensure_study("s", {"seed": 2, "stages": []}, 2, None) == first
    assert repository.study("s").seed == 2


def test_an_unknown_study_names_the_known_ones(repository: Repository) -> None:
    repository.ensure_study("quickstart", {}, 1, None)
    with pytest.raises(StudyError, match="did you mean 'quickstart'"):
        repository.results("quickstat")
    with pytest.raises(StudyError):
        repository.status("quickstat")


def test_stages_keep_their_place_and_times(repository: Repository) -> None:
    study_id, (stage, later), _ = fill(repository, 0, stages=("sweep", "search"))
    assert repository.ensure_stage(study_id, 0, "0-sweep", "sweep", {"seeds": 2}) == stage
    with pytest.raises(StudyError, match="0-sweep"):
        repository.ensure_stage(study_id, 0, "0-search", "search", {})
    repository.set_stage(stage, status="running")
    begun = repository.stage(stage).started_at
    repository.set_stage(stage, status="finished", result={"best": math.nan})
    info = repository.stage(stage)
    assert (info.status, info.started_at, info.result, info.settings) == (
        "finished",
        begun,
        {"best": None},
        {"seeds": 2},
    )
    assert info.finished_at is not None
    assert [s.id for s in repository.stages(study_id)] == [stage, later]
    with pytest.raises(StorageError, match="finished"):
        repository.set_stage(later, status="finishd")


def test_one_planner_a_stage(repository: Repository) -> None:
    _, (stage,), _ = fill(repository, 0)
    with repository.stage_lock(stage, "a") as mine, repository.stage_lock(stage, "b") as theirs:
        assert mine
        assert not theirs
        assert repository.lease_stage(stage, "a", 0.01)
    assert repository.lease_stage(stage, "b", 0.0)
    assert repository.lease_stage(stage, "c", 60)


def test_spaces_know_their_line(repository: Repository) -> None:
    repository.ensure_space("s1", "all", 18**40, {"sites": "1-17"})
    repository.ensure_space("s2", "fewer", 12, {"sites": "4"}, parent_id="s1", rules=[{"kind": "sites"}])
    repository.ensure_space("s3", "another", 1, {"sites": "5"})
    repository.ensure_study("narrow", {}, 1, "s2")
    line = repository.spaces_of("narrow")
    assert [(space.id, space.size) for space in line] == [("s1", 18**40), ("s2", 12)]
    assert line[1].rules == [{"kind": "sites"}]
    assert repository.space("none") is None


def test_findings_of_a_stage_are_replaced(repository: Repository) -> None:
    study_id, (stage,), _ = fill(repository, 0)
    finding = {"rule": {"kind": "sites", "strength": "hard"}, "verdict": "adopted", "sentence": "C-NL: 6, 8", "p": 0.01}
    repository.store_findings(study_id, stage, [finding, {**finding, "verdict": "rejected"}])
    repository.store_findings(study_id, stage, [finding])
    (stored,) = repository.findings(study_id)
    assert stored == {**finding, "stage_id": stage, "stage": "0-sweep"}
    assert repository.findings(study_id, stage_id=stage + 1) == []


def test_status_counts_each_training_once(repository: Repository) -> None:
    study_id, (sweep, search), _ = fill(repository, 4, stages=("sweep", "search"))
    repository.request_trainings(search, [request(number) for number in range(3)])
    claim = repository.claim_training(study_id, "w")
    assert claim is not None
    status = repository.status("made_up")
    assert status["trainings"] == {"waiting": 3, "running": 1, "finished": 0, "failed": 0}
    assert [stage["trainings"]["waiting"] for stage in status["stages"]] == [3, 2]
    assert status["running"][0]["notation"] == "resnet50+cnl@0"
    repository.fail_training(claim.id, "w", "diverged", "loss is NaN")
    finish_all(repository, study_id)
    status = repository.status("made_up")
    assert status["failures"] == {"diverged": 1}
    assert status["stages"][0]["seconds"] == 180.0
    assert not status["finished"]
    for stage in (sweep, search):
        repository.set_stage(stage, status="finished")
    assert repository.status("made_up")["finished"]


def test_environments_are_kept_by_content(repository: Repository) -> None:
    first = repository.ensure_environment({"torch": "2.15", "commit": None})
    assert repository.ensure_environment({"commit": None, "torch": "2.15"}) == first
    assert repository.ensure_environment({"torch": "2.16", "commit": None}) != first
    stored = repository.rows(select(Environment.facts).where(Environment.id == first))
    assert [row.facts for row in stored] == [{"torch": "2.15", "commit": None}]


HOSTILE = "x'; DROP TABLE nas_study; --%s{0}:a\\\""


def test_values_are_bound_never_part_of_a_statement(repository: Repository) -> None:
    study_id, (stage,), _ = fill(repository, 2, study=HOSTILE, stages=(HOSTILE[:20],))
    repository.register_worker(HOSTILE, study_id, host=HOSTILE, pid=1)
    claim = repository.claim_training(study_id, HOSTILE)
    assert claim is not None
    assert (claim.study, claim.owner) == (HOSTILE, HOSTILE)
    assert repository.fail_training(claim.id, HOSTILE, "error", HOSTILE, HOSTILE) == "failed"
    repository.store_findings(study_id, stage, [{"rule": {"kind": HOSTILE}, "verdict": "adopted"}])
    assert repository.findings(study_id)[0]["rule"] == {"kind": HOSTILE}
    assert (repository.training(claim.id) or {})["failure_reason"] == HOSTILE
    assert len(repository.results(HOSTILE)) == 2
    assert [worker["id"] for worker in repository.workers(study_id)] == [HOSTILE]
