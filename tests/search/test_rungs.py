"""Rungs over several workers: the same promotions, each resumed from its own training one rung below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_builders import open_study, study_file, true_ms

from nas.errors import StudyError
from nas.search.checkpoints import CheckpointFiles
from nas.search.checks import check_study
from nas.search.definition import load_study
from nas.search.history import observations, promoted
from nas.search.stages.rungs import promotions
from nas.search.worker import Worker
from nas.spaces import Candidate
from nas.storage.checkpoint_store import CheckpointStore

RUNGS = [10, 40, 120]
STAGES = [{"search": {"sampler": "nsga2", "trainings": 12, "batch": 4, "seeds": 2, "rungs": RUNGS, "keep": 0.34}}]


def run_in_turns(contexts: list[Any], folder: Path) -> None:
    """Each worker gives up after two trainings, and the next one goes on."""
    for turn in range(200):
        context = contexts[turn % len(contexts)]
        if context.repository.status("replayed")["finished"]:
            return
        worker = Worker(context, CheckpointFiles(CheckpointStore(folder / "c"), folder / f"w{turn % len(contexts)}"))
        finish, done = context.repository.finish_training, []

        def finishing(*told: Any, finish: Any = finish, done: list[int] = done, worker: Worker = worker) -> Any:
            done.append(1)
            if len(done) == 2:
                worker.stop()
            return finish(*told)

        context.repository.finish_training = finishing
        worker.run()
        del context.repository.finish_training
    raise AssertionError("the study did not end")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_promotions_are_those_of_ranks_and_resume_where_they_were(tmp_path: Path, workers: int) -> None:
    definition, repository, first = open_study(study_file(tmp_path, STAGES))
    others = [type(first)(definition, repository, first.study_id, owner=f"other{i}") for i in range(workers - 1)]
    run_in_turns([first, *others], tmp_path)
    results = repository.results("replayed")
    assert set(results["status"]) == {"finished"}
    ids = {(r.epochs, r.candidate_id, r.seed): r.training_id for r in results.itertuples()}
    for below, above in ((10, 40), (40, 120)):
        here = results[results["epochs"] == below]
        wanted = promoted(observations(here, true_ms), -(-34 * here["candidate_id"].nunique() // 100))
        there = results[results["epochs"] == above]
        assert set(there["notation"]) == {o.candidate.notation for o in wanted}
        assert set(there["seed"]) == set(here["seed"])
        for row in there.itertuples():
            training = repository.training(int(row.training_id))
            assert training is not None
            assert training["resume_from_id"] == ids[below, row.candidate_id, row.seed]
    assert Candidate.parse(results["notation"].iloc[0]).backbone == "resnet50"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_a_sweep_promotes_the_best_so_far_and_rules_are_read_where_all_were(tmp_path: Path, workers: int) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 40, "rungs": [2, 8], "keep": 0.25}},
        {"shrink": {"families": ["block_preference"], "confirm": 6}},
    ]
    definition, repository, first = open_study(study_file(tmp_path, stages))
    others = [type(first)(definition, repository, first.study_id, owner=f"other{i}") for i in range(workers - 1)]
    run_in_turns([first, *others], tmp_path)
    results = repository.results("replayed")
    swept = results[results["stage"] == "sweep"]
    low, high = (swept[(swept["epochs"] == e) & (swept["role"] == "candidate")] for e in (2, 8))
    assert len(low) == 40
    score = low.set_index("notation")["map"].to_dict()
    wanted = promotions(list(low["notation"]), score, set(score), 0.25, last=True)
    assert set(high["notation"]) == set(wanted)
    assert 10 <= len(wanted) < 20
    assert set(low.nlargest(10, "map")["notation"]) <= set(wanted), "the best of all are always among them"
    plain = swept[swept["role"] != "candidate"]
    assert plain.groupby("notation")["epochs"].agg(set).map({2.0, 8.0}.__eq__).all(), "the plain networks go on"
    ids = low.set_index("notation")["training_id"]
    for row in high.itertuples():
        training = repository.training(int(row.training_id))
        assert training is not None
        assert training["resume_from_id"] == ids[row.notation]
    used = {i for f in repository.findings(first.study_id) for i in f["evidence"]["training_ids"]}
    assert used
    assert used <= set(swept.loc[swept["epochs"] == 2, "training_id"]), "those above the first rung were selected"
    fresh = results[results["role"] == "fresh"]
    assert set(fresh["epochs"]) <= {2}


def test_rungs_beyond_the_end_are_refused(tmp_path: Path) -> None:
    stage = {"sweep": {"candidates": 4, "rungs": [2, 9], "fidelity": {"epochs": 4}}}
    study = load_study(study_file(tmp_path, [stage], objective=None))
    with pytest.raises(StudyError, match=r"last of its rungs \[2, 9\] is beyond its 4 epochs"):
        check_study(study)
