"""What a study found, for people: figures, tables, static reports and the live dashboard.

Everything here draws from one plain value object, `StudyData`; only `loading` knows the database.
Names are imported on first use, so that `import nas.reporting` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.reporting.loading import load_study_data
    from nas.reporting.notebook import Study
    from nas.reporting.report import write_report
    from nas.reporting.study_data import StudyData

_HOMES = {
    "Study": "nas.reporting.notebook",
    "StudyData": "nas.reporting.study_data",
    "load_study_data": "nas.reporting.loading",
    "write_report": "nas.reporting.report",
}

__all__ = ["Study", "StudyData", "load_study_data", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
