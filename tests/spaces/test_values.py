"""Values keep their type and text form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from space_builders import values

from nas.errors import SpaceError
from nas.spaces.values import ParamValue, canonical_value, format_value, parse_value, same_value


@given(values)
def test_text_form_reads_back(value: ParamValue) -> None:
    canonical = canonical_value(value)
    back = parse_value(format_value(canonical))
    assert same_value(back, canonical)
    assert type(back) is type(canonical)


@given(values)
def test_canonical_form_is_stable_and_equal(value: ParamValue) -> None:
    canonical = canonical_value(value)
    assert canonical_value(canonical) == canonical
    assert same_value(canonical, value)


def test_numpy_scalars_become_plain() -> None:
    plain = [canonical_value(value) for value in (np.int64(3), np.float32(0.5), np.bool_(True), np.str_("a"))]
    assert plain == [3, 0.5, True, "a"]
    assert [type(value) for value in plain] == [int, float, bool, str]


@pytest.mark.parametrize("value", [math.nan, math.inf, None, [1], {}])
def test_what_is_no_value_is_refused(value: object) -> None:
    with pytest.raises(SpaceError):
        canonical_value(value)


@pytest.mark.parametrize("text", ["", '"open', '"a\\q"'])
def test_broken_text_is_refused(text: str) -> None:
    with pytest.raises(SpaceError):
        parse_value(text)


@pytest.mark.parametrize("text", ["true", "16", "1e-3", "nan", "inf", "null", "a b", "a,b", "", "@", "ü"])
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert format_value(text).startswith('"')
    assert parse_value(format_value(text)) == text
