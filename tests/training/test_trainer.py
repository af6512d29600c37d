"""Single steps of the trainer: what is optimised, in which numbers, with which extras."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.networks import build_network
from nas.spaces.candidate import Candidate
from nas.training.batches import TrainingBatches
from nas.training.failures import Diverged
from nas.training.fresh import zero_residual_branches
from nas.training.losses import LossInputs, TotalLoss
from nas.training.monitor import LossMonitor
from nas.training.optimisers import network_optimiser, set_learning_rate
from nas.training.precision import autocast, resolve_precision
from nas.training.recipe import Recipe
from nas.training.reproducible import reproducible
from nas.training.run import train
from nas.training.trainer import Trainer

CPU = torch.device("cpu")
CANDIDATE = Candidate.parse("resnet18(width=0.25)+cnl@5")


def make_trainer(data: PreparedData, recipe: Recipe) -> Trainer:
    trainer = Trainer(CANDIDATE, recipe, data, 1, CPU)
    trainer.prepare()
    trainer.network.train()
    return trainer


# ------------------------------------------------------------------ batches


def test_batches_are_a_function_of_seed_epoch_and_step(data: PreparedData, recipe: Recipe) -> None:
    one, other = (TrainingBatches(data.train, recipe, 5, CPU) for _ in range(2))
    forward = [one.get(epoch, step) for epoch in (1, 2) for step in (1, 2, 3)]
    backward = [other.get(epoch, step) for epoch in (2, 1) for step in (3, 2, 1)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    assert not torch.equal(forward[0].images, forward[1].images)
    assert not torch.equal(TrainingBatches(data.train, recipe, 6, CPU).get(1, 1).images, forward[0].images)


def test_batches_are_p_times_k(data: PreparedData, recipe: Recipe) -> None:
    batches = TrainingBatches(data.train, recipe, 5, CPU)
    for step in range(1, batches.steps(1) + 1):
        batch = batches.get(1, step)
        assert batch.images.shape == (16, 3, 32, 16)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.unique(return_counts=True)[1].tolist() == [4] * 4


# ------------------------------------------------------------------ what is trained, and how


def test_everything_but_the_bnneck_bias_is_trained_with_weight_decay(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe)
    (group,) = trainer.optimiser.param_groups
    trained = {id(p) for p in group["params"]}
    left_out = [name for name, p in trainer.network.named_parameters() if id(p) not in trained]
    assert left_out == ["bnneck.bias"]
    assert group["weight_decay"] == 5e-4


def test_blocks_can_have_a_rate_of_their_own(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe.with_overrides({"block_lr_factor": 5.0}))
    set_learning_rate(trainer.optimiser, 1e-3)
    rest, blocks = trainer.optimiser.param_groups
    assert (rest["lr"], blocks["lr"]) == (1e-3, 5e-3)
    assert {id(p) for p in blocks["params"]} == {id(p) for p in trainer.network.blocks.parameters()}
    assert blocks["weight_decay"] == rest["weight_decay"]


def test_a_step_is_adam_on_the_summed_losses(data: PreparedData, recipe: Recipe) -> None:
    """The step, re-derived with torch's plain Adam and SGD and the losses summed by hand."""
    trainer, naive = make_trainer(data, recipe), make_trainer(data, recipe)
    batch = trainer.batches.get(1, 1)
    total, terms = trainer.train_step(batch, 1e-3)
    weights = [p for p in naive.network.parameters() if p.requires_grad]
    adam = torch.optim.Adam(weights, 1e-3, weight_decay=5e-4, foreach=False, fused=False)
    outputs = naive.network(batch.images)
    centres = naive.loss.centres
    assert centres is not None
    own = centres.weight.detach()[batch.labels]
    cross_entropy = nn.functional.cross_entropy(outputs.logits, batch.labels, label_smoothing=0.1)
    center = (outputs.pooled - own).square().sum(dim=1).mean()
    by_hand = cross_entropy + terms["triplet"] + 5e-4 * center
    assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert terms["center"].item() == pytest.approx(center.item(), rel=1e-5)
    naive_total, _ = naive.loss(LossInputs(*outputs, batch.labels, naive.classifier, naive.network))  # type: ignore[call-arg]
    naive_total.backward()
    adam.step()
    for (name, found), expected in zip(trainer.network.named_parameters(), naive.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, msg=lambda text, name=name: f"{name}: {text}", atol=1e-5, rtol=1e-4)
    moved = trainer.loss.centres
    assert moved is not None
    pooled = outputs.pooled.detach()
    for identity in batch.labels.unique():
        mean = pooled[batch.labels == identity].mean(dim=0)
        start = centres.weight.detach()[identity]
        # 4 of 16 images: the centre moves 0.5 * 2 * 4 / 16 of the way to the batch mean.
        torch.testing.assert_close(moved.weight[identity], start + 0.25 * (mean - start))


