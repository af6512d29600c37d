"""A user's own block: the how-to's example as it stands, by module:Class and by entry point, like any shipped block."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from nas.errors import SpaceError
from nas.networks import FeatureShape, build_network, complexity, get_block
from nas.networks import blocks as networks_blocks
from nas.networks.blocks import AttentionBlock
from nas.networks.export import export_network
from nas.spaces import Candidate, DesignSpace, blocks, own_code

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-block.md"
NAME = "my_blocks:StyleGate"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)


def forget_own_code() -> None:
    """As in a new process: nothing is trusted, nothing imported."""
    for name in ("my_blocks", "helper", "pkg", "pkg.deep"):
        sys.modules.pop(name, None)
    own_code._trusted.clear()
    for cached in (blocks._installed_spec, networks_blocks._installed):
        cached.cache_clear()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first snippet of the how-to, as my_blocks.py on the path."""
    (tmp_path / "my_blocks.py").write_text(snippets("python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_own_code()
    own_code.trust([NAME])
    yield tmp_path
    forget_own_code()


def test_a_notation_imports_nothing(module: Path) -> None:
    """Databases, archives and checkpoints hold notations: what they name must not run."""
    forget_own_code()
    (module / "my_blocks.py").write_text("raise SystemExit('imported')")
    candidate = Candidate.parse(f"resnet18+{NAME}(statistics=mean)@3")
    assert candidate.notation == f"resnet18+{NAME}(statistics=mean)@3"
    assert Candidate.from_dict(candidate.to_dict()) == candidate
    with pytest.raises(SpaceError, match=f"code that was not named here: {NAME}") as error:
        build_network(candidate, input_size=(64, 32))
    assert f"--trust {NAME}" in (error.value.hint or "")
    with pytest.raises(SpaceError, match="not named here"):  # rather than a space of a size that is wrong
        DesignSpace.from_dict({"name": "s", "backbones": ["resnet18"], "blocks": {NAME: {"statistics": ["mean"]}}})


def test_a_space_file_is_a_person_s_word(module: Path) -> None:
    forget_own_code()
    (module / "space.yaml").write_text(f"name: own\nbackbones: [resnet18]\nsites: 3-5\nblocks: ['{NAME}']\n")
    DesignSpace.from_yaml(module / "space.yaml").size()
    assert "my_blocks" in sys.modules


def test_what_a_program_imported_itself_needs_no_word(module: Path) -> None:
    forget_own_code()
    import my_blocks  # noqa: F401

    assert get_block(NAME).spec.title == "Style gate"


def test_the_code_is_known_by_what_it_runs(module: Path) -> None:
    """Its module, and what that imports from its own folder; not what happens to lie there."""
    (module / "my_blocks.py").write_text("import helper\n" + (module / "my_blocks.py").read_text())
    (module / "helper.py").write_text("from pkg import deep\n")
    (module / "pkg").mkdir()
    (module / "pkg" / "__init__.py").write_text("")
    (module / "pkg" / "deep.py").write_text("FACTOR = 2\n")
    (module / "other.py").write_text("")
    first = own_code.code_hash([NAME])
    assert len(first) == 16
    assert own_code.code_hash([]) == ""
    (module / "other.py").write_text("changed = True\n")
    assert own_code.code_hash([NAME]) == first
    (module / "pkg" / "deep.py").write_text("FACTOR = 3\n")
    assert own_code.code_hash([NAME]) != first


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
