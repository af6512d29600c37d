"""What a dry run counts: the images that are really trained on, every speed of its own, latencies with their builds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas import training
from nas.search.context import StudyParts
from nas.search.definition import ShrinkStage, StudyDefinition, load_study
from nas.search.estimate import TRAINING_OVERHEAD_S, StudyEstimate, estimate
from nas.search.stages.shrink import expected_noise, will_see
from nas.spaces import DesignSpace, own_code
from nas.storage import Repository, open_database
from nas.training import Speed

STUDIES = Path(__file__).parents[2] / "studies"
SPACE = {"name": "s", "backbones": ["resnet50"], "blocks": ["hac", "cnl"], "rules": [{"max_blocks": 2}]}
SPEEDS = {"resnet50": Speed(100.0, 300.0, 64), "resnet101": Speed(50.0, 150.0, 64)}
Dry = Callable[..., StudyEstimate]


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> Dry:
    """A dry run on a machine of known speed, without data."""
    asked: list[str] = []

    def probe(candidate: Any, *_: object) -> Speed:
        asked.append(candidate.notation)
        speed = SPEEDS[candidate.baseline.notation]
        return replace(speed, train=speed.train / run.slower) if candidate.placements else speed  # type: ignore[attr-defined]

    monkeypatch.setattr(training, "probe", probe)

    def run(stages: list[Any], **changes: Any) -> StudyEstimate:
        asked.clear()
        cheap = {"backend": "eager", "device": "cpu", "time_budget_s": 1.0, "threads": 1}
        data = {"name": "s", "space": SPACE, "data": {"market1501": "nowhere"}, "latency": cheap, "stages": stages}
        definition = StudyDefinition.model_validate({**data, **changes})
        found = estimate(StudyParts(definition, Repository(open_database("sqlite://"))))
        run.asked = list(asked)  # type: ignore[attr-defined]
        return found

    run.slower = 1.0  # type: ignore[attr-defined]
    return run


def test_confirmation_trains_on_all_images_and_the_reference_at_its_own_speed(dry: Dry) -> None:
    stages = [{"confirm": {"front": False, "candidates": ["resnet50+hac@8"], "seeds": 1}}]
    (stage,) = dry(stages, recipe={"extends": "strong_baseline", "epochs": 2}).stages
    evaluated = 3368 + 15913
    plain, reference = ((12936 * 2 / s.train + evaluated / s.infer) for s in SPEEDS.values())
    timed = 1.0 + 1.0  # one network: its second of batches and the building
    assert stage.hours == pytest.approx((2 * plain + reference + 3 * TRAINING_OVERHEAD_S + timed) / 3600)


def test_a_search_trains_without_the_identities_that_are_held_out(dry: Dry) -> None:
    stages = [{"sweep": {"blocks": 1, "candidates": 4, "baselines": False, "fidelity": {"epochs": 10}}}]
    found = dry(stages)
    assert found.images == pytest.approx(9697, rel=1e-3)
    assert found.stages[0].hours == pytest.approx(4 * (9702 * 10 / 100 + 3234 / 300 + TRAINING_OVERHEAD_S) / 3600)


def test_blocks_slow_a_training_as_those_of_a_few_candidates_do(dry: Dry) -> None:
    stages = [{"sweep": {"blocks": 1, "candidates": 4, "baselines": False, "fidelity": {"epochs": 10}}}]
    before = dry(stages)
    dry.slower = 1.5  # type: ignore[attr-defined]
    found = dry(stages)
    assert len(dry.asked) == 1 + 4  # type: ignore[attr-defined]
    assert found.hours is not None
    fixed = 4 * TRAINING_OVERHEAD_S / 3600
    assert found.hours - fixed == pytest.approx(1.5 * ((before.hours or 0.0) - fixed))
    assert found.basis.endswith("resnet50 on this machine; with blocks 1.50 times as long")
    (start, _) = dry([*stages], start="plain", select_on="test", recipe={"extends": "strong_baseline"}).stages
    assert start.hours == pytest.approx((12936 * 120 / 100 + 19281 / 300 + TRAINING_OVERHEAD_S) / 3600, rel=0.01)


def test_no_network_with_blocks_is_timed_where_none_is_trained(dry: Dry) -> None:
    dry.slower = 1.5  # type: ignore[attr-defined]
    found = dry([{"tune": {}}])
    assert dry.asked == ["resnet50"]  # type: ignore[attr-defined]
    assert found.basis == "timed training steps of resnet50 on this machine"


def test_a_block_that_cannot_be_trained_is_left_to_the_study(dry: Dry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails there as one candidate; the dry run ended with an internal error."""
    probe = training.probe

    def broken(candidate: Any, *rest: Any) -> Speed:
        if candidate.placements:
            raise RuntimeError("shapes do not fit")
        return probe(candidate, *rest)

    monkeypatch.setattr(training, "probe", broken)
    stages = [{"sweep": {"candidates": 4, "fidelity": {"epochs": 2}}}]
    assert dry(stages).basis == "timed training steps of resnet50, resnet101 on this machine"


