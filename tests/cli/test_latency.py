"""`nas latency` from outside: what it prints, its JSON, what a second run does, its refusals."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nas.cli.main import build_app
from nas.errors import NasError
from nas.latency.device_agent.mailbox import FolderMailbox
from nas.latency.device_agent.program import serve
from nas.storage import Repository, open_database

SPACE = """
name: tiny
backbones: {resnet18: {width: 0.125}}
sites: 1-9
blocks: {se: {}, hac: {}}
"""
QUICK = ("--input", "32x16", "--batch", "2", "--batches", "3", "--threads", "1", "--reference", "resnet34")

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None,
    reason="onnx and onnxruntime are not installed",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    (tmp_path / "space.yaml").write_text(SPACE)


def nas(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["latency", *arguments])


def done(*arguments: str) -> Result:
    result = nas(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def refused(*arguments: str) -> str:
    result = nas(*arguments)
    assert isinstance(result.exception, NasError), result.output + repr(result.exception)
    return str(result.exception)


def stored() -> int:
    with open_database("sqlite:///.nas/latency.db", create=False) as database:
        return len(Repository(database).latencies())


@pytest.mark.slow
def test_a_profile_is_made_shown_and_resumed() -> None:
    first: Any = json.loads(done("profile", "space.yaml", *QUICK, "--json").stdout)
    rows = {row["notation"]: row for row in first["placements"]}
    assert len(rows) == 2 + 2 * 9
    assert rows["resnet18(width=0.125)"]["increment_ms"] is None
    assert rows["resnet18(width=0.125)+se@9"]["median_ms"] > 0
    assert first["protocol"]["input"] == [32, 16]
    assert {rule["verdict"] for rule in first["rules"]} <= {"adopted", "rejected", "not enough data"}
    before = stored()
    again: Any = json.loads(done("profile", "space.yaml", *QUICK, "--json").stdout)
    assert stored() == before
    assert again["placements"] == first["placements"]
    shown = done("show", "--reference", "resnet34")
    for heading in ("network", "sites", "batches/s", "slower %"):
        assert heading in shown.stdout
    assert "+ se" in shown.stdout
    assert "Rule: no block whose network is slower than" in shown.stderr


def plant_pairs(unknown: str) -> None:
    """Files what is stored once more, with an interval of one percent to each ratio; one network's is too wide."""
    with open_database("sqlite:///.nas/latency.db", create=False) as database:
        repository = Repository(database)
        for row in repository.latencies().itertuples():
            place = {"architecture_id": row.architecture_id, "protocol_id": row.protocol_id, "device": row.device}
            found = repository.find_latency(**place)
            assert found is not None
            ratio = found.record["ratio"]
            if ratio is not None:
                half = 0.5 * ratio if row.notation == unknown else 0.01 * ratio
                pair = {"ratio_low": ratio - half, "ratio_high": ratio + half}
                repository.store_latency({**found.record, **pair}, notation=row.notation, **place)


@pytest.mark.slow
def test_one_unknown_time_hides_no_other() -> None:
    """Times as short as these are known by luck, so their intervals are planted."""
    done("profile", "space.yaml", *QUICK, "--json")
    assert "No single placement has a known latency yet" in done("show", "--figure", "speed.html").stderr
    assert not Path("speed.html").exists()
    plant_pairs(unknown="resnet34(width=0.125)")
    shown = done("show", "--figure", "speed.html")
    unknown = [line for line in shown.stdout.splitlines() if "not known" in line]
    assert [line.split("(")[0] for line in unknown] == ["resnet34"]
    page = Path("speed.html").read_text()
    assert "plotly" in page
    assert 'src="http' not in page


@needs_onnx
def test_networks_go_to_a_device_and_come_back(tmp_path: Path) -> None:
    quick = (
        "--input",
        "32x16",
        "--batch",
        "1",
        "--batches",
        "3",
        "--threads",
        "1",
        "--on",
        "cpu",
        "--precision",
        "fp32",
    )
    wanted = ("resnet18(width=0.125)", "resnet18(width=0.125)+se@9")
    to_robot = ("stick", "--device", "robot")
    done("bridge", *to_robot, *wanted, "--backend", "onnxruntime", *quick, "--once")
    assert {path.name for path in (tmp_path / "stick").iterdir()} == {"README.txt", "device_agent.py", "jobs"}
    assert serve(FolderMailbox("stick"), log=lambda line: None) == 2
    found: Any = json.loads(done("bridge", *to_robot, "--once", "--json").stdout)
    assert set(found["records"]) == set(wanted)
    assert {record["device_name"] for record in found["records"].values()} == {"robot"}
    assert found["records"][wanted[1]]["reference"] == wanted[0]
    assert "robot" in done("show").stderr
    (tmp_path / "stick" / "results" / "other.json").write_text("{}")
    said = refused("bridge", *to_robot, "--once")
    assert "other.json" in said
    assert "run the agent on the device once more" in said
    assert (
        "0 network(s) wait for 'robot' again"
        in done("bridge", "empty", "--device", "robot", "--retry", "--once").stderr
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("profile", "space.yaml", "--backend", "egaer"), "did you mean 'eager'"),
        (("profile", "space.yaml", "--on", "gpu"), "write cpu, cuda or cuda:0"),
        (("profile", "space.yaml", "--input", "256"), "in pixels like 256x128, not '256'"),
        (("profile", "space.yaml", "--backend", "tensorrt"), "TensorRT needs a CUDA device"),
        (("profile", "absent.yaml"), "absent.yaml"),
        (("show",), "there is no database"),
        (("bridge", "stick", "--device", "robot", "--once"), "there is no database"),
        (("profile", "space.yaml", "--opset", "13", "--backend", "egaer"), "did you mean 'eager'"),
    ],
)
def test_wrong_input_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)
