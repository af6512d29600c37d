"""The shipped design spaces: they load, say what they are, and have the sizes they claim."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nas.files.yaml_source import load_yaml
from nas.spaces import DesignSpace

FOLDER = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
SIZES = {
    "quickstart": 1 + 5 * 2,
    "resnet50_single_block": 1 + 17 * 6,
    "resnet50_pairs": math.comb(17, 2) * 9,
    "resnet50_triples": math.comb(11, 3) * 27,
    "resnet50_attention": sum(math.comb(17, k) * 14**k for k in range(5)),
    "cnl_variants": 1 + 3 * (3 * 2 * 3 * 2),  # sites x (widths, normalisations, fusions, normalised keys or not)
    "paper_single": (1 + 17 * 6) * 5,  # five label smoothings; values from continuous domains are not counted
    "resnet50_combinations": sum(math.comb(17, k) * 6**k for k in range(5)),
    "shufflenet_v2": 2 * sum(math.comb(17, k) * 4**k for k in range(4)),
    "mobilenet_v3": sum(math.comb(n, k) * 4**k for k in range(4) for n in (12, 16)),
}


def test_every_file_is_known_here() -> None:
    assert {file.stem for file in FILES} == set(SIZES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_loads_with_its_size(file: Path) -> None:
    space = DesignSpace.from_yaml(file)
    assert space.name == file.stem
    assert space.description
    assert space.size() == SIZES[file.stem]
    assert DesignSpace.from_dict(space.to_dict()).id == space.id
    for candidate in space.sample(min(20, space.size()), 0):
        assert space.contains(candidate)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_key_is_explained_where_it_stands(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# ")
    text = "\n".join(lines)
    for key in load_yaml(file).data:
        if key not in ("description", "rules"):
            line = next(line for line in lines if line.startswith(f"{key}:"))
            following = text[text.index(line) :].splitlines()[1:2]
            assert "#" in line or "#" in "".join(following), f"{key} is not explained"


@pytest.mark.slow
def test_files_follow_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = DesignSpace.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for file in FILES:
        jsonschema.validate(load_yaml(file).data, schema)
        jsonschema.validate(DesignSpace.from_yaml(file).to_dict(), schema)
    for wrong in ({"name": "x"}, {**load_yaml(FILES[0]).data, "bloks": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
