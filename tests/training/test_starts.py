"""Where a training can start: a source network (transfer), a trained baseline (inherit); and averaged weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from training.conftest import make_split

from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.networks import build_network
from nas.training.checkpoints import load_checkpoint, network_from_checkpoint
from nas.training.ema import AveragedWeights
from nas.training.failures import TrainingInterrupted
from nas.training.inherit import identity_at_start, inherit_weights
from nas.training.recipe import Recipe
from nas.training.run import train
from nas.training.settings import Transfer
from nas.training.trainer import Trainer
from nas.training.transfer import load_source, only_trainable, source_file

BASELINE = "resnet18(width=0.25)"
IDENTITY = f"{BASELINE}+cnl(fuse=add)@5"


@pytest.fixture
def source(data: PreparedData, recipe: Recipe, tmp_path: Path) -> Path:
    """A trained baseline."""
    train(BASELINE, recipe, data, seed=3, checkpoint=tmp_path / "source.pt")
    return tmp_path / "source.pt"


@pytest.fixture
def robot_data() -> PreparedData:
    """Another set with other persons, fewer of them."""
    return PreparedData(
        train=make_split(range(41, 48), 8, seed=5),
        query=make_split(range(61, 65), 3, seed=6),
        gallery=make_split(range(61, 65), 6, seed=7),
        num_classes=7,
        dataset_id="robot",
        size=(32, 16),
        name="robot",
    )


def transfer_recipe(recipe: Recipe, source: Path, head_epochs: int) -> Recipe:
    return recipe.with_overrides({"transfer": {"from": str(source), "head_epochs": head_epochs}})


def test_the_first_step_moves_the_classifier_and_nothing_else(
    source: Path, robot_data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = transfer_recipe(recipe, source, 1)
    path = tmp_path / "robot.pt"
    train(BASELINE, recipe, robot_data, seed=1, checkpoint=path, stop_epoch=1)
    before, after = load_checkpoint(source).weights, load_checkpoint(path).weights
    assert after["classifier.weight"].shape[0] == 7
    for name, value in after.items():
        if name != "classifier.weight":
            assert torch.equal(value, before[name]), name  # BatchNorm statistics too
    fresh = Trainer(network_from_checkpoint(path).candidate, recipe, robot_data, 1, torch.device("cpu")).network
    assert fresh.classifier is not None
    assert not torch.equal(after["classifier.weight"], fresh.classifier.weight)


def test_the_second_step_moves_all_but_the_bnneck_bias(
    source: Path, robot_data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "robot.pt"
    result = train(BASELINE, transfer_recipe(recipe, source, 1), robot_data, seed=1, checkpoint=path)
    assert [sorted(r.losses) for r in result.epochs] == [
        ["cross_entropy", "total"],
        ["center", "cross_entropy", "total", "triplet"],
        ["center", "cross_entropy", "total", "triplet"],
    ]
    before, after = load_checkpoint(source).weights, load_checkpoint(path).weights
    network = network_from_checkpoint(path)
    still = [n for n, p in network.named_parameters() if n != "classifier.weight" and torch.equal(before[n], after[n])]
    assert still == ["bnneck.bias"]
    assert not network.bnneck.bias.any()  # type: ignore[operator, union-attr]


def test_transfer_resumes_to_the_bit_in_both_steps(
    source: Path, robot_data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = transfer_recipe(recipe, source, 1)
    straight = train(BASELINE, recipe, robot_data, seed=1, checkpoint=tmp_path / "straight.pt")
    first = straight.epochs[0].images // recipe.batch
    for after in (1, first, first + 1):
        path, steps = tmp_path / f"{after}.pt", iter(range(1000))
        with pytest.raises(TrainingInterrupted):
            train(BASELINE, recipe, robot_data, seed=1, checkpoint=path, should_stop=lambda: next(steps) == after)  # noqa: B023
        train(BASELINE, recipe, robot_data, seed=1, checkpoint=path)
        one, other = load_checkpoint(path).weights, load_checkpoint(tmp_path / "straight.pt").weights
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_freezing_gives_back_only_what_it_took() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].bias.requires_grad_(False)
    network[2].bias.requires_grad_(False)
    flags = [p.requires_grad for p in network.parameters()]
    with only_trainable(network, network[2]):
        assert [p.requires_grad for p in network.parameters()] == [False, False, False, False, True, False]
    assert [p.requires_grad for p in network.parameters()] == flags
    with pytest.raises(KeyError), only_trainable(network, network[2]):
        raise KeyError
    assert [p.requires_grad for p in network.parameters()] == flags


def test_transfer_refuses_another_network(source: Path, robot_data: PreparedData, recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match="holds resnet18") as error:
        train(IDENTITY, transfer_recipe(recipe, source, 1), robot_data, seed=1)
    assert str(source) in str(error.value)
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        train(BASELINE, transfer_recipe(recipe, source.with_name("no.pt"), 1), robot_data, seed=1)


def test_each_candidate_can_have_its_own_source(
    source: Path, robot_data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    for notation in (BASELINE, IDENTITY):
        network = build_network(notation, seed=0)
        path = source_file(Transfer(source=tmp_path / "{id}.pt"), network.candidate)
        assert path == tmp_path / f"{network.candidate.architecture.id}.pt"
    source.rename(source_file(Transfer(source=tmp_path / "{id}.pt"), build_network(BASELINE).candidate))
    pattern = transfer_recipe(recipe, tmp_path / "{id}.pt", 1)
    assert len(train(BASELINE, pattern, robot_data, seed=1).epochs) == 3
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        train(IDENTITY, pattern, robot_data, seed=1)


def test_transfer_without_identity_loss_is_refused(source: Path, recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match="cross_entropy or circle_softmax"):
        transfer_recipe(recipe, source, 1).with_overrides({"loss": "triplet"})


def test_inherited_features_are_the_baselines(source: Path, data: PreparedData) -> None:
    baseline = network_from_checkpoint(source)
    network = build_network(IDENTITY, num_classes=12, input_size=(32, 16), seed=0)
    assert identity_at_start(network.candidate)
    inherit_weights(network, source)
    images = torch.randn(4, 3, 32, 16)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images), baseline(images))
    assert network.classifier is not None
    assert torch.equal(network.classifier.weight, load_checkpoint(source).weights["classifier.weight"])


def test_blocks_that_scale_say_so() -> None:
    assert not identity_at_start(build_network(f"{BASELINE}+se@3", seed=0).candidate)


def test_inherit_keeps_a_new_classifier_for_other_persons(source: Path) -> None:
    network = build_network(IDENTITY, num_classes=7, input_size=(32, 16), seed=0)
    assert network.classifier is not None
    before = network.classifier.weight.detach().clone()
    inherit_weights(network, source)
    assert torch.equal(network.classifier.weight, before)


def test_inherit_refuses_another_backbone(source: Path) -> None:
    network = build_network("resnet18(width=0.5)", num_classes=12, input_size=(32, 16), seed=0)
    with pytest.raises(TrainingError, match="cannot inherit from"):
        inherit_weights(network, source)


def test_training_from_inherited_weights(source: Path, data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    inherited = recipe.with_overrides({"init": "inherit", "epochs": 1, "base_lr": 1e-9, "weight_decay": 0})
    untouched = train(IDENTITY, inherited, data, seed=1, init_from=source, checkpoint=tmp_path / "a.pt")
    baseline = load_checkpoint(source).weights
    found = load_checkpoint(tmp_path / "a.pt").weights
    for name in ("backbone.conv1.weight", "classifier.weight"):
        torch.testing.assert_close(found[name], baseline[name], atol=1e-6, rtol=0)
    assert untouched.epochs[0].losses["cross_entropy"] < 2.6
    with pytest.raises(TrainingError, match="transfer and init: inherit"):
        train(IDENTITY, transfer_recipe(inherited, source, 1), data, seed=1, init_from=source)


def test_averaged_weights_follow_the_definition() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    averaged = AveragedWeights(network, 0.9)
    expected = [p.detach().clone() for p in network.parameters()]
    for n in range(1, 31):
        for parameter in network.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        network(torch.randn(5, 2))
        averaged.update(network)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = [decay * e + (1 - decay) * p.detach() for e, p in zip(expected, network.parameters(), strict=True)]
    for average, value in zip(averaged.network.parameters(), expected, strict=True):
        torch.testing.assert_close(average, value)
        assert not average.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(averaged.network.buffers(), network.buffers(), strict=True))


def test_averaged_weights_are_scored_and_kept(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    train(BASELINE, recipe.with_overrides({"ema_decay": 0.99}), data, seed=1, checkpoint=path)
    saved = load_checkpoint(path)
    assert saved.averaged is not None
    network = network_from_checkpoint(path)
    raw = saved.network["backbone.conv1.weight"]
    assert torch.equal(network.state_dict()["backbone.conv1.weight"], saved.averaged["backbone.conv1.weight"])
    assert not torch.equal(network.state_dict()["backbone.conv1.weight"], raw)


def test_source_weights_need_a_fitting_network(source: Path) -> None:
    with pytest.raises(TrainingError, match="not resnet18"):
        load_source(build_network("resnet18(width=0.5)", num_classes=3, input_size=(32, 16)), source)
