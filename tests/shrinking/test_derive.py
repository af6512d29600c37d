"""Planted rules are found, with their sentences, numbers and verdicts; flat landscapes give none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from shrinking.conftest import BLOCKS, good_sites, make_landscape

from nas.errors import StudyError
from nas.shrinking import ShrinkSettings, derive_findings, propose_child
from nas.spaces import Candidate, DesignSpace, Finding, get_topology
from nas.testing.landscapes import landscape_table

Sweep = Callable[..., pd.DataFrame]


def adopted(findings: list[Finding], kind: str) -> list[Finding]:
    return [f for f in findings if f.rule.kind == kind and f.adopted]


def only(findings: list[Finding], kind: str) -> Finding:
    found = [f for f in findings if f.rule.kind == kind]
    assert len(found) == 1
    return found[0]


def test_planted_sites_are_found(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(site_gain=good_sites([6, 8, 14]), count_limit=3))
    finding = only(derive_findings(table, space, families=["sites", "count"]), "sites")
    assert finding.adopted
    assert finding.rule.is_hard
    assert finding.rule.sites.numbers == (6, 8, 14)
    assert finding.rule.sentence(get_topology("resnet50")).endswith("positions 6, 8, 14 (of 17)")
    # The mean over candidates with 1 to 5 blocks; beyond 3, each block counts for less than its 0.003.
    assert finding.evidence.low < 0.0026 < finding.evidence.high
    assert finding.evidence.trainings == len(table) - 1
    assert set(finding.evidence.training_ids) == set(table["training_id"]) - {1}


def test_blocks_that_differ_get_sites_of_their_own(space: DesignSpace, sweep: Sweep) -> None:
    interaction = np.zeros((4, 17))
    interaction[3, [5, 7]] = 0.005
    interaction[2, [13]] = 0.005
    table = sweep(make_landscape(interaction=interaction), n=400)
    found = {f.rule.block: f for f in derive_findings(table, space, families=["sites"])}
    assert found["cnl"].rule.sites.numbers == (6, 8)
    assert found["agw"].rule.sites.numbers == (14,)
    assert not found["se"].adopted


def test_stage_ends_are_a_preference(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(site_gain=good_sites([4, 8, 14, 17], 0.002)))
    finding = only(derive_findings(table, space, families=["stage_ends"]), "stage_ends")
    assert finding.adopted
    assert not finding.rule.is_hard


def test_one_good_stage_end_is_no_rule_about_stages(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(site_gain=good_sites([8], 0.005)))
    finding = only(derive_findings(table, space, families=["stage_ends"]), "stage_ends")
    assert finding.verdict == "rejected"
    assert "one stage" in finding.reason


def test_saturation_limits_the_count(space: DesignSpace, sweep: Sweep) -> None:
    finding = only(derive_findings(sweep(make_landscape(count_limit=3)), space, families=["count"]), "max_blocks")
    assert finding.adopted
    assert finding.rule.count == 3
    assert finding.evidence.low < 0 < finding.evidence.high
    assert "3 blocks: the 4th adds" in finding.claim()


def test_blocks_that_go_on_helping_have_no_limit(space: DesignSpace, sweep: Sweep) -> None:
    finding = only(derive_findings(sweep(make_landscape()), space, families=["count"]), "max_blocks")
    assert finding.verdict == "rejected"
    assert "still adds" in finding.reason
    # What the last block adds is forgone by whoever follows the rule; the sentence says what it adds.
    assert finding.evidence.effect == pytest.approx(-0.003, abs=0.001)
    assert finding.evidence.low < finding.evidence.effect < finding.evidence.high < 0
    assert "adds +0.00" in finding.claim()
    assert finding.evidence.latency_ms < 0


def test_distance_is_found_exactly(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(near_penalty=np.full(3, 0.002)))
    findings = derive_findings(table, space, families=["distance", "distinct_stages"])
    assert only(findings, "min_distance").rule.distance == 4
    assert only(findings, "min_distance").adopted
    assert not adopted(findings, "distinct_stages")


def test_one_stage_is_told_from_distance(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(stage_penalty=0.002))
    findings = derive_findings(table, space, families=["distance", "distinct_stages"])
    assert adopted(findings, "distinct_stages")
    assert not adopted(findings, "min_distance")


def test_block_preferences_have_a_direction(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(block_gain=np.array([0.003, 0.003, 0.003, 0.005])))
    findings = adopted(derive_findings(table, space, families=["block_preference"]), "block_preference")
    assert {(f.rule.better, f.rule.worse) for f in findings} == {("cnl", "se"), ("cnl", "hac"), ("cnl", "agw")}
    assert all(f.evidence.effect == pytest.approx(0.002, abs=0.0008) for f in findings)


def test_mixing_is_judged_by_its_time(space: DesignSpace, sweep: Sweep) -> None:
    finding = only(derive_findings(sweep(make_landscape(mix_premium=0.002)), space, families=["mix"]), "mix")
    assert finding.verdict == "rejected"
    assert "not worth it under 5% slow-down" in finding.reason
    cheap = make_landscape(mix_premium=0.002, block_ms=np.full((4, 17), 0.1))
    assert only(derive_findings(sweep(cheap), space, families=["mix"]), "mix").adopted


def test_mixing_that_loses_becomes_a_constraint(space: DesignSpace, sweep: Sweep) -> None:
    finding = only(derive_findings(sweep(make_landscape(mix_premium=-0.002)), space, families=["mix"]), "mix")
    assert finding.adopted
    assert finding.rule.max_families == 1


def test_a_flat_landscape_gives_no_rule(space: DesignSpace, sweep: Sweep) -> None:
    findings = derive_findings(sweep(make_landscape(block_gain=np.zeros(4))), space)
    assert [f.sentence() for f in findings if f.adopted] == []
    assert propose_child(space, findings) is None


def test_few_trainings_are_not_enough_data(space: DesignSpace, sweep: Sweep) -> None:
    findings = derive_findings(sweep(make_landscape(site_gain=good_sites([8])), n=12), space)
    assert {f.verdict for f in findings} == {"not enough data"}
    assert all(f.reason for f in findings)


def test_an_empty_table_says_so(space: DesignSpace) -> None:
    empty = pd.DataFrame({"notation": [], "map": [], "status": []})
    findings = derive_findings(empty, space)
    assert findings
    assert {f.verdict for f in findings} == {"not enough data"}


def test_a_table_without_scores_is_refused(space: DesignSpace) -> None:
    with pytest.raises(StudyError, match="no column 'map'"):
        derive_findings(pd.DataFrame({"notation": [], "status": []}), space)


def test_adaptive_rows_do_not_count(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape())
    biased = sweep(make_landscape(site_gain=good_sites([3], 0.05)), seed=9)
    biased = biased.assign(stage_kind="search", sampler="tpe", training_id=biased["training_id"] + 1000)
    both = pd.concat([table, biased.drop(columns="latency_ms")])
    assert derive_findings(both, space) == derive_findings(table, space)


def test_same_seed_same_findings(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(site_gain=good_sites([6, 8])), n=120)
    first = derive_findings(table, space, seed=3)
    assert first == derive_findings(table.sample(frac=1, random_state=1), space, seed=3)


def test_findings_survive_files(space: DesignSpace, sweep: Sweep) -> None:
    for finding in derive_findings(sweep(make_landscape(), n=100), space):
        assert Finding.from_dict(finding.to_dict()) == finding


def test_slower_than_the_reference_and_no_better(space: DesignSpace, sweep: Sweep) -> None:
    ms = np.full((4, 17), 1.0)
    ms[2, :4] = 30.0
    landscape = make_landscape(block_gain=np.array([0.003, 0.003, 0.0, 0.003]), block_ms=ms)
    singles = [c for c in space.singles() if len(c.placements) == 1]
    table = landscape_table(landscape, [*space.baselines(), *singles], seeds=(0, 1, 2))
    reference = table.iloc[:3].assign(
        notation="resnet101", backbone="resnet101", map=[0.8701, 0.8707, 0.8713], latency_ms=53.5, role="reference"
    )
    reference["training_id"] += 5000
    findings = derive_findings(pd.concat([table, reference]), space, families=["cost"], reference="resnet101")
    finding = only(findings, "cost")
    assert finding.adopted
    assert [(block, sites.numbers) for block, sites in finding.rule.placements] == [("agw", (1, 2, 3, 4))]
    assert finding.evidence.latency_ms == pytest.approx(53.5 - 36.917 - 30, abs=1e-6), "following the rule saves time"
    assert finding.evidence.low > -0.0005, "and costs no mAP to speak of"


def test_cost_needs_no_training(space: DesignSpace) -> None:
    nothing = pd.DataFrame({"notation": [], "map": [], "status": []})
    ms = {"resnet50": 36.9, "resnet101": 53.5, "resnet50+raga@3": 70.0, "resnet50+agw@3": 60.0, "resnet50+cnl@8": 37.0}
    findings = derive_findings(nothing, space, families=["cost"], latency=ms, reference="resnet101")
    finding = only(findings, "cost")
    assert finding.adopted
    assert "time alone" in finding.reason
    assert finding.evidence.effect is None


def test_slower_but_better_stays(space: DesignSpace) -> None:
    rows = [("resnet50+agw@3", 0.88), ("resnet101", 0.87)]
    table = pd.DataFrame(
        [(n, m + 0.001 * s, "finished", 10 * i + s) for i, (n, m) in enumerate(rows) for s in range(3)],
        columns=["notation", "map", "status", "training_id"],
    )
    ms = {"resnet50": 36.9, "resnet101": 53.5, "resnet50+agw@3": 60.0}
    finding = only(derive_findings(table, space, families=["cost"], latency=ms, reference="resnet101"), "cost")
    assert finding.verdict == "rejected"
    assert "but better" in finding.reason


def test_latency_may_be_asked_of_a_function(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(), n=60).drop(columns="latency_ms")

    def ask(candidate: Candidate) -> float | None:
        return 50.0 + len(candidate.placements) if candidate.backbone == "resnet50" else 40.0

    findings = derive_findings(table, space, families=["cost"], latency=ask, reference="resnet101")
    assert [f.evidence.latency_ms for f in findings if f.adopted] == [pytest.approx(-11.0)]
    assert [f.reason for f in findings if not f.adopted] == ["resnet101 was not trained"]


def test_unknown_families_are_refused_with_the_closest() -> None:
    with pytest.raises(StudyError, match="did you mean 'sites'"):
        ShrinkSettings(families=("site",))  # type: ignore[arg-type]


def hyper_space(**more: object) -> DesignSpace:
    return DesignSpace.from_dict(
        {
            "name": "hyper",
            "backbones": ["resnet50"],
            "blocks": {"se": {"reduction": [1, 2, 4, 8, 16]}, "cnl": {"fuse": ["gate", "add"]}, "hac": {}, "agw": {}},
            "rules": [{"max_blocks": 3}],
            **more,
        }
    )


def test_values_shown_to_be_worse_are_left_out() -> None:
    space = hyper_space()
    gains = {1: 0.003, 2: 0.003, 4: 0.0, 8: 0.0, 16: 0.0}
    table = landscape_table(make_landscape(param_gain={("se", "reduction"): gains}), space.stratified(300, 0))
    findings = {f.rule.param: f for f in derive_findings(table, space, families=["hyperparameters"])}
    assert findings["reduction"].adopted
    assert (findings["reduction"].rule.low, findings["reduction"].rule.high) == (1, 2)
    assert not findings["fuse"].adopted
    assert "zero_init" not in findings, "its default follows from fuse"


def test_a_good_learning_rate_is_a_range() -> None:
    space = hyper_space(recipe={"base_lr": {"log": [1e-4, 1e-3]}, "loss": ["ce", "circle"]})
    peak = tuple((10.0**r, -0.02 * (r + 3.5) ** 2) for r in np.linspace(-4, -3, 9))
    landscape = make_landscape(recipe_gain={"base_lr": peak, "loss": (("ce", 0.0), ("circle", 0.004))})
    table = landscape_table(landscape, space.stratified(300, 0))
    findings = {f.rule.key: f for f in derive_findings(table, space, families=["hyperparameters"]) if f.adopted}
    assert findings["loss"].rule.values == ("circle",)
    assert 1e-4 < findings["base_lr"].rule.low < 10**-3.5 < findings["base_lr"].rule.high < 1e-3
    assert findings["base_lr"].evidence.effect > 0


def test_hyperparameters_nobody_can_tell_are_undecided() -> None:
    space = hyper_space(recipe={"loss": ["ce", "circle"]})
    table = landscape_table(make_landscape(), space.stratified(25, 0))
    findings = derive_findings(table, space, families=["hyperparameters"])
    assert {f.verdict for f in findings} == {"not enough data"}
    assert len(findings) >= 2


def test_several_backbones_get_rules_of_their_own() -> None:
    space = DesignSpace.from_dict(
        {
            "name": "two",
            "backbones": ["resnet50", "resnet18"],
            "blocks": list(BLOCKS),
            "rules": [{"max_blocks": 3}],
        }
    )
    drawn = space.stratified(500, 0)
    fifty, small = ([c for c in drawn if c.backbone == name] for name in ("resnet50", "resnet18"))
    flat18 = {"site_gain": np.zeros(9), "interaction": np.zeros((4, 9)), "backbone": "resnet18"}
    tables = [
        landscape_table(make_landscape(site_gain=good_sites([6, 8, 14])), fifty),
        landscape_table(make_landscape(**flat18), small, first_id=5000),
    ]
    found = derive_findings(pd.concat(tables), space, families=["sites"])
    assert {(f.rule.backbone, f.verdict) for f in found} >= {("resnet50", "adopted")}
    assert not [f for f in found if f.rule.backbone == "resnet18" and f.adopted]


def test_a_site_that_makes_trainings_fail_is_not_recommended(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(site_gain=good_sites([6, 8, 14, 16])), n=300)
    at_six = table["notation"].map(lambda text: 6 in Candidate.parse(text).sites)
    failing = at_six & (np.arange(len(table)) % 2 == 0)
    table.loc[failing, ["map", "status"]] = [np.nan, "failed"]
    finding = only(derive_findings(table, space, families=["sites"]), "sites")
    assert finding.rule.sites.numbers == (8, 14, 16)
    assert finding.evidence.trainings == len(table) - 1, "failed trainings stay in the count"


@pytest.mark.parametrize(("ms", "kept"), [(0.2, (6, 14)), (3.0, (6,))])
def test_an_equally_good_site_is_kept_when_it_is_cheaper(
    space: DesignSpace, sweep: Sweep, ms: float, kept: tuple[int, ...]
) -> None:
    """Site 14 is too little above the typical site to be called better, and within the margin of site 6."""
    gains = good_sites([6], 0.0007) + good_sites([14], 0.0004)
    costs = np.full((4, 17), 1.0)
    costs[:, 13] = ms
    landscape = make_landscape(site_gain=gains, block_ms=costs, seed_sd=0.0001)
    finding = only(derive_findings(sweep(landscape, n=300), space, families=["sites"]), "sites")
    assert finding.rule.sites.numbers == kept
    assert ("no worse and cheaper: 14" in finding.reason) == (14 in kept)


def test_how_a_block_is_put_in_is_a_question_like_its_hyperparameters() -> None:
    """Published forms cost .01 mAP here: the rule that is adopted keeps to the identity."""
    blocks = {"hac": {"start": ["identity", "published"]}}
    space = DesignSpace.from_dict(
        {"name": "forms", "backbones": ["resnet50"], "sites": "1-17", "blocks": blocks, "rules": [{"max_blocks": 1}]}
    )
    rng = np.random.default_rng(0)
    rows = [
        {"notation": f"resnet50+hac{form}@{site}", "seed": 0, "map": 0.6 + gain + rng.normal(0, 0.002)}
        for site in range(1, 18)
        for form, gain in (("", 0.0), ("(start=identity)", 0.01))
    ]
    table = pd.DataFrame(rows).assign(status="finished", training_id=range(len(rows)))
    (finding,) = [f for f in derive_findings(table, space, families=["hyperparameters"]) if f.adopted]
    assert finding.rule.to_dict()["params"] == {"block": "hac", "param": "start", "values": ["identity"]}
    assert finding.evidence.effect == pytest.approx(0.01, abs=0.002)
    child = propose_child(space, [finding])
    assert child is not None
    assert (space.size(), child.size()) == (1 + 34, 1 + 17)


def test_the_count_is_asked_of_each_type_alone(space: DesignSpace) -> None:
    one_type = space.restrict([{"mix": {"max_types": 1}}])
    table = landscape_table(make_landscape(count_limit=3), one_type.sample(1600, 7))
    found = {f.rule.block: f for f in derive_findings(table, one_type, families=["count_per_type"])}
    assert set(found) == set(BLOCKS)
    limits = {block: f.rule.count for block, f in found.items() if f.adopted}
    assert limits
    assert set(limits.values()) == {3}
    assert "no more than 3 " in next(f for f in found.values() if f.adopted).claim()
    trainings = {block: f.evidence.trainings for block, f in found.items()}
    assert sum(trainings.values()) < len(table)  # each looks at its own candidates only


def test_given_networks_are_no_evidence(space: DesignSpace, sweep: Sweep) -> None:
    table = sweep(make_landscape(count_limit=3)).assign(role="candidate")
    given = table.assign(role="given", training_id=table["training_id"] + 10_000, map=0.1)
    alone, beside = (
        only(derive_findings(t, space, families=["count"]), "max_blocks").evidence
        for t in (table, pd.concat([table, given]))
    )
    assert alone == beside


@pytest.mark.parametrize(("start", "verdict"), [("scratch", "adopted"), ("plain:a", "not enough data")])
def test_a_form_that_spoils_a_trained_network_is_no_blocks_worth(start: str, verdict: str) -> None:
    blocks = {"hac": {"start": "published"}, "cnl": {"fuse": "gate2"}}
    space = DesignSpace.from_dict(
        {"name": "s", "backbones": ["resnet50"], "blocks": blocks, "rules": [{"max_blocks": 1}]}
    )
    rng = np.random.default_rng(0)
    rows = [(c.notation, 0.6 - 0.01 * ("hac" in c.notation) + rng.normal(0, 0.0015)) for c in space.enumerate()]
    trained = pd.DataFrame(rows, columns=["notation", "map"])
    trained = trained.assign(seed=1, start=start, status="finished", training_id=range(1, len(rows) + 1))
    (found,) = derive_findings(trained, space, families=["block_preference"])
    assert found.verdict == verdict
    assert ("put in are C-NL as the identity, HAC as published" in found.reason) == (start != "scratch")
