"""The live dashboard: the same figures as the report, drawn from the database while a study runs. Never writes.

`create_app` makes the Dash application; `nas dashboard` serves it on 127.0.0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.reporting.dashboard.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nas.reporting.dashboard.app import create_app

    return create_app
