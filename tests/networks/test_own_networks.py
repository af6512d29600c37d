"""Backbones that do not come with nas: timm's by name, against timm itself, and classes of one's own."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from nas.errors import SpaceError, TrainingError
from nas.networks import build_network, complexity, find_sites, find_weights, load_weights
from nas.networks.backbones import build_backbone
from nas.networks.export import export_network
from nas.networks.folding import fold_batchnorm
from nas.networks.sites import without_stride
from nas.spaces import Candidate, DesignSpace, get_topology, own_code, sites

FEW = ("resnet10t", "mobilenetv4_conv_small_035", "convnext_atto", "hgnetv2_b0")
SIZE = (128, 64)


def timm_features(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0).eval()


@pytest.mark.parametrize("name", [*FEW, "regnetx_002", "densenet121"])
def test_the_last_site_of_each_stage_is_where_timm_has_its_features(name: str) -> None:
    """timm lists channels and stride of each stage's last map by itself."""
    theirs = timm.create_model(name, features_only=True).feature_info
    wanted = dict(zip(theirs.reduction(), theirs.channels(), strict=True))
    sites = get_topology(f"timm:{name}", 2).sites
    found = {site.stride: site.channels for site in sites if site.is_stage_end or site.stride == 2}
    transitions = {2} if name in ("densenet121", "resnet10t") else set()  # before the stem's pooling: no site
    assert {s: c for s, c in found.items() if s in wanted} == {s: c for s, c in wanted.items() if s not in transitions}


def test_sites_of_resnet50d_are_resnet50s() -> None:
    ours, theirs = get_topology("resnet50"), get_topology("timm:resnet50d")
    assert [(s.number, s.stage, s.place, *s.shape()) for s in theirs.sites] == [
        (s.number, s.stage, s.place, *s.shape()) for s in ours.sites
    ]
    assert theirs.site(6).after == "layer2.1"


def test_sites_of_convnext_are_its_blocks() -> None:
    found = [(site.stage, site.after) for site in get_topology("timm:convnext_atto").sites]
    blocks = [(stage + 1, f"stages.{stage}.blocks.{i}") for stage, n in enumerate((2, 2, 6, 2)) for i in range(n)]
    assert found[1:] == blocks


@pytest.mark.parametrize("name", FEW)
def test_features_are_timms(name: str) -> None:
    theirs = timm_features(name)
    ours = build_backbone(f"timm:{name}", last_stride=2).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key in ours.state_dict()})
    x = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs.forward_features(x))


@pytest.mark.parametrize("name", FEW)
def test_a_last_stride_of_1_keeps_the_resolution_and_the_parameters(name: str) -> None:
    kept, halved = (build_backbone(f"timm:{name}", last_stride=stride).eval() for stride in (1, 2))
    assert {k: v.shape for k, v in kept.state_dict().items()} == {k: v.shape for k, v in halved.state_dict().items()}
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        (_, c, h, w), small = kept(x).shape, halved(x).shape
    assert (c, h, w) == (small[1], 2 * small[2], 2 * small[3])


@pytest.mark.parametrize(("kernel", "dilation"), [(2, 1), (4, 1), (2, 3), ((2, 4), 1)])
def test_an_even_kernel_keeps_the_size_as_padding_same_does(kernel: Any, dilation: int) -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, kernel, stride=2, dilation=dilation))
    without_stride(trunk, ["0"])
    same = nn.Conv2d(3, 4, kernel, padding="same", dilation=dilation)
    same.load_state_dict(trunk[0].state_dict())
    x, before = torch.randn(2, 3, 9, 7), list(warnings.filters)
    assert torch.equal(pickle.loads(pickle.dumps(trunk))(x), same(x))
    assert warnings.filters == before


@pytest.mark.parametrize("notation", [f"timm:{name}+se@1,3" for name in FEW])
def test_inserted_counted_and_folded(notation: str) -> None:
    candidate = Candidate.parse(notation)
    assert Candidate.parse(candidate.notation) == candidate
    network = build_network(candidate, num_classes=3, input_size=SIZE, seed=0)
    network.train()(torch.randn(4, 3, *SIZE)).logits.square().sum().backward()
    assert all(p.grad is not None for p in network.blocks.parameters())
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 3, *SIZE)
    folded = fold_batchnorm(network.eval())
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-3, atol=1e-4)
    if "convnext" not in notation:  # which has none
        assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) < 3
    cost, plain = complexity(candidate, SIZE), complexity(candidate.baseline, SIZE)
    blocks = sum(p.numel() for p in network.blocks.parameters())
    assert cost.params - plain.params == blocks
    body = sum(p.numel() for p in network.backbone.parameters())
    assert plain.body_params == body <= sum(p.numel() for p in timm_features(candidate.backbone[5:]).parameters())


