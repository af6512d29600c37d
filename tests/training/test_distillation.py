"""Teachers: each loss against a loop, what makes a training's identity, what is refused, and that it teaches."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.spaces import Candidate
from nas.training import load_checkpoint
from nas.training.checkpoints import save_checkpoint
from nas.training.losses import distil_features, distil_logits, distil_relations
from nas.training.recipe import Recipe, load_recipe, with_teachers
from nas.training.run import final_recipe, train
from nas.training.speed import probe
from nas.training.teachers import check_teachers
from nas.training.trainer import Trainer

STUDENT, TEACHER = "resnet18(width=0.125)", "resnet18(width=0.25)+se@5"
STUDENT_CANDIDATE = Candidate.parse(STUDENT)


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- losses


def softened(row: Tensor, temperature: float) -> list[float]:
    powers = [math.exp(x / temperature) for x in row.tolist()]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize(("temperature", "teachers"), [(1.0, 1), (4.0, 1), (2.5, 3)])
def test_logits_are_hintons(temperature: float, teachers: int) -> None:
    own, taught = draws(5, 7), [3 * draws(5, 7, seed=1 + k) for k in range(teachers)]
    total = 0.0
    for i in range(5):
        p = softened(own[i], temperature)
        q = [sum(column) / teachers for column in zip(*(softened(t[i], temperature) for t in taught), strict=True)]
        total += sum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True)) / 5
    assert float(distil_logits(own, taught, temperature)) == pytest.approx(temperature**2 * total, rel=1e-5)
    assert float(distil_logits(own, [own], temperature)) == pytest.approx(0, abs=1e-6)


def test_every_part_of_a_head_learns_the_mean_of_the_teachers_parts() -> None:
    own, taught = draws(4, 3, 5), draws(4, 2, 5, seed=1)
    total = 0.0
    for i in range(4):
        q = [sum(column) / 2 for column in zip(*(softened(part, 4.0) for part in taught[i]), strict=True)]
        for part in own[i]:
            p = softened(part, 4.0)
            total += sum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True)) / 12
    assert float(distil_logits(own, [taught])) == pytest.approx(16 * total, rel=1e-5)
    whole = distil_logits(own.mean(dim=1), [taught])  # a student without parts
    assert whole.ndim == 0


def test_features_are_the_mean_of_one_minus_cosine() -> None:
    own, taught = [draws(6, 4), draws(6, 9, seed=1)], [draws(6, 4, seed=2), draws(6, 9, seed=3)]
    total = 0.0
    for a, b in zip(own, taught, strict=True):
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            dot = sum(p * q for p, q in zip(x, y, strict=True))
            total += 1 - dot / (math.hypot(*x) * math.hypot(*y))
    assert float(distil_features(own, taught)) == pytest.approx(total / 12, rel=1e-5)
    assert float(distil_features(own, [3 * one for one in own])) == pytest.approx(0, abs=1e-6)


def test_relations_are_smooth_l1_of_distances_over_their_mean() -> None:
    own, taught = draws(6, 4), [draws(6, 9, seed=1), 40 * draws(6, 3, seed=2)]

    def relations(features: Tensor) -> list[float]:
        rows = features.tolist()
        found = [math.dist(rows[i], rows[j]) for i in range(6) for j in range(i + 1, 6)]
        return [d / (sum(found) / 15) for d in found]

    total = 0.0
    for one in taught:
        for a, b in zip(relations(own), relations(one), strict=True):
            total += (0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5) / 15
    assert float(distil_relations(own, taught)) == pytest.approx(total / 2, rel=1e-4)
    assert float(distil_relations(own, [7 * own])) == pytest.approx(0, abs=1e-6)  # no unit, no dimension


# ---------------------------------------------------------------- recipes


def test_a_teacher_counts_by_content_and_older_recipes_keep_their_ids(tmp_path: Path) -> None:
    assert load_recipe("strong_baseline").id == load_recipe({"extends": "strong_baseline", "distil": None}).id
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (
        with_teachers(load_recipe({"distil": {"teacher": str(tmp_path / name)}})) for name in ("a.pt", "b.pt", "c.pt")
    )
    assert a.id == b.id != c.id
    assert a.id not in (Recipe().id, a.with_overrides({"distil.temperature": 2.0}).id)
    assert load_recipe(a.to_dict()) == a == with_teachers(a)
    (tmp_path / "a.pt").write_bytes(b"another")
    with pytest.raises(TrainingError, match="not the one that this training was planned with"):
        with_teachers(a)


@pytest.mark.parametrize(
    ("distil", "said"),
    [
        ({"teacher": []}, "distil.teacher"),
        ({"loss": "logits"}, "distil.teacher"),
        ({"teacher": "a.pt", "loss": "logit"}, "distil.loss"),
        ({"teacher": "a.pt", "loss": ["logits", "logits"]}, "a loss is named twice"),
        ({"teacher": "a.pt", "weight": 0}, "distil.weight"),
        ({"teacher": "a.pt", "temprature": 2}, "unknown key 'distil.temprature'; did you mean 'temperature'"),
    ],
)
def test_a_distillation_that_cannot_be_is_refused(distil: object, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        load_recipe({"distil": distil})


def test_a_missing_teacher_is_said_before_anything(recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match=r"there is no teacher nowhere\.pt"):
        final_recipe_of(recipe, Path("nowhere.pt"))


# ---------------------------------------------------------------- trainings


def final_recipe_of(recipe: Recipe, *teachers: Path, **changes: object) -> Recipe:
    distil = {"teacher": [str(path) for path in teachers], **changes}
    return final_recipe(STUDENT_CANDIDATE, recipe.with_overrides({"distil": distil}))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filled by the first test that needs it: fixtures of one training are dear."""
    return tmp_path_factory.mktemp("teacher") / "teacher.pt"


