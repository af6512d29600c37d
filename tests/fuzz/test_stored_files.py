"""Hundreds of damaged databases, archives and checkpoints through the commands that open them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from data_builders import write_image
from early_database import ARCHIVE as EARLY_ARCHIVE
from fuzz.harness import Account, Said, emptied, nas, parts
from storage_builders import fill, finish_all, real_row

from nas.storage import Repository, open_database
from nas.storage.archive import DATABASE, export_study
from nas.storage.early_archive import MANIFEST
from nas.training import Recipe

CHUNKS = 4
DATABASES, ARCHIVES, CHECKPOINTS = 80, 64, 80
GARBAGE: tuple[Any, ...] = (
    None,
    "",
    "x",
    -1,
    0,
    2**70,
    1e400,
    float("nan"),
    [],
    {},
    [[]],
    {"a": None},
    True,
    "\0",
    "../../evil",
)


# -- databases


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("database"))


def write_database(folder: Path) -> Path:
    """A database with two studies, in one file."""
    path = folder / "good.db"
    with open_database(f"sqlite:///{path}") as opened:
        repository = Repository(opened)
        recipe = {"recipe_id": Recipe().id, "recipe": Recipe().to_dict()}
        study_id, (stage, *_), ids = fill(repository, 30, stages=("sweep", "search"), row_of=real_row, **recipe)
        finish_all(repository, study_id)
        repository.record_epochs(ids[0], [{"epoch": 1, "lr": 0.1, "losses": {"id": 1.0}}])
        finding = {"rule": {"max_blocks": 2}, "verdict": "adopted", "evidence": {"training_ids": ids[:2], "p": 0.01}}
        repository.store_findings(study_id, stage, [finding])
        fill(repository, 4, study="second")
    _checkpoint_wal(path)
    return path


def _checkpoint_wal(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def damage_database(good: bytes, rng: random.Random) -> bytes:
    data = bytearray(good)
    kind = rng.randrange(8)
    if kind == 0:
        for _ in range(rng.choice((1, 5, 50))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 1:
        place = rng.randrange(len(data) - 512)
        data[place : place + 512] = rng.randbytes(512)
    elif kind == 2:
        data = data[: rng.choice((0, 1, 15, 100, 4096, rng.randrange(len(data))))]
    elif kind == 3:
        place = rng.randrange(len(data) // 4096) * 4096
        data[place : place + 4096] = bytes(4096)
    elif kind == 4:
        for _ in range(3):
            place = data.find(b"{", rng.randrange(len(data)))
            data[max(place, 0)] = ord("?")
    elif kind == 5:
        one, other = (rng.randrange(len(data) // 4096) * 4096 for _ in "ab")
        data[one : one + 4096], data[other : other + 4096] = data[other : other + 4096], data[one : one + 4096]
    elif kind == 6:
        data[rng.randrange(100)] ^= 1 << rng.randrange(8)
    else:
        return rng.choice(
            (rng.randbytes(5_000), b"just text\n", b"PK\x03\x04" + rng.randbytes(100), b"SQLite format 3\0")
        )
    return bytes(data)


def rewrite_database(path: Path, rng: random.Random) -> None:
    """A database that SQLite has nothing against: other versions, tables and rows."""
    connection = sqlite3.connect(path)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'nas%'")
    ]
    table = rng.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    column = rng.choice(columns)
    statement = rng.choice(
        (
            "UPDATE nas_alembic_version SET version_num = '9999'",
            "DELETE FROM nas_alembic_version",
            f"DROP TABLE {table}",
            f"DELETE FROM {table}",
            f"ALTER TABLE {table} RENAME TO other",
            f"ALTER TABLE {table} RENAME COLUMN {column} TO other",
            f"UPDATE {table} SET {column} = 'nonsense'",
            f"UPDATE {table} SET {column} = '{{'",
            f"UPDATE {table} SET {column} = -1",
            f"UPDATE {table} SET {column} = x'ff00'",
        )
    )
    try:
        connection.executescript(f"PRAGMA foreign_keys=OFF; {statement};")
    except sqlite3.Error:
        connection.executescript("DROP TABLE nas_study")
    connection.close()
    _checkpoint_wal(path)


def read_database(path: Path, rng: random.Random) -> Iterator[Said]:
    url = ("--db", path.name)
    yield nas("db", "info", *url)
    yield nas("status", "made_up", *url)
    yield rng.choice(
        (
            lambda: nas("studies", *url),
            lambda: nas("db", "check", *url),
            lambda: nas("report", "made_up", *url, "--out", "report", "--format", "md"),
            lambda: nas("db", "export", "made_up", "out.zip", *url),
            lambda: nas("latency", "show", *url),
            lambda: nas("status", "made_up", "--json", *url),
            lambda: nas("note", "made_up", *url),
            lambda: nas("compare", "made_up", "second", *url),
            lambda: nas("explain", "resnet50+cnl@6", *url),
            lambda: nas("report", "made_up", "second", *url, "--out", "both", "--format", "md"),
        )
    )()
    yield rng.choice(
        (
            lambda: nas("studies", "rename", "made_up", "second", "--yes", *url),
            lambda: nas("studies", "retry", "made_upp", *url),
            lambda: nas("studies", "delete", "made_up", *url),
            lambda: nas("db", "export", "nobody", "out.zip", *url),
            lambda: nas("note", "made_up", "resnet50", "--star", "--tag", "[b]", "--comment", "=1+1", *url),
            lambda: nas("pause", "made_up", *url),
            lambda: nas("resume", "made_up", *url),
            lambda: nas("stop", "made_up", *url),
        )
    )()


@parts(DATABASES, CHUNKS, few=8)  # four commands each
def test_damaged_databases(
    chunk: int, cases: int, database: Path, folder: Path, settle: Callable[[Account], None]
) -> None:
    account = Account("damaged databases")
    try_databases(account, folder, database, cases, 6_000 + chunk)
    settle(account)


def try_databases(account: Account, folder: Path, database: Path, cases: int, seed: int) -> None:
    """Damaged copies of a database."""
    rng = random.Random(seed)
    good = database.read_bytes()
    for number in range(cases):
        path = folder / "bad.db"
        path.write_bytes(good if number % 3 == 0 else damage_database(good, rng))
        if number % 3 == 0:
            rewrite_database(path, rng)
        account.case(f"seed {seed}, number {number}", read_database(path, rng), folder, may_change=True)
        emptied(folder)


# -- archives


@pytest.fixture(scope="module", params=["now", "before the first release"])
def archive(request: pytest.FixtureRequest, database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param != "now":
        return EARLY_ARCHIVE
    return write_archive(tmp_path_factory.mktemp("archive"), database)


def write_archive(folder: Path, database: Path) -> Path:
    """An archive of the database's first study."""
    path = folder / "good.zip"
    with open_database(f"sqlite:///{database}", read_only=True) as opened:
        export_study(Repository(opened), "made_up", path)
    return path


