"""Shrinking inside whole studies on tables: rounds, levels, undoing, re-opening, warm starts."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from search_builders import SPACE, open_study, small_space, study_file, true_map, true_ms, work, write_table

from nas.errors import SpaceError
from nas.reporting import Study
from nas.reporting.loading import load_study_data
from nas.reporting.markdown import render_markdown
from nas.reporting.story import tell
from nas.search.definition import ShrinkStage
from nas.search.stage_results import ShrinkResult
from nas.search.stages.reopening import replace_reopened
from nas.search.stages.shrink import FRESH, ShrinkStep, store_space
from nas.search.starts import identity_forms
from nas.spaces import Candidate, RuleSet
from nas.spaces.rules import MinDistance
from nas.storage import open_database
from nas.training.fidelity import Fidelity

AUTO = {"shrink": {"auto": {"trainings": 200, "rounds": 2}}}


def told(path: Path) -> str:
    database = open_database(f"sqlite:///{path.parent / 'study.db'}", read_only=True)
    return render_markdown(tell(load_study_data(database, "replayed")), {})


def table_of(folder: Path, value: Any) -> None:
    """A table whose replicates may differ: sweeps of one seed read the first, fresh draws the next."""
    rows = [
        f'"{c}",{seed},{value(c, seed):.6f},{true_ms(c):.3f}'
        for c in [*small_space().enumerate(), Candidate.parse("resnet101")]
        for seed in range(3)
    ]
    (folder / "table.csv").write_text("candidate,seed,map,latency_ms\n" + "\n".join(rows) + "\n")


@pytest.mark.slow
def test_rounds_of_an_automatic_shrink(tmp_path: Path) -> None:
    path = study_file(tmp_path, [AUTO])
    _, repository, context = open_study(path)
    work(context)
    results = repository.results("replayed")
    (stage,) = repository.stages(context.study_id)
    assert stage.result is not None
    rounds = stage.result["rounds"]
    first, second = (step["alpha"] for step in rounds)
    assert first == pytest.approx(0.025, abs=0.001)  # it spends half of the budget
    assert 0.0125 < second < 0.05  # a quarter; both look at the same trainings, so more than a quarter of the level
    assert results["training_id"].nunique() <= 200
    assert rounds[0]["space_id"] == rounds[0]["child_id"]
    assert any(f["verdict"] == "adopted" for f in repository.findings(context.study_id))
    report = told(path)
    assert stage.result["why"] in report
    fresh_draws_are_trainings_no_rule_was_made_from(results, repository.findings(context.study_id))


def test_a_table_without_values_for_fresh_draws_confirms_nothing_and_ends(tmp_path: Path) -> None:
    """Its sweep has read every value; the study used to wait for ever, or to confirm rules by what they came from."""
    write_table(tmp_path / "table.csv", small_space(), seeds=1, noise=0.0002)
    stages = [{"sweep": {"design": "exhaustive", "blocks": 1}}, {"shrink": {"families": ["sites"], "confirm": 10}}]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    _, shrink = repository.stages(context.study_id)
    assert shrink.result is not None
    assert shrink.result["space_id"] == shrink.space_id
    assert shrink.result["why"] == "rules derived, not confirmed (the table has no values that were not looked at)"


@pytest.mark.slow
def test_rules_that_leave_too_few_networks_to_draw_say_so(tmp_path: Path) -> None:
    """HAC at two of 17 sites, told apart at p < .0001, stayed "not confirmed: 12 and 3 draws" without a way out."""
    rng = random.Random(0)

    def value(candidate: Candidate, seed: int) -> float:
        return 0.6 + 0.05 * any(p.site == 8 for p in candidate.placements) + rng.gauss(0.0, 0.001)

    table_of(tmp_path, value)
    stages = [{"sweep": {"design": "exhaustive", "blocks": 1}}, {"shrink": {"families": ["sites"], "confirm": 8}}]
    space = {**SPACE, "rules": [{"max_blocks": 1}]}
    _, repository, context = open_study(study_file(tmp_path, stages, space=space))
    work(context)
    (found,) = repository.findings(context.study_id)
    assert found["verdict"] == "not enough data"
    said = "not confirmed: 8 and 2 draws; 6 of each needed (the rules leave no more to draw: a space of more blocks, "
    assert found["reason"] == f"{said}sites or values would)"


def test_fresh_draws_keep_to_the_band_of_the_sweep_and_so_does_the_front(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 60, "max_latency_ms": 38.0}},
        {"shrink": {"families": ["sites"], "confirm": 10}},
        {"name": "free", "sweep": {"design": "random", "candidates": 30}},
        {"confirm": {"limits": {"latency_ms": 37.5}, "seeds": 1}},
    ]
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    results = repository.results("replayed")
    results = results[results["n_blocks"] > 0]
    most = results.groupby("stage")["latency_ms"].max()
    assert len(results[results["role"] == FRESH])
    assert most["sweep"] <= 38.0
    assert most["shrink"] <= 38.0
    assert most["free"] == 40.0
    assert most["confirm"] == 37.5


def fresh_draws_are_trainings_no_rule_was_made_from(results: pd.DataFrame, findings: list[dict[str, Any]]) -> None:
    for number in results.loc[results["role"] == FRESH, "batch"].unique():
        fresh = set(results.loc[(results["role"] == FRESH) & (results["batch"] == number), "training_id"])
        assert fresh
        seen = {i for f in findings if f["round"] <= number for i in f["evidence"]["training_ids"]}
        assert not fresh & seen


@pytest.mark.slow
def test_an_automatic_shrink_without_rules_ends_and_keeps_its_space(tmp_path: Path) -> None:
    table_of(tmp_path, lambda c, seed: 0.86 + 0.0001 * (hash_of(c.notation, seed) % 21))
    path = study_file(tmp_path, [AUTO])
    _, repository, context = open_study(path)
    work(context)
    (stage,) = repository.stages(context.study_id)
    assert stage.result is not None
    assert stage.result["space_id"] == stage.space_id
    assert any(words in stage.result["why"] for words in ("rule passed", "is spent", "rounds were made"))


def hash_of(text: str, seed: int) -> int:
    return sum((i + 7) * ord(char) for i, char in enumerate(f"{text}/{seed}")) * 2_654_435_761 % 2**32 >> 7


@pytest.mark.slow
def test_a_reference_that_the_table_lacks_is_why_there_is_no_cost_rule(tmp_path: Path) -> None:
    shrink = {"shrink": {"families": ["cost"], "confirm": 0}}
    path = study_file(tmp_path, [{"sweep": {"blocks": 1, "candidates": 12, "seeds": 1}}, shrink])
    rows = (tmp_path / "table.csv").read_text().splitlines()
    (tmp_path / "table.csv").write_text("\n".join(row for row in rows if "resnet101" not in row) + "\n")
    work(open_study(path)[2])
    assert "No rule was found to examine because the time of the reference, resnet101, is not known." in told(path)


def test_a_shrink_that_fresh_draws_speak_against_is_undone(tmp_path: Path) -> None:
    """Sweeps read the first replicate, fresh draws the second, where the good sites are the bad ones."""

    def value(candidate: Candidate, seed: int) -> float:
        good = true_map(candidate) + 0.00001 * (hash_of(candidate.notation, seed) % 21)
        return good if seed < 1 else 1.72 - good

    table_of(tmp_path, value)
    stages = [
        {"sweep": {"design": "stratified", "candidates": 150}},
        {"shrink": {"families": ["sites"], "confirm": 30}},
        {"search": {"sampler": "random", "trainings": 4}},
    ]
    path = study_file(tmp_path, stages)
    _, repository, context = open_study(path)
    work(context)
    _, shrink, after = repository.stages(context.study_id)
    assert shrink.result is not None
    assert shrink.result["confirmation"]["verdict"] == "rejected"
    assert after.space_id == shrink.space_id == shrink.result["space_id"]
    undone = [f for f in repository.findings(context.study_id) if f["reason"].startswith("not confirmed")]
    assert undone
    assert {f["verdict"] for f in undone} == {"rejected"}
    assert "undone" in told(path)


def test_shrink_stages_share_the_false_discovery_rate(tmp_path: Path) -> None:
    sweep = {"sweep": {"candidates": 30}}
    first = {"name": "first", "shrink": {"families": ["sites"], "confirm": 6}}
    second = {"name": "second", "shrink": {"families": ["count"], "confirm": 6}}
    _, repository, context = open_study(study_file(tmp_path, [sweep, first, second]))
    work(context)
    levels = [stage.result["alpha"] for stage in repository.stages(context.study_id)[1:] if stage.result]
    assert levels == [0.025, 0.025]


@pytest.mark.slow
def test_a_tight_edge_is_reopened_in_the_next_proposal(tmp_path: Path) -> None:
    """Pairs just at the least distance are the best: the winners crowd at that edge, so it moves outwards."""

    def value(candidate: Candidate, seed: int) -> float:
        near = len(candidate.sites) == 2 and candidate.sites[1] - candidate.sites[0] <= 5
        return 0.86 + 0.01 * near + 0.00002 * (hash_of(candidate.notation, seed) % 21)

    table_of(tmp_path, value)
    _, repository, context = open_study(study_file(tmp_path, [{"sweep": {"candidates": 400}}]))
    work(context)
    (stage,) = repository.stages(context.study_id)
    tight = MinDistance(distance=5)
    child = context.space.restrict([tight])
    store_space(repository, child, context.space)
    adopted = {"rule": tight.to_dict(), "verdict": "adopted", "reason": "", "sentence": "", "round": 7}
    repository.store_findings(context.study_id, stage.id, [adopted])
    settings = ShrinkStage(families=["block_preference"], confirm=20)
    step = ShrinkStep(context, replace(stage, space_id=child.id), settings, Fidelity())
    proposal = step.derive(settings.families, ShrinkResult())
    assert [edge.relaxed for edge in proposal.reopened] == [MinDistance(distance=4).to_dict()]
    wide = repository.space(proposal.child_id or "")
    assert wide is not None
    assert wide.size > child.size()
    replace_reopened(context, stage, 0, proposal.reopened)
    by_rule = {str(f["rule"]): f for f in repository.findings(context.study_id)}
    assert by_rule[str(tight.to_dict())]["verdict"] == "rejected"
    assert by_rule[str(MinDistance(distance=4).to_dict())]["verdict"] == "adopted"


@pytest.mark.slow
def test_a_warm_sweep_is_shrunk_among_its_like_with_controls_beside_the_fresh_draws(tmp_path: Path) -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 60, "seeds": 2, "start": "plain"}},
        {"shrink": {"families": ["sites"], "confirm": 8}},
    ]
    write_table(tmp_path / "table.csv", identity_forms(small_space()))
    _, repository, context = open_study(study_file(tmp_path, stages))
    work(context)
    results = repository.results("replayed")
    assert results["start"].str.startswith("plain:").all()
    fresh = results[results["stage"] == "shrink"]
    assert fresh.empty or set(fresh["role"]) == {FRESH, "control"}
    (finding, *_) = repository.findings(context.study_id)
    assert finding["evidence"]["trainings"] > 0


@pytest.mark.slow
def test_each_band_of_costs_has_rules_of_its_own_that_hold_within_it(tmp_path: Path) -> None:
    """C-NL alone keeps to 38 ms, and has other good sites than HAC, which is dearer."""
    best = {"cnl": (2, 5, 8, 11, 14, 17), "hac": (3, 6, 9, 12, 15)}

    def value(candidate: Candidate, seed: int) -> float:
        good = sum(p.site in best[p.block] for p in candidate.placements)
        return 0.6 + 0.02 * good + 0.00001 * (hash_of(candidate.notation, seed) % 21)

    table_of(tmp_path, value)
    stages = [
        {"sweep": {"design": "stratified", "candidates": 240}},
        {"name": "fast", "shrink": {"families": ["sites"], "confirm": 12, "max_latency_ms": 38.0}},
        {"name": "any", "shrink": {"families": ["sites"], "confirm": 12, "max_latency_ms": 40.0}},
        {"name": "quick", "search": {"sampler": "random", "trainings": 2, "max_latency_ms": 37.5}},
        {"name": "free", "search": {"sampler": "random", "trainings": 2}},
    ]
    path = study_file(tmp_path, stages)
    _, repository, context = open_study(path)
    work(context)
    _, fast, wide, quick, free = repository.stages(context.study_id)
    assert fast.result is not None
    assert quick.space_id == fast.result["space_id"] == fast.result["child_id"]
    assert {fast.space_id, wide.space_id, free.space_id} == {context.space.id}
    times = repository.results("replayed").drop_duplicates("training_id").set_index("training_id")["latency_ms"]
    for stage, most in (("fast", 38.0), ("any", 40.0)):
        found = [f for f in repository.findings(context.study_id) if f["evidence"]["stage"] == stage]
        assert found
        for finding in found:
            assert finding["evidence"]["within"] == {"latency_ms": most}
            assert f"(among networks of at most {most:g} ms per batch)" in finding["sentence"]
            assert times[finding["evidence"]["training_ids"]].max() <= most
    assert "among networks of at most 38 ms per batch" in told(path)
    rules = Study.open(f"sqlite:///{tmp_path / 'study.db'}", "replayed").rules()
    own = rules.of_stage("fast")
    assert RuleSet.load(own.save(tmp_path / "fast.yaml")) == own
    assert [f.evidence.within for f in own] == [{"latency_ms": 38.0}] * len(own)
    assert own.apply(context.space).space.size() < context.space.size()
    with pytest.raises(SpaceError, match="rules of different bands of costs do not hold together") as caught:
        rules.apply(context.space)
    assert "fast (networks of at most 38 ms per batch)" in (caught.value.hint or "")
    with pytest.raises(SpaceError, match="unknown stage 'slow'"):
        rules.of_stage("slow")
