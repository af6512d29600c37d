"""Pretrained weights are found, and seen to fit every backbone, before a training begins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18, resnet34

from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.networks import build_network
from nas.spaces import Candidate
from nas.training.pretrained import require_pretrained
from nas.training.recipe import Recipe, load_recipe
from nas.training.trainer import Trainer

BASELINE, REFERENCE = Candidate.parse("resnet18+se@3"), Candidate.parse("resnet34")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Weights of both backbones in files of one's own."""
    torch.manual_seed(0)
    found = {}
    for name, model in (("resnet18", resnet18), ("resnet34", resnet34)):
        found[name] = str(tmp_path / f"{name}.pth")
        torch.save(model().state_dict(), found[name])
    return found


def test_a_file_a_backbone(files: dict[str, str]) -> None:
    recipe = load_recipe({"weights": files})
    assert require_pretrained([BASELINE, REFERENCE, BASELINE], recipe) == [Path(p) for p in files.values()]
    assert load_recipe(recipe.to_dict()) == recipe
    assert recipe.id != load_recipe({"weights": files["resnet18"]}).id


def test_one_file_for_two_backbones_is_refused_with_the_way_out(files: dict[str, str]) -> None:
    recipe = load_recipe({"weights": files["resnet18"]})
    assert require_pretrained([BASELINE], recipe) == [Path(files["resnet18"])]
    with pytest.raises(TrainingError, match=r"does not fit resnet34: .* is missing in the file") as caught:
        require_pretrained([BASELINE, REFERENCE], recipe)
    assert "weights: {resnet18: FILE, resnet34: FILE}" in str(caught.value.hint)


def test_random_weights_need_no_file(files: dict[str, str]) -> None:
    assert require_pretrained([BASELINE, REFERENCE], load_recipe({"weights": "none"})) == []
    some = load_recipe({"weights": {"resnet18": files["resnet18"], "resnet34": "none"}})
    assert require_pretrained([BASELINE, REFERENCE], some) == [Path(files["resnet18"])]


def test_a_backbone_that_is_not_listed(files: dict[str, str]) -> None:
    with pytest.raises(TrainingError, match="weights name resnet18, but not resnet34"):
        require_pretrained([BASELINE, REFERENCE], load_recipe({"weights": {"resnet18": files["resnet18"]}}))
    with pytest.raises(TrainingError, match="did you mean 'resnet18'"):
        load_recipe({"weights": {"resnet81": "x.pth"}})


def test_a_missing_file_of_the_reference(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no weights file at .*absent\.pth"):
        require_pretrained([BASELINE, REFERENCE], load_recipe({"weights": files | {"resnet34": "absent.pth"}}))


def test_a_training_starts_from_its_own_backbones_file(
    files: dict[str, str], data: PreparedData, recipe: Recipe
) -> None:
    chosen = recipe.with_overrides({"weights": files})
    trainer = Trainer(Candidate.parse("resnet18+agw@5"), chosen, data, seed=3, device=torch.device("cpu"))
    expected = build_network("resnet18", weights=files["resnet18"], input_size=data.size, seed=3)
    for name, value in expected.backbone.state_dict().items():
        assert torch.equal(value, trainer.network.backbone.state_dict()[name]), name
