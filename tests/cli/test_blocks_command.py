"""`nas blocks`: every declaration reaches the terminal, and wrong names end with exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.spaces import RuleSet
from nas.spaces.blocks import BLOCKS


def test_list_names_every_block(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["blocks", "list"]) == 0
    out = capsys.readouterr().out
    for spec in BLOCKS.values():
        assert f"{spec.name} " in out
        assert spec.family in out


def test_list_as_json_needs_no_torch() -> None:
    code = "import sys; from nas.cli.blocks import list_; list_(json=True); assert 'torch' not in sys.modules"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = json.loads(found.stdout)
    assert [row["name"] for row in rows] == list(BLOCKS)
    assert rows[2]["hyperparameters"][0]["choices"] == ["half", "one"]


@pytest.mark.parametrize("name", BLOCKS)
def test_describe_prints_the_declaration(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blocks", "describe", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["family"] == BLOCKS[name].family
    assert found["source"] == BLOCKS[name].source
    assert found["params_formula"] != "counted"
    assert found["macs_formula"] != "counted"
    assert [cost["shape"] for cost in found["costs"]] == [
        "64x64x32",
        "256x64x32",
        "512x32x16",
        "1024x16x8",
        "2048x16x8",
    ]


def test_describe_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["blocks", "describe", "cnl"]) == 0
    out = capsys.readouterr().out
    assert "not the identity; the identity with fuse=gate2 or fuse=add" in out
    assert "16787456" in out
    assert "reconstruction" in out


def test_an_unknown_block_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blocks", "describe", "cnll"]) == 2
    assert "did you mean 'cnl'" in capsys.readouterr().err


def test_limit_writes_rules_by_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.yaml"
    assert main(["blocks", "limit", "resnet50_attention", "--than", "30e6", "--out", str(out)]) == 0
    assert "no block whose network has more parameters than 30000000" in capsys.readouterr().out
    assert not RuleSet.load(out).admits("resnet50+cnl@17")
    assert RuleSet.load(out).admits("resnet50+cnl@14")
    assert main(["blocks", "limit", "resnet50_attention", "--measure", "macs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"][0]["verdict"] == "rejected"


def test_a_wrong_measure_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blocks", "limit", "resnet50_attention", "--measure", "weight"]) == 2
    assert "size of a network" in capsys.readouterr().err