def test_a_sampler_of_ones_own_draws_what_it_draws(dry: Dry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halves.py").write_text(
        "import numpy as np\n\nclass Half:\n"
        "    def __init__(self, labels, cameras, p, k, seed=0, camera_aware=False):\n        self.p = p\n"
        "    def plan(self, epoch):\n        return np.zeros((3, self.p), int)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_code, "_trusted", set())
    own_code.trust(["halves:Half"])
    rows = [SimpleNamespace(identity=n // 8, camera=n % 2) for n in range(128)]
    known = SimpleNamespace(train=rows, query=rows[:10], gallery=rows[:20])
    monkeypatch.setattr(StudyParts, "dataset", lambda self, view: known)
    stages = [{"sweep": {"blocks": 1, "candidates": 4, "baselines": False}}]
    recipe = {"extends": "quickstart", "identities": 8, "images": 4}
    assert dry(stages, recipe=recipe).images == 3 * 8 * 4
    assert len(rows) == 128  # hands of the last identities wait for the next epoch
    assert dry(stages, recipe={**recipe, "sampler": "halves:Half"}).images == 3 * 8


def test_fresh_draws_have_the_fidelity_of_the_sweep(dry: Dry) -> None:
    sweep = {"sweep": {"candidates": 60, "fidelity": {"epochs": 7}}}
    found = dry([sweep, {"shrink": {"families": ["sites"], "confirm": 5}}])
    assert [stage.preview.epochs for stage in found.stages] == [7, 7]


@pytest.mark.parametrize(("start", "of_12", "of_6", "of_8"), [("scratch", 0, 0, 0), ("plain", 3, 2, 3)])
def test_controls_of_every_stage_are_counted(dry: Dry, start: str, of_12: int, of_6: int, of_8: int) -> None:
    """The square root of the candidates beside them, at least two, in every seed."""
    swept = {"sweep": {"candidates": 12, "seeds": 2, "baselines": False, "fidelity": {"epochs": 2}}}
    stages = [
        swept,
        {"shrink": {"families": ["sites"], "confirm": 6, "seeds": 2}},
        {"search": {"sampler": "random", "trainings": 6, "seeds": 3}},
        {"search": {"sampler": "random", "trainings": 6, "rungs": [1, 2], "keep": 0.5}, "name": "rungs"},
        {"test_rules": {"spaces": [SPACE], "candidates": 4, "seeds": 2}},
    ]
    found = {s.name: s.preview.trainings for s in dry(stages, start=start, select_on="test").stages}
    assert found["shrink"] == 2 * (12 + of_12)
    assert found["search"] == 3 * (6 + of_6)
    assert found["rungs"] == 6 + 3 + of_6  # to the last rung at once
    assert found["test_rules"] == 2 * (8 + of_8)


def test_head_epochs_are_forward_passes(dry: Dry) -> None:
    recipe = {"extends": "strong_baseline", "epochs": 2, "transfer": {"from": "x.pt", "head_epochs": 6}}
    stages = [{"confirm": {"front": False, "baselines": ["resnet50"], "seeds": 1}}]
    (stage,) = dry(stages, recipe=recipe).stages
    assert stage.hours == pytest.approx(
        (12936 * 2 / 100 + (12936 * 6 + 3368 + 15913) / 300 + TRAINING_OVERHEAD_S) / 3600
    )


def test_latencies_count_builds_and_batches(dry: Dry) -> None:
    protocol = {"backend": "eager", "device": "cpu", "batches": 50, "builds": 3, "batch": 16}
    stages = [{"profile": {}}, {"sweep": {"blocks": 1, "candidates": 1, "baselines": False}}]
    profile, _ = dry(stages, latency=protocol).stages
    assert profile.hours == pytest.approx(profile.preview.measurements * 3 * (2 * 50 * 16 / 300 + 1.0) / 3600)


def test_nothing_is_timed_where_nothing_trains(dry: Dry) -> None:
    found = dry([{"profile": {}}])
    assert dry.asked == []  # type: ignore[attr-defined]
    assert found.hours is not None
    unknown = dry([{"profile": {}}], latency={"backend": "eager", "device": "cpu", "batches": 50})
    assert dry.asked == []  # type: ignore[attr-defined]
    assert unknown.hours is None
    assert "not known before one was timed" in unknown.basis


def test_nothing_is_timed_where_the_images_are_not_known(dry: Dry) -> None:
    found = dry([{"sweep": {"candidates": 4}}], data={"folders": "nowhere"})
    assert (dry.asked, found.trainings, found.hours) == ([], 6, None)  # type: ignore[attr-defined]


def test_workers_share_trainings_but_not_latencies(dry: Dry) -> None:
    stages = [{"profile": {}}, {"sweep": {"blocks": 1, "candidates": 7, "baselines": False}}]
    found = dry(stages, workers=4)
    profile, sweep = found.stages
    assert sweep.preview.trainings == 7
    assert found.hours_together == pytest.approx((profile.hours or 0) + (sweep.hours or 0) * 2 / 7)  # 4, then 3


def test_no_worker_trains_while_another_times_what_it_trained(dry: Dry) -> None:
    """Their time was shared out with that of the trainings."""
    pairs = [{"sweep": {"blocks": 2, "candidates": 4, "baselines": False}}]
    alone, both = dry(pairs), dry(pairs, workers=2)
    timed = 4 * (1.0 + 1.0) / 3600
    assert alone.hours is not None
    assert both.hours_together == pytest.approx(timed + (alone.hours - timed) / 2)


def test_one_training_takes_as_long_with_two_workers(dry: Dry) -> None:
    found = dry([{"sweep": {"blocks": 1, "candidates": 1, "baselines": False}}], workers=2)
    assert found.hours_together == found.hours


def test_the_probe_keeps_its_limit() -> None:
    from nas.spaces import Candidate
    from nas.training import load_recipe

    recipe = load_recipe({"extends": "quickstart", "input": [32, 16]})
    network = Candidate.parse("resnet18(width=0.125)")
    whole = training.probe(network, recipe, "cpu", 1, limit_s=60.0)
    short = training.probe(network, recipe, "cpu", 1, limit_s=0.0)
    assert (whole.batch, short.batch) == (recipe.batch, 2 * recipe.images)
    assert 0 < short.train < short.infer


@pytest.mark.parametrize(("start", "noise"), [("{plain: 2}", 0.0055), ("scratch", 0.0068)])
def test_a_dry_run_says_how_small_an_effect_the_rules_will_see(tmp_path: Path, start: str, noise: float) -> None:
    """By the noise of trainings like these: from trained weights with blocks as published, and from scratch."""
    text = (STUDIES / "quickstart.yaml").read_text().replace("start: {plain: 2}", f"start: {start}")
    (tmp_path / "study.yaml").write_text(text.replace("../search_spaces", str(STUDIES.parent / "search_spaces")))
    context = StudyParts(load_study(tmp_path / "study.yaml"), None)
    settings = next(s.settings for s in context.definition.named_stages() if s.kind == "shrink")
    assert isinstance(settings, ShrinkStage)
    (said,) = will_see(context, context.space, settings)
    assert re.fullmatch(rf"sees an effect of 0\.0\d\d mAP \(sites\) with 80 % power, .* {noise} as on .*", said), said


def test_trainings_from_identity_forms_are_expected_to_be_less_noisy() -> None:
    space = {"name": "s", "backbones": ["resnet50"], "blocks": {"se": {"start": "identity"}, "agw": {}}}
    mixed = {**space, "blocks": {"se": {"start": ["identity", "published"]}}}
    noises = [expected_noise(DesignSpace.from_dict(s), warm=True) for s in (space, mixed)]
    assert noises == [0.0023, 0.0055]
