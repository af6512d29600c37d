"""A study grows under its name: what may be raised, what is another study, and what happens to what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_builders import open_study, study_file, work

from nas.errors import StudyError
from nas.reporting.loading import load_study_data
from nas.reporting.markdown import render_markdown
from nas.reporting.story import tell
from nas.storage import open_database

STAGES: list[dict[str, Any]] = [
    {"sweep": {"design": "stratified", "candidates": 12, "seeds": 1}},
    {"shrink": {"families": ["sites"], "confirm": 6}},
    {"search": {"sampler": "random", "trainings": 4, "batch": 2}},
    {"confirm": {"max_candidates": 2, "seeds": 1}},
]


def raised(stage: int, **changes: Any) -> list[dict[str, Any]]:
    (kind, settings) = next(iter(STAGES[stage].items()))
    return [{kind: {**settings, **changes}} if i == stage else item for i, item in enumerate(STAGES)]


def run(folder: Path, stages: list[Any], **changes: Any) -> tuple[Any, Any]:
    _, repository, context = open_study(study_file(folder, stages, **changes))
    work(context)
    assert repository.status("replayed")["finished"]
    return repository, repository.results("replayed")


def told(path: Path) -> str:
    database = open_database(f"sqlite:///{path.parent / 'study.db'}", read_only=True)
    return render_markdown(tell(load_study_data(database, "replayed")), {})


@pytest.mark.parametrize(
    ("stages", "stage", "more"),
    [
        (raised(0, candidates=20), "sweep", 8),
        (raised(0, seeds=2), "sweep", 12 + 2),
        (raised(2, trainings=7), "search", 3),
        (raised(3, seeds=3), "confirm", None),
        ([*STAGES, {"sweep": {"candidates": 5}, "name": "more"}], "more", 5 + 2),
    ],
    ids=["candidates", "seeds", "trainings", "confirm", "appended"],
)
@pytest.mark.slow
def test_what_is_there_stays_and_what_is_new_is_added(
    stages: list[Any], stage: str, more: int | None, tmp_path: Path
) -> None:
    _, before = run(tmp_path, STAGES)
    repository, after = run(tmp_path, stages)
    kept = before[before["stage"].isin(["sweep", "search"])]["training_id"]
    assert set(kept) <= set(after["training_id"])
    added = (after["stage"] == stage).sum() - (before["stage"] == stage).sum()
    assert added == more if more is not None else added > 0
    drawn = after[(after["stage"] == stage) & (after["role"] == "candidate")]
    assert not drawn.duplicated(["candidate_id", "seed"]).any()
    (growth,) = repository.study("replayed").definition["history"]
    assert growth["grown"]
    report = told(tmp_path / "study.yaml")
    assert f"grown {growth['at']}" in report
    assert "; ".join(growth["grown"]) in report
    assert "history:" not in report, "what a person copies as a study file is one"


def test_a_file_run_again_unchanged_or_only_in_words_does_nothing(tmp_path: Path) -> None:
    _, before = run(tmp_path, STAGES)
    repository, after = run(tmp_path, STAGES, title="Other words", objective={"table": "./table.csv"})
    assert after["training_id"].tolist() == before["training_id"].tolist()
    assert repository.study("replayed").definition["history"] == []


@pytest.mark.parametrize(
    ("stages", "changes", "words"),
    [
        (STAGES, {"seed": 4}, "a study grows with its own seed"),
        (raised(0, candidates=6), {}, "sweep.candidates"),
        (raised(0, design="random"), {}, "sweep.design"),
        (STAGES[:2], {}, "stages left out"),
        (STAGES[::-1], {}, "stage 1 was sweep, now it is confirm"),
        (STAGES, {"cost": "params"}, "cost"),
    ],
)
def test_other_meanings_are_other_studies(
    stages: list[Any], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    open_study(study_file(tmp_path, STAGES))
    with pytest.raises(StudyError, match=words):
        open_study(study_file(tmp_path, stages, **changes))


def test_a_table_of_the_same_content_is_the_same_wherever_the_study_was_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered from another folder, its table was known by its whole path; begun in its own, by its name alone."""
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path)
    file = study_file(tmp_path / "study", STAGES)
    open_study(file)
    monkeypatch.chdir(tmp_path / "study")
    repository, _ = run(tmp_path / "study", STAGES)
    monkeypatch.chdir(tmp_path)
    open_study(file)
    assert repository.study("replayed").definition["history"] == []
    lines = (tmp_path / "study" / "table.csv").read_text().splitlines()
    (tmp_path / "study" / "table.csv").write_text("\n".join([*lines[:-1], lines[-1] + "1"]) + "\n")
    with pytest.raises(StudyError, match="holds other values"):
        open_study(file)


def test_a_start_is_the_same_wherever_its_file_lies(tmp_path: Path) -> None:
    first, moved = tmp_path / "first.pt", tmp_path / "moved.pt"
    first.write_bytes(b"weights")
    definition, repository, _ = open_study(study_file(tmp_path, STAGES, start="first.pt"))
    moved.write_bytes(b"weights")
    stored = repository.study("replayed").definition
    earlier = {key: value for key, value in stored.items() if key != "starts"}
    repository.ensure_study("replayed", earlier, definition.seed, None)  # as before they were kept
    open_study(study_file(tmp_path, STAGES, start="moved.pt"))
    moved.rename(first)
    open_study(study_file(tmp_path, STAGES, start="first.pt"))
    found = repository.study("replayed").definition
    assert (found["history"], list(found["starts"])) == ([], [str(first)])
    first.write_bytes(b"others")
    with pytest.raises(StudyError, match=r"made from another file .changed: start"):
        open_study(study_file(tmp_path, STAGES, start="first.pt"))
    moved.write_bytes(b"others")
    with pytest.raises(StudyError, match=r"first.pt and .*moved.pt hold the same network"):
        open_study(study_file(tmp_path, STAGES, start=["first.pt", "moved.pt"]))


def test_another_table_before_the_first_training_is_another_study(tmp_path: Path) -> None:
    file = study_file(tmp_path, STAGES)
    open_study(file)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(StudyError, match=r"made from another file .changed: objective"):
        open_study(study_file(tmp_path, STAGES, objective={"table": "other.csv"}))
