"""An augmentation of one's own: the how-to's function as it stands, by `module:name` and by entry point."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.data.augment import BatchAugmenter
from nas.data.augmentation import Augmentation
from nas.errors import DataError, SpaceError, TrainingError
from nas.spaces import own_code
from nas.training.recipe import Recipe, load_recipe

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-augmentation.md"
CODE, TOML = (
    re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0] for language in ("python", "toml")
)
NAME = "my_steps:rain"
PLAIN = Augmentation(flip=0, pad=0, erasing=0)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_steps.py").write_text(CODE + "\n\ndef smaller(images, generator):\n    return images[:, :, 1:]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_steps", None)
    own_code._trusted.clear()
    yield tmp_path
    sys.modules.pop("my_steps", None)
    own_code._trusted.clear()


def augmenter(**own: object) -> BatchAugmenter:
    return BatchAugmenter(PLAIN.model_copy(update={"own": own}), (16, 8))


def images() -> torch.Tensor:
    return torch.randint(0, 200, (3, 3, 16, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_it_changes_images_by_its_own_random_numbers(module: Path) -> None:
    own_code.trust([NAME])
    rain = augmenter(**{NAME: {"drops": 2, "length": 3}})
    one, again, other = (rain(images(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    dry = augmenter().normalise(images())
    assert 3 <= int((one != dry).any(1).flatten(1).sum(1).min()) <= 6
    wet = rain.normalise(torch.full((1, 3, 16, 8), 230, dtype=torch.uint8))[0, :, 0, 0]
    changed = (one != dry).any(1)
    torch.testing.assert_close(one.permute(0, 2, 3, 1)[changed], wet.expand(int(changed.sum()), 3))


def test_the_other_random_numbers_stay_what_they_are_without(module: Path) -> None:
    own_code.trust([NAME])
    usual = Augmentation(brightness=0.2)
    with_own = usual.model_copy(update={"own": {NAME: {"drops": 0}}})
    found = [BatchAugmenter(a, (16, 8))(images(), torch.Generator().manual_seed(4)) for a in (usual, with_own)]
    torch.testing.assert_close(*found)
    several = BatchAugmenter(with_own, (16, 8)).draw_all(3, [7, 8])
    assert [int(draws.own[0]) for draws in several] == [
        int(BatchAugmenter(with_own, (16, 8)).draw(3, torch.Generator().manual_seed(seed)).own[0]) for seed in (7, 8)
    ]


def test_ids_of_recipes_without_stay(module: Path) -> None:
    assert "own" not in Recipe().to_dict()["augmentation"]
    named = load_recipe({"augmentation": {"own": {NAME: {"drops": 2}}}})
    assert load_recipe(named.to_dict()) == named
    assert named.id != Recipe().id
    assert named.own_code == {NAME}
    assert own_code.named_in(named.to_dict()) == {NAME}


def test_what_does_not_work_is_one_sentence(module: Path) -> None:
    with pytest.raises(TrainingError, match=r"unknown augmentation 'rain'.*one of your own is written as module:name"):
        load_recipe({"augmentation": {"own": {"rain": {}}}})
    with pytest.raises(SpaceError, match=f"uses code that was not named here: {NAME}"):
        augmenter(**{NAME: {}})(images())
    assert augmenter(**{NAME: {}}).normalise(images()).shape == (3, 3, 16, 8)  # an evaluation runs nothing of it
    own_code.trust([NAME, "my_steps:smaller"])
    with pytest.raises(DataError, match=r"my_steps:smaller must give images of \(3, 3, 16, 8\), not \(3, 3, 15, 8\)"):
        augmenter(**{"my_steps:smaller": {}})(images())
    with pytest.raises(
        SpaceError, match=r"rain cannot be made with its settings: .*unexpected keyword argument 'size'"
    ):
        augmenter(**{NAME: {"size": 2}})(images())


def test_by_entry_point_of_an_installed_package(module: Path) -> None:
    installed = module / "my_steps-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-steps\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(TOML.replace('"', "").replace("[project.entry-points.", "["))
    importlib.invalidate_caches()
    recipe = load_recipe({"augmentation": {"own": {"rain": {"drops": 3}}}})
    found = BatchAugmenter(recipe.augmentation, (16, 8))(images(), torch.Generator().manual_seed(1))
    assert torch.isfinite(found).all()
