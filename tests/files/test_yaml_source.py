"""Strict YAML: scalars, duplicates, places, sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from nas.errors import SpaceError, StudyError
from nas.files.yaml_source import dump_yaml, load_yaml, parse_yaml, validate


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 1
    height: float = 0


class Left(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["left"] = "left"
    left_only: int = 0


class Right(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["right"] = "right"
    right_only: int = 0


class File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    parts: list[Inner] = []
    named: dict[str, Inner | int] = {}
    side: Annotated[Left | Right, Field(discriminator="kind")] | None = None
    switch: bool = False


def message(text: str, model: type[BaseModel] = File) -> str:
    with pytest.raises(SpaceError) as caught:
        validate(model, parse_yaml(text, "f.yaml"))
    return caught.value.message


def test_scalars_mean_what_they_look_like() -> None:
    text = "[1e-4, 1e5, .5, -3, 010, 1:30, 2024-01-01, on, yes, true, 1-17, '1', null, ~, 1_0, 0x1F]"
    expected = [1e-4, 1e5, 0.5, -3, 10, "1:30", "2024-01-01", "on", "yes", True, "1-17", "1", None, None, "1_0", "0x1F"]
    assert parse_yaml(text).data == expected


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x85\u2028\u2029\ufeff\ufffe\uffff"))
)
data = st.recursive(
    scalars | st.sampled_from(["no", "on", "1e-4", "1:30", "2024-01-01", "null", "<<", "=", "0x1F", "1_0", "~", "0?"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(data)
def test_written_data_reads_back(value: Any) -> None:
    assert parse_yaml(dump_yaml({"value": value})).data == {"value": value}


@given(data)
def test_other_readers_see_the_same(value: Any) -> None:
    # A rules file is read by a robot's build with whatever YAML reader it has.
    assert yaml.safe_load(dump_yaml({"value": value})) == {"value": value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: a\nnam: b",
            "f.yaml:2:1: unknown key 'nam'; did you mean 'name'? Known: name, named, parts, side, switch",
        ),
        (
            "name: a\nparts:\n  - {wdith: 3}",
            "f.yaml:3:6: parts[0]: unknown key 'wdith'; did you mean 'width'? Known: height, width",
        ),
        (
            "name: a\nnamed:\n  x:\n    heigt: 3",
            "f.yaml:4:5: named.x: unknown key 'heigt'; did you mean 'height'? Known: height, width",
        ),
        (
            "name: a\nside: {kind: left, right_only: 3}",
            "f.yaml:2:20: side: unknown key 'right_only'; did you mean 'left_only'? Known: left_only",
        ),
        ("parts: []", "f.yaml:1:1: the key 'name' is missing"),
        ("name: a\nparts:\n - {width: wide}", "f.yaml:3:5: parts[0].width: a whole number is needed, not 'wide'"),
        ("name: a\nparts: 3", "f.yaml:2:1: parts: a list is needed, not 3"),
        ("name: a\nname: b", "f.yaml:2:1: the key 'name' is given twice; it is already in line 1"),
        (
            "name: a\nparts: [{width: 1, width: 2}]",
            "f.yaml:2:20: the key 'width' is given twice; it is already in line 2",
        ),
        ("- a", "f.yaml:1:1: expected keys and values, not a list"),
        ("", "f.yaml is empty"),
        ("# only a comment", "f.yaml is empty"),
        ("name: [", "f.yaml:1:8: not valid YAML: expected the node content, but found '<stream end>'"),
        ("name: a\n\tparts: []", "f.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("name: a\n---\nname: b", "f.yaml:2:1: not valid YAML: but found another document"),
        ("name: &x [*x]", "f.yaml:1:7: an alias must not refer to a value that contains it"),
        ("? [a]\n: b", "f.yaml:1:3: a key must be text or a number"),
    ],
)
def test_each_mistake_is_one_sentence_with_its_place(text: str, expected: str) -> None:
    assert message(text) == expected


def test_code_in_a_file_is_refused() -> None:
    for text in ("name: !!python/object/apply:os.system ['true']", "name: !!binary aGk=", "name: !own {a: 1}"):
        assert "is not allowed" in message(text)


def test_tags_of_plain_data_fit_what_they_stand_before() -> None:
    assert parse_yaml('!!str a: !!str 1\nb: !!int "3"\nc: !!seq [1]').data == {"a": "1", "b": 3, "c": [1]}
    assert all(type(key) is str for key in parse_yaml("!!str a: 1").data)
    for text in ("name: !!str [a]", "name: !!seq {a: 1}", "name: !!map a", "name: !!int [1]"):
        assert "does not fit the" in message(text)
    for text in ("name: !!bool x", "name: !!int x", "name: !!float x"):
        assert "'x' cannot be read as" in message(text)


def test_alias_bombs_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than" in message("\n".join(lines))


def test_merge_keys_give_way_to_own_keys() -> None:
    source = parse_yaml("base: &b {width: 1, height: 2}\npart: {<<: *b, width: 3}")
    assert source.data["part"] == {"width": 3, "height": 2}


def test_further_problems_are_counted() -> None:
    with pytest.raises(SpaceError) as caught:
        validate(File, parse_yaml("names: a\npats: []"))
    assert caught.value.hint == "2 more problems in it."


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00name")
    for path, words in [
        (tmp_path / "none.yaml", "there is no file"),
        (binary, "not a text file"),
        (tmp_path, "cannot be read"),
    ]:
        with pytest.raises(StudyError, match=words):
            load_yaml(path, StudyError)


def test_a_missing_file_whose_name_another_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "quick[1].yaml").write_text("name: a\n")
    for path in ("quick[1]", "quick[1].yaml", "quick[1].yml"):
        with pytest.raises(StudyError) as caught:
            load_yaml(path, StudyError)
        assert caught.value.hint == "Did you mean studies/quick[1].yaml?"
    with pytest.raises(StudyError) as caught:
        load_yaml("quick", StudyError)
    assert caught.value.hint == "Check the path."


def test_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("name: a\nside: {kind: right, right_only: 2}\n")
    source = load_yaml(path)
    file = validate(File, source)
    assert isinstance(file.side, Right)
    assert source.base == tmp_path
    assert source.where(("side", "right", "right_only")) == f"{path}:2:21"
    assert source.where(("nothing",)) == f"{path}:1:1"
