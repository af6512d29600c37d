"""`nas run`, `nas worker`, `nas status`: launches a study, joins one, tells where it stands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import commands, reporting, search, storage
from nas.cli import campaign as campaigns
from nas.cli.campaign import hours
from nas.cli.common import Json, OneStudy, Profile, Url, duration, emit_json, line, note, note_path, print_table
from nas.commands.terminal import slow_steps
from nas.errors import DataError, NasError, StudyError
from nas.files.yaml_source import FILE_ENDINGS

if TYPE_CHECKING:
    from nas.files.plain import JsonDict
    from nas.reporting import Study, StudyData
    from nas.search.definition import StudyDefinition
    from nas.search.estimate import StudyEstimate
    from nas.storage.standing import StudyStatus


def run(
    study: Annotated[
        list[Path], typer.Argument(metavar="STUDY.yaml...", help="Study file; several, or a campaign's: in order.")
    ],
    db: Url = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes; default: the study's.")] = None,
    profile: Annotated[str | None, typer.Option(help="One of the study's profiles, such as smoke.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print stages, trainings and hours.")] = False,
    report: Annotated[bool, typer.Option(help="Write the report at the end.")] = True,
    on: Annotated[
        str | None, typer.Option(help="Where workers start: local, slurm, ray, ray://HOST:PORT; default: the study's.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Devices that workers here take in turn: cpu, cuda, cuda:1, or cuda:0,cuda:2.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in the background; nas status and nas stop find the study again.")
    ] = False,
    log: Annotated[str, typer.Option(hidden=True)] = "",
    lease: Annotated[
        float, typer.Option(min=1, help="Seconds of silence after which a training is given away.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Launch a study or a campaign of several, or resume where it stopped.

    Example: nas run studies/quickstart.yaml
    """

    def url_of(definition: StudyDefinition) -> str:
        return search.database_url(definition, db)

    def one(definition: StudyDefinition, watch: Callable[[], None] = lambda: None) -> dict[str, Any]:
        where = {"db": url_of(definition), "workers": workers, "on": on, "device": device, "log": log}
        result = _one(definition, report, lease_s=lease, watch=watch, **where)
        if campaign is not None:
            _refuse_fruitless(definition.name, result["trainings"])
        return result

    if detach:
        _detach(db)
        return

    campaign = search.load_campaign(study, profile) if len(study) > 1 or search.is_campaign(study[0]) else None
    if campaign is not None:
        if dry_run:
            campaigns.dry_run(campaign, lambda definition: _estimate(definition, url_of(definition)), json=json)
        else:
            campaigns.run_campaign(campaign, one, url_of, json=json)
        return
    definition = search.load_study(study[0], profile)
    note(f"Study {definition.name!r}: checking space, recipe, data and code.")
    if dry_run:
        _dry_run(definition, url_of(definition), json)
        return
    result = one(definition)
    if json:
        emit_json(result)
    _refuse_fruitless(definition.name, result["trainings"])


def _detach(db: str | None) -> None:
    """The same command in a session of its own; the database's address goes along in its environment."""
    arguments = _without_address([a for a in sys.argv[1:] if a != "--detach"])
    log = (search.log_folder() / f"run-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log").resolve()
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ) if db is None else {**os.environ, "NAS_DATABASE": db}
    command = [sys.executable, "-P", "-m", "nas", *arguments, "--log", str(log)]
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
        )
    note(f"It goes on as process {process.pid} on {socket.gethostname()} and writes to {log}")
    note("`nas status` and `nas stop` find its study from anywhere.")


def _without_address(arguments: list[str]) -> list[str]:
    """The arguments without `--db URL`.

    >>> _without_address(["run", "--db", "u", "s.yaml", "--db=u"])
    ['run', 's.yaml']
    """
    pairs = zip(arguments, ["", *arguments], strict=False)
    return [a for a, before in pairs if "--db" not in (a, before) and not a.startswith("--db=")]


def _one(definition: StudyDefinition, report: bool, **options: Any) -> dict[str, Any]:
    """Runs one study to its end, with the options of `commands.run`, and says what it found."""
    done = commands.run(definition, **options)
    status = done.status()
    result: dict[str, Any] = {key: status[key] for key in ("study", "finished", "trainings")}
    lines, found = _told(done.data())
    for words in lines:
        note(words)
    if report:
        result["report"] = _report(done)
    return {**result, **found}


