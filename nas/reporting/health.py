"""What limits the numbers of a study: the list that stands above everything quotable, the same wherever it is shown."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from nas.progress import duration
from nas.reporting.numbers import count, plural, signed
from nas.reporting.study_data import StudyData
from nas.reporting.words import words
from nas.results.columns import at_rung, left_behind
from nas.results.costs import DISTURBED
from nas.results.power import POWER
from nas.spaces.labels import short_label

INT8 = "int8"


@dataclass(frozen=True)
class Limit:
    """One thing that a reader must know before quoting.

    Attributes:
        kind: `selection`, `data`, `one seed`, `too few trainings`, `failures`, `machine shared`, `drift` or `times`.
        fact, consequence, cure: a sentence each.
    """

    kind: str
    fact: str
    consequence: str
    cure: str

    @property
    def words(self) -> str:
        """All of it in words."""
        return f"{self.fact} {self.consequence} {self.cure}"

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return asdict(self)


def health(data: StudyData) -> list[Limit]:
    """What a reader must know before quoting; none where nothing known limits the numbers."""
    trained = [] if data.table is not None else [*_selection(data), *_data(data)]
    timed = [] if data.table is not None else _times(data)
    return [*trained, *_seeds(data), *_undecided(data), *_failures(data), *timed]


def _selection(data: StudyData) -> list[Limit]:
    if data.definition.get("select_on") == "test":
        return [
            Limit(
                "selection",
                "This study selects on the test split (`select_on: test`), as the paper did.",
                "Its best numbers are optimistic, because candidates were chosen by the data they are judged on.",
                "`select_on: validation` with a `confirm` stage gives numbers to quote.",
            )
        ]
    own = data.definition.get("objective")
    if not own and len(data.finished) and not (data.finished["split"] == "test").any():
        return [
            Limit(
                "selection",
                "All numbers are on validation identities held out of the training set; nothing has been confirmed on "
                "the test split yet.",
                "They must not be compared with published results.",
                "A `confirm` stage trains on all and judges on the test split.",
            )
        ]
    if len(ended := left_behind(data.results)):
        asked = data.results[at_rung(data.results) & data.results["stage"].isin(ended["stage"])]
        begun = plural(asked["notation"].nunique(), "network")
        return [
            Limit(
                "selection",
                f"Of {begun} that the `confirm` stage began, it ended {ended['notation'].nunique()} at a rung: by the "
                "test split, they were behind.",
                "So the others were chosen by data that they are judged on; intervals for all compared count those "
                "that were ended.",
                "`confirm` without `rungs` reads the test split once.",
            )
        ]
    return []


def _data(data: StudyData) -> list[Limit]:
    """What the images themselves say, as it was seen when their view was first used."""
    found = [warning for view in data.dataset.get("views") or () for warning in view.get("warnings") or ()]
    told = {str(warning["fact"]): str(warning["consequence"]) for warning in found}
    cure = "`nas data check` names the files."
    return [Limit("data", words(fact), words(consequence), cure) for fact, consequence in told.items()]


def _seeds(data: StudyData) -> list[Limit]:
    found = data.answer
    if found.kind == "one seed":
        fact, consequence = "No two networks were trained in the same two seeds.", "What chance moves is not known."
        return [Limit("one seed", fact, consequence, "2 `seeds` in the stage, better 3, tell it.")]
    if found.kind == "equal scores":
        fact, consequence = "Repeated trainings scored exactly alike.", "What chance moves is not known."
        return [Limit("too few trainings", fact, consequence, "More test images, longer trainings or `seeds` tell it.")]
    if found.kind != "none better" or found.visible is None:
        return []
    cure = "More `seeds` in the stage show smaller ones."
    if found.seeds_needed is not None:
        price = "" if found.seconds_needed is None else f", about {duration(found.seconds_needed)} more of training"
        cure = f"`seeds: {found.seeds_needed}` shows half of that{price}."
    seen = f"{found.visible:.4f} {data.metric.words} or more with {POWER:.0%} power"
    fact = f"{plural(found.seeds, 'seed')} each {'shows' if found.seeds == 1 else 'show'} a difference of {seen}."
    return [Limit("too few trainings", fact, "Smaller ones, if there are any, are missed.", cure)]


def _undecided(data: StudyData) -> list[Limit]:
    open_ = sum(finding.get("verdict") == "not enough data" for finding in data.findings)
    if not open_:
        return []
    fact = f"{count(open_)} of {plural(len(data.findings), 'rule')} looked at could not be decided."
    cure = (
        "Each rule says what would decide it: more candidates, other ones, or `seeds`, in the stages before `shrink`."
    )
    return [Limit("too few trainings", fact, "The rules found may not be all there are.", cure)]


_CURES = {
    "out_of_memory": "A smaller batch in the recipe, or a device with more memory, cures it",
    "diverged": "A smaller `base_lr` or more `warmup_epochs` in the recipe cure it",
    "data": "`nas data check` names the images",
    "killed": "Whoever ended the workers knows why",
    "timeout": "A larger `max_training_hours`, or a machine that does nothing else, cures it",
}
_OF_OUR_TRAINING = ("out_of_memory", "diverged", "data")


def _failures(data: StudyData) -> list[Limit]:
    """One line a kind, the most frequent first."""
    if data.failed.empty:
        return []
    retry, found = words(data.command("studies", "retry", data.name)), []
    reasons = "The report's part on failures gives the reasons"
    cures = _CURES
    if data.definition.get("objective"):  # there is no recipe, and no data that we read
        cures = _CURES | dict.fromkeys(_OF_OUR_TRAINING, "The cause lies in the study's objective")
    for kind, number in data.failed["failure_kind"].fillna("unknown").value_counts().items():
        fact = f"{plural(number, 'training')} failed for good ({words(kind)})."
        cure = cures.get(str(kind), reasons)
        again = f"`{retry}` lets {'it' if number == 1 else 'them'} be tried again."
        ranked = "Its candidate ranks last and is" if number == 1 else "Their candidates rank last and are"
        found.append(Limit("failures", fact, f"{ranked} never averaged.", f"{cure}; then {again}"))
    return found


def _times(data: StudyData) -> list[Limit]:
    """Times that are not known or were disturbed."""
    times, found = data.latencies, []
    nowhere = f"They are {'on no front and ' if data.pays_time else ''}in no rule about time."
    again = "Timing again on an idle machine cures it."
    shared = times["unknown"].astype("string").str.startswith("other programs", na=False)
    for kind, lost in (("machine shared", times[shared]), ("times", times[times["unknown"].notna() & ~shared])):
        if len(lost):
            reasons = zip(reversed(lost["notation"].tolist()), reversed(lost["unknown"].tolist()), strict=True)
            kinds = {re.sub(r"[\d.]+", "", why): f"{short_label(name)}, {words(why)}" for name, why in reasons}
            fact = f"The times of {plural(len(lost), 'network')} are not known (such as: {'; '.join(kinds.values())})."
            found.append(Limit(kind, fact, nowhere, again))
    if (data.definition.get("latency") or {}).get("precision") == INT8 and len(times):
        fact = "Times are of networks in int8, quality is of the networks as they were trained."
        consequence = "What quantising costs in quality is in no number here."
        found.append(Limit("times", fact, consequence, "`nas export --int8` measures it, a network at a time."))
    disturbed = times[times["isolated"].eq(False) & times["median_ms"].notna()]
    if len(disturbed):
        fact = f"The times of {plural(len(disturbed), 'network')} were read while other work kept the machine busy."
        found.append(Limit("machine shared", fact, "Small differences in time may be its doing.", again))
    drifts = times["drift"].astype(float).dropna()
    if drifts.abs().max() > DISTURBED:
        fact = f"The machine drifted by up to {signed(100 * max(drifts, key=abs), 0)} % while timing."
        consequence = "Times are corrected by it, as far as it was even; those past the limit are not known."
        found.append(Limit("drift", fact, consequence, again))
    return found
