"""The examples run, say what they should, and stay short."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SAYS = {
    "any_function": "compared in 2 seeds",
    "ask_and_tell": "map_mean",
    "own_module": "resnet18(width=0.25)+se@5",
    "own_network": "__main__:Trunk(last_stride=2)+se@3",
    "timm_backbone": "timm:mobilenetv4_conv_small_035+se@11",
    "osnet_sweep": "osnet_x0_25+se@5",
    "evaluate_checkpoint": "mAP 0.",
    "int8_export": "ms in int8, one thread",
    "mlflow_runs": "5 runs, the last of",
}
SLOW = {"int8_export", "osnet_sweep", "timm_backbone"}
HANDWRITING = Path(__file__).resolve().parents[3] / "shared" / "data" / "handwriting"
NEEDS = {"any_function": "sklearn", "int8_export": "onnxruntime", "mlflow_runs": "mlflow"}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SAYS])
def test_it_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    if name == "osnet_sweep":
        if not HANDWRITING.is_dir():
            pytest.skip("no handwriting beside the project")
        Path("data").mkdir()
        Path("data/handwriting").symlink_to(HANDWRITING)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert SAYS[name] in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_has_at_most_fifteen_statements(path: Path) -> None:
    """Lines of code, without imports, blank lines and the line that says what it is."""
    tree = ast.parse(path.read_text())
    body = [node for node in tree.body[1:] if not isinstance(node, (ast.Import, ast.ImportFrom))]
    lines = path.read_text().splitlines()
    used = {n for node in body for n in range(node.lineno, (node.end_lineno or 0) + 1) if lines[n - 1].strip()}
    assert len(used) <= 15
