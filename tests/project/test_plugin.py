"""A package that brings every part there is, built, installed and used: by its entry points, and by `module:name`.

Its modules and its tables of entry points are those of the how-tos, as they stand there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from data_builders import write_image

import nas
from nas.spaces.plugins import GROUPS

pytest.importorskip("hatchling", reason="building the package needs hatchling (pip install 'nas-reid[dev]')")
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PARTS = {
    "augmentation": ("rain", "my_steps:rain"),
    "backbone": ("trunk", "my_nets:Trunk"),
    "block": ("style_gate", "my_blocks:StyleGate"),
    "head": ("mean_and_max", "my_parts:mean_and_max"),
    "latency backend": ("exported", "my_engine:Exported"),
    "loss": ("focal", "my_parts:focal"),
    "metric": ("separation", "my_metrics:separation"),
    "reader": ("depot", "my_sets:read_depot"),
    "sampler": ("beside", "my_batches:BesideEachOther"),
}
"""Each kind of part: its entry point, and what that names."""
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "my-parts"
version = "1.0"

[tool.hatch.build.targets.wheel]
include = ["my_*.py"]
"""


def write_package(folder: Path) -> Path:
    """The sources of the package: what the how-tos say to save, and to write into its `pyproject.toml`."""
    folder.mkdir()
    tables = [PROJECT]
    for page in sorted(HOW_TO.glob("own-*.md")):
        text = page.read_text()
        if found := re.search(r"<!-- snippet: file (my_\w+\.py) -->\n```python\n(.*?)```", text, re.DOTALL):
            (folder / found[1]).write_text(found[2])
        tables += re.findall(r'```toml\n(\[project\.entry-points\."nas\..*?)```', text, re.DOTALL)
    (folder / "pyproject.toml").write_text("\n".join(tables))
    return folder


def install(package: Path, target: Path) -> None:
    """Builds the package and installs it, without fetching anything."""
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--upgrade", "--target", str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(package)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def study(form: int) -> dict[str, object]:
    """A study that uses every part, each by its entry point (0) or as `module:name` (1)."""
    part = {kind: names[form] for kind, names in PARTS.items()}
    recipe = {
        "extends": "quickstart",
        "epochs": 1,
        "warmup_epochs": 0,
        "input": [32, 16],
        "identities": 2,
        "images": 2,
        "head": {part["head"]: {"features": 16}},
        "loss": f"{part['loss']}+triplet",
        "own_losses": {part["loss"]: {"gamma": 1.0}},
        "sampler": part["sampler"],
        "augmentation": {"own": {part["augmentation"]: {"drops": 2}}},
    }
    return {
        "name": "plugged",
        "database": "sqlite:///plugged.db",
        "space": {
            "name": "plugged",
            "backbones": [part["backbone"]],
            "sites": [2],
            "blocks": {part["block"]: {"statistics": ["mean"]}},
            "rules": [{"max_blocks": 1}],
        },
        "data": {part["reader"]: "depot", "first": "cam2"},
        "recipe": recipe,
        "metrics": [part["metric"]],
        "latency": {
            "backend": part["latency backend"],
            "device": "cpu",
            "input": [32, 16],
            "time_budget_s": 0.05,
            "threads": 1,
            "reference": part["backbone"],
            "isolated": False,
        },
        "select_on": "test",
        "start": "scratch",
        "stages": [{"sweep": {"design": "exhaustive"}}],
    }


def run(folder: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    """A program of a person who has installed the package, in a folder with images alone."""
    own = Path(nas.__file__).parents[1]
    path = os.pathsep.join(map(str, (installed, own)))
    environment = {**os.environ, "PYTHONPATH": path, "NAS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    program = "import nas; nas.run('study.yaml', in_process=True, progress=False)"
    return subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_how_tos_bring_every_kind_of_part(tmp_path: Path) -> None:
    text = (write_package(tmp_path / "package") / "pyproject.toml").read_text()
    assert sorted(PARTS) == sorted(GROUPS)
    for kind, (name, value) in PARTS.items():
        assert f'[project.entry-points."{GROUPS[kind]}"]\n{name} = "{value}"' in text
        assert (tmp_path / "package" / f"{value.partition(':')[0]}.py").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)  # two programs, of which one trains, beside the other tests
@pytest.mark.parametrize("form", [0, pytest.param(1, marks=pytest.mark.heavy)], ids=["entry-points", "module-name"])
def test_a_study_uses_all_of_an_installed_package(form: int, tmp_path: Path) -> None:
    package, installed = write_package(tmp_path / "package"), tmp_path / "installed"
    install(package, installed)
    for camera in ("cam1", "cam2"):
        for person in range(1, 9):
            for number in (1, 2):
                write_image(tmp_path / "depot" / camera / f"{person}-{number}.png", 10 * person + number)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(form)))
    done = run(tmp_path, installed)
    assert done.returncode == 0, done.stdout + done.stderr
    found = nas.Study.open(f"sqlite:///{tmp_path}/plugged.db", "plugged")
    rows, times = found.results(), found.latencies()
    backbone, block = PARTS["backbone"][form], PARTS["block"][form]
    assert set(rows["notation"]) == {backbone, f"{backbone}+{block}(statistics=mean)@2"}
    assert rows["status"].eq("finished").all()
    assert rows["separation"].between(-2, 2).all()
    assert set(times["notation"]) == set(rows["notation"])
    assert times["raw_ms"].gt(0).all()  # whatever else keeps this machine busy
    assert rows["code"].str.len().eq(16).all()

    edited = package / "my_nets.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    install(package, installed)
    done = run(tmp_path, installed)
    assert done.returncode != 0
    assert "the code of my_nets:Trunk was changed since study 'plugged' was started" in " ".join(done.stderr.split())