def test_a_block_that_is_the_identity_changes_nothing_and_a_copy_has_its_own() -> None:
    network, plain = (
        build_network(f"timm:resnet10t{placed}", input_size=SIZE, seed=0).eval()
        for placed in ("+se(start=identity)@3", "")
    )
    x = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        before = network(x)
        assert torch.equal(before, plain(x))
        assert torch.equal(pickle.loads(pickle.dumps(network))(x), before)
        copied = copy.deepcopy(network)
        for parameter in copied.blocks.parameters():
            parameter.fill_(-1.0)
        assert torch.equal(network(x), before)
        assert not torch.equal(copied(x), before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv4_conv_small_035", "convnext_atto"])
def test_exported(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    network = build_network(f"timm:{name}+se@1,4", input_size=(64, 32), seed=0)
    assert export_network(network, tmp_path / "net.onnx").parity.min_cosine > 0.9999


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("timm:vit_tiny_patch16_224", "it is a transformer: its features are tokens"),
        ("timm:swin_tiny_patch4_window7_224", "its maps are (B, h, w, C), NHWC and not NCHW"),
        ("timm:resnet50q", "timm {version} has no network 'resnet50q'; did you mean timm:resnet50"),
        ("timm:resnet50.a1_in1k", "'a1_in1k' names weights, not a network"),
        ("timm:resnet10t(width=0.5)", "width of timm:resnet10t must be 1, not 0.5"),
        ("timm:resnet10t+se@6", "timm:resnet10t has no site 6; its sites are 1 to 5"),
        ("timm:resnet10t(last_stride=3)", "last_stride of timm:resnet10t must be 1 or 2"),
    ],
)
def test_what_cannot_be_is_one_sentence(name: str, reason: str) -> None:
    with pytest.raises(SpaceError) as error:
        Candidate.parse(name)
    assert reason.replace("{version}", timm.__version__) in error.value.message
    assert "\n" not in error.value.message


def test_without_timm_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    for notation in ("timm:resnet26t", "resnet18+eca@3"):
        monkeypatch.setitem(sys.modules, "timm.layers.eca", None)
        with pytest.raises(SpaceError, match="needs the package timm") as error:
            build_network(notation)
        assert error.value.hint == "pip install 'nas-reid[timm]'"


def test_weights_of_timm_are_a_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="are not fetched from the network") as error:
        find_weights("timm:resnet18", "a1_in1k")
    assert "timm/resnet18.a1_in1k" in (error.value.hint or "")
    with pytest.raises(TrainingError, match="unknown weights of timm:resnet18 'IMAGENET1K_V1'"):
        find_weights("timm:resnet18", "IMAGENET1K_V1")
    theirs = timm.create_model("mobilenetv4_conv_small_035").eval()  # with its classifier, as on the hub
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    network = build_network("timm:mobilenetv4_conv_small_035(last_stride=2)", input_size=SIZE)
    load_weights(network, tmp_path / "weights.pth")
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(network.eval().backbone(x), theirs.forward_features(x))


