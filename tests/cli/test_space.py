"""`nas space` from outside: what it prints, its JSON, its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nas.cli.main import build_app
from nas.errors import SpaceError
from nas.spaces import Candidate, DesignSpace


def nas(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["space", *arguments])


def text(*arguments: str) -> str:
    result = nas(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def parsed(*arguments: str) -> Any:
    return json.loads(text(*arguments, "--json"))


def refused(*arguments: str) -> str:
    result = nas(*arguments)
    assert isinstance(result.exception, SpaceError), result.output
    return str(result.exception)


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    path = tmp_path / "pairs.yaml"
    path.write_text(
        "name: pairs\nbackbones: [resnet50]\nblocks: [hac, cnl]\nrules:\n  - max_blocks: 2\n  - min_distance: 4\n"
    )
    return str(path)


def test_show_has_sites_rules_and_sizes(pairs: str) -> None:
    shown = text("show", pairs)
    row = next(line.split() for line in shown.splitlines() if line.strip().startswith("8 "))
    assert row[:9] == ["8", "layer2[3]", "2", "4/4", "512", "x", "32", "x", "16"]
    assert "end" in row
    for words in ("no more than 2 blocks", "blocks at least 4 sites apart", "with 1 block: 34", "in all: 399"):
        assert words in shown


def test_show_knows_width_input_and_parent(tmp_path: Path) -> None:
    data = {"name": "narrow", "backbones": {"resnet50": {"width": 0.25}}, "blocks": ["se"]}
    child = DesignSpace.from_dict(data).restrict([{"forbid": {"sites": "1-4"}}])
    path = tmp_path / "child.yaml"
    path.write_text(child.to_yaml())
    shown = text("show", str(path), "--height", "64", "--width", "32")
    assert "512 x 4 x 2" in shown
    assert "Cut from narrow" in shown
    summary = parsed("show", str(path))
    assert summary["sites"]["resnet50(width=0.25)"][0]["blocks"] == "-"
    assert summary["rules"][0]["sentence"] == "no block at positions 1-4"
    assert DesignSpace.from_dict(summary["file"]) == child


def test_size(pairs: str) -> None:
    assert "with 2 blocks: 364" in text("size", pairs)
    assert parsed("size", pairs)["by_blocks"] == {"0": 1, "1": 34, "2": 364}


def test_sample_is_reproducible_and_inside(pairs: str) -> None:
    space = DesignSpace.from_yaml(pairs)
    lines = text("sample", pairs, "-n", "5", "--seed", "3", "--blocks", "2").splitlines()
    assert lines == text("sample", pairs, "-n", "5", "--seed", "3", "--blocks", "2").splitlines()
    assert len(set(lines)) == 5
    assert all(space.contains(line) and len(Candidate.parse(line).placements) == 2 for line in lines)
    drawn = parsed("sample", pairs, "-n", "6", "--stratified")
    assert [Candidate.from_dict(row).id for row in drawn] == [row["id"] for row in drawn]
    assert "fewer than 1000" in refused("sample", pairs, "-n", "1000")


def test_validate(pairs: str, tmp_path: Path) -> None:
    assert "valid design space (399 candidates)" in text("validate", pairs)
    assert "is in the space" in text("validate", pairs, "resnet50+cnl@8,14")
    assert "sites 6 and 8 are 2 apart" in refused("validate", pairs, "resnet50+cnl@6,8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nbackbones: [resnet50]\nblcks: [cnl]\n")
    assert f"{wrong}:3:1: unknown key 'blcks'; did you mean 'blocks'?" in refused("validate", str(wrong))


def test_validate_points_at_contradictions(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("name: odd\nbackbones: [resnet50]\nblocks: [cnl]\nrules:\n  - sites: 3\n  - stage_ends: true\n")
    result = nas("validate", str(path))
    assert "no block can be placed" in result.stderr
    assert parsed("validate", str(path))["contradictions"][0]["sentence"] == "no block can be placed"


def test_explain(pairs: str) -> None:
    assert text("explain", pairs, "resnet50+cnl@8").strip() == "resnet50+cnl@8 is inside"
    said = text("explain", pairs, "resnet50+cnl@6,8+se@14")
    assert "placements[1].site: sites 6 and 8 are 2 apart" in said
    assert "placements[2].block: block se is not in this space" in said
    answer = parsed("explain", pairs, "resnet50+cnl@6,8")
    assert answer["inside"] is False
    assert answer["violations"][0]["rule"] == {"min_distance": 4}
    assert DesignSpace.from_yaml(pairs).contains(answer["nearest"])
    assert "expected '@'" in refused("explain", pairs, "resnet50+cnl")


def test_shipped_spaces_go_by_name_and_own_ones_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parsed("size", "quickstart")["size"] == 11
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "quickstart.yaml").write_text("name: mine\nbackbones: [resnet18]\nblocks: [se]\n")
    assert parsed("size", "quickstart")["name"] == "mine"
    assert "Did you mean quickstart?" in refused("size", "quickstrat")
    assert "there is no design space" in refused("size", "nothing/here.yaml")


def test_schema_is_json() -> None:
    assert json.loads(text("schema"))["title"] == "design space"


def test_sites_of_a_backbone() -> None:
    told = text("sites", "resnet18(last_stride=2)", "--size", "128x64")
    rows = [line.split() for line in told.splitlines()]
    assert ["5", "layer2.1", "2", "2/2", "128x16x8", "8"] in rows
    assert ["stage", "2", "128x16x8", "-[4]-[5]"] in rows
    found = parsed("sites", "timm:resnet10t")["sites"]
    last = {"site": 5, "after": "layer4.0", "stage": 4, "place": 1, "stage_length": 1}
    assert found[-1] == last | {"channels": 512, "height": 16, "width": 8, "stride": 16}
    assert "its backbone is resnet18" in refused("sites", "resnet18+se@3")
    assert "timm:vit_tiny_patch16_224: it is a transformer" in refused("sites", "timm:vit_tiny_patch16_224")
