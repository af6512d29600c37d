"""Trainings as a whole: reproducible, interruptible anywhere, stopped by rungs, honest about failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas.data.prepared import PreparedData
from nas.errors import DataError, TrainingError
from nas.training import failure_kind, run
from nas.training.checkpoints import Checkpoint, load_checkpoint
from nas.training.failures import Diverged, OutOfMemory, TrainingInterrupted
from nas.training.fidelity import Fidelity
from nas.training.recipe import Recipe
from nas.training.results import EpochRecord, TrainingResult
from nas.training.run import best_path, train
from nas.training.schedule import learning_rate
from nas.training.trainer import Trainer

CANDIDATE = "resnet18(width=0.25)+cnl@5"


def facts(result: TrainingResult) -> list[object]:
    """What must be equal for equal trainings: everything but times and files."""
    timeless = [dataclasses.replace(record, seconds=0.0) for record in result.epochs]
    return [result.metrics.map, result.metrics.rank1, result.metrics.minp, timeless]


def same_weights(a: Path, b: Path) -> bool:
    one, other = load_checkpoint(a).weights, load_checkpoint(b).weights
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stop_after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that lets a number of steps pass."""
    asked = -1

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= steps

    return should_stop


def test_learns_and_reports(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    longer = recipe.with_overrides({"epochs": 8})
    seen: list[EpochRecord] = []
    ticks: list[tuple[int, int]] = []
    result = train(
        CANDIDATE,
        longer,
        data,
        seed=1,
        checkpoint=tmp_path / "a.pt",
        on_epoch=seen.append,
        progress=lambda done, total, what="": ticks.append((done, total)),
    )
    untrained = train(CANDIDATE, longer.with_overrides({"base_lr": 1e-9}), data, seed=1)
    assert result.metrics.map > untrained.metrics.map + 0.1
    assert tuple(seen) == result.epochs
    assert [r.epoch for r in seen] == list(range(1, 9))
    assert set(seen[0].losses) == {"cross_entropy", "triplet", "center", "total"}
    assert seen[-1].losses["total"] < seen[0].losses["total"]
    assert all(r.images % longer.batch == 0 and r.images > 0 for r in seen)
    assert result.images_per_second > 0
    assert result.seconds == pytest.approx(sum(r.seconds for r in seen))
    assert result.checkpoint == tmp_path / "a.pt"
    assert ticks[0][0] == 1
    assert len(ticks) == sum(r.images for r in seen) // longer.batch


def test_total_is_the_weighted_sum_of_the_terms(data: PreparedData, recipe: Recipe) -> None:
    losses = train(CANDIDATE, recipe, data, seed=1).epochs[0].losses
    assert losses["total"] == pytest.approx(losses["cross_entropy"] + losses["triplet"] + 5e-4 * losses["center"])


def test_same_seed_same_numbers_other_seed_others(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    first, again, other = (
        train(CANDIDATE, recipe, data, seed=seed, checkpoint=tmp_path / name)
        for seed, name in [(1, "a.pt"), (1, "b.pt"), (2, "c.pt")]
    )
    assert facts(first) == facts(again)
    assert same_weights(tmp_path / "a.pt", tmp_path / "b.pt")
    assert facts(first) != facts(other)


def test_the_callers_random_numbers_and_settings_are_left_alone(data: PreparedData, recipe: Recipe) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(CANDIDATE, recipe, data, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "extra",
    [{}, {"ema_decay": 0.9, "optimiser": "sgd"}, {"clip_norm": 1.0, "precision": "bf16"}],
    ids=["adam", "ema", "bf16"],
)
@pytest.mark.slow
def test_resumes_to_the_bit_from_any_step(
    extra: dict[str, object], data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe.with_overrides(extra)
    straight = train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "straight.pt")
    steps = sum(r.images for r in straight.epochs) // recipe.batch
    for interrupted_after in (0, 2, straight.epochs[0].images // recipe.batch, steps - 1):
        path = tmp_path / f"{interrupted_after}.pt"
        with pytest.raises(TrainingInterrupted):
            train(CANDIDATE, recipe, data, seed=3, checkpoint=path, should_stop=stop_after(interrupted_after))
        torch.rand(7)  # other users of the random numbers in between
        resumed = train(CANDIDATE, recipe, data, seed=3, checkpoint=path)
        assert facts(resumed) == facts(straight)
        assert same_weights(path, tmp_path / "straight.pt")


def test_interrupted_again_and_again(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    straight = train(CANDIDATE, recipe, data, seed=3)
    path = tmp_path / "a.pt"
    for _ in range(100):
        try:
            resumed = train(CANDIDATE, recipe, data, seed=3, checkpoint=path, should_stop=stop_after(1))
            break
        except TrainingInterrupted:
            continue
    assert facts(resumed) == facts(straight)


def test_writes_checkpoints_on_the_way(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    """A worker that is killed without warning loses no more than `checkpoint_seconds`."""
    path = tmp_path / "a.pt"
    straight = train(CANDIDATE, recipe, data, seed=3)

    class KilledError(Exception):
        pass

    def kill(record: EpochRecord) -> None:
        raise KilledError

    often = recipe.with_overrides({"checkpoint_seconds": 0})
    with pytest.raises(KilledError):
        train(CANDIDATE, often, data, seed=3, checkpoint=path, on_epoch=kill)
    saved = load_checkpoint(path)
    assert (saved.epoch, saved.step) == (0, straight.epochs[0].images // recipe.batch - 1)
    assert facts(train(CANDIDATE, recipe, data, seed=3, checkpoint=path)) == facts(straight)


def test_rungs_add_up_to_the_whole(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.with_overrides({"epochs": 3})
    straight = train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "straight.pt")
    path = tmp_path / "rungs.pt"
    low = train(CANDIDATE, recipe, data, seed=3, checkpoint=path, stop_epoch=1)
    assert [r.epoch for r in low.epochs] == [1]
    assert facts(train(CANDIDATE, recipe, data, seed=3, checkpoint=path, stop_epoch=1)) == facts(low)
    beside = train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "next.pt", resume_from=path)
    assert facts(beside) == facts(straight)
    high = train(CANDIDATE, recipe, data, seed=3, checkpoint=path, stop_epoch=3)
    assert facts(high) == facts(straight)
    assert same_weights(path, tmp_path / "straight.pt")
    with pytest.raises(TrainingError, match="already past epoch 1"):
        train(CANDIDATE, recipe, data, seed=3, checkpoint=path, stop_epoch=1)
    with pytest.raises(TrainingError, match="cannot stop after epoch 4"):
        train(CANDIDATE, recipe, data, seed=3, stop_epoch=4)


def test_a_finished_training_is_only_scored_again(
    data: PreparedData, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "a.pt")
    monkeypatch.setattr(Trainer, "train_step", lambda *a, **k: pytest.fail("trained again"))
    again = train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "a.pt")
    assert facts(again) == facts(first)
    assert again.checkpoint_sha256 == first.checkpoint_sha256 is not None


def test_finished_checkpoints_hold_no_optimiser(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "whole.pt")
    train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "rung.pt", stop_epoch=1)
    assert load_checkpoint(tmp_path / "whole.pt").training == {}
    assert (tmp_path / "whole.pt").stat().st_size < 0.5 * (tmp_path / "rung.pt").stat().st_size


def test_keep_none_leaves_nothing(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    result = train(CANDIDATE, recipe.with_overrides({"keep": "none"}), data, seed=3, checkpoint=tmp_path / "a.pt")
    assert (result.checkpoint, result.checkpoint_sha256) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_keep_best_keeps_the_best_epoch_but_scores_the_last(
    data: PreparedData, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.with_overrides({"keep": "best", "evaluate_every": 1, "epochs": 3})
    real, found = run.score, iter([0.3, 0.9, 0.5, 0.5])
    monkeypatch.setattr(run, "score", lambda *a, **k: dataclasses.replace(real(*a, **k), map=next(found)))
    result = train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "a.pt")
    assert [r.map for r in result.epochs] == [0.3, 0.9, 0.5]
    assert result.metrics.map == 0.5
    assert result.checkpoint == best_path(tmp_path / "a.pt")
    assert load_checkpoint(best_path(tmp_path / "a.pt")).epoch == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.best.pt"]
    assert load_checkpoint(best_path(tmp_path / "a.pt")).finished  # other trainings may go on from it


def test_evaluating_on_the_way_changes_nothing(data: PreparedData, recipe: Recipe) -> None:
    plain = train(CANDIDATE, recipe, data, seed=3)
    watched = train(CANDIDATE, recipe.with_overrides({"evaluate_every": 1}), data, seed=3)
    assert watched.metrics.map == plain.metrics.map == watched.epochs[-1].map
    assert [r.losses for r in watched.epochs] == [r.losses for r in plain.epochs]


def test_candidates_own_values_and_fidelity(data: PreparedData, recipe: Recipe) -> None:
    result = train(f"{CANDIDATE}[base_lr=0.002,loss=circle]", recipe, data, seed=1, fidelity=Fidelity(epochs=1))
    assert len(result.epochs) == 1
    assert set(result.epochs[0].losses) == {"circle_softmax", "triplet", "center", "total"}
    assert result.epochs[0].lr == pytest.approx(2e-3 * recipe.final_lr_factor)
    with pytest.raises(TrainingError, match="unknown key 'base_ln'"):
        train(f"{CANDIDATE}[base_ln=0.002]", recipe, data, seed=1)


def test_every_step_has_the_rate_of_the_schedule(
    data: PreparedData, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.with_overrides(
        {"schedule": "steps", "per": "epoch", "base_lr": 1e-3, "epochs": 4, "milestones": [2, 4]}
    )
    used: list[float] = []
    real = Trainer.train_step

    def spy(self: Trainer, *args: object, **kwargs: object) -> object:
        out = real(self, *args, **kwargs)  # type: ignore[arg-type]
        used.append(self.optimiser.param_groups[0]["lr"])
        return out

    monkeypatch.setattr(Trainer, "train_step", spy)
    result = train(CANDIDATE, recipe, data, seed=1)
    expected = [learning_rate(recipe, r.epoch) for r in result.epochs for _ in range(r.images // recipe.batch)]
    assert used == expected
    assert [r.lr for r in result.epochs] == pytest.approx([1e-3, 1e-4, 1e-4, 1e-5])


def test_a_diverging_training_stops_and_says_where(data: PreparedData, recipe: Recipe) -> None:
    wild = recipe.with_overrides({"optimiser": "sgd", "base_lr": 1e20, "schedule": "constant", "warmup_epochs": 0})
    with pytest.raises(Diverged) as error:
        train(CANDIDATE, wild, data, seed=1)
    for word in ("epoch 1", "step", "learning rate 1e+20", "cross_entropy", "triplet", "nan"):
        assert word in str(error.value)
    assert failure_kind(error.value) == "diverged"


def test_out_of_memory_is_a_result_with_advice(
    data: PreparedData, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Trainer, "train_step", full)
    with pytest.raises(OutOfMemory) as error:
        train(CANDIDATE, recipe, data, seed=1)
    assert "batch of 16 in fp32" in error.value.message
    assert "bf16" in (error.value.hint or "")
    assert failure_kind(error.value) == "out_of_memory"


def test_other_errors_are_not_taken_for_a_full_memory(
    data: PreparedData, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Trainer, "train_step", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        train(CANDIDATE, recipe, data, seed=1)


def test_between_steps_is_called_before_each_step_and_may_end_it(data: PreparedData, recipe: Recipe) -> None:
    calls: list[int] = []
    result = train(CANDIDATE, recipe, data, seed=1, between_steps=lambda: calls.append(1))
    assert len(calls) == sum(r.images for r in result.epochs) // recipe.batch

    def lost_lease() -> None:
        raise TrainingError("lease lost")

    with pytest.raises(TrainingError, match="lease lost"):
        train(CANDIDATE, recipe, data, seed=1, between_steps=lost_lease)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": (64, 32)}, "asks for images of 64x32, but stripes was prepared at 32x16"),
        ({"transfer": {"from": "pretrained"}}, "transfer from pretrained needs the source's checkpoint"),
        ({"precision": "fp16"}, "fp16 training needs a GPU"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], words: str, data: PreparedData, recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match=words):
        train(CANDIDATE, recipe.with_overrides(changes), data, seed=1)


def test_too_few_identities_and_unknown_devices(data: PreparedData, recipe: Recipe) -> None:
    with pytest.raises(DataError, match="13 identities") as error:
        train(CANDIDATE, recipe.with_overrides({"identities": 13}), data, seed=1)
    assert failure_kind(error.value) == "data"
    with pytest.raises(TrainingError, match="unknown device 'gpu'"):
        train(CANDIDATE, recipe, data, seed=1, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="cuda cannot be used: "):
            train(CANDIDATE, recipe, data, seed=1, device="cuda")


@pytest.mark.parametrize(
    ("changes", "seed", "candidate", "words"),
    [
        ({"base_lr": 0.02}, 3, CANDIDATE, "recipe"),
        ({}, 4, CANDIDATE, "seed is 3, not 4"),
        ({}, 3, "resnet18(width=0.25)", "candidate"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    changes: dict[str, object],
    seed: int,
    candidate: str,
    words: str,
    data: PreparedData,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.pt"
    train(CANDIDATE, recipe, data, seed=3, checkpoint=path, stop_epoch=1)
    with pytest.raises(TrainingError, match="belongs to another training") as error:
        train(candidate, recipe.with_overrides(changes), data, seed=seed, checkpoint=path)
    assert words in str(error.value)
    assert "a.pt" in str(error.value)
    fresh = train(candidate, recipe.with_overrides(changes), data, seed=seed, checkpoint=path, resume=False)
    assert len(fresh.epochs) == 2


def test_a_training_is_taken_up_where_the_files_of_its_recipe_lie_elsewhere(
    data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    """As another worker finds them: those that a start takes the place of are known by their names alone."""
    source, path = tmp_path / "source.pt", tmp_path / "a.pt"
    train("resnet18(width=0.25)", recipe, data, seed=3, checkpoint=source)

    def warm(weights: str, stop: int | None = None) -> TrainingResult:
        own = recipe.with_overrides({"weights": weights})
        return train(CANDIDATE, own, data, seed=3, checkpoint=path, init_from=source, stop_epoch=stop)

    warm("w.pth", 1)
    with pytest.raises(TrainingError, match="belongs to another training: its recipe"):
        warm("other.pth")
    assert len(warm("/somewhere/w.pth").epochs) == 2


def test_a_checkpoint_knows_what_it_is(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "a.pt")
    saved = load_checkpoint(tmp_path / "a.pt")
    assert isinstance(saved, Checkpoint)
    assert (str(saved.candidate), saved.recipe, saved.seed) == (CANDIDATE, recipe, 3)
    assert (saved.input_size, saved.num_classes, saved.dataset_id) == ((32, 16), 12, "stripes")
    assert saved.finished
