"""The recipe that a study tuned before everything else: what was tried, what was chosen, and what it brings."""

from __future__ import annotations

from nas.reporting.document import Cell, Paragraph, Section, Table, code
from nas.reporting.figures import Slices
from nas.reporting.numbers import MISSING, fixed, interval, is_missing, signed
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import StudyData
from nas.search.stage_results import TuneResult
from nas.spaces import Candidate

AS_IT_IS = "as it is"


def tuned_recipe(data: StudyData) -> Section | None:
    """The finalists of a `tune` stage in fresh seeds; left out where nothing was tuned."""
    stage = next((stage for stage in data.stages if stage.get("kind") == "tune"), {})
    result = TuneResult.of(stage.get("result"))
    if result is None or result.chosen is None:
        return None
    rows: list[list[Cell]] = [
        [code(_values(tried)), fixed(mean, 4), "handed on" if tried == result.chosen else ""]
        for tried, mean in sorted(result.means.items(), key=lambda item: -item[1])
    ]
    rows += [[code(_values(tried)), MISSING, "failed in a seed"] for tried in result.failed]
    text = (
        f"{len(result.drawn)} recipes were tried once on validation identities; the best were trained again in fresh "
        f"seeds beside the recipe as it is, and only these decide. {_gain(result, data.metric.suffix)}"
    )
    table = Table(["values", f"{data.metric.title}, fresh seeds", ""], rows, name="tuned", numeric=frozenset({1}))
    slices = figure_block(Slices(stage=str(stage["name"])), data, "tuned_slices", "Over each tuned value")
    return Section("tuned", "The tuned recipe", [Paragraph(text), table, slices])


def _gain(result: TuneResult, suffix: str) -> str:
    if result.chosen == result.finalists[0]:
        return "No setting was better on average, so the recipe stays as it is."
    if result.difference is None:
        return "The best one is handed on; two paired trainings are needed to say how sure that is."
    told = f"The best one is handed on: {signed(result.difference)}"
    if is_missing(result.low):
        return f"{told} {suffix} against the recipe as it is, the same in every seed, so no interval is known."
    return f"{told} {interval(result.low, result.high)} {suffix} against the recipe as it is, paired by seed (95 %)."


def _values(candidate: Candidate) -> str:
    return ", ".join(f"{key} {value}" for key, value in candidate.recipe) or AS_IT_IS