def test_clipping_bounds_the_gradient(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe.with_overrides({"clip_norm": 1e-3}))
    trainer.train_step(trainer.batches.get(1, 1), 1e-3)
    norms = [p.grad.norm() for p in trainer.network.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_the_learning_rate_of_the_centres_is_their_own(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe)
    before = trainer.loss.state_dict()["centres.weight"].clone()
    trainer.train_step(trainer.batches.get(1, 1), 1e-12)
    after = trainer.loss.state_dict()["centres.weight"]
    assert (after - before).abs().max() > 0.01


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_take_the_recipes_numbers(name: str, recipe: Recipe) -> None:
    changes = {"optimiser": name, "weight_decay": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "momentum": 0.7}
    (group,) = network_optimiser(nn.Linear(2, 2), recipe.with_overrides(changes)).param_groups
    assert group["lr"] == recipe.base_lr
    assert group["weight_decay"] == 0.01
    assert group.get("momentum", 0.7) == 0.7
    assert group.get("betas", (0.8, 0.9)) == (0.8, 0.9)
    assert group.get("eps", 1e-6) == 1e-6


# ------------------------------------------------------------------ numerics


def test_losses_are_fp32_inside_autocast(data: PreparedData, recipe: Recipe) -> None:
    recipe = recipe.with_overrides({"loss": "ce"})
    loss = TotalLoss(recipe, 12, 32, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    pooled, embedding = (torch.randn(16, 32, generator=generator).bfloat16() for _ in range(2))
    logits = torch.randn(16, 12, generator=generator).bfloat16()
    labels = torch.arange(4).repeat_interleave(4)
    classifier = nn.Linear(32, 12, bias=False)
    inside = LossInputs(pooled, embedding, logits, labels, classifier, classifier)
    outside = LossInputs(pooled.float(), embedding.float(), logits.float(), labels, classifier, classifier)
    with torch.autocast("cpu", torch.bfloat16):
        found, terms = loss(inside)
    expected, expected_terms = loss(outside)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert {name: value.dtype for name, value in terms.items()} == dict.fromkeys(expected_terms, torch.float32)


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe.with_overrides({"precision": "bf16"}))
    seen: list[torch.dtype] = []
    trainer.network.backbone.get_submodule("layer1.0.conv1").register_forward_hook(
        lambda m, i, out: seen.append(out.dtype)
    )
    total, _ = trainer.train_step(trainer.batches.get(1, 1), 1e-3)
    assert seen == [torch.bfloat16]
    assert total.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in trainer.network.parameters())


def test_precision_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    for supported, expected in ((True, "bf16"), (False, "fp32")):
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda supported=supported: supported, raising=False)
        assert resolve_precision("auto", CPU) == expected
    with pytest.raises(TrainingError, match="fp16 training needs a GPU"):
        resolve_precision("fp16", CPU)
    with autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")
    with autocast("bf16", CPU):
        assert torch.is_autocast_enabled("cpu")


def test_channels_last_by_recipe(data: PreparedData, recipe: Recipe) -> None:
    for wanted in (True, False):
        trainer = make_trainer(data, recipe.with_overrides({"channels_last": wanted}))
        assert trainer.batches.get(1, 1).images.is_contiguous(memory_format=torch.channels_last) == wanted
        weight = trainer.network.backbone.get_submodule("layer1.0.conv1").weight
        assert isinstance(weight, torch.Tensor)
        assert weight.is_contiguous(memory_format=torch.channels_last) == wanted


