"""The examples run, say what they should, and stay short."""

from __future__ import annotations

import doctest
import runpy
from pathlib import Path

import pytest

import nas

FOLDER = Path(__file__).parents[2] / "examples"
SAYS = {
    "any_function": "compared in 1 to 2 seeds",
    "ask_and_tell": "map_mean",
    "own_module": "resnet18(width=0.25)+se@5",
    "own_network": "__main__:Trunk(last_stride=2)+se@3",
    "timm_backbone": "blocks only at positions 1-8",
    "osnet_sweep": "osnet_x0_25+se@5",
    "evaluate_checkpoint": "mAP 0.",
    "int8_export": "ms in int8, one thread",
    "mlflow_runs": "5 runs, the last of",
}
MARKS = dict.fromkeys(("any_function", "int8_export", "mlflow_runs", "timm_backbone"), (pytest.mark.slow,))
MARKS["osnet_sweep"] = (pytest.mark.slow, pytest.mark.heavy)  # 2,720 pictures
HANDWRITING = Path(__file__).resolve().parents[3] / "shared" / "data" / "handwriting"
NEEDS = {"any_function": "sklearn", "int8_export": "onnxruntime", "mlflow_runs": "mlflow"}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in SAYS])
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
    if name == "timm_backbone":  # what was planted, and nothing else, as a file that another study reads
        assert [rule.to_dict() for rule in nas.RuleSet.load("rules.yaml").rules] == [{"sites": "1-8"}]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_has_at_most_fifteen_lines(path: Path) -> None:
    """Without blank ones and the first, which says what it is."""
    about, *lines = path.read_text().splitlines()
    assert about.startswith('"""')
    assert about.endswith('"""')
    assert len([line for line in lines if line.strip()]) <= 15


def test_every_public_name_is_shown_in_something_that_runs() -> None:
    """A doctest of its own, an example, a notebook, or a page of the documentation."""
    root = FOLDER.parent
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "docs" / "how-to").glob("*.md")]
    shown = "\n".join(path.read_text() for path in [*pages, *FOLDER.glob("*.py"), *(root / "docs").rglob("*.ipynb")])
    for name in set(dir(nas)) - {"__version__"}:
        examples = doctest.DocTestFinder(recurse=False).find(getattr(nas, name))
        assert f"nas.{name}" in shown or any(test.examples for test in examples), name
