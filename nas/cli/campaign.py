"""`nas run` of several studies: one after the other under one budget, then one report over all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import reporting, storage
from nas.cli.common import duration, emit_json, note, note_path, print_table
from nas.errors import NasError, StudyError

if TYPE_CHECKING:
    from nas.reporting import StudyData
    from nas.search import Campaign, StudyDefinition
    from nas.search.estimate import StudyEstimate
    from nas.storage import Database

UrlOf = Callable[["StudyDefinition"], str]
RunOne = Callable[["StudyDefinition", Callable[[], None]], dict[str, Any]]


class BudgetSpentError(Exception):
    """The campaign's hours are over."""


def run_campaign(campaign: Campaign, run_one: RunOne, url_of: UrlOf, *, json: bool) -> None:
    """Runs every study to its end, or until the budget is spent; writes the common report either way.

    Args:
        run_one: runs one study; calls what it is given twice a second.

    Raises:
        StudyError: a study cannot go on, or the budget is spent before the last one has ended.
    """
    until = None if campaign.hours is None else time.monotonic() + 3600 * campaign.hours
    done: list[dict[str, Any]] = []
    failure: StudyError | None = None
    for place, definition in enumerate(campaign.studies, 1):
        note(f"Study {place} of {len(campaign.studies)}: {definition.name}{_left(until)}.")
        try:
            done.append(run_one(definition, lambda: _within(until)))
        except BudgetSpentError:
            failure = StudyError(
                f"the campaign's {campaign.hours:g} hours are spent, in study {definition.name!r}",
                "nothing is lost: run the same command to go on where it stopped",
            )
            break
        except StudyError as error:  # later studies may need this one's results
            failure = error
            break
    written = _report(campaign, url_of)
    if json:
        emit_json({"campaign": campaign.name, "studies": done, "report": written})
    if failure is not None:
        raise failure


def _within(until: float | None) -> None:
    if until is not None and time.monotonic() > until:
        raise BudgetSpentError


def _left(until: float | None) -> str:
    return "" if until is None else f", {duration(max(0.0, until - time.monotonic()))} of the budget left"


def _report(campaign: Campaign, url_of: UrlOf) -> dict[str, str]:
    studies = load_studies([(study.name, url_of(study)) for study in campaign.studies], missing=False)
    if len(studies) < 2:
        return {}
    folder = Path("reports") / campaign.name
    note("Writing the report over all studies.")
    written = reporting.write_combined(studies, folder, campaign.title, campaign.question)
    note("Report over all studies:")
    for path in written.values():
        note_path(path)
    return {key: str(path) for key, path in written.items()}


def load_studies(named: list[tuple[str, str]], *, missing: bool = True) -> list[StudyData]:
    """The studies that are in their databases, in order; those that have not begun are left out and said.

    Args:
        named: names and databases.
        missing: a database that is not there is an error; else its studies have not begun.
    """
    found = []
    with ExitStack() as opened:
        bases: dict[str, Database | None] = {}
        for name, url in named:
            if url not in bases:
                try:
                    bases[url] = opened.enter_context(storage.open_database(url, create=False, read_only=True))
                except NasError:
                    if missing:
                        raise
                    bases[url] = None
            base = bases[url]
            if base is not None and name in {study.name for study in storage.Repository(base).studies()}:
                found.append(reporting.load_study_data(base, name))
            else:
                note(f"Study {name!r} has not begun, so it is not in the report.")
    return found


def dry_run(campaign: Campaign, estimate: Callable[[StudyDefinition], StudyEstimate], *, json: bool) -> None:
    """What the studies will cost, one line each, and together."""
    found = [(study, estimate(study)) for study in campaign.studies]
    if json:
        emit_json({"campaign": campaign.name, "studies": [{"study": s.name, **e.to_dict()} for s, e in found]})
        return
    rows = [
        (s.name, f"{e.space_size:,}", e.trainings or "", hours(e.hours), hours(e.hours_together), e.basis)
        for s, e in found
    ]
    headings = ("study", "candidates", "trainings", "one worker", "its workers", "speed from")
    print_table(headings, rows, title=f"Campaign {campaign.name}")
    known = [e.hours_together for _, e in found]
    total = None if any(h is None for h in known) else sum(h for h in known if h is not None)
    budget = "" if campaign.hours is None else f", within a budget of {campaign.hours:g} h"
    note(f"{sum(e.trainings for _, e in found)} trainings at most, about {hours(total)}{budget}.")


def hours(number: float | None) -> str:
    """Hours as a person says them."""
    return "?" if number is None else duration(number * 3600)
