"""`nas blocks`: every declaration reaches the terminal, and wrong names end with exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nas.cli.main import main
from nas.spaces.blocks import BLOCKS


def test_list_names_every_block(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["blocks", "list"]) == 0
    out = capsys.readouterr().out
    for spec in BLOCKS.values():
        assert f"{spec.name} " in out
        assert spec.family in out


def test_list_as_json_needs_no_torch() -> None:
    code = (
        "import sys; from nas.cli.blocks import list_blocks; list_blocks(json=True); assert 'torch' not in sys.modules"
    )
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
