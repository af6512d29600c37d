"""Whole studies on tables: stages, sharing, determinism, resumption - in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_builders import open_study, small_space, study_file, work, write_table

from nas.errors import StudyError
from nas.search.definition import load_study
from nas.search.runner import register
from nas.search.stages.sweep import Sweep
from nas.search.worker import Worker

STAGES = [
    {"profile": {}},
    {"sweep": {"design": "stratified", "candidates": 20, "seeds": 2}},
    {"search": {"sampler": "nsga2", "trainings": 12, "batch": 4}},
    {"confirm": {"max_candidates": 3, "seeds": 3}},
]


def candidates(repository: object, name: str = "replayed") -> list[tuple[str, str, int]]:
    results = repository.results(name)  # type: ignore[attr-defined]
    return sorted(zip(results["stage"], results["notation"], results["seed"], strict=True))


def test_a_study_runs_through_its_stages(tmp_path: Path) -> None:
    _, repository, context = open_study(study_file(tmp_path, STAGES))
    done = work(context)
    status = repository.status("replayed")
    assert status["finished"]
    assert done == status["trainings"]["finished"]
    results = repository.results("replayed")
    sweep = results[results["stage"] == "sweep"]
    assert set(sweep["role"]) == {"candidate", "baseline", "reference"}
    assert sweep.groupby("candidate_id")["seed"].nunique().eq(2).all()
    assert set(results["split"]) == {"table"}  # nothing is held out of a table
    assert results[results["stage"] == "search"]["candidate_id"].nunique() == 12


@pytest.mark.slow
def test_the_same_file_gives_the_same_candidates_and_numbers(tmp_path: Path) -> None:
    seen = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        _, repository, context = open_study(study_file(folder, STAGES))
        work(context)
        results = repository.results("replayed")
        seen.append(sorted(zip(results["stage"], results["notation"], results["seed"], results["map"], strict=True)))
    assert seen[0] == seen[1]


@pytest.mark.slow
def test_two_workers_in_turns_find_the_same_candidates(tmp_path: Path) -> None:
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    _, alone, context = open_study(study_file(tmp_path / "alone", STAGES))
    work(context)
    definition, together, first = open_study(study_file(tmp_path / "together", STAGES))
    second = type(first)(definition, together, first.study_id, owner="other")
    _in_turns(first, second)
    assert candidates(alone) == candidates(together)


def _in_turns(*contexts: object) -> None:
    """Workers that each give up after a few trainings, so that every one plans and trains in turn."""
    from nas.search.checkpoints import CheckpointFiles
    from nas.storage.checkpoint_store import CheckpointStore

    for turn in range(200):
        context = contexts[turn % len(contexts)]
        repository = context.repository  # type: ignore[attr-defined]
        if repository.status("replayed")["finished"]:
            return
        folder = Path(context.definition.source).parent  # type: ignore[attr-defined]
        worker = Worker(context, CheckpointFiles(CheckpointStore(folder / "c"), folder / "w"))  # type: ignore[arg-type]
        finish, count = repository.finish_training, [0]

        def finishing(*arguments: object, finish=finish, count=count, worker=worker, last=3 + turn % 3) -> bool:  # type: ignore[no-untyped-def]
            count[0] += 1
            if count[0] == last:
                worker.stop()
            return bool(finish(*arguments))

        repository.finish_training = finishing
        worker.run()
        del repository.finish_training
    raise AssertionError("the study did not end")


@pytest.mark.slow
def test_running_again_changes_nothing(tmp_path: Path) -> None:
    path = study_file(tmp_path, STAGES)
    _, repository, context = open_study(path)
    work(context)
    before = repository.results("replayed")
    _, repository, context = open_study(path)
    assert work(context) == 0
    assert repository.results("replayed").equals(before)


@pytest.mark.slow
def test_a_training_is_shared_between_studies(tmp_path: Path) -> None:
    path = study_file(tmp_path, STAGES)
    _, _, context = open_study(path)
    first = work(context)
    other = study_file(tmp_path, STAGES, name="second")
    _, repository, context = open_study(other)
    assert work(context) == 0
    assert repository.status("second")["trainings"]["finished"] == first


def test_the_same_name_with_another_file_is_refused(tmp_path: Path) -> None:
    definition, repository, _ = open_study(study_file(tmp_path, STAGES))
    changed = load_study(study_file(tmp_path, STAGES, seed=9))
    with pytest.raises(StudyError, match="seed"):
        register(changed, repository)
    assert register(definition, repository) == repository.study("replayed").id


def test_rungs_promote_the_better_part(tmp_path: Path) -> None:
    stages = [{"search": {"sampler": "random", "trainings": 9, "rungs": [10, 40, 120], "keep": 0.34}}]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    results = repository.results("replayed")
    by_rung = results.groupby("epochs")["notation"].agg(set).to_dict()
    assert {int(k): len(v) for k, v in by_rung.items()} == {10: 9, 40: 4, 120: 2}
    assert by_rung[120] <= by_rung[40] <= by_rung[10]


@pytest.mark.slow
def test_shrinking_proposes_confirms_and_hands_on_the_child(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "exhaustive", "blocks": 1, "seeds": 3}},
        {"shrink": {"families": ["sites", "block_preference"], "confirm": 30}},
        {"search": {"sampler": "random", "trainings": 4}},
    ]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    shrink = repository.stages(context.study_id)[1]
    assert shrink.result is not None
    assert shrink.result["space_id"] in (shrink.result.get("child_id"), shrink.space_id)
    findings = repository.findings(context.study_id, stage_id=shrink.id)
    assert findings
    assert all(f["verdict"] in ("adopted", "rejected", "not enough data") for f in findings)
    assert all(f["sentence"] for f in findings)
    after = repository.stages(context.study_id)[2]
    assert after.space_id == shrink.result["space_id"]


@pytest.mark.slow
def test_auto_shrink_ends_and_says_why(tmp_path: Path) -> None:
    stages = [{"shrink": {"auto": {"trainings": 150, "candidates": 34, "confirm": 8, "rounds": 3}}}]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    result = repository.stages(context.study_id)[0].result
    assert result is not None
    assert result["done"]
    assert result["why"]
    assert repository.space(result["space_id"]) is not None


def test_a_candidate_that_always_fails_stays_in_the_count(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", small_space(), leave_out=20)
    stages = [{"sweep": {"design": "exhaustive", "blocks": 1}}]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    status = repository.status("replayed")
    assert status["finished"]
    assert status["trainings"]["failed"] == 20
    assert status["failures"] == {"error": 20}
    row = repository.training(int(repository.results("replayed").query("status == 'failed'")["training_id"].iloc[0]))
    assert row is not None
    assert "not in the table" in row["failure_reason"]
    assert row["attempts"] == 3


def test_a_reference_that_the_table_does_not_have_is_not_asked_for(tmp_path: Path) -> None:
    """It failed in each study on a person's own table, and no second try could help."""
    file = study_file(tmp_path, [{"sweep": {"candidates": 2}}])
    table = tmp_path / "table.csv"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(row for row in rows if "resnet101" not in row))
    _, repository, context = open_study(file)
    work(context)
    assert repository.results("replayed")["role"].tolist().count("reference") == 0
    assert repository.status("replayed")["trainings"]["failed"] == 0


def test_a_stage_that_neither_ends_nor_asks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker used to wait for ever."""
    monkeypatch.setattr(Sweep, "advance", lambda *_: False)
    _, _, context = open_study(study_file(tmp_path, [{"sweep": {"candidates": 2}}]))
    with pytest.raises(StudyError, match="stage 'sweep' neither ends nor asks for a training"):
        work(context)
