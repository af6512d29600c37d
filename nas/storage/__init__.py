"""Studies on disk: an SQLite file or a PostgreSQL database with everything a study knows.

`open_database` opens it, `Repository` reads and writes it. This floor knows nothing of torch,
samplers or reports; only `optuna_storage` imports Optuna.
"""

from nas.storage.database import Database, open_database
from nas.storage.records import (
    ClaimedTraining,
    LatencyInfo,
    SpaceInfo,
    StageInfo,
    StudyInfo,
    TrainingOutcome,
    TrainingRequest,
)
from nas.storage.repository import Repository
from nas.storage.urls import masked

__all__ = [
    "ClaimedTraining",
    "Database",
    "LatencyInfo",
    "Repository",
    "SpaceInfo",
    "StageInfo",
    "StudyInfo",
    "TrainingOutcome",
    "TrainingRequest",
    "masked",
    "open_database",
]
