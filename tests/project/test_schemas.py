"""JSON schemas of the files a person writes, held against the readers of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from nas.cli.main import main
from nas.errors import NasError
from nas.project.layout import EDITOR_HINT, SCHEMA_FILE, shipped
from nas.project.schemas import FILE_KINDS, file_schema

SMALLEST = {"name": "s", "space": "space.yaml", "stages": [{"profile": {}}]}
SPACE = {"name": "tiny", "backbones": ["resnet50"], "blocks": ["cnl"]}


def errors(kind: str, data: Any) -> list[str]:
    """What an editor would mark."""
    found = jsonschema.Draft202012Validator(file_schema(kind)).iter_errors(data)
    return [f"{list(error.path)}: {error.message}" for error in found]


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_schemas_are_schemas(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(NasError, match="study"):
        file_schema("stuy")


@pytest.mark.parametrize("folder", ["search_spaces", "studies"])
def test_shipped_files_fit(folder: str) -> None:
    kind = {"search_spaces": "space", "studies": "study"}[folder]
    for path in shipped(folder).glob("*.yaml"):
        data = yaml.safe_load(path.read_text())
        assert errors("campaign" if "studies" in data else kind, data) == [], path


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": ["profile"]},
        {"stages": [{"profile": None}]},
        {"stages": [{"shrink": "auto"}]},
        {"stages": [{"shrink": {"auto": {"trainings": 20}}}]},
        {"stages": [{"sweep": {"candidates": 3, "fidelity": {"epochs": 1}}, "name": "first"}]},
        {"space": SPACE},
        {"data": [{"market1501": "a"}, {"cuhk03": "b", "variant": "labeled"}]},
        {"data": {"train": {"market1501": "a"}, "test": {"generated": {"seed": 2}}}},
        {"recipe": {"extends": "quickstart", "epochs": 2, "triplet.margin": 0.5, "loss": ["cross_entropy", "triplet"]}},
        {"profiles": {"smoke": {"seed": 2}}},
    ],
)
def test_every_form_that_a_study_may_take_fits(changes: dict[str, Any], tmp_path: Path) -> None:
    from nas.search.definition import load_study

    data = {**SMALLEST, **changes}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(data))
    assert load_study(path).name == "s"
    assert errors("study", data) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sede": 1},
        {"source": "x"},
        {"stages": []},
        {"stages": [{"sweep": {"candidate": 3}}]},
        {"stages": [{"profile": {}, "sweep": {"candidates": 3}}]},
        {"stages": ["profil"]},
        {"space": {"name": "tiny"}},
        {"data": {"market1502": "a"}},
        {"recipe": "strong_basline"},
        {"recipe": {"extends": "quickstart", "epoch": 2}},
        {"latency": {"precision": "int4"}},
        {"latency": {"backend": "cudagraph"}},
        {"stages": [{"search": {"sampler": "annealing", "trainings": 3}}]},
        {"profiles": {"smoke": {"sede": 2}}},
    ],
)
def test_mistakes_in_a_study_are_marked(changes: dict[str, Any]) -> None:
    assert errors("study", {**SMALLEST, **changes})


def test_a_recipe_file_fits_and_its_mistakes_are_marked() -> None:
    assert errors("recipe", {"extends": "circle", "epochs": 60, "triplet": {"margin": 0.5}}) == []
    assert errors("recipe", {"extends": "circle", "tripplet": {"margin": 0.5}})


def test_init_writes_schemas_that_the_files_point_at(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path)]) == 0
    for folder, kind in (("search_spaces", "space"), ("studies", "study")):
        assert json.loads((tmp_path / folder / SCHEMA_FILE).read_text()) == file_schema(kind)
        for path in (tmp_path / folder).glob("*.yaml"):
            hint = "# yaml-language-server: $schema=.campaign-schema.json" if path.name == "paper.yaml" else EDITOR_HINT
            assert path.read_text().startswith(hint)
    campaign = json.loads((tmp_path / "studies" / ".campaign-schema.json").read_text())
    assert campaign == file_schema("campaign")


def test_init_renews_schemas_and_leaves_files(tmp_path: Path) -> None:
    main(["init", str(tmp_path)])
    study, schema = tmp_path / "studies" / "quickstart.yaml", tmp_path / "studies" / SCHEMA_FILE
    study.write_text("mine")
    schema.write_text("{}")
    main(["init", str(tmp_path)])
    assert study.read_text() == "mine"
    assert json.loads(schema.read_text()) == file_schema("study")
