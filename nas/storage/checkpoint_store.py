"""Keeps checkpoints: a local folder, or any fsspec URL that several machines share.

A file appears whole or not at all, is known by its hash, and is checked when it is fetched. Which
checkpoints stay is decided in `nas.storage.collection`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from nas.errors import NasError, StorageError
from nas.files.hashes import sha256_of
from nas.files.places import BUCKETS

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*(/[A-Za-z0-9][A-Za-z0-9._=+-]*)*\Z")
_PARTIAL = ".partial-"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file in the store: its key, size in bytes and time of change (seconds since 1970 UTC)."""

    key: str
    size: int
    changed_at: float


class CheckpointStore:
    """Files by key under one root.

    Args:
        root: a folder (made when needed), or an fsspec URL such as `s3://bucket/nas`.

    Raises:
        StorageError: the URL's file system is not installed.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> here = pathlib.Path(folder.name)
        >>> _ = (here / "a.pt").write_bytes(b"weights")
        >>> store = CheckpointStore(here / "store")
        >>> uri, sha256 = store.put(here / "a.pt", "one.pt")
        >>> store.fetch(uri, here / "b.pt", sha256).read_bytes()
        b'weights'
        >>> folder.cleanup()
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root) if "://" in str(root) else str(Path(root).expanduser().absolute())
        self._fs, self._base = _file_system(self.root)
        self._is_local = _is_local(self.root)
        self._in_bucket = self.root.split("://")[0] in BUCKETS

    def put(self, path: Path, key: str) -> tuple[str, str]:
        """Copies a file into the store; returns its address and hash. An older file of that key is replaced.

        Raises:
            StorageError: the key leaves the store or a store elsewhere cannot be written.
            OSError: no space left, or the file cannot be read; the store is as before.
        """
        target = self._path(key)
        sha256 = sha256_of(path)
        partial = f"{target}{_PARTIAL}{uuid.uuid4().hex}"
        with _reaching(self.root):
            if not self._in_bucket:
                self._fs.makedirs(self._fs._parent(target), exist_ok=True)
            try:
                self._upload(path, partial)
                self._fs.mv(partial, target) if not self._is_local else os.replace(partial, target)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._discard(partial)
                raise
        return self.uri(key), sha256

    def check(self) -> None:
        """Refuses a store elsewhere that cannot be reached, before anything is worked out that should go there.

        Raises:
            StorageError: with the reason of its file system; there is no such bucket.
        """
        if self._is_local:
            return
        bucket = self._base.split("/")[0]
        with _reaching(self.root):
            if self._fs.exists(bucket if self._in_bucket else self._base) or not self._in_bucket:
                return
            try:  # s3fs takes a server that is away, and keys that may not ask for a whole bucket, for no bucket
                self._fs.ls(self._base)
            except FileNotFoundError as error:
                if error.__cause__ is None:  # not the server's word: nothing was put there yet
                    return
                told = f"the checkpoint store {self.root} has no bucket {bucket!r}"
                raise StorageError(told, "make it, or name another") from error

    def fetch(self, uri: str, path: Path, sha256: str | None = None) -> Path:
        """Copies a stored file to `path`, whole or not at all; a `StorageError` where it is not what was stored."""
        partial = path.with_name(f"{path.name}{_PARTIAL}{uuid.uuid4().hex}")
        try:
            self._download(uri, partial)
            if sha256 is not None and sha256_of(partial) != sha256:
                raise StorageError(f"the checkpoint {uri} is damaged (its hash differs)", "it will be trained again")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def exists(self, uri: str) -> bool:
        """Whether a file is there (of this store, or any other address)."""
        fs, path = _file_system(uri)
        with _reaching(uri):
            return bool(fs.exists(path))

    def is_intact(self, uri: str, sha256: str) -> bool:
        """Whether a file is there and has this hash (reads it whole)."""
        fs, path = _file_system(uri)
        try:
            with fs.open(path, "rb") as file:
                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError:
            return False
        return digest.hexdigest() == sha256

    def delete(self, uri: str) -> bool:
        """Removes a file of this store; False when it was not there.

        Raises:
            StorageError: the address is not in this store.
        """
        path = self._path(self.key(uri))
        with _reaching(self.root):
            if not self._fs.exists(path):
                return False
            self._fs.rm_file(path)
        return True

    def files(self) -> list[StoredFile]:
        """All whole files in the store."""
        return [file for file in self._listing() if _PARTIAL not in file.key]

    def sweep_partial(self, older_than_s: float = 86_400.0) -> int:
        """Removes what killed writers left behind; returns how many files."""
        until = time.time() - older_than_s
        left = [file for file in self._listing() if _PARTIAL in file.key and file.changed_at < until]
        for file in left:
            self._discard(f"{self._base}/{file.key}")
        return len(left)

    def uri(self, key: str) -> str:
        """The address of a key."""
        self._path(key)
        return f"{self.root.rstrip('/')}/{key}"

    def key(self, uri: str) -> str:
        """The key of an address; a `StorageError` when it is not in this store."""
        start = self.root.rstrip("/") + "/"
        if not uri.startswith(start):
            raise StorageError(f"{uri} is not in the checkpoint store {self.root}")
        return uri[len(start) :]

    def _path(self, key: str) -> str:
        # A key becomes a path: nothing in it may lead out of the store.
        if not _KEY.match(key):
            raise StorageError(f"{key!r} is not a name for a checkpoint", "letters, digits and . _ - = + only")
        return f"{self._base}/{key}"

    def _upload(self, path: Path, target: str) -> None:
        if not self._is_local:
            self._fs.put_file(str(path), target)
            return
        with path.open("rb") as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
            file.flush()
            os.fsync(file.fileno())

    def _download(self, uri: str, path: Path) -> None:
        fs, source = _file_system(uri)
        try:
            with _reaching(uri, FileNotFoundError):
                fs.get_file(source, str(path))
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise
            raise StorageError(f"the checkpoint {uri} is not there any more") from error

    def _discard(self, path: str) -> None:
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def _listing(self) -> list[StoredFile]:
        self._fs.invalidate_cache()
        with _reaching(self.root):
            found = self._fs.find(self._base, detail=True) if self._fs.exists(self._base) else {}
        start = len(self._base) + 1
        return [StoredFile(path[start:], int(info["size"]), _changed_at(info)) for path, info in sorted(found.items())]

    def __repr__(self) -> str:
        return f"CheckpointStore({self.root!r})"


def _changed_at(info: Mapping[str, object]) -> float:
    """When a file changed; file systems name it differently, and some do not know (then: now)."""
    for name in ("mtime", "LastModified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()


def _is_local(address: str) -> bool:
    return "://" not in address or address.startswith("file://")


@contextlib.contextmanager
def _reaching(address: str, *kept: type[Exception]) -> Iterator[None]:
    """Turns what file systems elsewhere raise, each its own kinds, into one; a folder's errors stay the system's."""
    try:
        yield
    except Exception as error:
        if _is_local(address) or isinstance(error, (NasError, *kept)):
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StorageError(
            f"the checkpoint store {address} cannot be used: {said}",
            "see that it can be reached from here, and that its credentials are in the environment",
        ) from error


def _file_system(url: str) -> tuple[Any, str]:
    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise StorageError(f"the checkpoint store {url.split('://')[0]}:// cannot be used: {error}") from error
    fs.invalidate_cache()  # of listings: other machines write and delete too
    return fs, str(path).rstrip("/")
