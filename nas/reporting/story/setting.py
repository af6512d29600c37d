"""What was given: the data and the protocol by which numbers were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.progress import duration
from nas.reporting.document import Block, Facts, Paragraph, Picture, Section, Table, code, words
from nas.reporting.numbers import count, plural
from nas.reporting.study_data import StudyData
from nas.results.columns import left_behind
from nas.results.energy import joules_spent

_SPLITS = ("train", "query", "gallery")


def head(data: StudyData) -> list[str]:
    """When and for how long it ran, on what, on which images, in which space: what stands under the title."""
    finished = data.finished
    said = []
    ends = finished["finished_at"].dropna()
    if len(ends) and data.table is None:
        begun = (finished["finished_at"] - pd.to_timedelta(finished["seconds"].astype(float), unit="s")).min()
        ran = f"{ends.max():%Y-%m-%d %H:%M} UTC"
        if not pd.isna(begun):
            wall, spent = (ends.max() - begun).total_seconds(), float(finished["seconds"].sum())
            ran = f"trained {begun:%Y-%m-%d %H:%M} to {ran} ({duration(wall)}), {duration(spent)} of training"
        said += [ran, _energy(data)]
    people = [words(name) for name in data.definition.get("by") or ()]
    said += [f"by {', '.join(people)}"] if people else []
    machine = data.environment.get("trained on") or {}
    said += [f"on {words(machine.get('gpu') or machine['cpu'])}"] if machine.get("gpu") or machine.get("cpu") else []
    path = None if data.definition.get("objective") else data.definition.get("data")
    named = data.table or path or data.dataset.get("name")
    said += [f"data {value_words(named)}{_sizes(data.dataset)}"] if named else []
    if data.spaces:
        said.append(f"a space of {count(data.spaces[0].get('size'))} candidates")
    return said


def _sizes(dataset: Mapping[str, Any]) -> str:
    """Images to train on and in the test set; of held-out identities where the test set was not read yet."""
    views = {row["view"]: row["splits"] for row in dataset.get("views") or ()}
    splits = views.get("test") or dataset.get("splits") or {}
    sizes = [f"{count(_at(splits, name, 'images'))} {name}" for name in _SPLITS if name in splits]
    held_out = " of validation identities" if "val" in views and "test" not in views else ""
    return f" ({', '.join(sizes)} images{held_out})" if sizes else ""


def _energy(data: StudyData) -> str:
    """What trainings took as the machines' own counters say; never estimated."""
    trained = data.finished["training_id"].nunique()
    known = data.energy[data.energy["training_id"].isin(data.finished["training_id"])]
    if known.empty:
        return "energy not measured"
    kilowatt_hours = joules_spent(known) / 3.6e6
    measured = known["training_id"].nunique()
    part = "" if measured == trained else f" in {count(measured)} of {plural(trained, 'training')}"
    cards = known["counter"].str.endswith(" gpu")
    of = " and ".join(word for word, there in (("processors", ~cards), ("GPUs", cards)) if there.any())
    return f"{kilowatt_hours:.3g} kWh ({of}){part}"


def data_section(data: StudyData) -> Section:
    """The data set, its splits and its hash."""
    dataset = data.dataset
    named = data.table or dataset.get("name") or data.definition.get("data")
    blocks: list[Block] = [Facts(_dataset_facts(dataset, named))]
    splits = dataset.get("splits")
    if isinstance(splits, Mapping) and splits:
        rows = [
            [split, *(count(_at(splits, split, key)) for key in ("images", "identities", "cameras"))]
            for split in (*_SPLITS, *(name for name in splits if name not in _SPLITS))
            if split in splits
        ]
        blocks.append(Table(["split", "images", "identities", "cameras"], rows, numeric=frozenset({1, 2, 3})))
    blocks += [Picture(data.samples, "one image each of a few persons of the set")] if data.samples else []
    blocks += [Paragraph(data.no_samples)] if data.no_samples else []
    blocks.append(Paragraph(_view_words(data)))
    return Section("data", "Data", blocks, folded=True)


def _at(splits: Mapping[str, Any], split: str, key: str) -> Any:
    entry = splits[split]
    return entry.get(key) if isinstance(entry, Mapping) else None


def _dataset_facts(dataset: Mapping[str, Any], named: Any) -> list[tuple[str, str]]:
    facts = [("data set", value_words(named))]
    facts += [(key, value_words(dataset[key])) for key in ("id", "cameras", "source", "variant") if dataset.get(key)]
    return facts


def _view_words(data: StudyData) -> str:
    if data.table is not None:
        return "Nothing was trained for this study: accuracies and costs are the table's, candidate by candidate."
    if data.definition.get("select_on") == "test":
        return "Candidates were selected on the test split, as the paper did (`select_on: test`)."
    read = "at each rung of" if len(left_behind(data.results)) else "once, by"
    return (
        f"Candidates are selected on identities held out of the training set; the test split is read {read} the "
        "`confirm` stage. Per query, gallery images of the same identity and camera are removed; queries without a "
        "remaining positive are skipped and counted."
    )


def value_words(value: Any) -> str:
    """A value of a study file in one line of code."""
    if value is None:
        return "–"
    if isinstance(value, str | int | float):
        return code(value)
    return code(json.dumps(_given(value), ensure_ascii=False, default=str).replace('"', ""))


def _given(value: Any) -> Any:
    """Without what was left open: nulls, and sections that hold nothing else."""
    if isinstance(value, Mapping):
        kept = {key: _given(entry) for key, entry in value.items() if entry is not None}
        return {key: entry for key, entry in kept.items() if entry != {}}
    return [_given(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def protocol(data: StudyData) -> Section:
    """How candidates were trained and timed."""
    definition, latency = data.definition, data.latency_protocol
    facts = [] if data.table is not None else [("recipe", value_words(definition.get("recipe") or "strong_baseline"))]
    facts += [(f"latency: {key}", value_words(value)) for key, value in latency.items()]
    facts += [("study seed", value_words(definition.get("seed")))]
    seeds = [level.rows(data.finished).groupby("candidate_id")["seed"].nunique() for level in data.levels]
    if counts := [int(number) for found in seeds for number in found]:
        facts.append(("seeds per candidate, trained alike", code(f"{min(counts)} to {max(counts)}")))
    explanation = Paragraph(" ".join(_how(data)))
    return Section("protocol", "Protocol", [Facts(facts), explanation], folded=True)


def _how(data: StudyData) -> list[str]:
    """How numbers came about, in sentences that are true of this study."""
    missing = "What is not known is missing, not zero."
    if data.table is not None:
        return [f"Every number was read from the table {code(data.table)}.", missing]
    said = ["Every number is the last epoch's, never the best epoch's."] if len(data.finished) else []
    times = data.latencies.dropna(subset=["median_ms"])
    paired, corrected = (int(times["how"].eq(how).sum()) for how in ("paired", "corrected"))
    if paired:
        said.append(
            f"{count(paired)} networks were timed in alternation with a reference, batch by batch: their times are the "
            "median ratio of the pairs, in the reference's milliseconds."
        )
    if corrected:
        said.append(
            f"The times of {count(corrected)} networks are medians over batches timed one by one after warming up, "
            "divided by the machine's drift; past a tenth of drift, or of load by others, a time counts as not known."
        )
    lost = data.latencies[data.latencies["unknown"].notna()]
    if len(lost):
        why = "; ".join(dict.fromkeys(lost["unknown"].astype(str).head(3)))
        nowhere = ", so they are on no front" if data.pays_time else ""
        said.append(f"The times of {count(len(lost))} networks are not known{nowhere} ({why}).")
    return [*said, missing]
