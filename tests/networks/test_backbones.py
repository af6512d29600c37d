"""Backbones against torchvision's and torchreid's networks, and sites against the tables of `nas.spaces`."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torchreid_models import torchreid_network

from nas.errors import SpaceError
from nas.networks.backbones import BACKBONE_NAMES, build_backbone
from nas.networks.survey import survey
from nas.spaces import Candidate
from nas.spaces.sites import BACKBONES, get_topology, last_strides


def test_every_backbone_with_sites_can_be_built() -> None:
    assert set(BACKBONE_NAMES) == set(BACKBONES)


@pytest.mark.parametrize("name", [name for name in BACKBONE_NAMES if hasattr(torchvision.models, name)])
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


@pytest.mark.parametrize(
    "name",
    ["osnet_x1_0", "osnet_x0_25", "osnet_ain_x1_0", "resnet50_ibn_a", "resnet50_ibn_b"],
)
def test_names_and_features_are_torchreids(name: str) -> None:
    theirs, ours = torchreid_network(name), build_backbone(name, last_stride=max(last_strides(name))).eval()
    body = {key: value for key, value in theirs.state_dict().items() if not key.startswith(("fc.", "classifier."))}
    ours.load_state_dict(body)
    x = torch.randn(1, 3, 64, 40, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.double()(x), theirs.double().featuremaps(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "channels", "params", "mega_macs"),
    [
        # Zhou et al., ICCV 2019, with the layer to 512 features: 2.2 M and 978.9 M, 1.3 M and 571.8 M, 0.6 M and
        # 272.9 M, 0.2 M and 82.3 M. torchreid's model zoo: 2.2, 1.3, 0.6, 0.2 and 0.98, 0.57, 0.27, 0.08; AIN as x1.0.
        pytest.param("osnet_x1_0", 512, 2.2, 978.9, marks=pytest.mark.slow),
        pytest.param("osnet_x0_75", 384, 1.3, 571.8, marks=pytest.mark.slow),
        pytest.param("osnet_x0_5", 256, 0.6, 272.9, marks=pytest.mark.slow),
        ("osnet_x0_25", 128, 0.2, 82.3),
        ("osnet_ain_x1_0", 512, 2.2, 978.9),
    ],
)
def test_osnet_costs_what_was_published(name: str, channels: int, params: float, mega_macs: float) -> None:
    found = survey(name).cost
    assert round((found.params + 512 * channels + 512 + 1024) / 1e6, 1) == params
    assert round((found.macs + 512 * channels) / 1e6, 1) == mega_macs


def test_ibn_net_costs_what_resnet50_does() -> None:
    """Pan et al., ECCV 2018: form a shares the channels of a normalisation out, form b normalises two sums more."""
    plain, a, b = (survey(name).cost for name in ("resnet50", "resnet50_ibn_a", "resnet50_ibn_b"))
    assert (a.params, a.macs) == (plain.params, plain.macs)
    assert (b.params, b.macs) == (plain.params + 2 * (256 + 512), plain.macs)


SIZES = [(256, 128), (250, 121)]
"""The usual size of images, and one that no stride divides."""
ODD = ("resnet50_ibn_b", "shufflenet_v2_x1_0", "mobilenet_v3_small", "osnet_x0_25")
"""Backbones that are looked at in both sizes among the quick tests: one of each kind."""
IN_SIZES = [
    pytest.param(name, size, marks=[pytest.mark.slow] if size != SIZES[0] and name not in ODD else [])
    for name in BACKBONE_NAMES
    for size in SIZES
]


@pytest.mark.parametrize(("name", "size"), IN_SIZES)
def test_sites_found_by_structure_are_those_of_the_tables(name: str, size: tuple[int, int]) -> None:
    last_stride = 1 if size == (256, 128) else max(last_strides(name))
    topology = get_topology(name, last_stride)
    found = survey(name, (("last_stride", last_stride), ("width", 1)), size)
    rows = [(s.number, s.stage, s.place, s.stage_length) for s in found.sites]
    assert rows == [(s.number, s.stage, s.place, s.stage_length) for s in topology.sites]
    shapes = [(s.shape.channels, s.shape.height, s.shape.width) for s in found.sites]
    assert shapes == [site.shape(*size) for site in topology.sites]


@pytest.mark.parametrize(
    "name", ["resnet50", "shufflenet_v2_x2_0", "mobilenet_v3_large", "resnet50_ibn_b", "osnet_ain_x1_0"]
)
def test_sites_follow_the_modules_the_tables_name(name: str) -> None:
    for found, site in zip(survey(name).sites[1:], get_topology(name).sites[1:], strict=True):
        assert found.path.replace(".", "[") + "]" == site.after


def test_stem_site_is_after_the_pooling() -> None:
    assert survey("resnet50").sites[0].path == "maxpool"
    assert survey("shufflenet_v2_x1_0").sites[0].path == "maxpool"
    assert survey("mobilenet_v3_small").sites[0].path == "features.0"
    assert survey("osnet_x0_25").sites[0].path == "maxpool"


def test_resnet50_at_the_papers_input() -> None:
    shapes = [str(site.shape) for site in survey("resnet50").sites]
    assert shapes == (["64x64x32"] + ["256x64x32"] * 3 + ["512x32x16"] * 4 + ["1024x16x8"] * 6 + ["2048x16x8"] * 3)


def test_width_scales_every_stage() -> None:
    found = survey("resnet50", (("last_stride", 1), ("width", 0.25)))
    assert [found.sites[i - 1].shape.channels for i in (1, 4, 8, 14, 17)] == [16, 64, 128, 256, 512]
    assert found.out.channels == 512


def test_wrong_input_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match="did you mean 'resnet50'"):
        build_backbone("resnet5O")
    with pytest.raises(SpaceError, match="last_stride of resnet50 must be 1 or 2"):
        build_backbone("resnet50", last_stride=3)
    with pytest.raises(SpaceError, match="too small"):
        survey("resnet50", (), (4, 4))
    with pytest.raises(SpaceError, match="last_stride of osnet_x1_0 must be 1, not 2"):
        Candidate.parse("osnet_x1_0(last_stride=2)")
    for size in ((16, 8), (16, 16)):  # nothing left to pool; one position, which has no spread
        with pytest.raises(SpaceError, match=r"16x\d+ pixels is too small for osnet_ain_x1_0: \w"):
            survey("osnet_ain_x1_0", (), size)


def test_width_of_osnet_keeps_what_its_blocks_need() -> None:
    found = survey("osnet_ain_x1_0", (("last_stride", 1), ("width", 0.1)), (64, 32))
    assert [site.shape.channels for site in found.sites] == [8, 24, 24, 40, 40, 52, 52]
