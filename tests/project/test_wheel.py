"""The wheel, as somebody gets it who has no checkout: installed afresh, used in an empty folder, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

import nas

pytest.importorskip("hatchling", reason="building the wheel needs hatchling (pip install 'nas-reid[dev]')")
CHECKOUT = Path(nas.__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:9"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHECKOUT / "pyproject.toml").exists(), reason="needs the checkout"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without fetching anything."""
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(CHECKOUT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it; what it depends on is borrowed from this one."""
    root = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    packages = next(root.glob("lib/python*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, where the tests below do what a new user does, one after the other."""
    return tmp_path_factory.mktemp("project")


def run(environment: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command, with no home, no settings and no network."""
    path = f"{environment / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), NOWHERE)
    settings = {"PATH": path, "HOME": str(project.parent), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", **proxies}
    return subprocess.run(["nas", *arguments], cwd=project, env=settings, capture_output=True, text=True)


def good(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A command that ended well, without noise."""
    assert done.returncode == 0, done.stdout + done.stderr
    for noise in ("Warning", "Traceback", "Error"):
        assert noise not in done.stderr, done.stderr
    return done


def test_everything_that_is_no_code_is_in_the_wheel(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    package = {p.relative_to(CHECKOUT).as_posix() for p in (CHECKOUT / "nas").rglob("*") if p.is_file()}
    assert {name for name in package if "__pycache__" not in name} <= held
    for folder in ("search_spaces", "studies"):
        shipped = {f"nas/shipped/{folder}/{path.name}" for path in (CHECKOUT / folder).glob("*.yaml")}
        assert shipped
        assert shipped <= held
    assert {f"nas/shipped/paper/{path.name}" for path in (CHECKOUT / "reports" / "paper").iterdir()} <= held
    assert "nas/shipped/benchmarks/placement_table/pedestrians.csv" in held
    assert not [name for name in held if name.split("/")[0] in ("tests", "benchmarks", "docs", "reports")]
    assert any(name.endswith("/licenses/LICENSE") for name in held)


def test_the_installed_package_is_used(environment: Path, project: Path) -> None:
    where = [str(environment / "bin" / "python"), "-c", "import nas; print(nas.__file__)"]
    nobody_elses = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(where, cwd=project, env=nobody_elses, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(environment)


def test_the_papers_numbers_are_there_without_a_checkout(environment: Path, project: Path) -> None:
    asked = "from nas.reporting.paper import paper_table as t, paper_transfer as u; print(len(t()), len(u()))"
    nobody_elses = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(environment / "bin" / "python"), "-c", asked]
    found = subprocess.run(command, cwd=project, env=nobody_elses, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["14", "4"]


@pytest.mark.heavy
def test_a_report_stands_beside_the_paper_without_a_checkout(environment: Path, tmp_path: Path) -> None:
    tables = next(environment.glob("lib/python*/site-packages/nas/shipped/benchmarks/placement_table"))
    studies = [str(tables / f"gallery_{name}.yaml") for name in ("circle", "transfer")]
    good(run(environment, tmp_path, "run", *studies))
    text = (tmp_path / "reports" / "campaign" / "report.md").read_text()
    assert "Table I beside the paper" in text
    assert "Table II beside the paper" in text
    assert "0.8916 ± 0.0005" in text  # the paper's C-NL @ 6,8,14 with circle loss


def test_first_looks(environment: Path, project: Path) -> None:
    assert good(run(environment, project, "--version")).stdout == f"nas {nas.__version__}\n"
    assert "nas init" in good(run(environment, project, "--help")).stdout


def test_init_doctor_and_synth(environment: Path, project: Path) -> None:
    assert "nas run studies/quickstart.yaml" in good(run(environment, project, "init")).stderr
    found = {row["name"]: row for row in json.loads(good(run(environment, project, "doctor", "--json")).stdout)}
    assert found["torch"]["state"] == "ok"
    small = ["--train-identities", "4", "--test-identities", "2", "--images", "2"]
    good(run(environment, project, "data", "synth", "data/pedestrians", *small))
    good(run(environment, project, "data", "check", "data/pedestrians"))
    assert "quickstart" in good(run(environment, project, "space", "show", "search_spaces/quickstart.yaml")).stdout


@pytest.mark.timeout(900)  # two programs that train, beside the other tests
def test_a_study_that_trains_runs_to_its_report(environment: Path, project: Path) -> None:
    """The shortest there is, from a start: the quickstart's own is walked through in a browser's tests."""
    space = {"name": "s", "backbones": {"resnet18": {"width": 0.125}}, "blocks": ["se"], "sites": [3]}
    study = {
        "name": "short",
        "space": {**space, "rules": [{"max_blocks": 1}]},
        "data": {"generated": {"train_identities": 16, "test_identities": 4, "images": 2}},
        "recipe": {"extends": "quickstart", "epochs": 1},
        "start": "plain",
        "latency": {"input": [64, 32], "time_budget_s": 0.05, "threads": 1},
        "database": "sqlite:///short.db",
        "stages": [{"sweep": {"design": "exhaustive", "fidelity": {"epochs": 1}}}],
    }
    (project / "short.yaml").write_text(yaml.safe_dump(study))
    good(run(environment, project, "run", "short.yaml", "--json"))
    report = project / "reports" / "short"
    assert {"report.html", "report.md", "rules.yaml"} <= {path.name for path in report.iterdir()}
    assert os.listdir(project / ".nas")
    assert json.loads(good(run(environment, project, "status", "short", "--db", "short.db", "--json")).stdout)[
        "finished"
    ]
