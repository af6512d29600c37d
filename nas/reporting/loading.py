"""Fills a `StudyData` from a study's database; the only part of reporting that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from nas.reporting.notations import placements_of
from nas.reporting.shrink_steps import shrink_results
from nas.reporting.study_data import EPOCH_COLUMNS, StudyData
from nas.storage import Database, Repository, StudyInfo
from nas.storage.urls import typed

CURVES = 40
"""How many trainings' curves are loaded: the best and the latest."""


def load_study_data(database: Database, name: str) -> StudyData:
    """Everything a report of a study needs, from its database; a `StudyError` names those there are."""
    return study_data(Repository(database), name)


def study_data(queries: Repository, name: str) -> StudyData:
    """The same from an open repository."""
    info = queries.study(name)
    results = queries.results(name)
    stages = [asdict(stage) for stage in queries.stages(info.id)]
    proposed = [step.get("child_id") for stage in stages for step in shrink_results(stage["result"])]
    spaces = [vars(space) for space in queries.spaces_of(name, proposed)]
    timing = queries.latency_protocol_of(name)
    return StudyData(
        name=name,
        definition=info.definition,
        results=_beside(results, *_facts_of_trainings(queries, name)),
        latencies=_of_space(_latencies(queries, info, results), results, spaces),
        spaces=_spaces(spaces, stages),
        findings=queries.findings(info.id),
        stages=stages,
        environment=_environment(queries.environments_of(name), timing),
        epochs=_epochs(queries, results),
        workers=pd.DataFrame(queries.status(name)["running"]),
        dataset=_dataset(queries.datasets_of(name)),
        protocol=timing.get("protocol", {}),
        notes=queries.notes(info.id),
        energy=queries.energy_of(name),
        find=typed(queries.database.address),
    )


def _facts_of_trainings(queries: Repository, name: str) -> tuple[pd.DataFrame, ...]:
    """Tables by training of what results do not have."""
    return queries.failures_of(name), queries.told(name), queries.checkpoints_of(name), queries.workers_of(name)


def _beside(results: pd.DataFrame, *more: pd.DataFrame) -> pd.DataFrame:
    """Columns by training that results do not have: reasons of failures, one's own numbers, weights, logs."""
    for table in more:
        fresh = [name for name in table if name == "training_id" or name not in results]
        if len(fresh) > 1 and len(table):
            results = results.merge(table[fresh], on="training_id", how="left")
    return results


def _spaces(spaces: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Spaces with the stage that proposed each, and whether it was kept."""
    made_by: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    for stage in stages:
        for step in shrink_results(stage.get("result")):
            if step.get("child_id"):
                made_by.setdefault(step["child_id"], (stage.get("name"), step))
    return [_space(space, *made_by.get(str(space["id"]), (None, {}))) for space in spaces]


def _space(space: Mapping[str, Any], stage: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    decided = result.get("space_id")
    return {
        **space,
        "stage": stage,
        "adopted": None if stage is None or decided is None else decided == space["id"],
        "confirmation": result.get("confirmation"),
        "why": result.get("why"),
    }


_READ = {"latency_ms": "median_ms", "latency_how": "how", "latency_unknown": "unknown"}
_READ |= {"latency_p5_ms": "p5_ms", "latency_p95_ms": "p95_ms"}


def _latencies(queries: Repository, info: StudyInfo, results: pd.DataFrame) -> pd.DataFrame:
    """One row an architecture: its time as the search counts it, and `raw_ms`, the median as it was read."""
    costs = queries.costs(info.name).rename(columns=_READ)
    costs = costs[costs["latency_measured"].astype(bool)].rename_axis("architecture_id").reset_index()
    references = set(results.loc[results["role"] == "reference", "architecture_id"]) if len(results) else set()
    parts = pd.DataFrame([_network(str(notation)) for notation in costs["notation"]], index=costs.index)
    role = ["reference" if a in references else "measured" for a in costs["architecture_id"]]
    table = pd.concat([costs, parts], axis=1).assign(role=role)
    if info.protocol_id is None or info.device is None or table.empty:
        return table
    raw = queries.latencies(protocol_id=info.protocol_id, device=info.device)
    ranked = (
        raw[raw["measured"].astype(bool)].assign(own=lambda rows: rows["imported"].isna()).sort_values(["own", "id"])
    )
    raw = ranked.drop_duplicates("architecture_id", keep="last")
    facts = raw[["architecture_id", "median_ms", "id", "device", "batches", "isolated", "drift", "measured_at"]]
    return table.merge(facts.rename(columns={"median_ms": "raw_ms"}), on="architecture_id", how="left").sort_values(
        "id"
    )


def _of_space(latencies: pd.DataFrame, results: pd.DataFrame, spaces: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Figures of the study's own networks: one protocol and device may serve many studies."""
    blocks = (spaces[0].get("definition") or {}).get("blocks") if spaces else None
    if not blocks or latencies.empty:
        return latencies
    known = set(blocks)
    own = set(results["architecture_id"])
    fits = [{block for _, block in placements_of(str(notation))} <= known for notation in latencies["notation"]]
    return latencies[pd.Series(fits, index=latencies.index) | latencies["architecture_id"].isin(own)]


def _network(notation: str) -> dict[str, Any]:
    placed = placements_of(notation)
    site, block = placed[0] if len(placed) == 1 else (None, None)
    backbone = notation.partition("+")[0].partition("(")[0]
    return {"backbone": backbone, "n_blocks": len(placed), "site": site, "block": block}


def _dataset(datasets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The view searched on, with the counts of every view beside."""
    if not datasets:
        return {}
    first = datasets[0]
    views = [
        {"view": row["split"], "id": row["id"], "splits": row["counts"], "warnings": row["warnings"]}
        for row in datasets
    ]
    kept = {key: first[key] for key in ("name", "id", "spec", "known_by")}
    return {**kept, "splits": first["counts"], "views": views}


def _environment(environments: Sequence[Mapping[str, Any]], timing: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for i, row in enumerate(environments, start=1):
        name = "trained on" if len(environments) == 1 else f"trained on ({i})"
        facts[name] = {**row["facts"], "trainings": row["trainings"]}
    if timing:
        facts["timed on"] = {"device": timing["device"], **timing["environment"]}
    return facts


def _epochs(queries: Repository, results: pd.DataFrame) -> pd.DataFrame:
    """Curves of the most accurate and of the latest trainings."""
    begun = results[results["status"].isin(["finished", "running", "failed"])].drop_duplicates("training_id")
    best = begun.sort_values("map", ascending=False).head(CURVES // 2)
    latest = begun.sort_values("training_id").tail(CURVES // 2)
    chosen = pd.concat([best, latest]).drop_duplicates("training_id")
    curves = queries.epochs_of([int(i) for i in chosen["training_id"]])
    table = curves.merge(chosen[["training_id", "notation", "seed"]], on="training_id")
    return table.reindex(columns=list(EPOCH_COLUMNS))
