"""Shared by the tests of `nas.search`: small spaces, tables in place of trainings, studies in a folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

from nas.search.context import StudyContext
from nas.search.definition import StudyDefinition, load_study
from nas.search.runner import register
from nas.spaces import Candidate, DesignSpace
from nas.storage import Repository, open_database

SPACE: dict[str, Any] = {
    "name": "small",
    "backbones": ["resnet50"],
    "blocks": ["cnl", "hac"],
    "rules": [{"max_blocks": 2}, {"min_distance": 2}],
}
GOOD_SITES = (6, 8, 14)


def small_space(**changes: Any) -> DesignSpace:
    """A space of 515 candidates: two blocks at most, two sites apart."""
    return DesignSpace.from_dict({**SPACE, **changes})


def true_map(candidate: Candidate) -> float:
    """The planted quality: three good sites, C-NL a little better than HAC."""
    per_site = sum(0.004 for s in candidate.sites if s in GOOD_SITES)
    return 0.86 + per_site + sum(0.001 for b in candidate.blocks if b == "cnl")


def true_ms(candidate: Candidate) -> float:
    """The planted cost."""
    base = 53.0 if candidate.backbone == "resnet101" else 37.0
    return base + sum(0.5 if b == "cnl" else 1.5 for b in candidate.blocks)


def write_table(path: Path, space: DesignSpace, *, seeds: int = 3, noise: float = 0.001, leave_out: int = 0) -> None:
    """A CSV of all candidates and ResNet-101 with noisy replicates."""
    rng = random.Random(5)
    candidates = [*space.enumerate(), Candidate.parse("resnet101")][leave_out:]
    lines = ["candidate,seed,map,latency_ms"]
    for candidate in candidates:
        for seed in range(seeds):
            value = true_map(candidate) + rng.gauss(0, noise)
            lines.append(f'"{candidate}",{seed},{value:.6f},{true_ms(candidate):.3f}')
    path.write_text("\n".join(lines) + "\n")


def study_file(folder: Path, stages: list[Any], *, seconds: float = 0.0, **changes: Any) -> Path:
    """Writes a study that replays a table, with its space and table beside it."""
    space = small_space()
    (folder / "space.yaml").write_text(space.to_yaml())
    if not (folder / "table.csv").exists():
        write_table(folder / "table.csv", space)
    data = {
        "name": "replayed",
        "space": "space.yaml",
        "objective": {"table": "table.csv", "seconds": seconds},
        "database": f"sqlite:///{folder / 'study.db'}",
        "seed": 3,
        "stages": stages,
        **changes,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def open_study(path: Path, profile: str | None = None) -> tuple[StudyDefinition, Repository, StudyContext]:
    """A registered study of a file: definition, repository and context."""
    definition = load_study(path, profile)
    repository = Repository(open_database(definition.database))
    study_id = register(definition, repository)
    return definition, repository, StudyContext(definition, repository, study_id, owner="test")


def work(context: StudyContext) -> int:
    """Works on a study in this process until it is finished."""
    from nas.search.checkpoints import CheckpointFiles
    from nas.search.worker import Worker
    from nas.storage.checkpoint_store import CheckpointStore

    folder = Path(context.definition.source or ".").parent
    files = CheckpointFiles(CheckpointStore(folder / "checkpoints"), folder / "work")
    return Worker(context, files).run()
