"""Rungs over several workers: the same promotions, each resumed from its own training one rung below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_builders import open_study, small_space, study_file, true_ms, work, write_table

from nas.errors import StudyError
from nas.results.answer import answer_of
from nas.results.columns import left_behind
from nas.results.levels import levels, quoted_level
from nas.search.checkpoints import CheckpointFiles
from nas.search.checks import check_study
from nas.search.definition import load_study
from nas.search.history import observations, promoted
from nas.search.stages import HANDLERS
from nas.search.stages.rungs import promotions
from nas.search.starts import identity_forms
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


CONFIRM_STAGES = [
    {"sweep": {"design": "stratified", "candidates": 24}},
    {"confirm": {"seeds": 2, "rungs": [10, 40, 120], "keep": 0.4, "max_candidates": 6}},
]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_confirmation_ends_what_is_behind_and_confirms_the_rest(tmp_path: Path, workers: int) -> None:
    """Workers give up after two trainings each: what they leave is gone on with, and promoted the same."""
    named = ["resnet50+hac@1", "resnet50+hac@2,4", "resnet50+hac@10", "resnet50+cnl@1", "resnet50+hac@5,7"]
    stages = [CONFIRM_STAGES[0], {"confirm": {**CONFIRM_STAGES[1]["confirm"], "candidates": named}}]
    definition, repository, first = open_study(study_file(tmp_path, stages))
    others = [type(first)(definition, repository, first.study_id, owner=f"other{i}") for i in range(workers - 1)]
    run_in_turns([first, *others], tmp_path)
    results = repository.results("replayed").query("stage == 'confirm'")
    own = results[results["role"] == "candidate"]
    low, mid, high = (own[own["fidelity"] == label] for label in ("full-to10", "full-to40", "full"))
    begun = low["notation"].nunique()
    assert begun == len(named) + 1  # what is on the front of the sweep
    for below, above in ((low, mid), (mid, high)):
        share = -(-4 * below["notation"].nunique() // 10)
        wanted = promoted(observations(below, true_ms), share)
        assert set(above["notation"]) == {o.candidate.notation for o in wanted}
        assert above.groupby("notation")["seed"].agg(set).map({0, 1}.__eq__).all()
        ids = below.set_index(["notation", "seed"])["training_id"]
        for row in above.itertuples():
            training = repository.training(int(row.training_id))
            assert training is not None
            # What the sweep trained whole, on the table, is not trained again.
            assert training["resume_from_id"] in (ids[row.notation, row.seed], None)
    plain = results[results["role"] != "candidate"]
    assert set(plain["fidelity"]) == {"full"}, "what candidates are held against is trained to the end, at once"
    assert set(results["status"]) == {"finished"}
    behind = begun - high["notation"].nunique()
    assert left_behind(results)["notation"].nunique() == behind
    last = results["stage"].eq("confirm") & results["role"].eq("candidate") & results["fidelity"].eq("full")
    assert last.any()
    assert left_behind(results[~last]).empty, "before the last rung others may still go on"
    level = quoted_level(levels(results))
    assert level is not None
    assert set(level.rows(results)["notation"]) == {*high["notation"], *plain["notation"]}
    found = answer_of(results)
    assert (found.confirmed, found.ended, found.failed) == (True, behind, 0)
    assert f"{behind} more ended at a rung" in found.sentence


def test_promotions_that_are_decided_one_after_another_are_all_made(tmp_path: Path) -> None:
    """A worker that finds nothing else promotes while another one trains: all later promotions used to be lost."""
    stage = {"design": "stratified", "candidates": 12, "rungs": [2, 8], "keep": 0.25, "baselines": False}
    _, repository, context = open_study(study_file(tmp_path, [{"sweep": stage}]))
    worker = Worker(context, CheckpointFiles(CheckpointStore(tmp_path / "c"), tmp_path / "w"))
    worker.advance()
    begun = [c for _ in range(12) if (c := repository.claim_training(context.study_id, "test", 600.0)) is not None]
    for claim in [*begun[:8], *begun[9:]]:
        worker._train(claim)
    worker.advance()
    order = [claim.notation for claim in begun]
    rows = repository.results("replayed")
    score = rows[rows["epochs"] == 2].set_index("notation")["map"].to_dict()
    early = promotions(order, score, set(order[:8]), 0.25, last=False)
    assert early, "nobody waits for the rung to fill"
    assert set(rows.loc[rows["epochs"] == 8, "notation"]) == set(early)
    worker._train(begun[8])
    work(context)
    rows = repository.results("replayed")
    low, high = (rows[rows["epochs"] == epochs] for epochs in (2, 8))
    score = low.set_index("notation")["map"].to_dict()
    assert set(high["notation"]) == set(promotions(order, score, set(order), 0.25, last=True)) > set(early)


def test_what_grows_is_promoted_too(tmp_path: Path) -> None:
    """Candidates that came after a search's last rung was reached were never taken on."""
    stage = {"sampler": "random", "trainings": 4, "rungs": [10, 40], "keep": 0.5}
    path = study_file(tmp_path, [{"search": stage}])
    _, repository, context = open_study(path)
    work(context)
    assert repository.results("replayed")["epochs"].value_counts().to_dict() == {10: 4, 40: 2}
    study_file(tmp_path, [{"search": {**stage, "trainings": 8}}])
    _, repository, context = open_study(path)
    work(context)
    results = repository.results("replayed")
    here = results[results["epochs"] == 10]
    assert len(here) == 8
    wanted = {o.candidate.notation for o in promoted(observations(here, true_ms), 4)}
    assert wanted <= set(results.loc[results["epochs"] == 40, "notation"])


