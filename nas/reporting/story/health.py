"""What limits the numbers of a study: each with its consequence and what cures it, above everything quotable."""

from __future__ import annotations

from nas.reporting.document import words
from nas.reporting.numbers import plural, signed
from nas.reporting.study_data import StudyData
from nas.results.costs import DISTURBED


def health(data: StudyData) -> list[str]:
    """Sentences about what a reader must know before quoting; none where nothing known limits the numbers."""
    return [said for said in (_selection(data), _seeds(data), _failures(data), *_times(data)) if said]


def _selection(data: StudyData) -> str:
    if data.table is not None:
        return ""
    if data.definition.get("select_on") == "test":
        return (
            "This study selects on the test split (`select_on: test`), as the paper did: its best numbers are "
            "optimistic, because candidates were chosen by the data they are judged on."
        )
    if len(data.finished) and not (data.finished["split"] == "test").any():
        return (
            "All numbers are on validation identities held out of the training set; nothing has been confirmed on "
            "the test split yet, so they must not be compared with published results. A `confirm` stage does that."
        )
    return ""


def _seeds(data: StudyData) -> str:
    if data.answer.kind != "one seed":
        return ""
    return (
        "Each network was trained with one seed, so what chance moves is not known. More `seeds` in the stage cure it."
    )


def _failures(data: StudyData) -> str:
    if data.failed.empty:
        return ""
    kinds = data.failed["failure_kind"].fillna("unknown").value_counts()
    listed = ", ".join(f"{number} {words(kind)}" for kind, number in kinds.items())
    return (
        f"{plural(len(data.failed), 'training')} failed for good ({listed}): their candidates rank last and are never "
        f"averaged. `nas studies retry {words(data.name)}` lets them be tried again."
    )


def _times(data: StudyData) -> list[str]:
    """Times that are not known or were disturbed; a replayed table has none of its own."""
    if data.table is not None:
        return []
    said, times = [], data.latencies
    lost = times[times["unknown"].notna()]
    if len(lost):
        why = "; ".join(dict.fromkeys(words(reason) for reason in lost["unknown"].head(3)))
        said.append(
            f"The times of {plural(len(lost), 'network')} are not known, so they are on no front ({why}). Timing them "
            "again on an idle machine cures it."
        )
    disturbed = times[times["isolated"].eq(False) & times["median_ms"].notna()]
    if len(disturbed):
        said.append(
            f"The times of {plural(len(disturbed), 'network')} were read while other work kept the machine busy: small "
            "differences in time may be its doing. Timing again on an idle machine cures it."
        )
    drifts = times["drift"].astype(float).dropna()
    if drifts.abs().max() > DISTURBED:
        worst = max(drifts, key=abs)
        said.append(f"The machine drifted by up to {signed(100 * worst, 0)} % while timing; times are corrected.")
    return said