Members = dict[str, bytes]


def damage_archive(good: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        data = bytearray(good)
        kind = rng.randrange(3)
        if kind == 0:
            return bytes(data[: rng.randrange(len(data))])
        if kind == 1:
            return rng.choice(
                (b"", b"PK\x05\x06" + bytes(18), b"no zip", rng.randbytes(3_000), b"PK\x03\x04" + good[:200])
            )
        for _ in range(rng.choice((1, 5, 50))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if MANIFEST not in members:
        return _with_damaged_rows(members, rng)
    manifest = json.loads(members.pop(MANIFEST))
    rng.choice(ARCHIVE_DAMAGES)(members, manifest, rng)
    if rng.random() < 0.8 and isinstance(manifest.get("members"), dict):  # made to fit, as an attacker would
        facts = {n: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in members.items()}
        manifest["members"] = {n: {**(manifest["members"].get(n) or {}), **f} for n, f in facts.items()}
    return _zipped(members, manifest)


def _with_damaged_rows(members: Members, rng: random.Random) -> bytes:
    """An archive whose database is whole, but says something else."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(members[DATABASE])
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = rng.choice([name for name in names if connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]])
        column = rng.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
        value = rng.choice([None, "", "x", -1, 0, 2**62, 1e400, "[]", "{}", "../../evil", b"\xff", "\x1b[31m"])
        connection.execute("PRAGMA ignore_check_constraints=ON")
        with suppress(sqlite3.IntegrityError):
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})", (value,)
            )
        if rng.random() < 0.3:
            connection.execute(
                rng.choice(("CREATE VIEW evil AS SELECT 1", "DROP TABLE nas_epoch", "CREATE TABLE evil (x)"))
            )
        connection.commit()
        members[DATABASE] = connection.serialize()
    if rng.random() < 0.2:
        members[rng.choice(("../../evil.txt", "/tmp/evil.txt", "checkpoints/../../evil.pt", "a\0b"))] = b"x"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _zipped(members: Members, manifest: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(MANIFEST, json.dumps(manifest))
    return file.getvalue()


def _another_member(members: Members, manifest: dict[str, Any], rng: random.Random) -> None:
    names = (
        "../../evil.txt",
        "/tmp/evil.txt",
        "tables/nas_evil.jsonl",
        "checkpoints/../../evil.pt",
        "..\\evil",
        "a\0b",
    )
    members[rng.choice(names)] = rng.choice((b"x", bytes(1_000_000)))


def _lost_member(members: Members, manifest: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice(sorted(members))
    del members[name]
    if rng.random() < 0.7:
        manifest["members"].pop(name, None)


def _other_manifest(members: Members, manifest: dict[str, Any], rng: random.Random) -> None:
    manifest[rng.choice([*manifest, "extra"])] = rng.choice(GARBAGE)


def _other_row(members: Members, manifest: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice([name for name, data in members.items() if data.strip().startswith(b"{")])
    lines = members[name].splitlines()
    place = rng.randrange(len(lines))
    row = json.loads(lines[place])
    row[rng.choice([*row, "extra"])] = rng.choice(GARBAGE)
    lines[place] = json.dumps(row).encode()
    members[name] = b"\n".join(lines) + b"\n"


def _lost_rows(members: Members, manifest: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice(sorted(members))
    lines = members[name].splitlines(keepends=True)
    members[name] = b"".join(rng.choice((lines[1:], lines * 2, [], lines[:-1], [b"[1]\n"], [b"{\n"], [b"\xff\n"])))


ARCHIVE_DAMAGES: tuple[Callable[[Members, dict[str, Any], random.Random], None], ...] = (
    _another_member,
    _lost_member,
    _other_manifest,
    _other_row,
    _other_row,
    _other_row,
    _lost_rows,
)


def read_archive(path: Path) -> Iterator[Said]:
    # Beside the archive lies a database that the first command may fill and the second must leave alone.
    yield nas("db", "import", path.name, "--db", "new.db", "--checkpoints", "store")
    yield nas("db", "import", path.name, "--db", "old.db", "--checkpoints", "store", "--name", "second")


@parts(ARCHIVES, CHUNKS)
def test_damaged_archives(
    chunk: int, cases: int, archive: Path, database: Path, folder: Path, settle: Callable[[Account], None]
) -> None:
    account = Account("damaged archives")
    try_archives(account, folder, (archive, database), cases, 7_000 + chunk)
    settle(account)
    assert not list(folder.parent.rglob("*evil*"))
    assert not os.path.exists("/tmp/evil.txt")


def try_archives(account: Account, folder: Path, good_ones: tuple[Path, Path], cases: int, seed: int) -> None:
    """Damaged copies of an archive, into a new database and into one that holds its study."""
    archive, database = good_ones
    rng = random.Random(seed)
    good = archive.read_bytes()
    path = folder / "bad.zip"
    for number in range(cases):
        path.write_bytes(damage_archive(good, rng))
        shutil.copy(database, folder / "old.db")
        account.case(f"seed {seed}, number {number}", read_archive(path), folder, may_change=True)
        emptied(folder)


# -- checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def write_checkpoint(root: Path) -> Path:
    """A checkpoint of a very narrow network after one epoch."""
    data = "generated:train_identities=4,test_identities=2,cameras=2,images=2,height=32,width=16"
    tiny = [
        "--recipe",
        "quickstart",
        "--set",
        "input=[32,16]",
        "--set",
        "identities=2",
        "--set",
        "images=2",
        "--epochs",
        "1",
    ]
    path = root / "good.pt"
    arguments = ["train", "resnet18(width=0.0625)+se@5", "--data", data, *tiny, "--device", "cpu", "--out", str(path)]
    said = nas(*arguments, "--cache", str(root / "cache"))
    assert said.code == 0, said.err
    return path


def damage_checkpoint(good: bytes, rng: random.Random) -> bytes:
    import torch

    kind = rng.randrange(10)
    if kind == 0:
        return good[: rng.randrange(len(good))]
    if kind == 1:
        state = {"weights": torch.zeros(3)}
        return rng.choice(
            (rng.randbytes(2_000), b"", b"text", _pickled(state), _pickled([1]), _pickled(_Evil()), _pickled(5))
        )
    if kind in (2, 3):
        data = bytearray(good)
        for _ in range(rng.choice((1, 5, 50))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    content = torch.load(io.BytesIO(good), weights_only=True)
    box, key = _somewhere(content, rng)
    if kind == 4:
        del box[key]
    elif isinstance(box[key], torch.Tensor):
        box[key] = rng.choice(
            (box[key].new_zeros(3), box[key] * float("nan"), box[key][..., None], None, "x", box[key].bool())
        )
    else:
        box[key] = rng.choice((*GARBAGE, 99, torch.zeros(2), "resnet50+cnl@99"))
    return _pickled(content)


def _somewhere(content: dict[str, Any], rng: random.Random) -> tuple[Any, Any]:
    """A random place: at the top, or up to three levels down."""
    box: Any = content
    key = rng.choice(list(content))
    for _ in range(rng.randrange(4)):
        inner = box[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        box, key = inner, rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
    return box, key


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/evil.txt",)


def _pickled(content: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def read_checkpoint(path: Path, rng: random.Random) -> Iterator[Said]:
    data = ("--data", "nowhere")
    yield nas("extract", path.name, "image.png", "--out", "features.npy", "--device", "cpu")
    yield rng.choice(
        (
            lambda: nas("evaluate", path.name, *data),
            lambda: nas("export", path.name, "--images", "nowhere"),
            lambda: nas("train", "resnet18(width=0.0625)", *data, "--transfer", path.name),
        )
    )()


@parts(CHECKPOINTS, CHUNKS)
def test_damaged_checkpoints(
    chunk: int, cases: int, checkpoint: Path, folder: Path, settle: Callable[[Account], None]
) -> None:
    account = Account("damaged checkpoints")
    try_checkpoints(account, folder, checkpoint, cases, 8_000 + chunk)
    settle(account)
    assert not os.path.exists("/tmp/evil.txt")


def try_checkpoints(account: Account, folder: Path, checkpoint: Path, cases: int, seed: int) -> None:
    """Damaged copies of a checkpoint."""
    rng = random.Random(seed)
    good = checkpoint.read_bytes()
    write_image(folder / "image.png", size=(32, 16))
    for number in range(cases):
        path = folder / "bad.pt"
        path.write_bytes(damage_checkpoint(good, rng))
        account.case(f"seed {seed}, number {number}", read_checkpoint(path, rng), folder, may_change=True)
        for name in ("features.npy", "features.txt"):
            (folder / name).unlink(missing_ok=True)
