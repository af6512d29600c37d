"""Heads, losses and samplers of one's own: the how-tos' modules as they stand, by `module:name` and by entry point."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from nas.data.prepared import PackedSplit, PreparedData
from nas.errors import DataError, SpaceError, TrainingError
from nas.networks import build_network
from nas.search.environment import environment
from nas.spaces import own_code
from nas.training.batches import TrainingBatches
from nas.training.checkpoints import Checkpoint, network_from_checkpoint, network_settings
from nas.training.losses import LossInputs, TotalLoss
from nas.training.recipe import Recipe, load_recipe

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-head-or-loss.md"
CODE, TOML = (
    re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0] for language in ("python", "toml")
)
CPU = torch.device("cpu")
RECIPE = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0])


def forget() -> None:
    """As in a new process: nothing is trusted, nothing imported."""
    sys.modules.pop("my_parts", None)
    own_code._trusted.clear()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_parts.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()


def losses(recipe: Recipe) -> dict[str, torch.Tensor]:
    """The terms of one batch."""
    network = build_network(
        "resnet18(width=0.25)", num_classes=3, input_size=(64, 32), seed=0, **network_settings(recipe)
    )
    found, labels = network.train()(torch.randn(6, 3, 64, 32)), torch.tensor([0, 0, 1, 1, 2, 2])
    inputs = LossInputs(found.pooled, found.embedding, found.logits, labels, network.classifier, network)
    total, terms = TotalLoss(recipe, 3, network.embedding_dim, pooled_dim=network.pooled_dim)(inputs)
    assert torch.isfinite(total)
    terms["total"] = total
    return terms


def test_the_how_to_s_recipe_trains_with_its_head_and_loss(module: Path) -> None:
    own_code.trust(own_code.named_in(RECIPE))
    recipe = load_recipe(RECIPE)
    assert recipe.own_code == {"my_parts:mean_and_max", "my_parts:focal"}
    terms = losses(recipe)
    expected = 0.5 * terms["my_parts:focal"] + terms["triplet"]
    torch.testing.assert_close(terms["total"].detach(), expected)
    network = build_network("resnet18(width=0.25)", input_size=(64, 32), **network_settings(recipe))
    assert network.eval()(torch.randn(2, 3, 64, 32)).shape == (2, 64)


def test_data_import_nothing(module: Path) -> None:
    (module / "my_parts.py").write_text("raise SystemExit('imported')")
    recipe = load_recipe(RECIPE)
    checkpoint = Checkpoint(
        candidate=build_network("resnet18(width=0.25)", input_size=(64, 32)).candidate,
        recipe=recipe,
        dataset_id="d",
        seed=0,
        input_size=(64, 32),
        num_classes=3,
        epoch=1,
        step=0,
        network={},
        averaged=None,
        training={},
        records=(),
    )
    with pytest.raises(SpaceError, match="uses code that was not named here: my_parts:mean_and_max"):
        network_from_checkpoint(checkpoint)


def test_by_entry_points_of_an_installed_package(module: Path) -> None:
    installed = module / "my_parts-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 1.0\n")
    table = TOML.replace('"', "").replace("[project.entry-points.", "[")
    (installed / "entry_points.txt").write_text(table)
    importlib.invalidate_caches()
    recipe = load_recipe({"head": "mean_and_max", "loss": "focal+triplet", "own_losses": {"focal": {"gamma": 1.0}}})
    assert {"focal", "triplet"} < set(losses(recipe))
    assert recipe.own_code == {"my_parts:mean_and_max", "my_parts:focal"}
    assert environment()["libraries"]["my-parts"] == "1.0"
    with pytest.raises(TrainingError, match="did you mean 'focal'"):
        load_recipe({"loss": "fokal"})


def test_what_is_no_head_or_loss_is_one_sentence(module: Path) -> None:
    (module / "my_parts.py").write_text(
        CODE + "\n\nclass Learned(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.w = nn.Parameter(torch.ones(1))\n\n\ndef no_head(shape, pooling):\n    return pooling\n"
    )
    own_code.trust(["my_parts:Learned", "my_parts:no_head", "my_parts:focal", "my_parts:gone"])
    with pytest.raises(TrainingError, match="loss my_parts:Learned has parameters, which no optimiser trains"):
        TotalLoss(Recipe(loss="my_parts:Learned"), 3, 8)
    for name in ("my_parts:Learned", "my_parts:focal"):
        with pytest.raises(SpaceError, match=rf"loss {name} cannot be made with its settings: .*'size'"):
            TotalLoss(load_recipe({"loss": name, "own_losses": {name: {"size": 2}}}), 3, 8)
    with pytest.raises(SpaceError, match=r"head my_parts:no_head must return a nas.networks.Head"):
        build_network("resnet18", head="my_parts:no_head")
    with pytest.raises(SpaceError, match="loss 'my_parts:gone': module 'my_parts' has no class 'gone'"):
        TotalLoss(Recipe(loss="my_parts:gone"), 3, 8)


def test_sums_of_losses_name_code_of_one_s_own() -> None:
    assert own_code.named_in({"loss": "a.b:focal+triplet"}) == {"a.b:focal"}
    assert own_code.named_in({"loss": "triplet+a:focal+c:d"}) == {"a:focal", "c:d"}
    assert own_code.named_in("resnet50+c.d:E(x=1)@8") == {"c.d:E"}


# ---------------------------------------------------------------- samplers

SAMPLER = re.findall(r"```python\n(.*?)```", (HOW_TO.parent / "own-sampler.md").read_text(), re.DOTALL)[0]


@pytest.fixture
def sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_batches.py").write_text(
        SAMPLER
        + "\n\nclass Far(BesideEachOther):\n    def plan(self, epoch):\n        return super().plan(epoch) + 1000\n"
        "\n\nclass Flat(BesideEachOther):\n    def plan(self, epoch):\n        return super().plan(epoch)[0]\n"
        "\n\nclass Listed(BesideEachOther):\n    def plan(self, epoch):\n        return super().plan(epoch).tolist()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_batches", None)
    own_code._trusted.clear()
    yield tmp_path
    sys.modules.pop("my_batches", None)
    own_code._trusted.clear()


def batches(split: PackedSplit, name: str) -> TrainingBatches:
    return TrainingBatches(split, load_recipe({"extends": "quickstart", "sampler": name, "identities": 2}), 1, CPU)


def test_a_sampler_of_one_s_own_makes_the_batches(sampler: Path, data: PreparedData) -> None:
    own_code.trust([f"my_batches:{name}" for name in ("BesideEachOther", "Far", "Flat", "Listed")])
    found = batches(data.train, "my_batches:BesideEachOther")
    persons = len(data.train.labels.unique())
    assert found.steps(1) == persons // 2
    first, again = found.get(1, 1), batches(data.train, "my_batches:BesideEachOther").get(1, 1)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.images, batches(data.train, "my_batches:Listed").get(1, 1).images)
    assert sorted(first.labels.bincount()[first.labels.unique()].tolist()) == [4, 4]
    recipe = load_recipe({"sampler": "my_batches:BesideEachOther"})
    assert recipe.own_code == {"my_batches:BesideEachOther"}
    assert recipe.id != Recipe().id
    with pytest.raises(DataError, match="my_batches:Far names images that are not there"):
        batches(data.train, "my_batches:Far")
    with pytest.raises(DataError, match=r"plan of sampler my_batches:Flat must give whole numbers"):
        batches(data.train, "my_batches:Flat")


def test_samplers_that_cannot_be_found(sampler: Path, data: PreparedData) -> None:
    with pytest.raises(TrainingError, match="unknown sampler 'kp'; did you mean 'pk'"):
        load_recipe({"sampler": "kp"})
    with pytest.raises(SpaceError, match="uses code that was not named here: my_batches:BesideEachOther"):
        batches(data.train, "my_batches:BesideEachOther")
