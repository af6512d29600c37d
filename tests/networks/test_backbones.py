"""Backbones against torchvision's networks, and sites against the tables of `nas.spaces`."""

from __future__ import annotations

import pytest
import torch
import torchvision.models

from nas.errors import SpaceError
from nas.networks.backbones import BACKBONE_NAMES, build_backbone
from nas.networks.sites import plan
from nas.networks.survey import survey
from nas.spaces.sites import BACKBONES, get_topology


def test_every_backbone_with_sites_can_be_built() -> None:
    assert set(BACKBONE_NAMES) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_parameter_names_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None).state_dict()
        ours = build_backbone(name).state_dict()
    body = {key: value.shape for key, value in theirs.items() if not key.startswith(("fc.", "classifier."))}
    assert {key: value.shape for key, value in ours.items()} == body


@pytest.mark.parametrize("name", ["resnet50", "shufflenet_v2_x1_0", "mobilenet_v3_small"])
def test_features_are_torchvisions_at_last_stride_2(name: str) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(weights=None).eval()
    ours = build_backbone(name, last_stride=2).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key in ours.state_dict()})
    x = torch.randn(2, 3, 64, 48)
    last = {"shufflenet_v2_x1_0": "conv5", "mobilenet_v3_small": "features"}.get(name, "layer4")
    seen = {}
    theirs.get_submodule(last).register_forward_hook(lambda module, inputs, output: seen.update(out=output))
    with torch.no_grad():
        theirs(x)
        assert torch.equal(ours(x), seen["out"])


@pytest.mark.parametrize("last_stride", [1, 2])
@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_sites_found_by_structure_are_those_of_the_tables(name: str, last_stride: int) -> None:
    topology, size = get_topology(name, last_stride), (256, 128) if last_stride == 1 else (250, 121)
    found = survey(name, (("last_stride", last_stride), ("width", 1)), size)
    rows = [(s.number, s.stage, s.place, s.stage_length) for s in found.sites]
    assert rows == [(s.number, s.stage, s.place, s.stage_length) for s in topology.sites]
    shapes = [(s.shape.channels, s.shape.height, s.shape.width) for s in found.sites]
    assert shapes == [site.shape(*size) for site in topology.sites]


@pytest.mark.parametrize("name", ["resnet50", "shufflenet_v2_x2_0", "mobilenet_v3_large"])
def test_sites_follow_the_modules_the_tables_name(name: str) -> None:
    for found, site in zip(survey(name).sites[1:], get_topology(name).sites[1:], strict=True):
        assert found.path.replace(".", "[") + "]" == site.after


def test_stem_site_is_after_the_pooling() -> None:
    assert survey("resnet50").sites[0].path == "maxpool"
    assert survey("shufflenet_v2_x1_0").sites[0].path == "maxpool"
    assert survey("mobilenet_v3_small").sites[0].path == "features.0"


def test_resnet50_at_the_papers_input() -> None:
    shapes = [str(site.shape) for site in survey("resnet50").sites]
    assert shapes == (["64x64x32"] + ["256x64x32"] * 3 + ["512x32x16"] * 4 + ["1024x16x8"] * 6 + ["2048x16x8"] * 3)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "shufflenet_v2_x1_0", "mobilenet_v3_small"])
def test_running_the_plan_is_running_the_trunk(name: str) -> None:
    trunk = build_backbone(name, width=0.25).eval()
    x = torch.randn(1, 3, 64, 32)
    out = x
    with torch.no_grad():
        for path in plan(trunk):
            out = trunk.get_submodule(path)(out)
        assert torch.equal(out, trunk(x))


def test_width_scales_every_stage() -> None:
    found = survey("resnet50", (("last_stride", 1), ("width", 0.25)))
    assert [found.sites[i - 1].shape.channels for i in (1, 4, 8, 14, 17)] == [16, 64, 128, 256, 512]
    assert found.out_channels == 512


def test_wrong_input_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match="did you mean 'resnet50'"):
        build_backbone("resnet5O")
    with pytest.raises(SpaceError, match="last_stride of resnet50 must be 1 or 2"):
        build_backbone("resnet50", last_stride=3)
    with pytest.raises(SpaceError, match="too small"):
        survey("resnet50", (), (4, 4))
