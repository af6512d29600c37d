"""On the stand-in: whole trainings, evaluation, memory, recorded steps. Run by `test_on_the_standin.py`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import standin
import torch
from standin_builders import CANDIDATE, EVERYTHING, prepared, recipe, trainer

from nas.data.prepared import fits
from nas.errors import TrainingError
from nas.networks import build_network
from nas.networks.folding import fold_batchnorm
from nas.retrieval import evaluate
from nas.training import FeatureExtractor, train
from nas.training.failures import Diverged, OutOfMemory
from nas.training.fidelity import Fidelity


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_goes_through_and_is_resumed(device: str, precision: str, tmp_path: Path) -> None:
    other = 1 - torch.device(device).index
    before, data, path = standin.used(other), prepared(), tmp_path / "a.pt"
    own = recipe(precision=precision, augmentation=EVERYTHING, ema_decay=0.9, evaluate_every=1)
    train(CANDIDATE, own, data, seed=1, device=device, checkpoint=path, stop_epoch=1)
    found = train(CANDIDATE, own, data, seed=1, device=device, checkpoint=path)
    assert (found.precision, [record.epoch for record in found.epochs]) == (precision, [1, 2])
    assert standin.used(other) == before
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("evaluation", ["fp32", "training"])
def test_transfer_and_starts(evaluation: str, tmp_path: Path) -> None:
    data, path = prepared(), tmp_path / "a.pt"
    own = recipe(precision="bf16", evaluation_precision=evaluation)
    train(CANDIDATE, own, data, seed=1, device="cuda:1", checkpoint=path)
    further = own.with_overrides({"transfer": {"from": str(path), "head_epochs": 1}})
    assert len(train(CANDIDATE, further, data, seed=1, device="cuda:1").epochs) == 3
    warm = train(f"{CANDIDATE}+se@4", own, data, seed=1, device="cuda:1", init_from=path, fidelity=Fidelity(epochs=1))
    assert len(warm.epochs) == 1
    features = FeatureExtractor(path, "cuda:1")
    with contextlib.suppress(Diverged):  # kernels do nothing: features are whatever lay there
        features([np.zeros((8, 4, 3), np.uint8)])


def test_auto_stays_what_it_was_where_a_training_began(tmp_path: Path) -> None:
    data, path = prepared(), tmp_path / "a.pt"
    first = train(
        CANDIDATE, recipe(precision="auto"), data, seed=1, device="cpu", checkpoint=path, stop_epoch=1, precision="fp32"
    )
    again = train(CANDIDATE, recipe(precision="auto"), data, seed=1, device="cuda:0", checkpoint=path)
    assert (first.precision, again.precision) == ("fp32", "fp32")
    assert train(CANDIDATE, recipe(precision="auto"), data, seed=1, device="cuda:0").precision == "bf16"


def test_evaluation_on_its_device() -> None:
    before, rng = standin.used(0), np.random.default_rng(0)
    query, gallery = (torch.from_numpy(rng.normal(size=(n, 8))).to("cuda:1") for n in (6, 20))
    persons = np.repeat([1, 2, 3], 2), np.ones(6, int), np.arange(20) % 3 + 1, np.full(20, 2)
    assert evaluate(query, *persons[:2], gallery, *persons[2:]).valid_queries == 6
    assert standin.used(0) == before


def test_a_network_on_a_card_is_folded_there_for_export() -> None:
    before = standin.used(0)
    network = build_network(f"{CANDIDATE}+cnl@4", input_size=(32, 16), seed=0).to("cuda:1").eval()
    folded = fold_batchnorm(network)
    assert {p.device for net in (network, folded) for p in net.parameters()} == {torch.device("cuda:1")}
    assert standin.used(0) == before


def test_memory_comes_back_when_it_ran_out_and_the_next_training_goes_through() -> None:
    data = prepared()
    train(CANDIDATE, recipe(), data, seed=1, device="cuda:0")
    torch.cuda.empty_cache()
    before = standin.used(0)
    keep: list[torch.Tensor] = []

    def fill() -> None:
        keep.append(torch.empty(1 << 40, dtype=torch.uint8, device="cuda:0"))

    with pytest.raises(OutOfMemory, match=r"out of memory on cuda:0 with a batch of 6 in fp32"):
        train(CANDIDATE, recipe(), data, seed=1, device="cuda:0", between_steps=fill)
    assert standin.used(0) <= before
    assert len(train(CANDIDATE, recipe(), data, seed=1, device="cuda:0").epochs) == 2


def test_what_torch_keeps_of_a_card_without_using_it_is_free() -> None:
    total = torch.cuda.mem_get_info(0)[1]
    held = torch.empty(int(0.9 * total), dtype=torch.uint8, device="cuda:0")
    assert not fits(total // 8, "cuda:0")
    del held
    assert standin.used(0) > 0.9 * total  # in torch's cache
    assert fits(total // 8, "cuda:0")
    torch.cuda.empty_cache()


def test_prepared_pixels_are_not_moved_twice() -> None:
    data = prepared().to("cuda")
    assert data.train.device == torch.device("cuda:0")
    assert data.to("cuda:0").train is data.train
    assert data.to("cuda").train is data.train


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_recorded_step_is_whole_and_replayed(precision: str) -> None:
    made = trainer(
        "cuda:1",
        precision=precision,
        capture=True,
        ema_decay=0.9,
        clip_norm=1.0,
        block_lr_factor=2.0,
        augmentation=EVERYTHING,
    )
    for step in range(1, 5):
        total, _ = made.train_step(made.batches.get(1, step), 0.01)
    assert total.device == torch.device("cuda:1")
    with standin.watched() as calls:
        for step in range(5, 8):
            made.train_step(made.batches.get(1, step), 0.01)
    assert calls.waits == {}
    assert calls.numbers["graph launch"] == 3
    assert calls.launches < 3 * 120  # augmentation, the copies of the batch, the averaged weights
    assert calls.numbers["work on the default stream while capturing"] == 0


def test_a_recorded_training_goes_through() -> None:
    assert len(train(CANDIDATE, recipe(capture=True), prepared(), seed=1, device="cuda:0").epochs) == 2


def test_nothing_that_waits_can_be_recorded() -> None:
    """The rule of capture that a loss with a wait in it would break."""
    value, graph = torch.ones(3, device="cuda:0"), torch.cuda.CUDAGraph()
    with pytest.raises(Exception, match="captur"), torch.cuda.graph(graph):
        float(value.sum())


def test_what_needs_a_gpu_says_so() -> None:
    with pytest.raises(TrainingError, match="capture: true records a GPU's work"):
        train(CANDIDATE, recipe(capture=True), prepared(), seed=1, device="cpu")
    with pytest.raises(TrainingError, match="no device cuda:7, only 2 of them"):
        train(CANDIDATE, recipe(), prepared(), seed=1, device="cuda:7")