TRUNK = dedent(
    """
    from torch import nn
    from torch.nn import functional

    class Residual(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
            self.skip = nn.Conv2d(inputs, outputs, 1, stride)

        def forward(self, x):
            return functional.relu(self.conv(x) + self.skip(x))

    class Trunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
            self.bn1 = nn.BatchNorm2d(8)
            self.stages = nn.ModuleList([Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 16, 1)])
            self.stages.append(Residual(16, 24, 2))

        def forward(self, images):
            x = functional.relu(self.bn1(self.conv1(images)))  # no module of its own: the stem's site is before it
            for stage in self.stages:
                x = stage(x)
            return x

    class Declared(Trunk):
        sites = ("bn1", "stages.1", "stages.3")

    class Misdeclared(Trunk):
        sites = ("bn1", "stages.7")

    class Beside(Trunk):
        def forward(self, images):
            small = functional.avg_pool2d(images, 2).repeat(1, 3, 1, 1)[:, :8]
            return small + self.bn1(self.conv1(images))  # a way around every module

    class PreActivated(nn.Module):  # what the stem's convolution returns goes to a normalisation and around it
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.norm, self.body = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, 1, 1)
            self.last = nn.Conv2d(8, 16, 3, 2, 1)

        def forward(self, images):
            x = self.stem(images)
            return self.last(x + self.body(functional.relu(self.norm(x))))

    class Rectified(nn.Sequential):  # each normalisation takes the tensor that its convolution made, changed in place
        def __init__(self):
            rows = (nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(8))
            super().__init__(*rows, nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(16))

    class Auxiliary(Trunk):
        def __init__(self):
            super().__init__()
            self.extra, self.head = nn.Conv2d(24, 24, 1), nn.Linear(24, 2)

        def forward_features(self, images):
            x = super().forward(images)
            return x + self.extra(x) if self.training else x

        def forward(self, images):
            return self.head(self.forward_features(images).mean((2, 3)))

    class Classifier(Trunk):
        def forward(self, images):
            return super().forward(images).mean((2, 3))

    def function():
        pass
    """
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_nets.py").write_text(TRUNK)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("Trunk", "Declared", "Misdeclared", "Beside", "PreActivated", "Rectified", "Auxiliary", "Classifier")
    own_code.trust([f"own_nets:{name}" for name in names])
    yield tmp_path
    sys.modules.pop("own_nets", None)
    own_code._trusted.clear()
    sites._told.clear()


def test_sites_of_ones_own(own: Path) -> None:
    rows = [(s.number, s.stage, s.place, s.after, s.channels, s.stride) for s in get_topology("own_nets:Trunk").sites]
    assert rows == [
        (1, 0, 1, "bn1", 8, 2),
        (2, 1, 1, "stages.0", 8, 2),
        (3, 2, 1, "stages.1", 16, 4),
        (4, 2, 2, "stages.2", 16, 4),
        (5, 3, 1, "stages.3", 24, 4),
    ]
    assert get_topology("own_nets:Trunk", 2).site(5).stride == 8
    assert [site.after for site in get_topology("own_nets:Declared").sites] == ["bn1", "stages.1", "stages.3"]


def test_ones_own_runs_as_written(own: Path) -> None:
    network = build_network("own_nets:Declared(last_stride=2)+se@2", input_size=(32, 16), seed=0).eval()
    x, trunk = torch.randn(2, 3, 32, 16), network.backbone
    with torch.no_grad():
        by_hand = torch.relu(trunk.bn1(trunk.conv1(x)))
        by_hand = network.blocks["2"](trunk.stages[1].forward(trunk.stages[0](by_hand)))
        assert torch.equal(network.feature_map(x), trunk.stages[3](trunk.stages[2](by_hand)))
        torch.testing.assert_close(fold_batchnorm(network)(x), network(x))


def test_what_only_training_runs_stays_and_the_head_goes(own: Path) -> None:
    network = build_network("own_nets:Auxiliary", num_classes=3, input_size=(32, 16), seed=0)
    assert "extra" in dict(network.backbone.named_children())
    assert "head" not in dict(network.backbone.named_children())
    assert network.train()(torch.randn(2, 3, 32, 16)).logits.shape == (2, 3)


@pytest.mark.parametrize("name", ["PreActivated", "Rectified"])
def test_a_normalisation_stays_where_others_use_what_it_takes(own: Path, name: str) -> None:
    network = build_network(f"own_nets:{name}(last_stride=2)+se@1", input_size=(32, 16), seed=0).eval()
    norms = [module for module in network.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.weight)
    x, folded = torch.randn(2, 3, 32, 16), fold_batchnorm(network)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == len(norms)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Beside", "blocks cannot be placed in own_nets:Beside: it has no module that all of the signal"),
        ("Misdeclared", "its `sites` name 'stages.7', which is no module that is run"),
        ("Classifier", r"it returns \(1, 24\), not a feature map \(B, C, h, w\): leave out pooling and classifier"),
        ("function", "must be a subclass of torch.nn.Module"),
        ("Nothing", "has no class 'Nothing'"),
    ],
)
def test_what_of_ones_own_cannot_be(own: Path, name: str, reason: str) -> None:
    own_code.trust([f"own_nets:{name}"])
    with pytest.raises(SpaceError, match=reason):
        get_topology(f"own_nets:{name}")