def _refuse_fruitless(study: str, trainings: dict[str, int]) -> None:
    """A study none of whose trainings gave a result has not done what it was started for."""
    if trainings["failed"] and not trainings["finished"]:
        raise StudyError(
            f"study {study!r} has no result: all of its {trainings['failed']} trainings failed",
            f"`nas status {study}` counts them by kind, the report says why each failed",
        )


def _told(data: StudyData) -> tuple[list[str], JsonDict]:
    """What a study may say so far - answer, limits, rules, the choice for a robot - in lines, and as plain data."""
    limits, findings = reporting.health(data), reporting.finding_table(data.findings).to_dict("records")
    # Rules with their numbers, verdict and why, adopted ones first.
    rules = [{key: row[key] for key in ("sentence", "verdict", "reason")} for row in findings]
    unasked, tested = reporting.not_asked(list(data.stages)), reporting.rule_tests(data)
    choice = reporting.robot_words(data)
    own = reporting.own_answer(data)
    lines = [*own, data.answer.sentence, *(f"Mind: {limit.words}" for limit in limits), *_rule_lines(rules), *unasked]
    lines += [f"Rules elsewhere: {sentence}" for sentence in tested]
    told = {"health": [limit.to_dict() for limit in limits], "rules": rules, "not_asked": unasked, "rule_tests": tested}
    plain: JsonDict = {"own_question": own, "answer": data.answer.to_dict(), **told}
    return [*lines, *([choice] if choice else [])], {**plain, "choice": choice}


def _rule_lines(rules: list[dict[str, str]]) -> list[str]:
    """The adopted rules, the strongest where there are many; of none, how many were looked at."""
    adopted = [f"Rule adopted: {rule['sentence']}" for rule in rules if rule["verdict"] == "adopted"]
    left = len(adopted) - reporting.MOST_RULES
    if adopted or not rules:
        more = [f"{left} more rules adopted: `nas rules show` has all."] if left > 0 else []
        return [*adopted[: reporting.MOST_RULES], *more]
    rest = [f"{count} {verdict}" for verdict, count in Counter(rule["verdict"] for rule in rules).items()]
    return [f"No rule is adopted of {len(rules)} looked at: {', '.join(rest)}."]


def _report(study: Study) -> dict[str, str]:
    note("Writing the report.")
    written = study.report(Path("reports") / study.name)
    note("Report:")
    for path in dict.fromkeys(written.values()):
        note_path(path)
    return {key: str(path) for key, path in written.items()}


def _estimate(definition: StudyDefinition, url: str, *, probe: bool = True) -> StudyEstimate:
    with commands.database_if_there(url) as database:
        device = search.training_device(definition)
        return search.estimate(search.StudyParts(definition, storage.Repository(database), device=device), probe=probe)


def _dry_run(definition: StudyDefinition, url: str, json: bool) -> None:
    # Known before anything is timed; data need not be here to count a set's hours.
    problem, standing = _standing(definition, url)
    with slow_steps(note) as begin:
        begin("estimating how long it takes")
        found = _estimate(definition, url, probe=problem is None or isinstance(problem, DataError))
        with commands.database_if_there(url) as database:
            warnings = [] if problem else search.insertion_warnings(definition, storage.Repository(database))
    if json:
        said = None if problem is None else problem.message
        told = {"problem": said, "standing": standing, "warnings": warnings}
        emit_json({"study": definition.name, **found.to_dict(), **told})
    else:
        _tell_estimate(definition, found)
        if standing is not None:
            note(standing)
        for warning in warnings:
            note(f"Mind: {warning}.")
    if problem is not None:
        raise problem


def _standing(definition: StudyDefinition, url: str) -> tuple[NasError | None, str | None]:
    """What would keep the study from being run here, and what a run would do with the one of its name that is there."""
    try:
        with commands.database_if_there(url) as database, slow_steps(note) as begin:
            search.check_study(definition, storage.Repository(database), fetch=False, begin=begin)
            return None, search.would_do(definition, storage.Repository(database))
    except NasError as error:
        return error, None


