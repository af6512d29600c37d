"""Networks of other projects, from files in their form: what comes out is what their own network says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchreid_models import torchreid_network

from nas.errors import TrainingError
from nas.networks import build_network, load_weights
from nas.networks.backbones import build_backbone
from nas.training import load_checkpoint, network_from_checkpoint

IMAGES = (2, 3, 64, 32)


def ours(path: Path) -> Tensor:
    """Embeddings of the network in a file, of the images that `images` makes."""
    with torch.no_grad():
        found: Tensor = network_from_checkpoint(path)(images())
    return found


def images() -> Tensor:
    return torch.randn(*IMAGES, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("name", "notation", "head"),
    [
        ("osnet_x0_25", "osnet_x0_25", {"fc": {"features": 512}}),
        pytest.param("osnet_ain_x1_0", "osnet_ain_x1_0", {"fc": {"features": 512}}, marks=pytest.mark.slow),
        ("resnet18", "resnet18(last_stride=2)", "plain"),
        ("resnet50_fc512", "resnet50", {"fc": {"features": 512}}),
    ],
)
def test_torchreid_s_zoo(name: str, notation: str, head: object, tmp_path: Path) -> None:
    """A file as its `save_checkpoint` writes it from a network on several GPUs."""
    theirs = torchreid_network(name)
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    content = {
        "state_dict": state,
        "epoch": 60,
        "rank1": np.float32(0.9),
        "optimizer": {"state": {}, "param_groups": []},
    }
    torch.save(content, tmp_path / "model.pth.tar-60", _use_new_zipfile_serialization=name != "resnet18")
    found = load_checkpoint(tmp_path / "model.pth.tar-60")
    assert (found.candidate.notation, found.recipe.head, found.num_classes) == (notation, head, 5)
    assert found.finished
    assert (found.input_size, found.dataset_id) == ((256, 128), "published")
    with torch.no_grad():
        torch.testing.assert_close(ours(tmp_path / "model.pth.tar-60"), theirs(images()), rtol=1e-4, atol=1e-5)


def trained(network: Any) -> dict[str, Tensor]:
    """A trunk's state with normalisation as after a training."""
    generator = torch.Generator().manual_seed(1)
    state: dict[str, Tensor] = network.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            state[key] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.dim() == 1:
            state[key] = value + 0.2 * torch.randn(value.shape, generator=generator)
    network.load_state_dict(state)
    return state


def neck(prefix: str, channels: int = 512) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    values = {name: 0.5 + torch.rand(channels, generator=generator) for name in ("weight", "running_var")}
    values |= {"bias": torch.zeros(channels), "running_mean": torch.randn(channels, generator=generator)}
    return {prefix + name: value for name, value in values.items()}