@pytest.mark.parametrize(("rungs", "where"), [([2, 3], "before the end of"), ([2, 9], "beyond")])
def test_a_confirmation_ends_with_the_whole_training(tmp_path: Path, rungs: list[int], where: str) -> None:
    stage = {"confirm": {"rungs": rungs, "fidelity": {"epochs": 4}}}
    study = load_study(study_file(tmp_path, [stage], objective=None))
    with pytest.raises(StudyError, match=rf"the last of its rungs \[2, \d\] is {where} its 4 epochs"):
        check_study(study)


def test_rungs_of_a_warm_start_keep_starts_seeds_and_controls(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 8, "seeds": 2, "rungs": [2, 4], "keep": 0.25}},
        {"confirm": {"seeds": 2, "rungs": [2, 4], "candidates": ["resnet50+cnl(start=identity)@2"]}},
    ]
    write_table(tmp_path / "table.csv", identity_forms(small_space()), seeds=6)
    _, repository, context = open_study(study_file(tmp_path, stages, start="plain"))
    work(context)
    results = repository.results("replayed")
    assert set(results["status"]) == {"finished"}
    assert results["start"].str.startswith("plain:").all()
    swept, confirmed = (results[results["stage"] == stage] for stage in ("sweep", "confirm"))
    assert set(swept["seed"]).isdisjoint(confirmed["seed"]), "what was chosen is confirmed by others"
    for rows, last in ((swept, "e4-to4"), (confirmed, "e4")):
        low, high = (rows[rows["fidelity"] == label] for label in ("e4-to2", last))
        own = high[high["role"] == "candidate"]
        assert 0 < own["notation"].nunique() < low.loc[low["role"] == "candidate", "notation"].nunique()
        assert own.groupby("notation")["seed"].agg(set).eq({*rows["seed"]}).all()
        assert set(high.loc[high["role"] == "control", "seed"]) == {*rows["seed"]}
        assert own.merge(low, on=["notation", "seed", "start"])["notation"].size == len(own)


def test_a_preview_counts_controls_that_are_trained_to_the_end_once(tmp_path: Path) -> None:
    """They were counted once a rung: nine trainings a seed, and four controls."""
    search = {"sampler": "random", "trainings": 6, "seeds": 2, "rungs": [2, 4], "keep": 0.5}
    write_table(tmp_path / "table.csv", identity_forms(small_space()), seeds=2)
    _, _, context = open_study(study_file(tmp_path, [{"search": search}], start="plain"))
    told = HANDLERS["search"].preview(context, context.space, context.definition.stages[-1].settings)
    assert (told.trainings, told.epochs) == (2 * (6 + 3 + 2), round((6 * 2 + 3 * 2 + 2 * 4) / 11))
