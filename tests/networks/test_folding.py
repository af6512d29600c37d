"""Folding normalisation changes no answer, leaves the network alone, and removes what it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.networks import ReidNetwork, build_network, fold_batchnorm
from nas.spaces.blocks import BLOCKS

SIZE = (64, 32)


def trained(text: str) -> ReidNetwork:
    """A network whose statistics and scales are not those of a fresh one."""
    network = build_network(text, num_classes=3, input_size=SIZE, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
    return network


def norms(network: nn.Module) -> list[str]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [name for name, module in network.named_modules() if isinstance(module, kinds)]


@pytest.mark.parametrize(
    "backbone",
    ["resnet18(width=0.25)", "resnet50(width=0.25)", "shufflenet_v2_x1_0", "mobilenet_v3_large", "osnet_x0_25"],
)
def test_no_normalisation_is_left_and_answers_stay(backbone: str) -> None:
    network = trained(f"{backbone}+cnl@2+hac@4")
    folded = fold_batchnorm(network)
    assert norms(folded) == []
    assert folded.classifier is None
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network.eval()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_folds(block: str) -> None:
    network = trained(f"resnet18(width=0.25)+{block}@5")
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(fold_batchnorm(network)(images), network.eval()(images), rtol=1e-4, atol=1e-4)


def test_the_network_itself_stays_as_it_is() -> None:
    network = trained("resnet18(width=0.25)+cnl@3").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fold_batchnorm(network)
    assert network.training
    assert network.classifier is not None
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_what_follows_no_layer_stays() -> None:
    folded = fold_batchnorm(trained("resnet18(width=0.25)+cnl(qk_norm=true)@3"))
    assert norms(folded) == ["blocks.3.query_key_norm"]
