"""The table of a profile: checks of equal tensors, the model it makes, what it leaves empty."""

from __future__ import annotations

import pytest
from latency_builders import make_record

from nas.latency.placement_table import COLUMNS, PlacementTable
from nas.spaces import Candidate


def table(times: dict[str, float]) -> PlacementTable:
    return PlacementTable({Candidate.parse(text): make_record(ms, text) for text, ms in times.items()})


def test_checks_compare_equal_tensors() -> None:
    found = table({"resnet50": 30.0, "resnet50+cnl@5": 31.0, "resnet50+cnl@7": 31.31, "resnet50+cnl@9": 40.0}).checks()
    assert [(c.candidate.notation, c.same_as.notation) for c in found] == [("resnet50+cnl@7", "resnet50+cnl@5")]
    assert found[0].percent == pytest.approx(1.0)


def test_a_measured_site_keeps_its_own_figure() -> None:
    frame = table({"resnet50": 30.0, "resnet50+cnl@5": 31.0, "resnet50+cnl@7": 32.0}).to_frame()
    by_site = frame[frame["n_blocks"] == 1].set_index("site")["median_ms"].to_dict()
    assert by_site == {5: 31.0, 6: 31.0, 7: 32.0, 8: 31.0}


def test_settings_of_a_block_are_kept_apart() -> None:
    frame = table({"resnet50": 30.0, "resnet50+agw@5": 35.0, "resnet50+agw(inner=one)@5": 31.0}).to_frame()
    assert sorted(frame[frame["site"] == 6]["median_ms"]) == [31.0, 35.0]


def test_without_a_baseline_there_is_no_increment() -> None:
    frame = table({"resnet50+cnl@5": 31.0}).to_frame()
    assert frame["increment_ms"].isna().all()
    assert list(frame.columns) == list(COLUMNS)


def test_the_model_predicts_from_the_table() -> None:
    model = table({"resnet50": 30.0, "resnet50+cnl@5": 31.0, "resnet50+cnl@9": 32.0, "resnet101": 50.0}).model()
    assert model.predict("resnet50+cnl@6,14") == pytest.approx(33.0)
    assert model.predict("resnet101") == pytest.approx(50.0)


def test_a_backbone_without_its_baseline_does_not_spoil_the_model() -> None:
    found = table({"resnet50": 30.0, "resnet50+cnl@5": 31.0, "resnet18+cnl@2": 9.0})
    assert found.model().predict("resnet50+cnl@8") == pytest.approx(31.0)