def _tell_estimate(definition: StudyDefinition, found: StudyEstimate) -> None:
    rows = [
        (s.name, s.kind, s.preview.trainings or "", s.preview.epochs or "", hours(s.hours), s.preview.note)
        for s in found.stages
    ]
    print_table(("stage", "kind", "trainings", "epochs", "time", "what"), rows, title=f"Study {definition.name}")
    took = "for how long is not known"
    if found.hours is not None:
        shared = "" if found.workers == 1 else f", {hours(found.hours_together)} on the study's {found.workers}"
        took = f"about {hours(found.hours)} on one worker{shared}"
    note(f"Space: {found.space_size:,} candidates. At most {found.trainings} trainings, {took}.")
    speed = "not needed" if found.images_per_s is None else f"{found.images_per_s:.0f} images/s"
    note("Speed: not known." if found.basis == "unknown" else f"Speed: {speed} ({found.basis}).")


def worker(
    study: Annotated[
        list[str] | None, typer.Argument(help="Names of studies in the database, or the file of one.")
    ] = None,
    studies: Annotated[
        list[str] | None, typer.Option(help="Several studies, by their priority: --studies A B C.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All studies of the database, by their priority.")] = False,
    db: Url = None,
    idle: Annotated[
        float | None, typer.Option(min=0, help="End after so many seconds without work; default: when all is done.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of this worker; default: host, process and a random part.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Where it trains: cpu, cuda, cuda:1; default: where the study says.")
    ] = None,
    measures_for: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="This machine is the study's latency device of that name.")
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
    last_words: Annotated[Path | None, typer.Option(hidden=True)] = None,
    lease: Annotated[
        float, typer.Option(min=1, help="Seconds of silence after which a training is given away.")
    ] = 60.0,
) -> None:
    """Join a running study from any machine.

    Example: nas worker market1501 --db postgresql://user@server/nas
    """
    if db is None:
        raise StudyError("nas worker needs the study's database", "give --db URL, or set NAS_DATABASE")
    try:
        names = [*(studies or []), *(study or [])]
        if bool(names) == every:
            raise StudyError("nas worker needs studies", "name them, or give --all for all of the database; not both")
        work = search.joined(
            names,
            db,
            name=name,
            threads=threads,
            device=device,
            parent=parent,
            lease_s=lease,
            idle_s=idle,
            measures_for=measures_for,
        )
        with work as queue:
            done = queue.run()
    except search.FreshProcessNeeded:
        raise typer.Exit(search.RENEW) from None
    except NasError as error:
        if last_words is not None:
            last_words.write_text(dumps({"message": error.message, "hint": error.hint}))
        raise
    note(f"Worker done: {done} trainings.")


def status(study: OneStudy = None, db: Url = None, profile: Profile = None, json: Json = False) -> None:
    """Tell where a study stands, and what it may say so far.

    Example: nas status quickstart
    """
    name, url = search.find_study(study, db, profile)
    if profile is None and study is not None and study.endswith(FILE_ENDINGS):
        own, _ = search.written_study(Path(study), db)
        if own != name:
            note(f"Study {own!r} itself has not run; {name!r} is that of its profile.")
    with storage.open_database(url, create=False, read_only=True) as database:
        stands = storage.Repository(database).status(name)
        if not json:
            _print_status(stands)
        lines, found = _told(reporting.load_study_data(database, name))
    if json:
        emit_json({**stands, **found})
        return
    for words in lines:
        line(f"  {words}")


def _print_status(found: StudyStatus) -> None:
    rows = [
        (
            s["stage"],
            search.stage_state(s, found),
            *(s["trainings"][k] for k in ("finished", "running", "waiting", "failed")),
            "" if not s["seconds"] else duration(s["seconds"]),
        )
        for s in found["stages"]
    ]
    headings = ("stage", "state", "finished", "running", "waiting", "failed", "training time")
    print_table(headings, rows, title=f"Study {found['study']}")
    for row in found["running"]:
        silent = found["now"] - row["heartbeat_at"]
        line(f"  running: {row['notation']} on {row['owner']}, heard {silent:.0f} s ago")
    for owner, doing in found["doing"].items():
        line(f"  {owner}: {doing}")
    for text in search.launch_lines(found):
        line(f"  {text}")
    for kind, count in found["failures"].items():
        line(f"  failed, {kind}: {count}")
    if found["finished"]:
        page = Path("reports") / found["study"] / "report.html"
        report = f"report: {page}" if page.exists() else f"`nas report {found['study']}` writes the report"
        line(f"  finished: {search.trainings_words(found)}; {report}")
    sys.stdout.flush()
