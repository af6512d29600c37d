"""The one way the rest of `nas` reads and writes a database.

`Repository` only joins its parts; each part is one module: studies (with spaces, stages and the
planner's lease), trainings, claims, workers, latencies, jobs for far devices, findings, tables, reads,
status, control, notes. Every method is one transaction that is repeated when the database was busy or away.
"""

from __future__ import annotations

from nas.storage.claims import Claims
from nas.storage.control import Controls
from nas.storage.jobs import LatencyJobs
from nas.storage.latencies import Latencies
from nas.storage.notes import Notes
from nas.storage.reads import Reads
from nas.storage.status import Status
from nas.storage.stored_findings import Findings
from nas.storage.tables import Tables
from nas.storage.trainings import Trainings
from nas.storage.workers import Workers


class Repository(Trainings, Claims, Workers, Latencies, LatencyJobs, Findings, Tables, Status, Controls, Notes, Reads):
    """Everything that is stored of studies; safe to share between threads.

    Example:
        >>> from nas.storage import Repository, open_database
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> repository = Repository(open_database(f"sqlite:///{folder.name}/study.db"))
        >>> study_id = repository.ensure_study("quick", {"seed": 1}, seed=1, space_id=None)
        >>> [study.name for study in repository.studies()]
        ['quick']
        >>> repository.database.close(); folder.cleanup()
    """
