"""`nas stop`, `nas pause`, `nas resume`, `nas note`: what is wished and noted of a study, from any machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from nas import search, storage
from nas.cli.common import Json, Profile, Study, Url, emit_json, line, note, print_table
from nas.errors import StudyError


def stop(
    study: Study,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for trainings: write checkpoints and give them back.")
    ] = False,
    db: Url = None,
    profile: Profile = None,
) -> None:
    """End the workers of a study, wherever they run; `nas run` goes on from there.

    Example: nas stop market1501
    """
    study, running = _wish(study, db, profile, "stop now" if now else "stop")
    when = "within about 20 s" if now else f"after {_that_run(running)}" if running else "at once"
    note(f"Study {study!r} stops {when}; run it again to go on.")


def pause(study: Study, db: Url = None, profile: Profile = None) -> None:
    """Begin no more trainings of a study until it is resumed; those that run are finished.

    Example: nas pause market1501
    """
    study, running = _wish(study, db, profile, "pause")
    first = f"; {_that_run(running)} will finish first" if running else ""
    note(f"Study {study!r} is paused{first}. Go on with `nas resume {study}`.")


def resume(study: Study, db: Url = None, profile: Profile = None) -> None:
    """Let the workers of a paused study go on.

    Example: nas resume market1501
    """
    study, _ = _wish(study, db, profile, "run")
    note(f"Study {study!r} goes on, where it has workers; `nas run` or `nas worker` starts some.")


def note_(
    study: Study,
    candidate: Annotated[
        str | None, typer.Argument(help="Its notation, as tables show it; without one all notes are listed.")
    ] = None,
    star: Annotated[bool | None, typer.Option("--star/--no-star", help="Star it, or take the star away.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A word to find it by, several times for several; '' takes them away.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="A comment; '' takes it away.")] = None,
    db: Url = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Star, tag or comment a candidate, or list what is noted; reports, dashboard and Python show it.

    Example: nas note quickstart 'resnet50+cnl@8' --star --comment "for the robot"
    """
    name, url = search.find_study(study, db, profile)
    tags = None if tag is None else [word for word in tag if word]
    changes = any(value is not None for value in (star, tags, comment))
    if candidate is None and changes:
        raise StudyError("which candidate is noted something of?", "give its notation behind the study")
    with storage.open_database(url, create=False, read_only=not changes) as database:
        repository = storage.Repository(database)
        if candidate is not None:
            found = {candidate: repository.note(name, candidate, star=star, tags=tags, comment=comment)}
        else:
            found = repository.named_notes(name)
    if json:
        emit_json([{"candidate": notation, **asdict(noted)} for notation, noted in found.items()])
    elif candidate is not None:
        line(found[candidate].words or "Nothing is noted of it.")
    elif found:
        rows = [(n, "★" if noted.star else "", ", ".join(noted.tags), noted.comment) for n, noted in found.items()]
        print_table(("candidate", "", "tags", "comment"), rows, title=f"Notes of {name}")
    else:
        note(f"Nothing is noted of candidates of {name!r}.")


def _wish(study: str, db: str | None, profile: str | None, wish: str) -> tuple[str, int]:
    """Wishes something of a study; returns its name, and how many of its trainings run."""
    name, url = search.find_study(study, db, profile)
    with storage.open_database(url, create=False) as database:
        repository = storage.Repository(database)
        found = repository.status(name)
        repository.set_wish(found["study_id"], wish)
        return name, len(found["running"])


def _that_run(number: int) -> str:
    """The trainings that run, in words.

    >>> _that_run(1), _that_run(2)
    ('the training that runs', 'the 2 trainings that run')
    """
    return "the training that runs" if number == 1 else f"the {number} trainings that run"
