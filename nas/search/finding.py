"""Finds studies the way people name them: by file, by name, by database, or not at all.

Where no database is told, those of this folder are looked at: what the study files here (and in `studies/`) name,
with their profiles, and the SQLite files that lie here. A server is asked only where it was told: it may not answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas import storage
from nas.errors import NasError, StudyError, unknown_name
from nas.files.places import DEFAULT_URL
from nas.files.yaml_source import FILE_ENDINGS, load_yaml
from nas.storage.records import StudySummary

STUDY_FOLDERS = (Path(), Path("studies"))
DATABASE_ENDINGS = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True)
class FoundStudy:
    """A study and the database that holds it; `summary` as in `Repository.study_summaries`."""

    name: str
    url: str
    summary: StudySummary


def studies_here(url: str | None = None, unread: list[str] | None = None) -> list[FoundStudy]:
    """The studies of one database, or of all databases of this folder, oldest first in each.

    Args:
        url: the database, where it was told.
        unread: gets a sentence for each database of the folder that cannot be read (of another version, no database).

    Raises:
        StorageError: the database that was told cannot be read.
    """
    if url is not None:
        return _in_database(url)
    found = []
    for known in _databases_here():
        try:
            found += _in_database(known)
        except NasError as error:
            if unread is not None:
                advice = f" ({error.hint})" if error.hint else ""
                unread.append(f"{known.removeprefix('sqlite:///')} was passed over: {error.message}{advice}")
    return found


def find_study(named: str | None, url: str | None = None, profile: str | None = None) -> tuple[str, str]:
    """Name and database of the study that is meant.

    Args:
        named: a study's name, its file (its profiles' studies count as its own), a database, or None for the only one.
        url: the database, where it was told.
        profile: the one of the file's profiles whose study is meant.

    Raises:
        StudyError: none is found, or several are, with their names.
    """
    if profile is not None:
        return _of_profile(named, url, profile)
    if named is not None and named.endswith(FILE_ENDINGS):
        return _of_file(Path(named), url)
    if named is not None and url is None and _is_database(named):
        named, url = None, named
    unread: list[str] = []
    found = studies_here(url, unread)
    if named is None:
        return _only(found, url, unread)
    matches = [study for study in found if study.name == named]
    if not matches:
        where = "this folder" if url is None else "the database"
        hint = "give --db URL, set NAS_DATABASE, or name the study's file"
        if not found:
            raise StudyError(_but(f"{where} holds no study, so none named {named!r}", unread), hint)
        raise StudyError(_but(unknown_name("study", named, {study.name for study in found}), unread), hint)
    if len({study.url for study in matches}) > 1:
        urls = ", ".join(sorted({study.url for study in matches}))
        raise StudyError(f"several databases have a study {named!r}: {urls}", "say which with --db URL")
    return matches[0].name, matches[0].url


def written_study(path: Path, url: str | None = None) -> tuple[str, str]:
    """Name and database that a study's file itself gives, begun or not; its profiles' studies are others.

    Args:
        path: a study file.
        url: the database, where it was told.

    Raises:
        StudyError: it is no study file.
    """
    name, database = _all_written(path)[None]
    return name, url or database


def find_databases(named: str | None, url: str | None = None) -> list[str]:
    """The database of a study (name or file), or the one that is named, or all of this folder, read or not.

    Raises:
        StudyError: no database of the folder has a study.
    """
    if named is not None and _is_database(named):
        return [named]
    if named is not None:
        return [find_study(named, url)[1]]
    if url is not None:
        return [url]
    unread: list[str] = []
    if not studies_here(unread=unread):
        raise StudyError(_but("this folder has no database with a study", unread), "say where with --db URL")
    return _databases_here()


def _of_file(path: Path, url: str | None) -> tuple[str, str]:
    """The study of a file, else the one of its profiles that was run."""
    written = _all_written(path)
    run: dict[tuple[str, str], str | None] = {}  # each study that was run, by the first profile that makes it
    for profile, (name, database) in written.items():
        if any(study.name == name for study in _if_there(url or database)):
            run.setdefault((name, url or database), profile)
    if len(run) > 1 and None not in run.values():
        raise StudyError(
            f"several profiles of {path} were run: {', '.join(map(str, run.values()))}",
            "give --profile, or name the study that you mean, and its database with --db",
        )
    name, database = written[None]
    return next(iter(run), (name, url or database))


def _of_profile(named: str | None, url: str | None, profile: str) -> tuple[str, str]:
    """The study that `nas run FILE --profile NAME` makes."""
    if named is None or not named.endswith(FILE_ENDINGS):
        raise StudyError(f"--profile {profile} is a profile of a study's file", "name the file")
    written = _all_written(Path(named))
    if profile not in written:
        raise StudyError(f"{named}: {unknown_name('profile', profile, [known for known in written if known])}")
    name, database = written[profile]
    return name, url or database


def _but(sentence: str, unread: list[str]) -> str:
    return "; ".join((sentence, *unread))


def _only(found: list[FoundStudy], url: str | None, unread: list[str]) -> tuple[str, str]:
    if len(found) == 1:
        return found[0].name, found[0].url
    if not found:
        where = "this folder has no database with a study" if url is None else "the database holds no study"
        raise StudyError(_but(where, unread), "start one with `nas run STUDY.yaml`, or say where with --db URL")
    names = ", ".join(f"{study.name} ({study.summary['state']})" for study in found)
    raise StudyError(f"there are {len(found)} studies here: {names}", "name one of them")


def _is_database(named: str) -> bool:
    return "://" in named or named.endswith(DATABASE_ENDINGS)


def _databases_here() -> list[str]:
    """Addresses of the databases that study files of this folder name and that lie in it, each once."""
    named = [database for file in _study_files() for _, database in _written_if_readable(file).values()]
    lying = [f"sqlite:///{path}" for ending in DATABASE_ENDINGS for path in sorted(Path().glob(f"*{ending}"))]
    found: dict[str, str] = {}
    for url in (*named, *lying):
        path = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and path.is_file():
            found.setdefault(str(path.resolve()), url)
    return list(found.values())


def _study_files() -> list[Path]:
    return [path for folder in STUDY_FOLDERS for ending in FILE_ENDINGS for path in sorted(folder.glob(f"*{ending}"))]


def _written_if_readable(path: Path) -> dict[str | None, tuple[str, str]]:
    try:
        return _written(path)
    except NasError:
        return {}


def _all_written(path: Path) -> dict[str | None, tuple[str, str]]:
    """As `_written`; one at least."""
    written = _written(path)
    if written:
        return written
    data = load_yaml(path, StudyError).data
    if isinstance(data, dict) and "studies" in data:
        raise StudyError(f"{path} lists studies", "name one of them; `nas run` and `nas report` take the list")
    raise StudyError(f"{path} is no study file: it has no `name`")


def _written(path: Path) -> dict[str | None, tuple[str, str]]:
    """Names and databases of a study file (None) and its profiles, the file's own first; it imports no code."""
    data = load_yaml(path, StudyError).data
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or "studies" in data:
        return {}  # a campaign's file names studies, and is none
    name, database = data["name"], str(data.get("database", DEFAULT_URL))
    profiles = data.get("profiles")
    return {None: (name, database)} | {
        str(profile): (str(changes.get("name", name)), str(changes.get("database", database)))
        for profile, changes in (profiles if isinstance(profiles, dict) else {}).items()
        if isinstance(changes, dict)
    }


def _in_database(url: str) -> list[FoundStudy]:
    with storage.open_database(url, create=False, read_only=True) as database:
        summaries = storage.Repository(database).study_summaries()
    return [FoundStudy(summary["study"], url, summary) for summary in summaries]


def _if_there(url: str) -> list[FoundStudy]:
    try:
        return _in_database(url)
    except NasError:
        return []