@pytest.fixture
def taught_by(teacher: Path, recipe: Recipe, data: PreparedData) -> Path:
    """A trained network, wider than the student, with a block."""
    if not teacher.exists():
        train(TEACHER, recipe.with_overrides({"epochs": 6, "base_lr": 3e-3}), data, seed=9, checkpoint=teacher)
    return teacher


@pytest.mark.parametrize("loss", ["logits", "features", "relations"])
def test_training_lowers_what_is_distilled(taught_by: Path, recipe: Recipe, data: PreparedData, loss: str) -> None:
    longer = recipe.with_overrides({"epochs": 4, "loss": "cross_entropy", "cross_entropy.weight": 0.1})
    chosen = longer.with_overrides({"distil": {"teacher": str(taught_by), "loss": loss, "weight": 2.0}})
    result = train(STUDENT, chosen, data, seed=1)
    course = [record.losses[f"distil_{loss}"] for record in result.epochs]
    assert course[-1] < 0.8 * course[0]
    plain = train(STUDENT, longer, data, seed=1)
    assert sorted(plain.epochs[0].losses) == ["cross_entropy", "total"]


def test_it_goes_on_from_a_checkpoint_to_the_bit(
    taught_by: Path, recipe: Recipe, data: PreparedData, tmp_path: Path
) -> None:
    chosen = final_recipe_of(recipe, taught_by, loss=["features", "relations", "logits"])
    whole = train(STUDENT, chosen, data, seed=1, checkpoint=tmp_path / "whole.pt")
    train(STUDENT, chosen, data, seed=1, checkpoint=tmp_path / "parts.pt", stop_epoch=1)
    parts = train(STUDENT, chosen, data, seed=1, checkpoint=tmp_path / "parts.pt")
    assert [r.losses for r in parts.epochs] == [r.losses for r in whole.epochs]
    one, other = (load_checkpoint(tmp_path / name) for name in ("whole.pt", "parts.pt"))
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert not any("teacher" in name or "maps" in name for name in one.weights)


def test_teachers_stay_as_they_are_and_two_are_a_mean(taught_by: Path, recipe: Recipe, data: PreparedData) -> None:
    chosen = final_recipe_of(recipe, taught_by, taught_by, loss=["features", "logits"])
    trainer = Trainer(STUDENT_CANDIDATE, chosen, data, 0, torch.device("cpu"))
    trainer.prepare()
    before = {name: value.clone() for name, value in trainer.teachers[0].state_dict().items()}
    maps = [parameter.clone() for parameter in trainer.loss.maps.parameters()]
    with trainer.phase(1):
        trainer.train_step(trainer.batches.get(1, 1), 1e-3)
    after = trainer.teachers[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(maps) == 2
    assert all(not torch.equal(a, b) for a, b in zip(maps, trainer.loss.maps.parameters(), strict=True))


def test_a_head_with_parts_teaches_and_learns_logits(recipe: Recipe, data: PreparedData, tmp_path: Path) -> None:
    parts = recipe.with_overrides({"epochs": 1, "head": {"pcb": {"parts": 2, "features": 8}}})
    train(STUDENT, parts, data, seed=0, checkpoint=tmp_path / "parts.pt")
    result = train(STUDENT, final_recipe_of(parts, tmp_path / "parts.pt"), data, seed=1)
    assert result.epochs[0].losses["distil_logits"] > 0


def test_what_cannot_teach_is_refused_in_a_sentence(
    taught_by: Path, recipe: Recipe, data: PreparedData, tmp_path: Path
) -> None:
    saved = load_checkpoint(taught_by)
    spoilt = {
        "epochs": replace(saved, epoch=1),
        "size": replace(saved, input_size=(64, 32)),
        "terms": replace(saved, recipe=saved.recipe.with_overrides({"loss": "triplet"})),
        "data": replace(saved, dataset_id="others"),
        "published": replace(saved, dataset_id="published"),
        "colours": replace(saved, recipe=saved.recipe.with_overrides({"augmentation.mean": [0.5, 0.5, 0.5]})),
    }
    for name, checkpoint in spoilt.items():
        save_checkpoint(checkpoint, tmp_path / f"{name}.pt")
    for name, said in (
        ("epochs", "is not trained to its end: 1 of 6 epochs"),
        ("size", "was trained on images of 64x32, but they are 32x16 here"),
        ("terms", "was trained without cross_entropy"),
        ("data", "learned other identities"),
        ("colours", r"was trained on images of mean \(0\.5, 0\.5, 0\.5\) and deviation"),
    ):
        chosen = final_recipe_of(recipe, tmp_path / f"{name}.pt")
        with pytest.raises(TrainingError, match=said):
            train(STUDENT, chosen, data, seed=0)
    with pytest.raises(TrainingError, match="learned other identities"):  # before the images are known
        check_teachers(final_recipe_of(recipe, tmp_path / "published.pt"))
    for name in ("terms", "data"):  # embeddings need neither
        others = final_recipe_of(recipe, tmp_path / f"{name}.pt", loss="relations")
        assert len(check_teachers(others, "here")) == 1
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"broken\.pt"):
        check_teachers(final_recipe_of(recipe, tmp_path / "broken.pt"))


def test_the_speed_of_a_training_counts_its_teachers(taught_by: Path, recipe: Recipe) -> None:
    chosen = final_recipe_of(recipe, taught_by, loss=["features", "logits"])
    assert probe(STUDENT_CANDIDATE, chosen, "cpu", 1, limit_s=1.0).train > 0
