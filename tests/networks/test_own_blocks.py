"""A user's own block: the how-to's example as it stands, by module:Class and by entry point, like any shipped block."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from nas.errors import SpaceError
from nas.networks import FeatureShape, build_network, complexity, get_block
from nas.networks.blocks import AttentionBlock
from nas.networks.export import export_network
from nas.spaces import Candidate, get_block_spec

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-block.md"
NAME = "my_blocks:StyleGate"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first snippet of the how-to, as my_blocks.py on the path."""
    (tmp_path / "my_blocks.py").write_text(snippets("python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    for cached in (get_block, get_block_spec):
        cached.cache_clear()
    yield tmp_path
    sys.modules.pop("my_blocks", None)
    for cached in (get_block, get_block_spec):
        cached.cache_clear()


def test_the_example_is_short() -> None:
    code = [line for line in snippets("python")[0].splitlines() if line.strip()]
    assert len(code) <= 32


def test_the_snippet_that_builds_it_runs(module: Path) -> None:
    scope: dict[str, object] = {}
    exec(snippets("python")[1], scope)
    assert type(scope["network"].blocks["8"]).__name__ == "StyleGate"  # type: ignore[attr-defined]


def test_counted_like_a_shipped_block(module: Path) -> None:
    block, shape = get_block(NAME), FeatureShape(64, 8, 4)
    assert block.params_formula(shape) == 3 * 64
    assert block.params_formula(shape, statistics="mean") == 2 * 64
    assert block.macs_formula(shape) == 0
    assert complexity(f"resnet18+{NAME}@3").params - complexity("resnet18").params == 3 * 64


def test_notation_identity_and_training(module: Path) -> None:
    candidate = Candidate.parse(f"resnet18(width=0.25)+{NAME}(statistics=mean)@3")
    assert Candidate.parse(candidate.notation) == candidate
    network = build_network(candidate, num_classes=3, input_size=(64, 32), seed=0)
    images = torch.randn(4, 3, 64, 32)
    with torch.no_grad():
        baseline = build_network(candidate.baseline, num_classes=3, input_size=(64, 32), seed=0)
        assert torch.equal(network.eval()(images), baseline.eval()(images))
    network.train()(images).logits[:, 0].sum().backward()
    assert network.blocks["3"].weights.grad.abs().sum() > 0


def test_exported_like_a_shipped_block(module: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    network = build_network(f"resnet18(width=0.25)+{NAME}@5", input_size=(64, 32), seed=0)
    torch.nn.init.normal_(network.blocks["5"].weights)
    assert export_network(network, tmp_path / "net.onnx").parity.min_cosine > 0.9999


def test_in_a_space_file(module: Path) -> None:
    from nas.spaces import DesignSpace

    blocks = "\n".join(f"  {line}" for line in snippets("yaml")[0].splitlines()[1:])
    (module / "space.yaml").write_text(f"name: own\nbackbones: [resnet18]\nsites: 3-5\nblocks:\n{blocks}\n")
    space = DesignSpace.from_yaml(module / "space.yaml")
    assert f"resnet18+{NAME}(statistics=mean)@4" in {str(candidate) for candidate in space.singles()}


def test_by_entry_point_of_an_installed_package(module: Path) -> None:
    installed = module / "my_blocks-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-blocks\nVersion: 1.0\n")
    table = snippets("toml")[0].splitlines()
    assert table[0] == '[project.entry-points."nas.blocks"]'
    (installed / "entry_points.txt").write_text("[nas.blocks]\n" + table[1].replace('"', "") + "\n")
    assert get_block("style_gate") is get_block(NAME)
    network = build_network("resnet18(width=0.25)+style_gate@3", input_size=(64, 32))
    assert network.candidate.notation == "resnet18(width=0.25)+style_gate@3"


def test_what_is_no_block_is_refused(module: Path) -> None:
    (module / "my_blocks.py").write_text(snippets("python")[0].replace("(AttentionBlock)", ""))
    with pytest.raises(SpaceError, match="must be a subclass of"):
        get_block(NAME)


def test_a_block_may_refuse_shapes(module: Path) -> None:
    class Even(get_block(NAME)):  # type: ignore[misc]
        @classmethod
        def refusal(cls, shape: FeatureShape, **params: object) -> str | None:
            return None if shape.height % 2 == 0 else f"its height {shape.height} is odd"

    assert issubclass(Even, AttentionBlock)
    assert Even.accepts(FeatureShape(4, 2, 3))
    with pytest.raises(SpaceError, match=r"cannot be built for a 4x3x3 feature map: its height 3 is odd"):
        Even.build(FeatureShape(4, 3, 3))
