"""Building a candidate's network: outputs, head, seeds, forms, inheriting weights, formats and compilers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import nas
from nas.errors import SpaceError, TrainingError
from nas.networks import ReidNetwork, ReidOutputs, build_network
from nas.networks.head import GeneralizedMeanPool
from nas.spaces import Candidate

SMALL = "resnet18(width=0.25)"
SIZE = (64, 32)


def small(text: str = "", **settings: object) -> ReidNetwork:
    return build_network(SMALL + text, input_size=SIZE, **{"seed": 0, **settings})  # type: ignore[arg-type]


def images(batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def test_the_one_line_of_the_readme() -> None:
    network = nas.build_network("resnet50+cnl@6,8,14")
    assert network.embedding_dim == 2048
    assert list(network.blocks) == ["6", "8", "14"]


def test_outputs_in_training_and_evaluation() -> None:
    network = small("+se@3", num_classes=7)
    outputs = network.train()(images(4))
    assert isinstance(outputs, ReidOutputs)
    assert (outputs.pooled.shape, outputs.embedding.shape, outputs.logits.shape) == ((4, 128), (4, 128), (4, 7))
    assert network.eval()(images(4)).shape == (4, 128)
    assert small().train()(images(4)).logits is None


def test_blocks_run_where_they_are_placed() -> None:
    network = small("+se@3+agw@9").eval()
    order: list[str] = []
    watched = {"layer1.1": "3", "layer4.1": "9"}
    for path in watched:
        place = network.backbone.get_submodule(path)
        place.register_forward_hook(lambda *_, path=path: order.append(path), prepend=True)
    for site, block in network.blocks.items():
        block.register_forward_hook(lambda *_, site=site: order.append(site))
    network(images())
    assert order == ["layer1.1", "3", "layer4.1", "9"]


def test_bnneck_bias_is_frozen_and_the_classifier_small() -> None:
    network = small(num_classes=500)
    assert not network.bnneck.bias.requires_grad
    assert (network.bnneck.bias == 0).all()
    assert (network.bnneck.weight == 1).all()
    assert network.classifier is not None
    assert network.classifier.bias is None
    assert network.classifier.weight.std().item() == pytest.approx(0.001, rel=0.05)


def test_the_same_seed_gives_the_same_network_and_leaves_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = small("+cnl@3", num_classes=4)
    assert torch.equal(torch.rand(3), expected)
    for key, value in small("+cnl@3", num_classes=4).state_dict().items():
        assert torch.equal(value, first.state_dict()[key])
    assert not torch.equal(small(seed=1).backbone.conv1.weight, first.backbone.conv1.weight)


def test_candidates_of_one_seed_share_backbone_and_block_weights() -> None:
    one, two = small("+cnl@3", num_classes=4).state_dict(), small("+cnl@3+se@5", num_classes=4).state_dict()
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_a_baselines_weights_load_into_any_candidate() -> None:
    baseline, candidate = small(num_classes=4, seed=3), small("+agw@3+cnl(fuse=gate2)@7", num_classes=4)
    missing, unexpected = candidate.load_state_dict(baseline.state_dict(), strict=False)
    assert unexpected == []
    assert all(key.startswith("blocks.") for key in missing)
    with torch.no_grad():
        assert torch.equal(candidate.eval()(images()), baseline.eval()(images()))


@pytest.mark.parametrize("block", ["cnl", "cnl(norm=dot)", "agw", "raga", "abd"])
def test_both_forms_are_the_same_network(block: str) -> None:
    fast, plain = (small(f"+{block}@5", form=form).eval() for form in ("fast", "plain"))
    with torch.no_grad():
        torch.testing.assert_close(fast(images()), plain(images()), rtol=1e-4, atol=1e-5)


def test_gem_pools_between_mean_and_maximum() -> None:
    x = torch.rand(2, 5, 4, 3)
    pooled = GeneralizedMeanPool()(x)
    assert (pooled > x.mean((2, 3))).all()
    assert (pooled < x.amax((2, 3))).all()
    torch.testing.assert_close(pooled, (x.clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3))
    assert small(pooling="gem").pool.exponent.requires_grad


def test_channels_last_and_copies() -> None:
    network = small("+cnl@3+agw@5+raga@7").eval()
    with torch.no_grad():
        expected = network(images())
        again = copy.deepcopy(network).to(memory_format=torch.channels_last)
        found = again(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_other_input_sizes_run_unless_a_block_refuses() -> None:
    other = torch.randn(2, 3, 50, 37)
    assert small("+cnl@3+agw@5").eval()(other).shape == (2, 128)
    with pytest.raises(SpaceError, match="build the network with that input_size"):
        small("+raga@3").eval()(other)


def test_training_with_one_image_is_refused_in_a_sentence() -> None:
    with pytest.raises(TrainingError, match="at least 2 images a batch"):
        small(num_classes=2).train()(images(1))


def test_gradients_flow_through_the_whole_network() -> None:
    network = small("+cnl@3+hac@5+raga@7", num_classes=4).train()
    outputs = network(images(4))
    (nn.functional.cross_entropy(outputs.logits, torch.arange(4)) + outputs.pooled.square().mean()).backward()
    trained = [(key, p) for key, p in network.named_parameters() if p.requires_grad]
    assert [key for key, p in trained if p.grad is None] == []


def test_compiles_without_graph_breaks() -> None:
    network = small("+cnl@3+agw@5").eval()
    with torch.no_grad():
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        assert torch.equal(compiled(images()), network(images()))


@pytest.mark.parametrize("backbone", ["shufflenet_v2_x1_0(width=0.5)", "mobilenet_v3_small(width=0.5)"])
def test_other_backbones_train_with_blocks(backbone: str) -> None:
    network = build_network(f"{backbone}+cnl@2+agw@5", num_classes=3, input_size=SIZE, seed=0).train()
    network(images(4)).logits.sum().backward()
    assert network.blocks["5"].theta.weight.grad is not None


def test_wrong_input_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match="unknown pooling 'max'"):
        small(pooling="max")
    with pytest.raises(SpaceError, match="no site 18"):
        build_network("resnet50+cnl@18")
    with pytest.raises(SpaceError, match="did you mean 'cnl'"):
        build_network("resnet50+cnll@6")
    assert build_network(Candidate.make("resnet18", [(3, "se")], {"width": 0.25})).candidate.sites == (3,)
