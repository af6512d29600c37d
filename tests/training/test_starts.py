"""Where a training can start: a source network (transfer), a trained plain network; and averaged weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training.conftest import make_split

from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.files.hashes import sha256_of
from nas.networks import build_network
from nas.training.checkpoints import load_checkpoint, network_from_checkpoint, save_checkpoint
from nas.training.ema import AveragedWeights
from nas.training.failures import TrainingInterrupted
from nas.training.recipe import Recipe
from nas.training.run import train
from nas.training.settings import Transfer
from nas.training.start import StartingPoint, start_from
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
    with pytest.raises(TrainingError, match="needs one of arcface, circle_softmax, cosface, cross_entropy"):
        transfer_recipe(recipe, source, 1).with_overrides({"loss": "triplet"})


def test_a_warm_start_takes_over_trunk_neck_and_classifier(source: Path, data: PreparedData) -> None:
    plain = network_from_checkpoint(source)
    network = build_network(f"{BASELINE}+se(start=identity)@3+cnl(fuse=add)@5", num_classes=12, input_size=(32, 16))
    start_from(network, source)
    images = torch.randn(4, 3, 32, 16)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images), plain(images))
    weights = load_checkpoint(source).weights
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("blocks.")}
    assert list(own) == list(weights)
    assert all(torch.equal(own[name], weights[name]) for name in own)


def test_controls_move_all_weights_at_rounding_level_each_its_own_way(source: Path) -> None:
    plain = dict(network_from_checkpoint(source).named_parameters())
    moved = []
    for number in (0, 1, 1, 2):
        network = build_network(BASELINE, num_classes=12, input_size=(32, 16))
        start_from(network, source, moved=number)
        moved.append(network.state_dict()["backbone.conv1.weight"])
        for name, value in network.named_parameters():
            torch.testing.assert_close(value, plain[name], rtol=1e-5, atol=0)
    still, one, again, two = moved
    assert torch.equal(still, plain["backbone.conv1.weight"])
    assert torch.equal(one, again)
    assert (one != still).float().mean() > 0.8
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    ("candidate", "classes", "words"),
    [
        ("resnet18(width=0.5)", 12, "cannot start from"),
        ("resnet34(width=0.25)+se@3", 12, "cannot start from"),
        (BASELINE, 7, "trained on 12 identities, but there are 7 here"),
    ],
)
def test_starts_that_do_not_fit(candidate: str, classes: int, words: str, source: Path) -> None:
    network = build_network(candidate, num_classes=classes, input_size=(32, 16), seed=0)
    with pytest.raises(TrainingError, match=words):
        start_from(network, source)


def test_a_start_of_images_of_another_size_does_not_fit(source: Path) -> None:
    network = build_network(BASELINE, num_classes=12, input_size=(48, 48), seed=0)
    with pytest.raises(TrainingError, match=r"was trained on images of 32x16, but they are 48x48 here"):
        start_from(network, source)


def test_starts_with_blocks_or_still_training_are_refused(data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    train(IDENTITY, recipe, data, seed=3, checkpoint=tmp_path / "blocks.pt", stop_epoch=1)
    train(BASELINE, recipe, data, seed=3, checkpoint=tmp_path / "half.pt", stop_epoch=1)
    network = build_network(BASELINE, num_classes=12, input_size=(32, 16), seed=0)
    with pytest.raises(TrainingError, match="which has blocks; a start is a plain network"):
        start_from(network, tmp_path / "blocks.pt")
    with pytest.raises(TrainingError, match="not trained to its end: 1 of 2 epochs"):
        start_from(network, tmp_path / "half.pt")
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        start_from(network, tmp_path / "none.pt")


def test_a_fine_tuning_goes_on_from_its_start_and_is_resumed_from_no_other(
    source: Path, data: PreparedData, recipe: Recipe, tmp_path: Path
) -> None:
    still = recipe.with_overrides({"epochs": 2, "base_lr": 1e-9, "weight_decay": 0})
    path = tmp_path / "a.pt"
    found = train(IDENTITY, still, data, seed=1, init_from=source, checkpoint=path, stop_epoch=1)
    weights, plain = load_checkpoint(path).weights, load_checkpoint(source).weights
    for name in ("backbone.conv1.weight", "classifier.weight"):
        torch.testing.assert_close(weights[name], plain[name], atol=1e-6, rtol=0)
    assert found.epochs[0].losses["cross_entropy"] < 2.6
    assert load_checkpoint(path).start == StartingPoint(source).id
    for start, moved in ((None, 0), (source, 1)):
        with pytest.raises(TrainingError, match="belongs to another training: its start is"):
            train(IDENTITY, still, data, seed=1, init_from=start, moved=moved, checkpoint=path)
    assert len(train(IDENTITY, still, data, seed=1, init_from=source, checkpoint=path).epochs) == 2
    # The same weights in another file are the same start; so are they where a checkpoint knew it by its whole file.
    again = tmp_path / "again.pt"
    save_checkpoint(replace(load_checkpoint(source), records=()), again)
    assert sha256_of(again) != sha256_of(source)
    assert StartingPoint(again, 2).id == StartingPoint(source, 2).id != StartingPoint(path, 2).id
    half = replace(load_checkpoint(path), start=StartingPoint(again).former_id)
    save_checkpoint(half, path)
    assert train(IDENTITY, still, data, seed=1, init_from=again, checkpoint=path).checkpoint_sha256
    with pytest.raises(TrainingError, match="transfer and a start both say"):
        train(IDENTITY, transfer_recipe(still, source, 1), data, seed=1, init_from=source)


def test_averaged_weights_follow_the_definition() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    averaged = AveragedWeights(network, 0.9)
    expected = [p.detach().clone() for p in network.parameters()]
    for n in range(1, 31):
        for parameter in network.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        network(torch.randn(5, 2))
        averaged.update()
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


def test_half_a_training_is_no_source(source: Path, robot_data: PreparedData, recipe: Recipe, tmp_path: Path) -> None:
    save_checkpoint(replace(load_checkpoint(source), epoch=0), tmp_path / "half.pt")
    with pytest.raises(TrainingError, match=r"half\.pt is not trained to its end: 0 of \d+ epochs"):
        train(BASELINE, transfer_recipe(recipe, tmp_path / "half.pt", 1), robot_data, seed=1)
