"""Candidates: canonical form, notation, ids."""

from __future__ import annotations

import contextlib
import json
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_builders import candidates, placements

from nas.errors import SpaceError
from nas.spaces import Candidate, as_candidate


@given(candidates())
def test_notation_reads_back(candidate: Candidate) -> None:
    back = Candidate.parse(candidate.notation)
    assert back == candidate
    assert back.id == candidate.id
    assert back.notation == candidate.notation


@given(candidates())
def test_plain_data_reads_back_through_json(candidate: Candidate) -> None:
    back = Candidate.from_dict(json.loads(json.dumps(candidate.to_dict())))
    assert back == candidate
    assert back.id == candidate.id


def test_a_stem_is_part_of_a_network_where_it_is_not_the_standard_one() -> None:
    assert Candidate.parse("resnet50(stem=standard)").to_dict()["backbone_params"] == {"last_stride": 1, "width": 1}
    theirs = Candidate.parse("resnet50(stem=no_relu)+se@3")
    assert (theirs.notation, theirs.baseline.notation) == ("resnet50(stem=no_relu)+se@3", "resnet50(stem=no_relu)")
    assert Candidate.from_dict(theirs.to_dict()) == theirs != Candidate.parse("resnet50+se@3")
    for wrong in ("resnet50(stem=relu)", "osnet_x1_0(stem=no_relu)"):
        with pytest.raises(SpaceError, match=r"stem of .* must be standard"):
            Candidate.parse(wrong)


@given(placements("resnet50"), st.randoms(use_true_random=False))
def test_order_does_not_matter(placed: list[tuple[object, ...]], rng: random.Random) -> None:
    shuffled = list(placed)
    rng.shuffle(shuffled)
    assert Candidate.make("resnet50", placed) == Candidate.make("resnet50", shuffled)
    assert Candidate.make("resnet50", placed).id == Candidate.make("resnet50", shuffled).id


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("resnet50", "resnet50"),
        ("resnet50+cnl@6,8,14", "resnet50+cnl@6,8,14"),
        (" resnet50 + cnl @ 14, 6 ", "resnet50+cnl@6,14"),
        ("resnet50+agw(inner=one)@14+cnl@8", "resnet50+cnl@8+agw(inner=one)@14"),
        ("resnet50+agw(inner=half)@14", "resnet50+agw@14"),
        ("resnet50(width=1.0)", "resnet50"),
        (
            "resnet50(width=0.25)+cnl@8[loss=circle,base_lr=5e-4]",
            "resnet50(width=0.25)+cnl@8[base_lr=0.0005,loss=circle]",
        ),
        ("resnet50+cnl@8+se@9+cnl@10", "resnet50+cnl@8,10+se@9"),
        ("resnet50+abd(mode=pam)@5", "resnet50+abd(mode=pam)@5"),
    ],
)
def test_canonical_notation(text: str, canonical: str) -> None:
    assert Candidate.parse(text).notation == canonical


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the name of a backbone at column 1, found the end"),
        ("resnet5", "did you mean 'resnet50'"),
        ("resnet50+cnl", "expected '@' at column 13"),
        ("resnet50+cnl@", "the number of a site at column 14"),
        ("resnet50+cnl@0", "no site 0"),
        ("resnet50+cnl@18", "its sites are 1 to 17"),
        ("resnet50+cnl@3+se@3", "two blocks at site 3"),
        ("resnet50+cnl@3,3", "two blocks at site 3"),
        ("resnet50+cnl@3]", "found ']'"),
        ("resnet50+cnl(width=full,width=half)@3", "given twice"),
        ("resnet50+cnl(widht=full)@3", "did you mean 'width'"),
        ("resnet50(depth=3)", "unknown backbone parameter 'depth'"),
        ("resnet50(width=0)", "above 0"),
        ("resnet50(width=true)", "above 0"),
        ("resnet50(last_stride=3)", "1 or 2"),
        ("resnet50(last_stride=true)", "1 or 2"),
        ("resnet50[lr=]", "a value for lr"),
    ],
)
def test_wrong_text_is_one_clear_sentence(text: str, words: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Candidate.parse(text)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"candidate {text!r}: ")


@given(st.text(max_size=40))
def test_any_text_is_a_candidate_or_a_space_error(text: str) -> None:
    with contextlib.suppress(SpaceError):
        Candidate.parse(text)


def test_ids_never_change() -> None:
    # Databases hold these ids: a change of the canonical form would train everything again.
    assert Candidate.parse("resnet50").id == "463f71dfd0ea9a0c"
    assert Candidate.parse("resnet50+cnl@6,8,14").id == "df46c6fc7a736fa1"
    assert Candidate.parse("resnet50(width=0.25)+cnl@8[base_lr=0.0005,loss=circle]").id == "434167c5d6a6c25f"


def test_architecture_and_baseline() -> None:
    candidate = Candidate.parse("resnet50(width=0.5)+cnl@8[loss=circle]")
    assert str(candidate.architecture) == "resnet50(width=0.5)+cnl@8"
    assert str(candidate.baseline) == "resnet50(width=0.5)"
    assert candidate.architecture.id != candidate.id


def test_parts() -> None:
    candidate = Candidate.parse("resnet50+se@9+cnl@4,12")
    assert candidate.sites == (4, 9, 12)
    assert candidate.blocks == ("cnl", "se", "cnl")
    placement = candidate.at(9)
    assert placement is not None
    assert (placement.block, placement.family) == ("se", "channel-wise")
    assert candidate.at(5) is None
    assert as_candidate(candidate) is candidate
    assert as_candidate(str(candidate)) == candidate


def test_candidates_survive_pickling() -> None:
    candidate = Candidate.parse("resnet50+cnl@8")
    assert pickle.loads(pickle.dumps(candidate)) == candidate


def test_html_escapes_what_it_shows() -> None:
    html = Candidate.make("resnet50", [(3, "se")], recipe={"note": "<b>"})._repr_html_()
    assert "<b>" not in html
    assert "<td>se</td>" in html


def test_stored_candidate_without_a_key_is_refused() -> None:
    with pytest.raises(SpaceError, match="lacks the key 'site'"):
        Candidate.from_dict({"backbone": "resnet50", "placements": [{"block": "se"}]})
