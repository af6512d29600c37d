"""What mAP is paid with: every unit measured, predicted or counted; limits in any of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from latency_builders import make_record
from search_builders import open_study, small_space, study_file, true_ms, work

from nas.errors import LatencyError, StudyError
from nas.latency.protocol import DeployedHead
from nas.networks import complexity
from nas.search.checks import check_study
from nas.search.context import StudyContext, latency_protocol
from nas.search.cost_model import CostModel, Limits
from nas.search.definition import SearchStage, load_study
from nas.spaces import Candidate

BASELINE, ONE, TWO = (Candidate.parse(f"resnet50{blocks}") for blocks in ("", "+cnl@8", "+cnl@8,14"))
OTHER = Candidate.parse("resnet50+cnl@14")


@pytest.fixture
def context(tmp_path: Path) -> StudyContext:
    """A study that measures on a device; three networks are measured, with drift, memory and energy."""
    path = study_file(tmp_path, ["profile"], objective=None, latency={"device": "robot", "backend": "onnxruntime"})
    _, repository, context = open_study(path)
    for candidate, ms in ((BASELINE, 40.0), (ONE, 42.0), (OTHER, 44.0)):
        record = make_record(ms * 1.08, candidate.notation, drift=0.08).to_dict()
        record |= {"peak_memory_mb": 10 * ms, "energy_mj": 1000 * ms}
        repository.store_latency(
            record,
            architecture_id=candidate.id,
            notation=candidate.notation,
            protocol_id=context.protocol.id,
            device="robot",
        )
    return context


def test_networks_are_timed_and_counted_with_the_head_that_the_recipe_names(tmp_path: Path) -> None:
    head = {"fc": {"features": 64}}
    recipe = {"extends": "strong_baseline", "head": head}
    path = study_file(tmp_path, ["profile"], objective=None, cost="params", recipe=recipe)
    _, _, context = open_study(path)
    assert context.protocol.head == DeployedHead("fc", "gap", (("features", 64),))
    counted = CostModel.of(context).cost(BASELINE)
    assert counted == complexity(BASELINE, head="fc", head_settings=head["fc"]).params != complexity(BASELINE).params
    assert context.complexity(BASELINE).params == counted
    other = tmp_path / "other"
    other.mkdir()
    _, _, usual = open_study(study_file(other, ["profile"], objective=None))
    assert usual.protocol.head is None
    assert CostModel.of(usual, "params").cost(BASELINE) == complexity(BASELINE).params


def test_a_study_that_was_begun_with_the_bnneck_goes_on_with_it(tmp_path: Path) -> None:
    """Its times would vanish: those it has are of another protocol, and a profile that has ended is not made again."""
    space = small_space(recipe={"pooling": ["gap", "gem"]})
    path = study_file(tmp_path, ["profile"], objective=None, recipe="agw")
    (tmp_path / "space.yaml").write_text(space.to_yaml())
    definition, repository, context = open_study(path)
    assert context.protocol.head == DeployedHead("bnneck", "gem")
    former = latency_protocol(definition).id
    repository.set_study_latency(context.study_id, former, context.device_name)
    _, _, again = open_study(path)
    assert again.protocol.id == again.repository.study("replayed").protocol_id == former
    assert again.complexity(BASELINE) == complexity(BASELINE)
    check_study(definition, repository)  # which refuses such a space to a new study


def test_a_head_that_varies_in_a_space_is_refused(tmp_path: Path) -> None:
    path = study_file(tmp_path, ["profile"], objective=None)
    (tmp_path / "space.yaml").write_text(small_space(recipe={"pooling": ["gap", "gem"]}).to_yaml())
    with pytest.raises(StudyError, match="recipe: pooling cannot vary in a space: times and sizes are of one head"):
        check_study(load_study(path))


@pytest.mark.parametrize(
    ("unit", "measured", "predicted"),
    [
        ("latency_ms", 42.0, 46.0),  # without the drift of the machine
        ("batches_per_s", 42.0, 46.0),  # paid in milliseconds: less is better
        ("slowdown_percent", 5.0, 15.0),
        ("energy_j", 42.0, 46.0),
        ("latency_p95_ms", 42.0, None),  # percentiles are no sums
        ("peak_memory_mb", 420.0, None),  # blocks share memory: no prediction
    ],
)
def test_measured_costs(context: StudyContext, unit: str, measured: float, predicted: float | None) -> None:
    model = CostModel.of(context, unit)
    assert model.cost(ONE) == pytest.approx(measured)
    assert model.cost(Candidate.parse("resnet50+cnl@8[loss=circle]")) == pytest.approx(measured)
    assert model.cost(TWO) == (None if predicted is None else pytest.approx(predicted))
    assert model.cost(Candidate.parse("resnet50+agw@8")) is None


@pytest.mark.parametrize("unit", ["params", "macs", "activations"])
def test_sizes_are_counted_from_the_network(context: StudyContext, unit: str) -> None:
    found = complexity(TWO)
    expected = {"params": found.params, "macs": found.macs, "activations": found.activation_elements}[unit]
    assert CostModel.of(context, unit).cost(TWO) == expected


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"drift": 3.77}, r"drifted by \+377%"), ({"isolated": False}, "kept the machine busy")],
    ids=["drift", "load"],
)
def test_a_time_from_a_disturbed_machine_is_no_cost(context: StudyContext, changes: dict[str, Any], why: str) -> None:
    """It used to feed fronts, cost rules and headlines. What stands in is a prediction, and says so."""
    lone = Candidate.parse("resnet50+agw@15")
    for candidate in (lone, ONE):
        context.repository.store_latency(
            make_record(47.7, candidate.notation).to_dict() | changes,
            architecture_id=candidate.id,
            notation=candidate.notation,
            protocol_id=context.protocol.id,
            device="robot",
        )
    model = CostModel.of(context)
    assert model.cost(lone) is None
    assert re.search(why, model.quote(lone).why)
    assert model.quote(ONE).how == "unknown"


def test_equal_tensors_share_a_time_and_larger_networks_are_predicted(context: StudyContext) -> None:
    model = CostModel.of(context)
    assert model.quote(Candidate.parse("resnet50+cnl@7")) == model.quote(ONE)
    assert model.quote(ONE).how == "corrected"
    assert model.quote(TWO).how == "predicted"
    assert CostModel.of(context, "params").quote(TWO).how == "counted"


def test_a_prediction_seen_to_be_wrong_is_not_believed(context: StudyContext) -> None:
    """Pairs that cost the sum of their parts are predicted; pairs whose costs follow nothing are not."""
    parts = {4: 41.0, 6: 42.5, 8: 42.5, 10: 43.0, 12: 43.0, 14: 43.0}  # equal shapes cost the same
    pairs = [(a, b) for a in parts for b in parts if a < b]

    def measured(times: dict[str, float]) -> CostModel:
        rows = {"resnet50": 40.0, **{f"resnet50+cnl@{site}": ms for site, ms in parts.items()}, **times}
        for text, ms in rows.items():
            context.repository.store_latency(
                make_record(ms, text).to_dict(),
                architecture_id=Candidate.parse(text).id,
                notation=text,
                protocol_id=context.protocol.id,
                device="robot",
            )
        return CostModel.of(context)

    unmeasured = Candidate.parse("resnet50+cnl@6,8,14")
    sums = {f"resnet50+cnl@{a},{b}": parts[a] + parts[b] - 40.0 for a, b in pairs}
    assert measured(sums).cost(unmeasured) == pytest.approx(48.0)
    erratic = {text: ms * (1.5 if i % 2 else 0.7) for i, (text, ms) in enumerate(sums.items())}
    assert measured(erratic).cost(unmeasured) is None


def test_limits_hold_in_any_unit_and_unknown_costs_pass(context: StudyContext) -> None:
    most = {"params": complexity(ONE).params, "peak_memory_mb": 430.0}
    limits = Limits.of(context, SearchStage(trainings=1, limits=most, max_latency_ms=43.0))
    assert limits is not None
    assert [limits.admit(c) for c in (BASELINE, ONE, OTHER, TWO)] == [True, True, False, False]
    assert Limits.of(context, SearchStage(trainings=1)) is None
    tight = Limits.of(context, SearchStage(trainings=1, limits={"latency_ms": 39.0}, max_latency_ms=43.0))
    assert tight is not None
    assert not tight.admit(BASELINE)


def test_a_slow_down_needs_the_baselines_latency(tmp_path: Path) -> None:
    path = study_file(tmp_path, ["profile"], objective=None, latency={"device": "robot", "backend": "onnxruntime"})
    _, _, context = open_study(path)
    with pytest.raises(LatencyError, match="needs the baseline's latency"):
        Limits.of(context, SearchStage(trainings=1, max_slowdown=5.0))


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"limits": {"latency_ms": 38.0}}, 38.0),
        ({"max_slowdown": 3.0}, 37.0 * 1.03),
        ({"limits": {"params": complexity(ONE).params}}, None),
    ],
    ids=["ms", "slow-down", "params"],
)
@pytest.mark.slow
def test_a_search_proposes_nothing_over_its_limits(
    tmp_path: Path, changes: dict[str, Any], limit: float | None
) -> None:
    stage = {"search": {"sampler": "random", "trainings": 6, "batch": 3, **changes}}
    _, repository, context = open_study(study_file(tmp_path, [stage]))
    assert work(context) == 6
    found = [Candidate.parse(text) for text in repository.results("replayed")["notation"]]
    assert len(list(small_space().enumerate())) > 100
    if limit is not None:
        assert max(map(true_ms, found)) <= limit
    else:
        assert max(complexity(c).params for c in found) <= complexity(ONE).params
