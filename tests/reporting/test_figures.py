"""Every figure: draws a full study, says a sentence for an empty one, names its units, never lets text be markup."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from reporting_builders import COST_MS, ResultsBuilder, large_results, true_map, true_ms

from nas.errors import StudyError
from nas.reporting import style
from nas.reporting.figures import (
    FIGURES,
    AdditiveResiduals,
    BestSoFar,
    ErrorDistribution,
    Hypervolume,
    Importances,
    LatencySpread,
    MapByPosition,
    NetworkDrawing,
    PairMap,
    ParallelCoordinates,
    ParetoFront,
    PlacementMap,
    RankLists,
    SeedNoise,
    Slices,
    SpeedByPosition,
    StudyFigure,
    Timeline,
    TrainingCurves,
)
from nas.reporting.figures.base import Drawing
from nas.reporting.figures.hyperparameters import settings_table
from nas.reporting.figures.timeline import _merged, _rows
from nas.reporting.study_data import StudyData
from nas.spaces.blocks import BLOCKS
from nas.spaces.labels import MIXED, block_title
from nas.testing import placement_table
from nas.training.recipe import load_recipe

Made = Callable[[str], tuple[StudyFigure, pd.DataFrame, Drawing]]


@pytest.fixture(scope="module")
def made(full: StudyData) -> Made:
    """A figure of the full study with its table and drawing, made once; nobody changes them."""

    @cache
    def of(name: str) -> tuple[StudyFigure, pd.DataFrame, Drawing]:
        figure = FIGURES[name]()
        table = figure.table(full)
        return figure, table, figure.draw(table)

    return of


@pytest.mark.parametrize("name", FIGURES)
def test_a_full_study_is_drawn(name: str, made: Made) -> None:
    figure, table, drawing = made(name)
    assert isinstance(drawing, go.Figure), drawing
    assert len(table)
    assert drawing.data
    assert figure.caption(table).endswith((".", ")"))


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_study_is_a_sentence(name: str, empty: StudyData) -> None:
    if name == "space_lineage":
        return  # its space is known before anything runs
    drawing = FIGURES[name]()(empty)
    assert isinstance(drawing, str)
    assert drawing.endswith(".")


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_at_all_is_a_sentence(name: str) -> None:
    assert isinstance(FIGURES[name]()(StudyData("nothing")), str)


@pytest.mark.parametrize("name", FIGURES)
def test_a_results_table_alone_is_enough_to_ask(name: str, full: StudyData) -> None:
    assert isinstance(FIGURES[name]()(full.results), (go.Figure, str))


@pytest.mark.parametrize("name", FIGURES)
def test_drawing_neither_changes_nor_needs_the_study(name: str, made: Made) -> None:
    figure, table, first = made(name)
    before = table.copy(deep=True)
    second = figure.draw(table)
    pd.testing.assert_frame_equal(table, before)
    assert isinstance(first, go.Figure)
    assert isinstance(second, go.Figure)
    assert first.to_json() == second.to_json()


@pytest.mark.parametrize("name", FIGURES)
def test_visible_axes_say_what_and_in_which_unit(name: str, made: Made) -> None:
    *_, drawing = made(name)
    assert isinstance(drawing, go.Figure)
    no_title = {
        "rank_lists": "xy",
        "importances": "y",
        "rule_effects": "y",
        "space_lineage": "y",
        "placement_map": "y",
        "latency_spread": "y",
    }.get(name, "")
    first = {"x": drawing.layout.xaxis, "y": drawing.layout.yaxis}
    for letter, axis in first.items():
        if axis.visible is not False and letter not in no_title:
            assert axis.title.text, letter


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_becomes_markup(name: str, hostile: StudyData) -> None:
    drawing = FIGURES[name]()(hostile)
    text = drawing.to_json() if isinstance(drawing, go.Figure) else drawing
    assert "<script" not in json.loads(json.dumps(text)).replace("\\u003c", "<")


@pytest.mark.parametrize("name", FIGURES)
def test_numbers_are_finite_or_missing(name: str, made: Made) -> None:
    numbers = made(name)[1].select_dtypes("number").to_numpy(dtype=float)
    assert not np.isinf(numbers).any()


def tuned() -> StudyData:
    """Candidates that differ in a recipe's rate, in a block's form, or in both; the rate decides."""
    build = ResultsBuilder()
    for form in ("", "(fuse=gate2)"):
        for rate, score in (("", 0.80), ("[base_lr=0.01]", 0.82), ("[base_lr=0.3]", 0.70)):
            build.add(f"resnet50+cnl{form}@8{rate}", stage="1-sweep", kind="sweep", map=score, seeds=2)
    build.add("resnet50", stage="1-sweep", kind="sweep", map=0.79)
    return StudyData("x", definition={"recipe": "strong_baseline"}, results=build.table())


def test_hyperparameters_are_read_from_candidates_and_the_studys_recipe() -> None:
    table = settings_table(tuned()).set_index("notation")
    own = load_recipe("strong_baseline").base_lr
    assert table.loc["resnet50+cnl@8", "base_lr"] == own
    assert table.loc["resnet50+cnl@8[base_lr=0.3]", "base_lr"] == 0.3
    assert table.loc["resnet50+cnl@8", "C-NL: fuse"] == "gate"
    assert table.loc["resnet50+cnl(fuse=gate2)@8", "C-NL: fuse"] == "gate2"
    assert pd.isna(table.loc["resnet50", "C-NL: fuse"])
    assert "last_stride" not in table  # it does not vary


def test_a_stage_that_shares_confirmed_trainings_has_all_it_asked_for() -> None:
    asked = tuned().results
    confirmed = asked[asked["notation"].str.endswith("@8")].assign(stage="2-confirm", stage_kind="confirm")
    both = StudyData("x", definition=tuned().definition, results=pd.concat([asked, confirmed], ignore_index=True))
    assert len(settings_table(both, "1-sweep")) == len(settings_table(tuned(), "1-sweep")) == 7


def test_a_candidate_whose_blocks_differ_has_no_one_value() -> None:
    build = ResultsBuilder()
    for text in ("se@6", "se(reduction=8)@6", "se(reduction=8)@6+se@8", "se(reduction=8)@6,8"):
        build.add(f"resnet50+{text}", stage="1-sweep", kind="sweep", map=0.8)
    table = settings_table(StudyData("x", results=build.table())).set_index("notation")
    found = [table["SE: reduction"].get(f"resnet50+{text}") for text in ("se@6", "se(reduction=8)@6,8")]
    assert found == [16, 8]
    assert pd.isna(table.loc["resnet50+se(reduction=8)@6+se@8", "SE: reduction"])


def test_slices_put_what_decides_first_and_show_each_values_mean() -> None:
    figure = Slices()
    table = figure.table(tuned())
    assert table.attrs["shown"][0] == "base_lr"
    drawing = figure.draw(table)
    assert isinstance(drawing, go.Figure)
    dots, means = drawing.data[:2]
    assert len(dots.x) == 7
    place = list(drawing.layout.xaxis.ticktext).index("0.3")
    assert dict(zip(means.x, means.y, strict=True))[place] == pytest.approx(0.70)
    assert "differ in a hyperparameter" in str(figure(tuned_once()))


def tuned_once() -> StudyData:
    whole = tuned()
    return replace(whole, results=whole.results[whole.results["notation"] == "resnet50"])


def test_parallel_coordinates_hold_every_candidate_and_end_in_the_score() -> None:
    drawing = ParallelCoordinates()(tuned())
    assert isinstance(drawing, go.Figure)
    (lines,) = drawing.data
    assert [axis.label for axis in lines.dimensions][-2:] == ["latency (ms)", "mAP"]
    assert all(len(axis["values"]) == 7 for axis in lines.dimensions)
    form = next(axis for axis in lines.dimensions if axis.label == "C-NL: fuse")
    assert list(form.ticktext) == ["gate", "gate2", "none"]


def test_the_best_so_far_never_falls_and_the_timeline_packs_what_ran_at_once(full: StudyData) -> None:
    best = BestSoFar().table(full)
    assert best["best"].is_monotonic_increasing
    assert best["best"].iloc[-1] == best["map"].max()
    begin = pd.Series([0.0, 0.5, 1.0, 1.2])
    assert _rows(begin, pd.Series([1.0, 1.0, 0.1, 1.0])) == [0, 1, 0, 0]
    whole = pd.DataFrame(
        {"row": [0, 0, 1], "stage": ["a", "a", "a"], "begin": [0.0, 1.0, 0.0], "hours": [1.0, 1.0, 2.0]}
    )
    merged = _merged(whole.assign(notation="x"))
    assert list(merged["hours"]) == [2.0, 2.0]
    assert list(merged["notation"]) == ["2 trainings", "1 training"]
    assert "no timeline" in str(Timeline()(replace(full, definition={"objective": {"table": "t.csv"}})))


def test_few_trainings_are_counted_in_whole_numbers_and_no_first_stage_is_red(full: StudyData) -> None:
    few = replace(full, results=full.results[full.results["stage"] == "2-sweep"].head(9))
    for drawing in (BestSoFar()(few), Hypervolume()(few)):
        assert isinstance(drawing, go.Figure)
        assert drawing.layout.xaxis.title.text == "Finished trainings"
        assert drawing.layout.xaxis.dtick == 1
    many = BestSoFar()(full)
    assert isinstance(many, go.Figure)
    assert many.layout.xaxis.dtick is None
    assert sorted(style.SERIES) == sorted(style.BLOCK_COLOURS.values())
    assert style.SERIES[-1] == style.BLOCK_COLOURS["cnl"]


def test_bars_by_position_say_where_they_start(full: StudyData) -> None:
    figure = MapByPosition()
    assert "Bars start at the plain backbone," in figure.caption(figure.table(full))
    bare = replace(full, results=full.results[full.results["n_blocks"] > 0])
    assert "bars start at the lowest candidate" in figure.caption(figure.table(bare))


def test_spreads_of_times_are_of_the_networks_that_were_asked_for(full: StudyData) -> None:
    table = LatencySpread(notations=("resnet50", "resnet50+cnl@8")).table(full)
    assert list(table["notation"]) == ["resnet50", "resnet50+cnl@8"]
    assert (table["latency_p5_ms"] < table["latency_ms"]).all()


def test_a_block_has_one_colour_in_every_figure(full: StudyData) -> None:
    for name in ("pareto_front", "speed_by_position", "map_by_position", "network_drawing"):
        drawing = FIGURES[name]()(full)
        assert isinstance(drawing, go.Figure)
        for trace in drawing.data:
            block = next((name for name in BLOCKS if block_title(name) == trace.name), None)
            if block is not None:
                assert trace.marker.color == style.BLOCK_COLOURS[block], (name, trace.name)


def test_own_blocks_of_one_colour_are_told_apart_by_a_dot(full: StudyData) -> None:
    own = next(name for name in (f"mine:Block{i}" for i in range(100)) if style.block_dot(name))
    table = full.results.assign(notation=full.results["notation"].str.replace("cnl", own))
    study = replace(full, results=table)
    for name in ("pareto_front", "map_by_position", "network_drawing"):
        drawing = FIGURES[name]()(study)
        assert isinstance(drawing, go.Figure)
        marks = [trace.marker for trace in drawing.data if trace.marker.color == style.block_colour(own)]
        assert marks, name
        assert all(mark.pattern.shape == "." if "pattern" in mark else "-dot" in mark.symbol for mark in marks), name


def test_pareto_front_leaves_out_what_has_no_latency_and_says_so(full: StudyData) -> None:
    figure = ParetoFront(level=full.widest)
    table = figure.table(full)
    assert table["latency_ms"].isna().sum() == 1
    assert "1 candidate without a known latency" in figure.caption(table)
    drawing = figure.draw(table)
    assert isinstance(drawing, go.Figure)
    shown = {row[0] for trace in drawing.data if trace.customdata is not None for row in trace.customdata}
    assert len(shown) == len(table) - 1


def test_pareto_front_without_any_latency_says_so(full: StudyData) -> None:
    blind = replace(full, results=full.results.assign(latency_ms=math.nan, batches_per_s=math.nan))
    assert "no latency is known yet" in str(ParetoFront()(blind))


@pytest.mark.parametrize(
    ("cost", "axis"),
    [("peak_memory_mb", "Peak memory (MB"), ("energy_j", "Energy (J"), ("activations", "Activations (elements")],
)
def test_front_and_hypervolume_are_over_what_the_study_pays_with(full: StudyData, cost: str, axis: str) -> None:
    planted = full.results.assign(**{cost: 500.0 - full.results["latency_ms"]})  # the slowest needs least
    data = replace(full, results=planted, definition={**full.definition, "cost": cost})
    figure = ParetoFront()
    table = figure.table(data)
    known = table.dropna(subset=[cost])
    beaten = [
        any((other[cost] <= row[cost]) and (other["map_mean"] > row["map_mean"]) for _, other in known.iterrows())
        for _, row in known.iterrows()
    ]
    assert list(known["on_front"]) == [not b for b in beaten]
    assert list(known["on_front"]) != list(ParetoFront().table(full).loc[known.index, "on_front"])
    drawing = figure.draw(table)
    assert isinstance(drawing, go.Figure)
    assert drawing.layout.xaxis.title.text.startswith(axis)
    steps = FIGURES["hypervolume"]().table(data)
    assert steps.attrs["unit"] == axis[-len(steps.attrs["unit"]) :]
    assert steps["hypervolume"].iloc[-1] > 0


def test_the_front_line_goes_through_the_front(full: StudyData) -> None:
    figure = ParetoFront()
    table = figure.table(full)
    drawing = figure.draw(table)
    assert isinstance(drawing, go.Figure)
    line = next(trace for trace in drawing.data if trace.name == "front")
    front = table[table["on_front"]].sort_values("latency_ms")
    assert list(line.x) == front["latency_ms"].tolist()
    assert list(np.diff(line.y) > 0) == [True] * (len(front) - 1)


def test_names_on_the_front_do_not_fall_on_each_other(full: StudyData) -> None:
    table = ParetoFront().table(full)
    front = table.sort_values("map_mean").tail(1)
    twins = pd.concat([front, front.assign(map_mean=front["map_mean"] + 1e-6, latency_ms=front["latency_ms"] + 1e-4)])
    crowded = pd.concat([table[table["n_blocks"] == 0], twins.assign(on_front=True)], ignore_index=True)
    crowded.attrs = table.attrs
    drawing = ParetoFront().draw(crowded)
    assert isinstance(drawing, go.Figure)
    assert len(drawing.layout.annotations) == 1
    several = ParetoFront(level=full.widest)(full)
    assert isinstance(several, go.Figure)
    assert [note.name == style.WIDE_ONLY for note in several.layout.annotations].count(False) == 1


@pytest.fixture(scope="module")
def large() -> go.Figure:
    """The front of a study of thousands."""
    drawing = ParetoFront()(StudyData.from_results(large_results(4000)))
    assert isinstance(drawing, go.Figure)
    return drawing


def test_many_points_are_drawn_on_the_graphics_card(large: go.Figure) -> None:
    assert {trace.type for trace in large.data} == {"scattergl", "scatter"}


def test_speed_by_position_repeats_equal_shapes_only(full: StudyData) -> None:
    one_a_stage = full.latencies[full.latencies["site"].isin([1, 2, 5, 9, 15]) | (full.latencies["n_blocks"] == 0)]
    table = SpeedByPosition().table(replace(full, latencies=one_a_stage))
    cnl = table[table["block"] == "cnl"].set_index("site")
    assert list(cnl.index) == list(range(1, 18))
    for site, row in cnl.iterrows():
        assert 1000 / row["batches_per_s"] == pytest.approx(true_ms(f"resnet50+cnl@{int(site)}"))
    assert (cnl["timed_at"] == [1, *[2] * 3, *[5] * 4, *[9] * 6, *[15] * 3]).all()


def test_single_placements_that_were_timed_in_vain_are_counted(full: StudyData) -> None:
    assert "a `profile` stage measures them" in str(SpeedByPosition()(replace(full, latencies=pd.DataFrame())))
    times = pd.concat([full.latencies, full.latencies.head(1).assign(site=np.nan, block=None, n_blocks=2)])
    singles = int(times["site"].notna().sum())
    lost = times.assign(median_ms=np.nan, unknown="its ratio is known to 94% only")
    said = str(SpeedByPosition()(replace(full, latencies=lost)))
    assert f"{singles} were timed, but not known well enough; time again on an idle machine." in said
    assert "`profile`" not in said


def test_map_by_position_shows_the_best_setting_and_the_baseline(full: StudyData) -> None:
    table = MapByPosition().table(full)
    singles = table[table["kind"] == "single"]
    assert not singles.duplicated(["block", "site"]).any()
    assert set(table["kind"]) == {"single", "baseline", "reference"}
    assert len(singles) == 4 * 17


def test_placement_map_recovers_planted_single_effects(full: StudyData) -> None:
    table = PlacementMap(kind="single").table(full)
    base = true_map("resnet50")
    errors = [r.effect - (true_map(f"resnet50+{r.block}@{r.site}") - base) for r in table.itertuples()]
    assert np.abs(errors).max() < 0.004
    truth = [true_map(f"resnet50+{r.block}@{r.site}") - base for r in table.itertuples()]
    inside = [r.low <= true <= r.high for r, true in zip(table.itertuples(), truth, strict=True)]
    assert np.mean(inside) > 0.85


def test_marginal_effects_are_means_within_equal_counts() -> None:
    data = StudyData("big", results=large_results(1500))
    table = PlacementMap(kind="marginal").table(data).set_index(["block", "site"])
    from nas.reporting.notations import placements_of

    adaptive = set(data.results.loc[data.results["stage_kind"] == "search", "candidate_id"])
    summary = data.candidates(data.widest)
    fair = summary[~summary["candidate_id"].isin(adaptive) & (summary["n_blocks"] > 0)]
    means = fair.groupby("n_blocks")["map_mean"].mean()
    values = [
        row.map_mean - means[row.n_blocks] for row in fair.itertuples() if (8, "cnl") in placements_of(row.notation)
    ]
    assert table.loc[("cnl", 8), "effect"] == pytest.approx(np.mean(values))
    assert table.loc[("cnl", 8), "candidates"] == len(values)


def test_pair_map_is_the_mean_gain_of_pairs(full: StudyData) -> None:
    table = PairMap(block="cnl").table(full).set_index(["first", "second"])
    in_one = full.results.query("seed == 1 and epochs == 60").groupby("notation")["map"].mean()  # other seeds: not both
    assert table.loc[(8, 14), "effect"] == pytest.approx(in_one["resnet50+cnl@8,14"] - in_one["resnet50"])


def in_unequal_seeds() -> StudyData:
    """All in seed 1, with nine controls there; two networks in seeds 2 and 3, too, which lie 0.01 higher."""
    build = ResultsBuilder()
    worth = {"resnet50": 0.60, "resnet50+se@2": 0.602, "resnet50+cnl@4,8": 0.605, "resnet50+se@8": 0.61}
    for name, value in worth.items():
        for _ in range(9 if name == "resnet50" else 1):
            build.add(name, stage="1-sweep", kind="sweep", map=value, split="test")
    for name in ("resnet50", "resnet50+se@8"):
        build.add(name, stage="2-confirm", kind="confirm", seeds=2, seed_from=2, map=worth[name] + 0.01, split="test")
    return StudyData("seeds", results=build.table(), stages=[{"name": "1-sweep", "kind": "sweep", "result": None}])


def test_what_seeds_move_is_no_effect_of_a_block() -> None:
    """Means over different seeds were subtracted: what was better by 0.002 was drawn as worse by 0.001."""
    data = in_unequal_seeds()
    bars = MapByPosition().table(data).set_index(["kind", "site"])["height"]
    assert bars["single", 2] - bars["baseline"].iloc[0] == pytest.approx(0.002)
    pairs = PairMap().table(data).set_index(["first", "second"])
    assert pairs.loc[(4, 8), "effect"] == pytest.approx(0.005)
    errors = ErrorDistribution().table(data)
    assert errors.attrs["baseline"] - sorted(set(errors["error"]))[-1] == pytest.approx(0.002)
    dots = ParetoFront().table(data).set_index("notation")
    assert dots["map_adjusted"]["resnet50+se@2"] - dots["map_adjusted"]["resnet50"] == pytest.approx(0.002)
    assert dots["map_adjusted"]["resnet50"] == dots["map_mean"]["resnet50"]  # it is one to quote
    course = BestSoFar().table(data)
    trained = course.groupby("notation")["map"]
    assert trained.max().to_list() == pytest.approx(trained.min().to_list(), abs=5e-4)  # in every seed as high
    assert trained.mean()["resnet50+se@2"] - course.attrs["plain"] == pytest.approx(0.002, abs=5e-4)
    assert "less what its seed moves for all alike" in BestSoFar().caption(course)
    assert "2 candidates trained in other seeds than most of those to quote" in ParetoFront().caption(
        ParetoFront().table(data)
    )


def test_whiskers_and_slices_leave_out_what_seeds_move_for_all_alike() -> None:
    """Seeds 0.1 apart were bars of 0.1; what lacked the high seed was drawn as the worst value of a hyperparameter."""
    build = ResultsBuilder()
    noise = {("", 2): 0.001, ("(reduction=8)", 2): -0.001, ("(reduction=8)", 3): 0.001}
    for form, worth in {"": 0.60, "(reduction=8)": 0.61, "(reduction=4)": 0.62}.items():
        for seed in (1, 2, 3)[: 1 if "4" in form else 3]:
            value = worth + 0.1 * (seed - 1) + noise.get((form, seed), 0.0)
            build.add(f"resnet50+se{form}@8", stage="1-sweep", kind="sweep", seed_from=seed, map=value)
    data = StudyData("seeds", results=build.table())
    drawing = ParetoFront()(data)
    assert isinstance(drawing, go.Figure)
    halves = [half for trace in drawing.data if trace.error_y.array is not None for half in trace.error_y.array]
    assert len(halves) == 3
    assert 0 < max(halves) < 0.01
    slices = Slices().table(data)
    assert slices.sort_values("map")["SE: reduction"].tolist() == [16, 8, 4]
    assert "less what its seeds and starts move for all alike" in Slices().caption(slices)
    assert "less what its seeds" not in Slices().caption(Slices().table(tuned()))


def test_error_distribution_counts_failures(full: StudyData) -> None:
    build = ResultsBuilder()
    for i in range(8):
        failed = {"status": "failed", "map": math.nan} if i >= 6 else {}
        build.add(f"resnet50+cnl@{i + 1}", stage="2-sweep", kind="sweep", **failed)
    data = StudyData("x", results=build.table(), stages=[{"name": "2-sweep", "kind": "sweep", "result": None}])
    table = ErrorDistribution().table(data)
    assert table["share"].max() == pytest.approx(6 / 8)
    assert (table["failed"] == 2).all()


def test_error_distribution_of_parent_and_child(full: StudyData) -> None:
    table = ErrorDistribution().table(full)
    assert set(table["curve"]) == {"2-sweep", "3-shrink: parent", "3-shrink: child"}
    for _, curve in table.groupby("curve"):
        assert (np.diff(curve["share"]) >= 0).all()
        assert (np.diff(curve["error"]) >= 0).all()


@pytest.mark.slow
def test_importances_find_the_position_that_matters() -> None:
    build, rng = ResultsBuilder(), np.random.default_rng(0)
    for _ in range(150):
        sites = sorted(int(s) for s in rng.choice([2, 5, 8, 11, 15], 2, replace=False))
        first, second = (str(block) for block in rng.choice(["cnl", "hac", "agw", "se"], 2))
        value = 0.8 + 0.05 * (8 in sites) + rng.normal(0, 0.002)
        build.add(f"resnet50+{first}@{sites[0]}+{second}@{sites[1]}", stage="s", kind="sweep", map=value)
    for method in ("ped_anova", "fanova"):
        table = Importances(method=method).table(StudyData("x", results=build.table()))
        assert table.iloc[0]["parameter"] == "site 8", method
        assert table["importance"].sum() == pytest.approx(1, abs=0.01)


def test_importances_name_the_known_methods(full: StudyData) -> None:
    with pytest.raises(StudyError, match="fanova"):
        Importances(method="fanovaa").table(full)


def test_additive_residuals_overestimate_as_planted(full: StudyData) -> None:
    table = AdditiveResiduals().table(full)
    assert (table["residual_percent"] > 0).all()
    row = table[table["notation"] == "resnet50+cnl@8,14"].iloc[0]
    total = 36.917 + COST_MS["cnl"][1] + COST_MS["cnl"][2]
    assert row["predicted_ms"] == pytest.approx(total)
    assert row["residual_percent"] == pytest.approx(100 * (total / true_ms("resnet50+cnl@8,14") - 1))


def test_seed_noise_finds_the_planted_sd(full: StudyData) -> None:
    table = SeedNoise().table(full)
    noise = table.attrs["noise"]
    assert noise.single.sd == pytest.approx(0.001, rel=0.2)
    assert noise.shared.sd < 0.001  # the planted seeds shift nothing
    assert table.groupby("notation")["deviation"].sum().abs().max() < 1e-12


def test_training_curves_of_one_candidate(full: StudyData) -> None:
    table = TrainingCurves(notation="resnet50").table(full)
    assert set(table["notation"]) == {"resnet50"}


def test_network_drawing_puts_blocks_behind_their_modules(full: StudyData) -> None:
    drawing = NetworkDrawing(notations=("resnet50+cnl@6,14+hac@8",))(full)
    assert isinstance(drawing, go.Figure)
    marks = {trace.name: sorted(trace.x) for trace in drawing.data}
    assert marks == {"C-NL": [6.5, 14.5], "HAC": [8.5]}
    assert sum(shape.type == "rect" for shape in drawing.layout.shapes) == 17


def test_a_block_in_the_network_drawing_names_its_site(full: StudyData) -> None:
    drawing = FIGURES["network_drawing"](notations=("resnet50+cnl@6,8,14",))(full)  # type: ignore[call-arg]
    assert isinstance(drawing, go.Figure)
    assert [row[1] for row in drawing.data[0].customdata] == [6, 8, 14]


def test_network_drawing_knows_other_backbones(full: StudyData) -> None:
    drawing = NetworkDrawing(notations=("mobilenet_v3_small+se@3",))(full)
    assert isinstance(drawing, go.Figure)
    assert "MobileNet v3 small" in drawing.layout.xaxis.title.text


def test_rank_lists_mark_right_and_wrong(full: StudyData) -> None:
    figure = RankLists(queries=2, ranks=3)
    table = figure.table(full)
    assert len(table) == 2 * 4
    drawing = figure.draw(table)
    assert isinstance(drawing, go.Figure)
    assert len(drawing.layout.images) == len(table)
    wrong = (~table["correct"].astype(bool)).sum()
    assert sum(shape.line.dash == "dash" for shape in drawing.layout.shapes) == wrong


def test_hypervolume_never_falls_and_counts_failures(full: StudyData) -> None:
    table = Hypervolume().table(full)
    assert (table["hypervolume"].diff().dropna() >= -1e-12).all()
    assert table["trainings"].iloc[-1] == (full.trainings["split"] == "val").sum()
    assert (table["hours"].diff().dropna() >= 0).all()


def drawn(figure: StudyFigure, data: StudyData) -> go.Figure:
    drawing = figure(data)
    assert isinstance(drawing, go.Figure), drawing
    return drawing


def test_the_placement_map_marks_what_is_told_apart(full: StudyData) -> None:
    table = PlacementMap(kind="single").table(full)
    table.loc[table.index[0], "low"] = -0.001
    drawing = PlacementMap(kind="single").draw(table)
    assert isinstance(drawing, go.Figure)
    marks = drawing.data[1]
    told = table[(table["low"] > 0) | (table["high"] < 0)]
    assert 0 < len(marks.x) == len(told) < len(table)
    assert (marks.marker.color, marks.marker.line.color) == (style.SURFACE, style.INK)  # both have dark twins


def test_pairs_that_lose_are_not_drawn_as_gains(full: StudyData) -> None:
    worse = full.results.assign(map=full.results["map"] - 0.05 * (full.results["n_blocks"] == 2))
    heat = drawn(PairMap(), replace(full, results=worse)).data[0]
    assert heat.zmin == -heat.zmax
    assert heat.colorscale[2][1] == style.DIVERGING[2][1]


def test_a_far_baseline_does_not_squeeze_the_others(full: StudyData) -> None:
    slow = full.results["latency_ms"].where(full.results["notation"] != "resnet101", 900.0)
    drawing = drawn(ParetoFront(), replace(full, results=full.results.assign(latency_ms=slow)))
    assert 50 < drawing.layout.xaxis.range[1] < 100
    assert any("ResNet-101 at 900" in note.text for note in drawing.layout.annotations)
    assert drawn(ParetoFront(), full).layout.xaxis.range is None


def test_times_have_no_axis_below_zero(full: StudyData) -> None:
    assert drawn(ParetoFront(), full).layout.xaxis.minallowed == 0
    assert drawn(AdditiveResiduals(), full).layout.xaxis.minallowed == 0


def test_the_axis_of_spaces_has_a_number_at_every_few_powers_of_ten(full: StudyData) -> None:
    drawing = FIGURES["space_lineage"]()(full)
    assert isinstance(drawing, go.Figure)
    low, high = drawing.layout.xaxis.range
    assert low == 0  # one candidate
    assert 3 <= (high - low) // drawing.layout.xaxis.dtick <= 12


def test_few_epochs_have_ticks_of_their_own(full: StudyData) -> None:
    assert full.epochs is not None
    few = replace(full, epochs=full.epochs[full.epochs["epoch"] <= 6])
    assert drawn(TrainingCurves(), few).layout.xaxis.dtick == 1
    one = TrainingCurves().table(few).query("training_id == training_id.min()")
    assert TrainingCurves().caption(one).startswith("1 training; colour")


def test_hours_that_did_not_pass_have_no_axis(full: StudyData) -> None:
    told = replace(full, results=full.results.assign(seconds=0.0))
    drawing = Hypervolume()(told)
    assert isinstance(drawing, go.Figure)
    assert {trace.xaxis for trace in drawing.data} == {"x"}
    assert "Hours of training" in Hypervolume()(full).to_json()  # type: ignore[union-attr]


def test_an_area_of_zero_is_a_sentence(full: StudyData) -> None:
    poor = full.results.assign(map=full.results["map"] - 0.2 * (full.results["n_blocks"] > 0))
    assert "encloses no area yet" in str(Hypervolume()(replace(full, results=poor)))


def test_a_baseline_is_drawn_as_a_network_without_blocks(full: StudyData) -> None:
    drawing = drawn(NetworkDrawing(notations=("resnet50",)), full)
    assert not drawing.data
    assert any("ResNet-50" in note.text for note in drawing.layout.annotations)


def test_rule_names_stand_beside_the_plot(full: StudyData) -> None:
    drawing = drawn(FIGURES["rule_effects"](), full)
    assert not drawing.layout.annotations
    assert len(drawing.layout.yaxis.ticktext) == sum(len(trace.x) for trace in drawing.data)


def test_a_rule_of_a_band_of_costs_is_named_with_it(full: StudyData) -> None:
    finding = dict(full.findings[0])
    finding["evidence"] = {**finding["evidence"], "within": {"slowdown_percent": 5.0}}
    drawing = drawn(FIGURES["rule_effects"](), replace(full, findings=[finding]))
    (label,) = drawing.layout.yaxis.ticktext
    assert "at most 5 % slower" in label.replace("<br>", " ")


def test_the_best_of_several_settings_is_shown_without_its_luck() -> None:
    from nas.reporting.figures.map_by_position import best_of_several

    rng = np.random.default_rng(2)
    bias = []
    for _ in range(120):  # eight settings that are all alike
        rows = pd.DataFrame(
            [
                {"notation": f"form{form}", "seed": seed, "map": 0.8 + rng.normal(0, 0.01)}
                for form in range(8)
                for seed in range(3)
            ]
        )
        bias.append((best_of_several(rows) - 0.8, rows.groupby("notation")["map"].mean().max() - 0.8))
    fair, best = np.mean(bias, axis=0)
    assert abs(fair) < 0.0015
    assert best > 0.006
    alone = pd.DataFrame({"notation": ["a", "b"], "seed": [0, 0], "map": [0.8, 0.9]})
    assert best_of_several(alone) == pytest.approx(0.85)


def test_the_placement_map_never_mixes_forms() -> None:
    """A block in two forms has a row for each, whichever is better."""
    table = placement_table("pedestrians")
    at_sites = table["site"].isin([4, 8]) | table["role"].eq("control")
    table = table[at_sites & table["seed"].eq(1) & table["n_blocks"].le(1)]
    control = table.loc[table["role"].eq("control"), "map"].mean()
    found = PlacementMap(kind="single").table(StudyData.from_results(table, "forms"))
    effects = found.set_index(["block", "form", "site"])["effect"]
    for form, ending in (("identity", ""), ("published", ", as published")):
        mine = table[(table["block"] == "hac") & (table["form"] == form)].set_index("site")["map"]
        assert effects["hac", ending, 4] == pytest.approx(mine[4] - control)
    figure = PlacementMap().draw(found)
    assert not isinstance(figure, str)
    titles = {"C-NL", "SE", "HAC", "RAGA", "AGW", "ABD", *(f"{b}, as published" for b in ("HAC", "RAGA", "SE"))}
    assert set(figure.data[0].y) == titles


def small_study() -> StudyData:
    """The plain network in two seeds, and one network of a cost that is a little less."""
    build = ResultsBuilder("small")
    build.add("resnet50", stage="sweep", kind="sweep", seeds=2)
    build.add("resnet50+se@3", stage="sweep", kind="sweep", latency_ms=30.0)
    build.add("resnet50+hac@10", stage="sweep", kind="sweep", latency_ms=30.0)
    return StudyData("small", results=build.table())


def test_the_plain_network_beside_few_others_is_on_the_front_s_picture() -> None:
    figure = ParetoFront().draw(ParetoFront().table(small_study()))
    assert isinstance(figure, go.Figure)
    assert figure.layout.xaxis.range is None
    assert not any("→" in note.text for note in figure.layout.annotations)


def test_a_bar_is_one_site_wide_where_few_sites_were_tried() -> None:
    """Plotly makes bars as wide as the nearest two lie apart: they covered sites that nobody tried."""
    figure = MapByPosition().draw(MapByPosition().table(small_study()))
    assert isinstance(figure, go.Figure)
    bars = [trace for trace in figure.data if isinstance(trace, go.Bar)]
    sites = sorted({site for trace in bars for site in trace.x})
    assert min(b - a for a, b in pairwise(sites)) == 1
    assert sum(value is not None for trace in bars for value in trace.y) == 2


def test_seed_noise_of_one_network_shows_no_scores_that_cannot_be() -> None:
    table = SeedNoise().table(small_study())
    figure = SeedNoise().draw(table)
    assert isinstance(figure, go.Figure)
    (mean,) = table["mean"].unique()
    assert 0 < figure.layout.xaxis.range[0] < mean < figure.layout.xaxis.range[1] < 1
    for below in (0.0, -0.637):  # of what is better the less, the negative is stored
        moved = table.assign(mean=below)
        moved.attrs = table.attrs
        figure = SeedNoise().draw(moved)
        assert isinstance(figure, go.Figure)
        assert figure.layout.xaxis.range[0] < below < figure.layout.xaxis.range[1]


def test_the_front_of_a_large_study_lies_on_all_other_dots(large: go.Figure) -> None:
    """The thousands of several types were drawn last, and covered it."""
    dots = [trace for trace in large.data if trace.customdata is not None and trace.name != "without attention"]
    filled = ["open" not in trace.marker.symbol for trace in dots]
    assert filled == sorted(filled)
    assert any(filled)
    others = [trace.name for trace, on_front in zip(dots, filled, strict=True) if not on_front]
    assert block_title(MIXED) in others
    assert set(others[: others.count(block_title(MIXED))]) == {block_title(MIXED)}