def normalised(pooled: Tensor, by: dict[str, Tensor], prefix: str) -> Tensor:
    given = [by[prefix + name] for name in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(pooled, *given)


def with_their_stem(trunk: Any, x: Tensor, stem: str, upto: int = 4) -> Tensor:
    """The trunk's map with the stem that a project's own code has."""
    x = trunk.bn1(trunk.conv1(x))
    if stem == "no_padding":
        x = functional.max_pool2d(x.relu(), 3, 2, ceil_mode=True)
    else:
        x = functional.max_pool2d(x, 3, 2, 1)
    for stage in range(1, upto + 1):
        x = trunk.get_submodule(f"layer{stage}")(x)
    return x


@pytest.mark.parametrize("form", ["fastreid", "fastreid before 1.0", "strong baseline"])
def test_networks_with_batch_normalisation_as_neck(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trunk = build_backbone("resnet18").eval()
    body, classifier = trained(trunk), torch.randn(7, 512)
    if form == "strong baseline":
        given = {f"base.{key}": value for key, value in body.items()}
        by, prefix = neck("bottleneck."), "bottleneck."
        content: Any = {**given, **by, "classifier.weight": classifier}
    else:
        given = {f"backbone.{key}": value for key, value in body.items()}
        prefix = "heads.bottleneck.0." if form == "fastreid" else "heads.bnneck."
        by = neck(prefix)
        last = "heads.weight" if form == "fastreid" else "heads.classifier.weight"
        extra = {"pixel_mean": torch.zeros(1, 3, 1, 1), "heads.pool_layer.p": torch.tensor([2.5]), last: classifier}
        content = {"model": {**given, **by, **extra}, "iteration": 3}
    torch.save(content, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    with torch.no_grad():
        maps = with_their_stem(trunk, images(), "no_relu" if form == "strong baseline" else "no_padding")
        pooled = maps.mean((2, 3))
        if form != "strong baseline":
            pooled = maps.clamp(min=1e-6).pow(2.5).mean((2, 3)).pow(1 / 2.5)
    torch.testing.assert_close(ours(tmp_path / "a.pth"), normalised(pooled, by, prefix), rtol=1e-4, atol=1e-4)
    stem = "no_relu" if form == "strong baseline" else "no_padding"
    assert found.candidate.notation == f"resnet18(stem={stem})"
    said = f"with head bnneck, for images of 256x128, as {'strong baseline' if 'strong' in form else 'FastReID'}"
    assert said in caplog.text
    assert ("padded in the earliest versions" in caplog.text) == (form == "fastreid before 1.0")
    assert (found.recipe.pooling, found.num_classes) == ("gap" if form == "strong baseline" else "gem", 7)
    torch.testing.assert_close(found.weights["classifier.weight"], classifier)


def test_the_ibn_net_of_the_strong_baseline_has_the_stem_of_its_authors(tmp_path: Path) -> None:
    body = {f"base.{key}": value for key, value in build_backbone("resnet50_ibn_a").state_dict().items()}
    torch.save({**body, **neck("bottleneck.", 2048), "classifier.weight": torch.zeros(4, 2048)}, tmp_path / "a.pth")
    assert load_checkpoint(tmp_path / "a.pth").candidate.notation == "resnet50_ibn_a"


def test_agw_with_its_non_local_blocks(tmp_path: Path) -> None:
    """They stand after a stage's last blocks; each against the sum over all positions that it is."""
    trunk = build_backbone("resnet18").eval()
    content = {f"base.{key}": value for key, value in trained(trunk).items()}
    generator, blocks = torch.Generator().manual_seed(3), {}
    for stage, channels in ((2, 128), (3, 256)):
        for part, shape in {
            "g": (1, channels),
            "theta": (1, channels),
            "phi": (1, channels),
            "W.0": (channels, 1),
        }.items():
            blocks[f"NL_{stage}.0.{part}.weight"] = 0.1 * torch.randn(*shape, 1, 1, generator=generator)
            blocks[f"NL_{stage}.0.{part}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
        blocks |= neck(f"NL_{stage}.0.W.1.", channels)
    content |= {f"base.{key}": value for key, value in blocks.items()}
    by = neck("bottleneck.")
    content |= {**by, "classifier.weight": torch.zeros(4, 512), "global_pool.p": torch.tensor([3.0])}
    torch.save(content, tmp_path / "agw.pth")

    def non_local(x: Tensor, prefix: str) -> Tensor:
        def at(part: str, of: Tensor) -> Tensor:
            weight, bias = blocks[f"{prefix}{part}.weight"], blocks[f"{prefix}{part}.bias"]
            return functional.conv2d(of, weight, bias)

        theta, phi, g = (at(part, x).flatten(1) for part in ("theta", "phi", "g"))
        related = torch.stack(
            [
                sum(t[i] * p * v for p, v in zip(f, w, strict=True)) / len(t)
                for t, f, w in zip(theta, phi, g, strict=True)
                for i in range(len(t))
            ]
        )
        added = at("W.0", related.reshape(x.shape[0], 1, *x.shape[2:]))
        return x + normalised(added, blocks, f"{prefix}W.1.")

    with torch.no_grad():
        x = with_their_stem(trunk, images(), "no_relu", upto=1)
        for stage in (2, 3, 4):
            x = trunk.get_submodule(f"layer{stage}")(x)
            if stage < 4:
                x = non_local(x, f"NL_{stage}.0.")
        expected = normalised(x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3), by, "bottleneck.")
    torch.testing.assert_close(ours(tmp_path / "agw.pth"), expected, rtol=1e-3, atol=1e-3)
    assert load_checkpoint(tmp_path / "agw.pth").candidate.notation == "resnet18(stem=no_relu)+agw(inner=one)@5,7"


def test_a_published_trunk_is_a_start_too(tmp_path: Path) -> None:
    """As `weights:` of a recipe: heads are left out, whatever the project calls them."""
    theirs = torchreid_network("osnet_x0_25")
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "a.pth")
    network = build_network("osnet_x0_25+se@3", weights=tmp_path / "a.pth")
    assert torch.equal(network.backbone.conv1[0].weight, theirs.conv1.conv.weight)
    body = {f"base.{k}": v for k, v in build_backbone("resnet18").state_dict().items()}
    torch.save({**body, **neck("bottleneck."), "classifier.weight": torch.zeros(4, 512)}, tmp_path / "b.pth")
    load_weights(build_network("resnet18"), tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"base.layer1.0.conv1.weight": torch.zeros(3, 64, 3, 3)},
            "no backbone that is known here; the closest is resnet18",
        ),
        ({"bottleneck.weight": None}, "another neck than batch normalisation"),
        ({"base.conv1.weight": None}, "no re-identification network with a head that is known here"),
    ],
)
def test_what_is_not_known_is_named(change: dict[str, Tensor | None], said: str, tmp_path: Path) -> None:
    body = {f"base.{k}": v for k, v in build_backbone("resnet18").state_dict().items()}
    content = {**body, **neck("bottleneck."), "classifier.weight": torch.zeros(4, 512), **change}
    torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / "a.pth")
    with pytest.raises(TrainingError, match=f"is no checkpoint of this program: .*{said}") as error:
        load_checkpoint(tmp_path / "a.pth")
    assert "published-weights.md" in (error.value.hint or "")
