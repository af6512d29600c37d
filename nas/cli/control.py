"""`nas stop`, `nas pause`, `nas resume`: what is wished of a study, from any machine that reaches its database."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from nas import search, storage
from nas.cli.common import note
from nas.cli.run import Url

Study = Annotated[str, typer.Argument(help="Name of a study, or its file.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (stop, pause, resume):
        app.command(command.__name__)(command)


def stop(
    study: Study,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for trainings: write checkpoints and give them back.")
    ] = False,
    db: Url = None,
) -> None:
    """End the workers of a study, wherever they run; `nas run` goes on from there.

    Example: nas stop market1501
    """
    running = _wish(study, db, "stop now" if now else "stop")
    when = "within about 20 s" if now else f"after the {running} trainings that run"
    note(f"Study {study!r} stops {when}; run it again to go on.")


def pause(study: Study, db: Url = None) -> None:
    """Begin no more trainings of a study until it is resumed; those that run are finished.

    Example: nas pause market1501
    """
    running = _wish(study, db, "pause")
    note(f"Study {study!r} is paused; {running} trainings are finished first. Go on with `nas resume {study}`.")


def resume(study: Study, db: Url = None) -> None:
    """Let the workers of a paused study go on.

    Example: nas resume market1501
    """
    _wish(study, db, "run")
    note(f"Study {study!r} goes on, where it has workers; `nas run` or `nas worker` starts some.")


def _wish(study: str, db: str | None, wish: str) -> int:
    """Wishes something of a study; returns how many of its trainings run."""
    name, url = search.find_study(study, db or os.environ.get("NAS_DATABASE"))
    with storage.open_database(url, create=False) as database:
        repository = storage.Repository(database)
        found = repository.status(name)
        repository.set_wish(found["study_id"], wish)
        return len(found["running"])
