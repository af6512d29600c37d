"""On the stand-in: what a training step asks of its device. Run by `test_on_the_standin.py`."""

from __future__ import annotations

import pytest
import standin
import torch
from standin_builders import EVERYTHING, trainer

from nas.spaces.blocks import block_names
from nas.training.losses import TotalLoss
from nas.training.monitor import LossMonitor
from nas.training.recipe import LOSS_SETUPS, LOSS_TERMS
from nas.training.reproducible import reproducible
from nas.training.trainer import Trainer

WAITING_TERMS = {"feature_orthogonality", "weight_orthogonality"}
"""Their eigenvalues come from cuSOLVER, which is not stood in for; on a real GPU they wait, and must."""
TRITON_BLOCKS = {"gc", "raga"}
"""torch reduces some shapes by kernels that Triton compiles for a card, and this one has none of its resources."""
LOSSES = [*LOSS_SETUPS, *sorted(set(LOSS_TERMS) - WAITING_TERMS - {"center"})]
LAUNCHES = 1200
"""Kernels of a step of ResNet-18 with everything on, at most; without cuDNN each image of a convolution has its own."""


def steps(made: Trainer, first: int, last: int, monitor: LossMonitor | None = None) -> None:
    for step in range(first, last + 1):
        total, terms = made.train_step(made.batches.get(1, step), 0.01)
        if monitor is not None:
            monitor.add(total, terms, 0.01)


def watched_steps(made: Trainer, number: int = 3) -> standin.Calls:
    """What some steps after the second do; the first ones make tensors that stay."""
    monitor = LossMonitor(1)
    steps(made, 1, 2, monitor)
    with standin.watched() as calls:
        steps(made, 3, 2 + number, monitor)
    return calls


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_no_step_waits_for_its_device(device: str, precision: str) -> None:
    other = 1 - torch.device(device).index
    before = standin.used(other)
    made = trainer(device, precision=precision, augmentation=EVERYTHING, ema_decay=0.9, clip_norm=1.0)
    calls = watched_steps(made)
    assert calls.waits == {}
    assert calls.numbers["copy to host"] == 0
    assert calls.numbers["work on a stream of another device"] == 0
    assert standin.used(other) == before
    assert 100 < calls.launches / 3 < LAUNCHES
    print(f"{device} {precision}: {calls.launches / 3:.0f} launches a step")


@pytest.mark.parametrize("loss", LOSSES)
def test_no_loss_waits(loss: str) -> None:
    assert watched_steps(trainer("cuda:1", loss=loss, precision="fp16")).waits == {}


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_no_optimiser_waits(optimiser: str) -> None:
    made = trainer("cuda:1", "resnet18(width=0.25)+se@4", optimiser=optimiser, block_lr_factor=2.0, precision="fp16")
    assert watched_steps(made).waits == {}


def test_pixels_from_the_machines_memory_are_pinned_and_nothing_waits() -> None:
    made = trainer("cuda:1", on_device=False, augmentation=EVERYTHING)
    calls = watched_steps(made)
    assert calls.waits == {}
    assert calls.numbers["copy to device"] > 3


def test_batches_are_the_same_wherever_the_pixels_are() -> None:
    """Kernels do nothing here: what is compared is what the processor does."""
    ahead, beside = trainer("cuda:0", on_device=False).batches, trainer("cpu").batches
    for epoch, step in [(1, 1), (1, 2), (1, 3), (1, 8), (2, 1), (1, 2)]:
        found, expected = ahead._half_ahead(epoch, step), beside._half(epoch, step)
        assert torch.equal(found.indices, expected.indices)
        pairs = zip(vars(found.draws).values(), vars(expected.draws).values(), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
        assert found.pixels is not None
        assert found.pixels.is_pinned()
        assert torch.equal(found.pixels, beside.split.gather(expected.indices))


def test_losses_are_read_once_in_twenty_steps() -> None:
    made, monitor = trainer("cuda:0"), LossMonitor(1)
    total, terms = made.train_step(made.batches.get(1, 1), 0.01)
    for number in (1, 2, 3):
        with standin.watched() as calls:
            for _ in range(20):
                monitor.add(total, terms, 0.01)
        assert sum(calls.waits.values()) == 1, (number, calls.waits)
        assert calls.launches <= 20


def test_torch_itself_finds_no_wait_in_ordinary_steps() -> None:
    made, monitor = trainer("cuda:0", precision="fp16", augmentation=EVERYTHING, ema_decay=0.9), LossMonitor(1)
    steps(made, 1, 2, monitor)
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps(made, 3, 5, monitor)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("block", sorted(set(block_names()) - TRITON_BLOCKS))
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_block_waits_leaves_its_device_or_depends_on_the_order_of_sums(block: str, precision: str) -> None:
    """Strictly deterministic: torch refuses what has no deterministic form on a GPU, kernels or not."""
    before, candidate = standin.used(0), f"resnet18(width=0.25)+{block}@4,6"
    with reproducible(0, torch.device("cuda:1"), deterministic=True):
        made = trainer("cuda:1", candidate, precision=precision, channels_last=precision != "fp32")
        assert watched_steps(made, 1).waits == {}
    assert standin.used(0) == before


@pytest.mark.parametrize("block", sorted(TRITON_BLOCKS))
def test_blocks_that_cannot_run_here_fail_for_that_alone(block: str) -> None:
    made = trainer("cuda:0", f"resnet18(width=0.25)+{block}@4")
    with pytest.raises(Exception, match="out of resource: threads"):
        watched_steps(made, 1)


@pytest.mark.parametrize("term", sorted(WAITING_TERMS))
def test_the_exceptions_are_what_they_are_said_to_be(term: str) -> None:
    """Not stood in for, so that it fails here: should that change, it belongs into the lists above."""
    made = trainer("cuda:0", loss=f"cross_entropy+{term}")
    assert isinstance(made.loss, TotalLoss)
    with pytest.raises((RuntimeError, NotImplementedError)):
        watched_steps(made)
