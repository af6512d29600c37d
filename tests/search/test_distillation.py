"""Teachers in a study: checked for every stage before it starts, and told apart by content in its trainings."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from search_builders import open_study, work

import nas
from nas.data import dataset_view, load_dataset
from nas.data.records import image_keys
from nas.data.views import prepared_id
from nas.errors import StudyError, TrainingError
from nas.search.checks import _check_unseen, check_study
from nas.search.context import StudyParts
from nas.search.definition import load_study
from nas.spaces import Candidate, own_code
from nas.training import load_checkpoint
from nas.training.checkpoints import save_checkpoint

DATA = {"generated": {"train_identities": 8, "test_identities": 4, "images": 2}}
RECIPE = {
    "extends": "quickstart",
    "loss": "cross_entropy",
    "epochs": 1,
    "warmup_epochs": 0,
    "input": [32, 16],
    "identities": 4,
    "images": 2,
}
SWEEP = {"sweep": {"design": "exhaustive"}}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def teacher(path: str, view: str = "final") -> None:
    nas.train("resnet18(width=0.125)+se@3", DATA, RECIPE, out=path, view=view)


def study(name: str = "taught", stages: Any = (SWEEP,), **distil: Any) -> Path:
    space = {
        "name": "s",
        "backbones": {"resnet18": {"width": 0.125}},
        "sites": [4],
        "blocks": ["agw"],
        "rules": [{"min_blocks": 1}],
    }
    data = {
        "name": name,
        "space": space,
        "data": DATA,
        "recipe": {**RECIPE, "distil": distil},
        "latency": {"input": [32, 16], "time_budget_s": 0.01, "reference": "resnet18", "isolated": False},
        "start": "scratch",
        "select_on": "test" if name.startswith("taught") else "validation",
        "database": "sqlite:///study.db",
        "stages": list(stages),
    }
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def test_teachers_are_checked_for_every_stage(tmp_path: Path) -> None:
    with pytest.raises(
        (StudyError, TrainingError), match=r"there is no checkpoint none\.pt|there is no teacher none\.pt"
    ):
        check_study(load_study(study(teacher="none.pt")))
    teacher("final.pt")
    check_study(load_study(study(teacher="final.pt")))
    with pytest.raises(StudyError, match="stage 'sweep': a teacher was trained on the persons that candidates are"):
        check_study(load_study(study("selects", teacher="final.pt", loss="relations")))
    size = tuple(RECIPE["input"])
    seen = prepared_id(dataset_view(load_dataset(DATA), "select"), size)  # type: ignore[arg-type]
    save_checkpoint(replace(load_checkpoint("final.pt"), dataset_id=seen, seen=None), Path("select.pt"))
    confirm = {"confirm": {"max_candidates": 1}}
    check_study(load_study(study("selects", [SWEEP, confirm], teacher="select.pt", loss="relations")))
    with pytest.raises(StudyError, match=r"distil: the teacher .*select\.pt .* learned other identities"):
        check_study(load_study(study("selects", [SWEEP, confirm], teacher="select.pt")))
    fewer = {"sweep": {"design": "exhaustive", "fidelity": {"identities": 0.5}}}
    with pytest.raises(StudyError, match="learned other identities"):
        check_study(load_study(study(stages=[fewer], teacher="final.pt")))
    smaller = {"sweep": {"design": "exhaustive", "fidelity": {"input": [48, 24]}}}
    with pytest.raises(StudyError, match="was trained on images of 32x16, but they are 48x24 here"):
        check_study(load_study(study(stages=[smaller], teacher="final.pt", loss="features")))


def test_a_source_of_fine_tuning_has_not_seen_who_is_selected_on(tmp_path: Path) -> None:
    teacher("final.pt")
    recipe = {**RECIPE, "transfer": {"from": "final.pt", "head_epochs": 1}}
    for name in ("selects", "taught"):
        path = study(name)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "recipe": recipe}, sort_keys=False))
    check_study(load_study("taught.yaml"))  # which selects on the test split
    with pytest.raises(StudyError, match=r"final\.pt was trained on the persons that candidates are selected on"):
        check_study(load_study("selects.yaml"))


def test_whom_a_teacher_has_seen_is_known_by_image(tmp_path: Path) -> None:
    """Not only by the whole set: it was trained on part of it, or the study holds others out."""
    teacher("select.pt", "select")
    check_study(load_study(study("selects", teacher="select.pt", loss="relations")))
    path = study("selects", teacher="select.pt", loss="relations")
    others = {**yaml.safe_load(path.read_text()), "validation": {"seed": 1}}
    path.write_text(yaml.safe_dump(others, sort_keys=False))
    with pytest.raises(StudyError, match=r"stage 'sweep': a teacher was trained on the persons .* selected on"):
        check_study(load_study(path))

    seen = load_checkpoint("select.pt").seen
    assert seen is not None
    assert len(seen) == len(dataset_view(load_dataset(DATA), "select").train)
    asked = dataset_view(load_dataset(DATA), "final")
    save_checkpoint(
        replace(load_checkpoint("select.pt"), seen=torch.from_numpy(image_keys(asked.query[:1]))), Path("leaks.pt")
    )
    with pytest.raises(StudyError, match="was trained on the persons that candidates are judged on"):
        check_study(load_study(study("taught", teacher="leaks.pt", loss="relations")))
    save_checkpoint(replace(load_checkpoint("select.pt"), seen=None), Path("old.pt"))
    check_study(load_study(study("taught", teacher="old.pt", loss="relations")))


def test_what_a_source_has_seen_is_seen_by_what_goes_on_from_it(tmp_path: Path) -> None:
    other = {"generated": {**DATA["generated"], "seed": 5}}
    nas.train("resnet18(width=0.125)+se@3", other, RECIPE, out="source.pt", cache="kept")
    nas.train("resnet18(width=0.125)+se@3", DATA, RECIPE, out="tuned.pt", transfer="source.pt", cache="kept")
    assert not Path(".nas").exists()
    one, both = load_checkpoint("source.pt").seen, load_checkpoint("tuned.pt").seen
    assert one is not None
    assert both is not None
    assert len(both) == 2 * len(one)
    assert set(one.tolist()) < set(both.tolist())


def test_an_image_that_lies_in_both_splits_gives_no_teacher_away() -> None:
    """`nas data check` warns of it; that a teacher was trained on the training split is as it must be."""
    dataset = dataset_view(load_dataset(DATA), "select")
    both = replace(dataset, query=(*dataset.query, dataset.train[0]))
    context: Any = SimpleNamespace(dataset=lambda view: both)
    for records, leaks in ((dataset.train, False), (dataset.query[:1], True)):
        saved: Any = SimpleNamespace(seen=torch.from_numpy(image_keys(records)))
        with pytest.raises(StudyError, match="was trained on the persons") if leaks else nullcontext():
            _check_unseen(context, saved, "select", "a teacher")


def test_a_teacher_that_was_replaced_does_not_go_on_with_a_study() -> None:
    teacher("one.pt")
    path = study(teacher="one.pt", loss="relations")
    open_study(path)
    save_checkpoint(replace(load_checkpoint("one.pt"), seed=7), Path("one.pt"))
    with pytest.raises(StudyError, match=r"one\.pt is not the file that study 'taught' was started with"):
        open_study(path)


def test_the_code_of_a_teacher_is_part_of_its_students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = Path(__file__).parents[2] / "docs" / "how-to" / "own-block.md"
    source = block.read_text().split("```python")[1].split("```")[0]
    name = next(line for line in source.splitlines() if line.startswith("class ")).split()[1].split("(")[0]
    Path("taught_blocks.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    own_code.trust([f"taught_blocks:{name}"])
    teacher("one.pt")
    taught = Candidate.parse(f"resnet18(width=0.125)+taught_blocks:{name}@3")
    save_checkpoint(replace(load_checkpoint("one.pt"), candidate=taught), Path("one.pt"))
    path, codes = study(teacher="one.pt", loss="relations"), []
    for edit in ("", "# edited\n"):
        with Path("taught_blocks.py").open("a") as file:
            file.write(edit)
        context = StudyParts(load_study(path), None)  # type: ignore[arg-type]
        codes.append(context.code_of(context.baselines[0], context.recipe))
    assert codes[0] != codes[1] != ""


@pytest.mark.slow
def test_a_training_is_the_teachers_content_and_not_its_place(tmp_path: Path) -> None:
    teacher("one.pt")
    shutil.copy("one.pt", "two.pt")
    ids = []
    for name, file in (("taught", "one.pt"), ("taught-too", "two.pt")):
        _, repository, context = open_study(study(name, teacher=file, loss=["logits", "features"]))
        work(context)
        rows = repository.results(name)
        assert rows["status"].eq("finished").all()
        ids.append(set(rows["training_id"]))
    assert ids[0] == ids[1]  # nothing was trained twice


@pytest.mark.slow
def test_fine_tunings_of_two_sources_are_two_trainings(tmp_path: Path) -> None:
    """Recipe, data and seed are the same: only what they go on from differs."""
    plain, ids = "resnet18(width=0.125)", []
    for name, seed in (("taught", 1), ("taught-too", 2)):
        other = {"generated": {**DATA["generated"], "seed": seed}}
        path = study(name, [{"pretrain": {"data": other, "candidates": [plain], "seeds": 1}}])
        written = yaml.safe_load(path.read_text())
        written["recipe"] = {**RECIPE, "transfer": {"from": "pretrained", "head_epochs": 1}}
        written["stages"].append({"confirm": {"front": False, "baselines": [plain], "candidates": [], "seeds": 1}})
        path.write_text(yaml.safe_dump(written, sort_keys=False))
        _, repository, context = open_study(path)
        work(context)
        rows = repository.results(name).query("stage_kind == 'confirm'")
        assert rows["status"].eq("finished").all()
        ids.append(set(rows["training_id"]))
    assert len(ids[0]) == 1
    assert not ids[0] & ids[1]
