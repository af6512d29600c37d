"""The catalogue of blocks and own blocks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_builders import block_params

from nas.errors import SpaceError
from nas.spaces import BLOCKS, BlockSpec, ParamSpec, get_block_spec, own_code
from nas.spaces.blocks import block_names
from nas.spaces.rules.patterns import matches

OWN_BLOCK = """
from nas.spaces import BlockSpec, ParamSpec

class Spatial:
    spec = BlockSpec("spatial", "Spatial", "non-local", (ParamSpec("kernel", (3, 7), 7, "size"),), "own", "A gate.")

class Nothing:
    pass
"""


def test_catalogue_has_the_blocks_of_the_paper_and_the_extra_ones() -> None:
    assert set(BLOCKS) == {"se", "hac", "agw", "raga", "abd", "cnl", "eca", "gc", "cbam"}
    assert list(block_names())[: len(BLOCKS)] == list(BLOCKS)


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_defaults_are_legal_and_not_written(name: str) -> None:
    spec = get_block_spec(name)
    params = spec.complete({})
    assert spec.non_defaults(params) == ()
    for key, value in params:
        assert value in spec.param(key).choices


@given(st.sampled_from(sorted(BLOCKS)).flatmap(lambda name: st.tuples(st.just(name), block_params(name))))
def test_completing_is_idempotent_and_keeps_what_is_given(case: tuple[str, dict[str, object]]) -> None:
    name, given_params = case
    spec = get_block_spec(name)
    params = spec.complete(given_params)
    assert spec.complete(dict(params)) == params
    assert spec.complete(dict(spec.non_defaults(params))) == params
    assert given_params.items() <= dict(params).items()


def test_conditional_hyperparameter_exists_only_when_active() -> None:
    cnl = get_block_spec("cnl")
    assert "reduction" not in dict(cnl.complete({"width": "half"}))
    assert dict(cnl.complete({"width": "reduced"}))["reduction"] == 16
    with pytest.raises(SpaceError, match="width=reduced"):
        cnl.complete({"reduction": 8})


@pytest.mark.parametrize(("fuse", "on"), [("gate", False), ("gate2", True), ("add", True)])
def test_zero_init_follows_fuse_and_auto_means_that(fuse: str, on: bool) -> None:
    cnl = get_block_spec("cnl")
    assert dict(cnl.complete({"fuse": fuse}))["zero_init"] is on
    assert cnl.complete({"fuse": fuse, "zero_init": "auto"}) == cnl.complete({"fuse": fuse})


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("se", {"reductoin": 4}, "did you mean 'reduction'"),
        ("se", {"reduction": 3}, "legal: 1, 2, 4, 8, 16, 32"),
        ("cnl", {"qk_norm": 1}, "legal: true, false"),
        ("agw", {"inner": "auto"}, "legal: half, one"),
    ],
)
def test_wrong_hyperparameters_are_named(name: str, params: dict[str, object], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        get_block_spec(name).complete(params)


def test_unknown_block_names_the_closest() -> None:
    with pytest.raises(SpaceError, match="did you mean 'cnl'"):
        get_block_spec("cnll")


def test_own_block_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_spatial_block.py").write_text(OWN_BLOCK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_code, "_trusted", set())
    own_code.trust(["own_spatial_block:Spatial"])
    path = list(sys.path)
    spec = get_block_spec("own_spatial_block:Spatial")
    assert spec.name == "own_spatial_block:Spatial"
    assert spec.complete({}) == (("kernel", 7),)
    assert sys.path == path
    with pytest.raises(SpaceError, match="no `spec`"):
        get_block_spec("own_spatial_block:Nothing")
    with pytest.raises(SpaceError, match="no class 'Missing'"):
        get_block_spec("own_spatial_block:Missing")


def test_own_block_that_cannot_be_imported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_code, "_trusted", set())
    own_code.trust(["no_such_module_here:Block"])
    with pytest.raises(SpaceError, match="cannot be imported"):
        get_block_spec("no_such_module_here:Block")


def test_patterns_name_the_form_a_block_is_put_in_with() -> None:
    published, identity = get_block_spec("se").complete({}), get_block_spec("se").complete({"start": "identity"})
    patterns = ("se", "se(start=published)", "se(start=identity)")
    assert [matches(pattern, "se", published) for pattern in patterns] == [True, True, False]
    assert [matches(pattern, "se", identity) for pattern in patterns] == [True, False, True]


def test_a_block_cannot_declare_a_start_of_its_own() -> None:
    with pytest.raises(SpaceError, match="which every block has"):
        BlockSpec("x", "X", "mixed", (ParamSpec("start", (1, 2), 1, "mine"),), "here", "None.")