def test_a_notation_imports_no_network(own: Path) -> None:
    own_code._trusted.clear()
    (own / "own_nets.py").write_text("raise SystemExit('imported')")
    candidate = Candidate.parse("own_nets:Trunk(last_stride=2)+se@40")
    assert Candidate.from_dict(candidate.to_dict()) == candidate
    assert own_code.named_in(["note: own_nets:Trunk runs", candidate.notation]) == {"own_nets:Trunk"}
    with pytest.raises(SpaceError, match="not named here: own_nets:Trunk"):
        DesignSpace.from_dict({"name": "s", "backbones": ["own_nets:Trunk"], "blocks": ["se"]})


def test_in_a_space_file(own: Path) -> None:
    (own / "space.yaml").write_text(
        "name: own\nbackbones: ['own_nets:Trunk', resnet18, 'timm:resnet10t']\nsites: {stages: [2]}\nblocks: [se]\n"
    )
    space = DesignSpace.from_yaml(own / "space.yaml")
    singles = [str(candidate) for candidate in space.singles()]
    assert singles == [
        *("resnet18+se@4", "resnet18+se@5"),
        *("own_nets:Trunk+se@3", "own_nets:Trunk+se@4", "timm:resnet10t+se@3"),
    ]
    stored = space.to_dict()
    assert DesignSpace.from_dict(stored) == space
    own_code._trusted.clear()
    sys.modules.pop("own_nets", None)
    (own / "own_nets.py").write_text("raise SystemExit('imported')")
    assert DesignSpace.from_dict(stored).id == space.id  # who may not import it reads its sites
    assert get_topology("own_nets:Trunk").site(4).after == "stages.2"
    with pytest.raises(SpaceError, match="the stored sites of 'own_nets:Trunk' are damaged"):
        DesignSpace.from_dict({**stored, "found_sites": {"own_nets:Trunk": {"1": [["a", 1, 1, "x"]]}}})
    for damaged in (5, ["x"], {"a:B": {"1": [[]]}}, {"a:B": {"1": [{}]}}, {"a:B": {"1": [[1, 8, 0, "x"]]}}):
        with pytest.raises(SpaceError, match=r"the stored sites of .* are damaged"):
            DesignSpace.from_dict({**stored, "found_sites": damaged})


def test_two_spaces_that_tell_different_sites_of_one_name_tell_none() -> None:
    name = "edited_nets:Trunk"
    first = {"found_sites": {name: {"1": [(0, 8, 2, "bn1"), (1, 8, 2, "stages.0")]}}}
    second = {"found_sites": {name: {"1": [(0, 8, 2, "bn1"), (1, 16, 4, "stages.0")]}}}
    try:
        for _ in range(2):
            sites.be_told(first)  # as often as it likes: it says the same
        assert get_topology(name).site(2).channels == 8
        sites.be_told(second)
        assert sites.find_topology(name) is None
        assert Candidate.parse(f"{name}+se@2").backbone == name  # it can still be named
        with pytest.raises(SpaceError, match=f"tell different sites of {name}"):
            get_topology(name)
    finally:
        sites._told.clear()


def test_spaces_of_shipped_backbones_and_notations_need_no_torch() -> None:
    code = (
        "import sys; from nas.spaces import Candidate, DesignSpace;"
        "DesignSpace.from_dict({'name': 's', 'backbones': ['resnet50'], 'blocks': ['se']}).size();"
        "Candidate.parse('own_nets:Trunk+se@3'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _IntoViews(nn.Module):
    """A residual unit whose shortcut is added to a view, and one whose halves are written into an empty map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = (nn.Conv2d(i, 8, 3, padding=1) for i in (3, 8, 8))
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.last = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.first(x)
        y[:, :] += x
        z = self.second(y)
        halves = torch.zeros(z.shape, device=z.device, dtype=z.dtype)
        halves[:, :4] = self.left(z)
        halves[:, 4:] = self.right(z)
        found: Tensor = self.last(halves)
        return found


def test_what_is_written_into_views_is_followed() -> None:
    """No block sees all of the signal after `first`, around which the shortcut leads, nor in one of two halves."""
    assert [site.path for site in find_sites(_IntoViews())] == ["stem", "second", "last"]


def test_sites_of_any_module() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = build_backbone("resnet18", width=0.125, last_stride=2)

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images) * 2

    found = find_sites(Doubled(), (3, 128, 64))
    assert [(s.path, s.stage, s.shape.channels, s.stride) for s in found[:3]] == [
        *(("body.maxpool", 0, 8, 4), ("body.layer1.0", 1, 8, 4), ("body.layer1.1", 1, 8, 4))
    ]
    assert len(found) == 9
