"""All candidates of a seed see the same batches and start from the same trunk, whatever their blocks draw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.data.prepared import PreparedData
from nas.spaces import Candidate, own_code
from nas.training.batches import Batch
from nas.training.recipe import Recipe
from nas.training.reproducible import reproducible
from nas.training.trainer import Trainer

CPU = torch.device("cpu")
TRUNK = "resnet18(width=0.25)"
CANDIDATES = (TRUNK, f"{TRUNK}+se@2", f"{TRUNK}+raga@4,6+cnl@8", f"{TRUNK}+noisy_block:Noisy@3,7")
NOISY = '''
import torch
from nas.networks.blocks import AttentionBlock
from nas.spaces import BlockSpec

class Noisy(AttentionBlock):
    """Draws when it is made and in every forward, as dropout does."""

    spec = BlockSpec("noisy", "Noisy", "mixed", (), "this test", "Random numbers.")

    def __init__(self, shape):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(1000))

    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.1, self.training) + 0.0 * self.weight.sum()
'''


@pytest.fixture(autouse=True)
def _noisy_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "noisy_block.py").write_text(NOISY)
    monkeypatch.syspath_prepend(str(tmp_path))
    own_code.trust(["noisy_block:Noisy"])
    yield
    sys.modules.pop("noisy_block", None)


def trained(
    candidate: str, data: PreparedData, recipe: Recipe, seed: int
) -> tuple[dict[str, torch.Tensor], list[Batch]]:
    """What a candidate has at its start beside its blocks, and the batches of its first steps."""
    with reproducible(seed, CPU, deterministic=True):
        trainer = Trainer(Candidate.parse(candidate), recipe, data, seed, CPU)
        shared = {k: v.clone() for k, v in trainer.network.state_dict().items() if not k.startswith("blocks.")}
        shared["centres"] = trainer.loss.state_dict()["centres.weight"].clone()
        trainer.prepare()
        trainer.network.train()
        batches = []
        for step in (1, 2, 3):
            batches.append(trainer.batches.get(1, step))
            trainer.train_step(batches[-1], 1e-3)
    return shared, batches


def test_candidates_of_a_seed_share_batches_and_everything_but_their_blocks(data: PreparedData, recipe: Recipe) -> None:
    first, *others = [trained(candidate, data, recipe, seed=4) for candidate in CANDIDATES]
    for shared, batches in others:
        assert list(shared) == list(first[0])
        assert all(torch.equal(shared[name], value) for name, value in first[0].items())
        for mine, theirs in zip(batches, first[1], strict=True):
            assert torch.equal(mine.labels, theirs.labels)
            assert torch.equal(mine.images, theirs.images)


def test_another_seed_changes_all_of_it(data: PreparedData, recipe: Recipe) -> None:
    (shared, batches), (others, theirs) = (trained(TRUNK, data, recipe, seed) for seed in (4, 5))
    for name in ("backbone.conv1.weight", "classifier.weight", "centres"):
        assert not torch.equal(shared[name], others[name])
    assert not torch.equal(batches[0].images, theirs[0].images)