def test_switches_hold_inside_and_come_back() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with reproducible(7, CPU, deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    with reproducible(7, CPU, deterministic=True, strict=False):  # a user's own blocks
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    with reproducible(7, CPU, deterministic=True):
        assert not torch.backends.cudnn.benchmark
        first = torch.rand(2)
    assert not torch.are_deterministic_algorithms_enabled()
    with reproducible(7, CPU, deterministic=False):
        assert torch.equal(torch.rand(2), first)
        assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.benchmark
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.equal(torch.rand(2), expected)


# ------------------------------------------------------------------ watching the losses


def test_the_monitor_averages_and_goes_on_from_sums() -> None:
    values = [(1.0, 2.0), (3.0, 4.0), (0.1, 0.7)]
    whole, first = LossMonitor(1), LossMonitor(1)
    for n, (total, term) in enumerate(values):
        whole.add(torch.tensor(total), {"a": torch.tensor(term)}, 0.1)
        if n < 2:
            first.add(torch.tensor(total), {"a": torch.tensor(term)}, 0.1)
    second = LossMonitor(1, first.sums(), 2)
    second.add(torch.tensor(0.1), {"a": torch.tensor(0.7)}, 0.1)
    assert second.means() == whole.means()
    assert whole.means() == pytest.approx({"a": 6.7 / 3, "total": 4.1 / 3}, rel=1e-6)
    assert LossMonitor(1).means() == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_monitor_names_the_first_bad_step(bad: float) -> None:
    monitor = LossMonitor(4)
    monitor.add(torch.tensor(1.0), {"a": torch.tensor(1.0)}, 0.5)
    with pytest.raises(Diverged, match=r"epoch 4, step 2, at learning rate 0\.25: a .*, total 1"):
        monitor.add(torch.tensor(1.0), {"a": torch.tensor(bad)}, 0.25)


def test_the_monitor_may_look_later_and_still_names_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.training.monitor.READ_EVERY", {"cpu": 10})
    monitor = LossMonitor(2)
    for value in (1.0, 2.0, float("nan"), float("inf")):
        monitor.add(torch.tensor(value), {"a": torch.tensor(value)}, value)
    with pytest.raises(Diverged, match="epoch 2, step 3"):
        monitor.check()


# ------------------------------------------------------------------ extras


def test_orthogonality_regularisers_train(data: PreparedData, recipe: Recipe) -> None:
    loss = "cross_entropy+feature_orthogonality+weight_orthogonality"
    result = train(CANDIDATE, recipe.with_overrides({"loss": loss, "epochs": 1}), data, seed=1)
    losses = result.epochs[0].losses
    assert losses["feature_orthogonality"] > 0
    weighted = losses["cross_entropy"] + 1e-6 * losses["feature_orthogonality"] + 1e-3 * losses["weight_orthogonality"]
    assert losses["total"] == pytest.approx(weighted, rel=1e-5)


def test_the_feature_regulariser_sees_the_last_map(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe.with_overrides({"loss": "cross_entropy+feature_orthogonality"}))
    batch = trainer.batches.get(1, 1)
    with torch.no_grad():
        expected = trainer.network.feature_map(batch.images)
    trainer.network(batch.images)
    torch.testing.assert_close(trainer._captured[0], expected)


@pytest.mark.parametrize("loss", ["agw", "circle", "circle_pairwise", "triplet"])
def test_every_loss_setup_trains(loss: str, data: PreparedData, recipe: Recipe) -> None:
    result = train(CANDIDATE, recipe.with_overrides({"loss": loss, "epochs": 1}), data, seed=1)
    assert set(result.epochs[0].losses) == {*recipe.with_overrides({"loss": loss}).terms, "total"}


def test_gem_pooling_is_built_and_trained(data: PreparedData, recipe: Recipe) -> None:
    trainer = make_trainer(data, recipe.with_overrides({"pooling": "gem"}))
    exponent = trainer.network.get_parameter("pool.exponent")
    before = exponent.item()
    trainer.train_step(trainer.batches.get(1, 1), 1e-2)
    assert (before, exponent.requires_grad) == (3.0, True)
    assert exponent.item() != before


def test_zero_residual_branches_start_as_shortcuts(data: PreparedData, recipe: Recipe) -> None:
    for name in ("resnet18(width=0.25)", "resnet50(width=0.25)"):
        network = build_network(name, seed=0, input_size=(32, 16))
        zero_residual_branches(network)
        network.eval()
        block = network.backbone.get_submodule("layer1.1")
        x = torch.rand(2, block.get_parameter("conv1.weight").shape[1], 8, 4)
        assert torch.equal(block(x), x)
    with_zeros = Trainer(CANDIDATE, recipe.with_overrides({"zero_residual": True}), data, 1, CPU).network
    assert not with_zeros.get_parameter("backbone.layer1.0.bn2.weight").any()
    plain = Trainer(CANDIDATE, recipe.with_overrides({"zero_residual": False}), data, 1, CPU).network
    assert plain.get_parameter("backbone.layer1.0.bn2.weight").all()


def test_the_classifiers_spread_is_the_recipes(data: PreparedData, recipe: Recipe) -> None:
    network = Trainer(CANDIDATE, recipe.with_overrides({"classifier_std": 0.02}), data, 1, CPU).network
    assert network.get_parameter("classifier.weight").std().item() == pytest.approx(0.02, rel=0.1)


@pytest.fixture
def compiler() -> Iterator[None]:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_a_compiled_network_trains_to_the_same_numbers(data: PreparedData, recipe: Recipe, tmp_path) -> None:
    recipe = recipe.with_overrides({"epochs": 1, "ema_decay": 0.9})
    plain = train(CANDIDATE, recipe, data, seed=1)
    compiled = train(CANDIDATE, recipe.with_overrides({"compile": True}), data, seed=1, checkpoint=tmp_path / "a.pt")
    assert compiled.epochs[0].losses["total"] == pytest.approx(plain.epochs[0].losses["total"], rel=1e-3)
    with pytest.raises(TrainingError, match="belongs to another training: its recipe is"):
        train(CANDIDATE, recipe, data, seed=1, checkpoint=tmp_path / "a.pt")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_on_a_gpu(precision: str, data: PreparedData, recipe: Recipe, tmp_path) -> None:
    recipe = recipe.with_overrides({"precision": precision})
    first, again = (train(CANDIDATE, recipe, data, seed=1, device="cuda") for _ in range(2))
    assert first.epochs[0].losses == again.epochs[0].losses
    assert first.metrics.map == again.metrics.map
    path = tmp_path / "a.pt"
    train(CANDIDATE, recipe, data, seed=1, device="cuda", checkpoint=path, stop_epoch=1)
    resumed = train(CANDIDATE, recipe, data, seed=1, device="cuda", checkpoint=path)
    assert resumed.metrics.map == first.metrics.map
