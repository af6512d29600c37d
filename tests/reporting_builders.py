"""Builders of realistic fake studies: a planted landscape with the paper's sizes of effects, no training.

Shared by the tests of the reports, the dashboard and the browser, and by the dashboard's benchmark.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from nas.reporting.study_data import StudyData
from nas.spaces.candidate import Candidate

BASE_MS = {"resnet50": 36.917, "resnet101": 53.454}
BASE_MAP = {"resnet50": 0.8590, "resnet101": 0.8707}
COST_MS = {
    "cnl": (0.4, 0.5, 0.9, 2.6),
    "hac": (1.6, 1.9, 0.5, 0.6),
    "agw": (11.0, 7.4, 3.4, 3.9),
    "se": (1.2, 1.0, 0.5, 0.5),
}
GAIN = {"cnl": 0.011, "hac": 0.009, "agw": 0.012, "se": 0.006}
STAGE = (0, *(1,) * 3, *(2,) * 4, *(3,) * 6, *(4,) * 3)
STAGE_ENDS = {4, 8, 14, 17}
DEFINITION: dict[str, Any] = {
    "name": "market1501",
    "space": "../search_spaces/resnet50_attention.yaml",
    "data": {"market1501": "data/Market-1501-v15.09.15"},
    "recipe": "strong_baseline",
    "latency": {"backend": "tensorrt", "precision": "fp16", "batch": 16, "input": [256, 128], "reference": "resnet101"},
    "seed": 1,
    "stages": [
        {"profile": {}},
        {"sweep": {"blocks": 1, "design": "exhaustive", "seeds": 3, "fidelity": {"epochs": 60}}},
        {"shrink": {"families": ["cost", "sites", "stage_ends"], "confirm": 24}},
        {"search": {"sampler": "nsga2", "trainings": 100}},
        {"confirm": {"front": True, "baselines": ["resnet50", "resnet101"], "seeds": 3}},
    ],
}
ENVIRONMENT: dict[str, Any] = {
    "nas": "0.1.0",
    "commit": "0123abc",
    "python": "3.11.2",
    "torch": "2.15.0",
    "cuda": "13.2",
    "driver": "600.1",
    "device": "Example Accelerator",
    "hashes": {"study": "c0ffee0123456789"},
}


def true_map(notation: str) -> float:
    """The planted landscape: single gains by site, saturating with the number of blocks, a premium for stage ends."""
    candidate = Candidate.parse(notation)
    gains = [
        GAIN.get(p.block, 0.004) * (0.4 + 0.6 * np.sin(np.pi * min(p.site, 15) / 15)) + 0.0012 * (p.site in STAGE_ENDS)
        for p in candidate.placements
    ]
    return BASE_MAP[candidate.backbone] + sum(g * 0.55**i for i, g in enumerate(sorted(gains, reverse=True)))


def true_ms(notation: str) -> float:
    """Time of a batch: the costs of the single placements, which do not quite add up."""
    candidate = Candidate.parse(notation)
    costs = [COST_MS.get(p.block, (1.0,) * 4)[max(STAGE[p.site - 1], 1) - 1] for p in candidate.placements]
    return BASE_MS[candidate.backbone] + sum(c * (1.0 if i == 0 else 0.85) for i, c in enumerate(sorted(costs)))


class ResultsBuilder:
    """Collects rows of a results table, numbering trainings and drawing seed noise."""

    def __init__(self, study: str = "market1501", seed: int = 0) -> None:
        self.study, self.rng = study, np.random.default_rng(seed)
        self.rows: list[dict[str, Any]] = []

    def add(self, notation: str, *, stage: str, kind: str, seeds: int = 1, **over: Any) -> None:
        """Rows of one candidate: one a seed."""
        candidate = Candidate.parse(notation)
        architecture = candidate.architecture
        ms = true_ms(architecture.notation)
        first = int(over.pop("seed_from", 1))
        for seed in range(first, first + seeds):
            epochs = over.get("epochs", 60)
            fidelity_loss = 0.02 if epochs < 100 else 0.0
            number = len(self.rows) + 1
            row = {
                "study": self.study,
                "stage": stage,
                "stage_kind": kind,
                "role": "candidate" if candidate.placements else "baseline",
                "sampler": "exhaustive" if kind == "sweep" else kind,
                "batch": number // 20,
                "training_id": number,
                "candidate_id": candidate.id,
                "architecture_id": architecture.id,
                "notation": candidate.notation,
                "backbone": candidate.backbone,
                "n_blocks": len(candidate.placements),
                "fidelity": f"e{epochs}",
                "epochs": epochs,
                "seed": seed,
                "split": "val",
                "status": "finished",
                "failure_kind": None,
                "map": true_map(architecture.notation) - fidelity_loss + self.rng.normal(0, 0.001),
                "rank1": 0.945 + self.rng.normal(0, 0.001),
                "minp": 0.60 + self.rng.normal(0, 0.002),
                "latency_ms": ms,
                "latency_p5_ms": ms * 0.995,
                "latency_p95_ms": ms * 1.01,
                "batches_per_s": 1000 / ms,
                "latency_measured": True,
                "params": 23.5e6 + 1e6 * len(candidate.placements),
                "macs": 4.05e9,
                "seconds": 900.0 + self.rng.normal(0, 20),
                "images_per_s": 850.0,
                "finished_at": pd.Timestamp("2025-03-01") + pd.Timedelta(minutes=15 * number),
                "space_id": "space0",
            } | over
            self.rows.append(row)

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)


def _latencies(blocks: tuple[str, ...] = ("cnl", "hac", "agw", "se")) -> pd.DataFrame:
    names = ["resnet50", "resnet101", *(f"resnet50+{b}@{s}" for b in blocks for s in range(1, 18))]
    names += [
        "resnet50+cnl@8,14",
        "resnet50+cnl@6,8,14",
        "resnet50+hac@8,14",
        "resnet50+agw@8,14",
        "resnet50+agw@6,8,14",
    ]
    rows = []
    for name in names:
        candidate, ms = Candidate.parse(name), true_ms(name)
        one = candidate.placements[0] if len(candidate.placements) == 1 else None
        rows.append(
            {
                "role": "placement" if candidate.placements else "baseline",
                "notation": name,
                "backbone": candidate.backbone,
                "block": one.block if one else None,
                "site": one.site if one else None,
                "n_blocks": len(candidate.placements),
                "median_ms": ms,
                "p5_ms": ms * 0.996,
                "p95_ms": ms * 1.008,
                "batches_per_s": 1000 / ms,
                "batches": 1000,
                "isolated": True,
                "drift": 0.002,
                "device": "Example Accelerator",
            }
        )
    return pd.DataFrame(rows)


def _findings() -> list[dict[str, Any]]:
    def finding(rule: dict[str, Any], sentence: str, verdict: str, reason: str, **evidence: Any) -> dict[str, Any]:
        base = {
            "effect": None,
            "low": None,
            "high": None,
            "p": None,
            "p_adjusted": None,
            "trainings": 0,
            "training_ids": [],
            "latency_ms": None,
            "stage": "3-shrink",
            "confirmation": None,
            "method": "matched pairs",
        }
        return {
            "rule": rule,
            "sentence": sentence,
            "evidence": base | evidence,
            "verdict": verdict,
            "reason": reason,
        }

    return [
        finding(
            {"sites": {"block": "cnl", "sites": [6, 8, 14]}},
            "C-NL: positions 6, 8, 14 (of 17)",
            "adopted",
            "the other sites are worse by more than 0.0005 mAP",
            effect=0.0031,
            low=0.0022,
            high=0.0041,
            p=0.0001,
            p_adjusted=0.0008,
            trainings=51,
            training_ids=list(range(1, 52)),
            latency_ms=0.54,
        ),
        finding(
            {"stage_ends": True, "strength": "preference"},
            "prefer the last site of a stage",
            "adopted",
            "passes at 5 % false discoveries",
            effect=0.0011,
            low=0.0004,
            high=0.0018,
            p=0.002,
            p_adjusted=0.009,
            trainings=204,
            training_ids=list(range(1, 205)),
            latency_ms=0.0,
        ),
        finding(
            {"max_blocks": 3},
            "no more than 3 blocks: the 4th adds nothing",
            "rejected",
            "the confirmation draws of the child were worse (KS p = 0.01)",
            effect=0.0001,
            low=-0.0006,
            high=0.0008,
            p=0.8,
            p_adjusted=0.85,
            trainings=48,
            latency_ms=1.7,
            confirmation={"ks_p": 0.01, "area": -0.0012},
        ),
        finding(
            {"mix": {"max_families": 2}, "strength": "preference"},
            "two families of block rather than one",
            "not enough data",
            "9 matched pairs, 20 are needed",
            effect=0.0009,
            low=-0.0010,
            high=0.0028,
            p=0.3,
            p_adjusted=0.45,
            trainings=18,
            latency_ms=3.1,
        ),
    ]


def _fresh() -> dict[str, list[str]]:
    rng = np.random.default_rng(5)
    drawn: dict[str, list[str]] = {"parent": [], "child": []}
    while len(drawn["parent"]) < 16:
        sites = sorted(int(s) for s in rng.choice(np.arange(1, 18), 2, replace=False))
        drawn["parent"].append(
            Candidate.make("resnet50", [(s, str(rng.choice(["cnl", "hac", "agw", "se"]))) for s in sites]).notation
        )
    while len(drawn["child"]) < 16:
        sites = sorted(int(s) for s in rng.choice([6, 8, 14], 2, replace=False))
        blocks = [str(rng.choice(["cnl", "hac", "agw"])) for _ in sites]
        drawn["child"].append(Candidate.make("resnet50", list(zip(sites, blocks, strict=True))).notation)
    return {side: list(dict.fromkeys(names)) for side, names in drawn.items()}


FRESH = _fresh()


def _stages(name: str) -> list[dict[str, Any]]:
    shrunk = {**FRESH, "parent_id": "space0", "child_id": "space1", "space_id": "space1", "why": "not worse"}
    kinds = ["profile", "sweep", "shrink", "search", "confirm"]
    return [
        {
            "id": i,
            "position": i,
            "name": f"{i}-{kind}",
            "kind": kind,
            "status": "finished",
            "settings": DEFINITION["stages"][i - 1][kind],
            "space_id": "space0" if i < 4 else "space1",
            "result": shrunk if kind == "shrink" else {},
        }
        for i, kind in enumerate(kinds, start=1)
    ]


def _spaces() -> list[dict[str, Any]]:
    return [
        {
            "id": "space0",
            "name": "resnet50_attention",
            "size": 4321987654,
            "parent_id": None,
            "stage": "1-profile",
            "rules": ["at most 3 blocks"],
        },
        {
            "id": "space1",
            "name": "resnet50_attention/3-shrink",
            "size": 71204,
            "parent_id": "space0",
            "stage": "3-shrink",
            "rules": ["at most 3 blocks", "C-NL: positions 6, 8, 14 (of 17)", "no AGW at sites 1-4"],
        },
    ]


def _epochs(results: pd.DataFrame, trainings: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for row in pd.concat([results.head(trainings), results.tail(trainings)]).itertuples():
        for epoch in range(1, int(row.epochs) + 1, 5):
            loss = 0.9 + 5.5 * np.exp(-epoch / 14) + rng.normal(0, 0.03)
            rows.append((row.training_id, row.notation, row.seed, epoch, 3.5e-4, loss, 15.0))
    return pd.DataFrame(rows, columns=["training_id", "notation", "seed", "epoch", "lr", "loss", "seconds"])


def full_study(name: str = "market1501") -> StudyData:
    """A finished study with everything in it: five stages, failures, a missing latency, replicates, rules."""
    build = ResultsBuilder(name)
    for backbone in BASE_MS:
        build.add(
            backbone,
            stage="2-sweep",
            kind="sweep",
            seeds=3,
            role="reference" if backbone == "resnet101" else "baseline",
        )
    for block, site in itertools.product(("cnl", "hac", "agw", "se"), range(1, 18)):
        build.add(f"resnet50+{block}@{site}", stage="2-sweep", kind="sweep", seeds=3)
    for notations in FRESH.values():
        for notation in notations:
            build.add(notation, stage="3-shrink", kind="shrink", role="fresh", sampler="random", seed_from=1000)
    pairs = [(a, b) for a in (4, 6, 8, 12, 14) for b in (8, 14, 17) if a < b]
    for block in ("cnl", "hac", "agw"):
        for a, b in pairs:
            build.add(f"resnet50+{block}@{a},{b}", stage="4-search", kind="search", space_id="space1")
    for text in ("cnl@6,8,14", "hac@6,8,14", "agw@6,8,14", "cnl@8+hac@14", "agw@14+cnl@8", "cnl(fuse=add)@8"):
        build.add(f"resnet50+{text}", stage="4-search", kind="search", space_id="space1")
    build.add(
        "resnet50+agw@1,2,3", stage="4-search", kind="search", map=np.nan, status="failed", failure_kind="out_of_memory"
    )
    build.add("resnet50+se@1,2", stage="4-search", kind="search", map=np.nan, status="failed", failure_kind="diverged")
    missing = dict.fromkeys(("latency_ms", "latency_p5_ms", "latency_p95_ms", "batches_per_s"), np.nan)
    build.add("resnet50+hac@3,17", stage="4-search", kind="search", latency_measured=False, **missing)
    for text in ("", "+cnl@8", "+cnl@8,14", "+cnl@6,8,14", "+hac@8,14", "+hac@6,8,14", "+agw@8,14", "+agw@6,8,14"):
        build.add(f"resnet50{text}", stage="5-confirm", kind="confirm", seeds=3, epochs=120, split="test")
    build.add("resnet101", stage="5-confirm", kind="confirm", seeds=3, epochs=120, split="test", role="reference")
    results = build.table()
    return StudyData(
        name=name,
        definition=DEFINITION | {"name": name},
        results=results,
        latencies=_latencies(),
        spaces=_spaces(),
        findings=_findings(),
        stages=_stages(name),
        environment=ENVIRONMENT,
        epochs=_epochs(results),
        rank_lists={"resnet50+cnl@6,8,14": rank_lists()},
        dataset={
            "name": "market1501",
            "id": "5f0c2ab1",
            "cameras": 6,
            "splits": {
                "train": {"images": 12936, "identities": 751},
                "query": {"images": 3368, "identities": 750},
                "gallery": {"images": 15913, "identities": 751},
            },
        },
    )


def rank_lists(queries: int = 4, ranks: int = 8) -> list[dict[str, Any]]:
    """Rank lists with little drawn figures for images."""
    rng = np.random.default_rng(2)
    rows = []
    for query in range(queries):
        for rank in range(ranks + 1):
            correct = rank == 0 or bool(rng.random() < 0.8 - 0.07 * rank)
            person = query if correct else int(rng.integers(queries, 40))
            rows.append(
                {
                    "query": query,
                    "rank": rank,
                    "identity": person,
                    "camera": int(rng.integers(1, 7)),
                    "correct": correct,
                    "distance": 0.1 + 0.04 * rank,
                    "image": _person_image(person),
                }
            )
    return rows


def _person_image(person: int) -> str:
    hue, legs = (person * 67) % 360, (person * 131) % 360
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg' width='32' height='64'><rect width='32' height='64' fill='#9aa4ae'/>"
        "<circle cx='16' cy='11' r='6' fill='#d9a98a'/>"
        f"<rect x='9' y='18' width='14' height='22' fill='hsl({hue},60%,45%)'/>"
        f"<rect x='10' y='40' width='12' height='22' fill='hsl({legs},40%,30%)'/></svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def empty_study(name: str = "nothing_yet") -> StudyData:
    """A study that was created and has not begun."""
    stages = [stage | {"status": "waiting", "space_id": "space0", "result": None} for stage in _stages(name)]
    return StudyData(name=name, definition=DEFINITION | {"name": name}, stages=stages, spaces=_spaces()[:1])


def hostile_study() -> StudyData:
    """A study whose every text tries to be markup."""
    attack = '<script>alert("x")</script>`|*_'
    study = full_study()
    finding = dict(study.findings[0]) | {"rule": {"own_rule": attack}, "sentence": attack, "reason": attack}
    space = dict(study.spaces[0]) | {"name": attack, "rules": [attack]}
    definition = dict(study.definition) | {"name": attack, "description": attack}
    return replace(
        study,
        name=attack,
        definition=definition,
        findings=[finding],
        spaces=[space],
        environment={"device": attack},
        dataset={"name": attack},
        stages=[dict(study.stages[0]) | {"name": attack}],
    )


def large_results(trainings: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """A results table of that many trainings, two seeds a candidate, made without loops over rows where it counts."""
    rng = np.random.default_rng(seed)
    blocks, build = ("cnl", "hac", "agw", "se", "raga", "abd"), ResultsBuilder(seed=seed)
    for backbone in BASE_MS:
        build.add(backbone, stage="2-sweep", kind="sweep", seeds=2)
    seen: set[str] = set()
    while len(build.rows) < trainings:
        n = int(rng.integers(1, 4))
        sites = sorted(int(s) for s in rng.choice(np.arange(1, 18), n, replace=False))
        notation = Candidate.make("resnet50", [(s, str(rng.choice(blocks))) for s in sites]).notation
        if notation not in seen:
            seen.add(notation)
            sweep = rng.random() < 0.6
            build.add(notation, stage="2-sweep" if sweep else "4-search", kind="sweep" if sweep else "search", seeds=2)
    return build.table()


def replayed_study(name: str, trainings: int = 10_000) -> StudyData:
    """A finished study that replayed a table of that many trainings: values and costs are all it knows."""
    results = large_results(trainings)
    costs = {"latency_ms": dict(zip(results["notation"], results["latency_ms"], strict=True))}
    untold = ["rank1", "minp", "params", "macs", "seconds", "images_per_s"]
    untold += [column for column in results if "latency" in column or column == "batches_per_s"]
    known = {"study": name, "split": "table", "fidelity": "full", "epochs": None}
    kinds = ("sweep", "search")
    definition = {"name": name, "space": DEFINITION["space"], "objective": {"table": f"{name}.csv"}, "seed": 1}
    definition["stages"] = [stage for stage in DEFINITION["stages"] if {*kinds} & {*stage}]
    return StudyData(
        name=name,
        definition=definition
        | {"stages": [stage for stage in DEFINITION["stages"] if {"sweep", "search"} & set(stage)]},
        results=results.assign(**known, **dict.fromkeys(untold, np.nan)),
        spaces=_spaces()[:1],
        stages=[stage | {"space_id": "space0"} for stage in _stages(name) if stage["kind"] in kinds],
        dataset={"name": "table", "spec": {"table": f"{name}.csv", "costs": costs}},
    )


def store_study(repository: Any, study: StudyData) -> int:
    """Writes a fake study into a database as workers would have left it; returns the study's id.

    Rows go straight into the tables where claiming one by one would take minutes (10 000 trainings).
    """
    from sqlalchemy import insert

    from nas.storage.models import Epoch, Latency, StageTraining, Training

    results = study.results
    for space in study.spaces:
        parent = space["parent_id"]
        repository.ensure_space(space["id"], space["name"], space["size"], {}, parent_id=parent, rules=space["rules"])
    environment = repository.ensure_environment(dict(study.environment)) if study.environment else None
    repository.ensure_device("device")
    first_space = study.spaces[0]["id"] if study.spaces else None
    study_id = repository.ensure_study(study.name, dict(study.definition), 1, first_space)
    repository.set_study_latency(study_id, "protocol", "device")
    stage_ids = {}
    for stage in study.stages:
        settings = stage["settings"]
        stage_id = repository.ensure_stage(study_id, stage["position"], stage["name"], stage["kind"], settings)
        repository.set_stage(stage_id, status=stage["status"], space_id=stage["space_id"], result=stage["result"])
        stage_ids[stage["name"]] = stage_id
    if results.empty:
        return study_id
    for dataset_id in ("data", "data-test"):
        counts = study.dataset.get("splits", {})
        spec = study.dataset.get("spec", {})
        repository.ensure_dataset(dataset_id, study.dataset.get("name", "data"), spec, counts)
    candidates = results.drop_duplicates("candidate_id")
    repository.ensure_candidates(
        [
            {
                "id": row.candidate_id,
                "architecture_id": row.architecture_id,
                "notation": row.notation,
                "backbone": row.backbone,
                "n_blocks": int(row.n_blocks),
                "definition": {},
            }
            for row in candidates.itertuples()
        ]
    )
    requests = _stored_trainings(results, environment)
    with repository.database.write() as session:
        from nas.storage.models import RecipeRow

        session.execute(insert(RecipeRow), [{"id": "recipe", "definition": {"loss": "ce"}}])
        session.execute(insert(Training), requests)
        session.execute(insert(StageTraining), _stored_links(results, stage_ids))
        figures = results.drop_duplicates("architecture_id").dropna(subset=["latency_ms"])
        if latencies := _stored_latencies(figures, study.latencies):
            session.execute(insert(Latency), latencies)
        if study.epochs is not None and len(study.epochs):
            session.execute(insert(Epoch), _stored_epochs(study.epochs))
    for architecture, params in candidates[["architecture_id", "params"]].dropna().head(300).itertuples(index=False):
        repository.set_complexity(architecture, int(params), 4_050_000_000)
    for name, stage_id in stage_ids.items():
        findings = [f for f in study.findings if f["evidence"]["stage"] == name]
        if findings:
            repository.store_findings(study_id, stage_id, findings)
    return study_id


def begin_training(repository: Any, study: str, notation: str) -> Any:
    """A worker's doing: one more training of a study's search is asked for and claimed; gives the claim."""
    from nas.storage import TrainingRequest

    candidate = Candidate.parse(notation)
    study_id = repository.study(study).id
    stage = next(stage for stage in repository.stages(study_id) if stage.kind == "search")
    row = {
        "id": candidate.id,
        "architecture_id": candidate.architecture.id,
        "notation": candidate.notation,
        "backbone": candidate.backbone,
        "n_blocks": len(candidate.placements),
        "definition": candidate.to_dict(),
    }
    repository.ensure_candidates([row])
    batch = 1000 + candidate.sites[0]
    wish = TrainingRequest(candidate.id, "recipe", {}, "data", {}, "e60", 1, batch=batch, epochs=60)
    repository.request_trainings(stage.id, [wish])
    repository.register_worker("worker-1", study_id, host="robot")
    claim = repository.claim_training(study_id, "worker-1")
    assert claim is not None
    return claim


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _stored_trainings(results: pd.DataFrame, environment: str | None) -> list[dict[str, Any]]:
    return [
        {
            "id": int(row.training_id),
            "candidate_id": row.candidate_id,
            "recipe_id": "recipe",
            "dataset_id": "data" if row.split == "val" else "data-test",
            "fidelity_label": row.fidelity,
            "seed": int(row.seed),
            "fidelity": {},
            "epochs": None if pd.isna(row.epochs) else int(row.epochs),
            "view": "select" if row.split == "val" else "final",
            "split": row.split,
            "status": row.status,
            "attempts": 1,
            "map": _number(row.map),
            "rank1": _number(row.rank1),
            "minp": _number(row.minp),
            "metrics": {},
            "seconds": _number(row.seconds),
            "images_per_s": _number(row.images_per_s),
            "environment_id": environment,
            "failure_kind": row.failure_kind if isinstance(row.failure_kind, str) else None,
            "failure_reason": "CUDA out of memory" if row.status == "failed" else None,
            "started_at": 1.74e9,
            "finished_at": row.finished_at.timestamp() if row.status in ("finished", "failed") else None,
        }
        for row in results.drop_duplicates("training_id").itertuples()
    ]


def _stored_links(results: pd.DataFrame, stage_ids: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "stage_id": stage_ids[row.stage],
            "training_id": int(row.training_id),
            "role": row.role,
            "sampler": row.sampler,
            "batch": int(row.batch),
            "position": i,
            "sampler_attrs": {},
            "is_open": row.status in ("waiting", "running"),
        }
        for i, row in enumerate(results.itertuples())
    ]


def _stored_latencies(figures: pd.DataFrame, latencies: pd.DataFrame) -> list[dict[str, Any]]:
    shared = {"protocol_id": "protocol", "protocol": {"batch": 16}, "device": "device", "measured": True, "record": {}}
    known = {
        row.notation: {"architecture_id": row.architecture_id, "median_ms": row.latency_ms}
        for row in figures.itertuples()
    }
    for row in latencies.itertuples():
        architecture = Candidate.parse(row.notation).id
        known[row.notation] = {"architecture_id": architecture, "median_ms": row.median_ms}
    rows = {value["architecture_id"]: {"notation": name, **value} for name, value in known.items()}
    return [
        {
            **shared,
            **row,
            "p5_ms": row["median_ms"] * 0.995,
            "p95_ms": row["median_ms"] * 1.01,
            "batches_per_s": 1000 / row["median_ms"],
            "batches": 1000,
            "isolated": True,
        }
        for row in rows.values()
    ]


def _stored_epochs(epochs: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "training_id": int(row.training_id),
            "epoch": int(row.epoch),
            "lr": row.lr,
            "losses": {"total": row.loss},
            "seconds": row.seconds,
            "images": 12936,
        }
        for row in epochs.itertuples()
    ]
