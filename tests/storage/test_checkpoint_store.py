"""The checkpoint store: whole or not at all, checked by hash, never outside of its root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto_server import serving

from nas.errors import StorageError
from nas.files.hashes import sha256_of
from nas.storage.checkpoint_store import CheckpointStore


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An address on an S3 server."""
    with pytest.MonkeyPatch.context() as patch:
        yield from serving(patch)


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    if request.param == "s3":
        return CheckpointStore(f"{request.getfixturevalue('s3')}/{tmp_path.name}")
    roots = {"file": f"file://{tmp_path}/store", "memory": f"memory://{tmp_path.name}/store"}
    return CheckpointStore(roots.get(request.param, tmp_path / "store"))


def test_what_another_machine_does_to_a_store_is_seen(s3: str, file: Path, tmp_path: Path) -> None:
    """s3fs remembers listings: a checkpoint that another machine had deleted was still there."""
    store = CheckpointStore(f"{s3}/seen")
    uri, _ = store.put(file, "a.pt")
    assert [found.key for found in store.files()] == ["a.pt"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    client.copy_object(Bucket=bucket, Key=f"{key}.other", CopySource=f"{bucket}/{key}")
    client.delete_object(Bucket=bucket, Key=key)
    assert not store.exists(uri)
    assert [found.key for found in store.files()] == ["a.pt.other"]


def test_a_store_that_cannot_be_used_is_one_sentence(s3: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CheckpointStore(s3).check()
    mistyped = CheckpointStore("s3://nas-tets/nas")
    with pytest.raises(StorageError, match="has no bucket 'nas-tets'"):
        mistyped.check()
    with pytest.raises(StorageError, match="the checkpoint store s3://nas-tets/nas cannot be used"):
        mistyped.put(file, "a.pt")
    with monkeypatch.context() as narrow:  # keys of one folder: 403 for the bucket
        for place in (f"{s3}/nothing/yet", s3):
            limited = CheckpointStore(place)
            narrow.setattr(limited._fs, "exists", lambda path: False)
            limited.check()

            def denied(path: str) -> None:
                raise PermissionError("Access Denied")

            with narrow.context() as nothing:
                nothing.setattr(limited._fs, "ls", denied)
                with pytest.raises(StorageError, match="cannot be used: Access Denied"):
                    limited.check()
    monkeypatch.setattr("nas.storage.checkpoint_store.url_to_fs", _refusing)
    refused = CheckpointStore(s3)
    for call in (refused.check, lambda: refused.put(file, "a.pt"), lambda: refused.exists(refused.uri("a.pt"))):
        with pytest.raises(StorageError, match="cannot be used: Unable to locate credentials"):
            call()


def _refusing(url: str) -> tuple[object, str]:
    class Refusing:
        def __getattr__(self, name: str) -> object:
            def call(*arguments: object, **options: object) -> None:
                if name != "invalidate_cache":
                    raise RuntimeError("Unable to locate credentials")  # botocore's is no OSError either

            return call

    return Refusing(), url.removeprefix("s3://")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_what_goes_in_comes_out(store: CheckpointStore, file: Path, tmp_path: Path) -> None:
    uri, sha256 = store.put(file, "a/b.pt")
    assert sha256 == sha256_of(file)
    assert store.exists(uri)
    assert store.is_intact(uri, sha256)
    assert store.fetch(uri, tmp_path / "copy.pt", sha256).read_bytes() == file.read_bytes()
    assert [(f.key, f.size) for f in store.files()] == [("a/b.pt", 3_000_000)]
    assert store.key(uri) == "a/b.pt"


def test_a_file_is_replaced_as_a_whole(store: CheckpointStore, file: Path, tmp_path: Path) -> None:
    store.put(file, "b.pt")
    file.write_bytes(b"newer")
    uri, sha256 = store.put(file, "b.pt")
    assert store.fetch(uri, tmp_path / "copy.pt", sha256).read_bytes() == b"newer"
    assert len(list(store.files())) == 1


def test_damage_is_noticed(tmp_path: Path, file: Path) -> None:
    store = CheckpointStore(tmp_path / "store")
    uri, sha256 = store.put(file, "b.pt")
    with open(uri, "r+b") as stored:
        stored.seek(1000)
        stored.write(b"\0\0\0\0")
    assert not store.is_intact(uri, sha256)
    with pytest.raises(StorageError, match="damaged"):
        store.fetch(uri, tmp_path / "copy.pt", sha256)
    assert not (tmp_path / "copy.pt").exists()


def test_what_is_gone_is_told(store: CheckpointStore, tmp_path: Path) -> None:
    uri = store.uri("never.pt")
    assert not store.exists(uri)
    assert not store.is_intact(uri, "0" * 64)
    assert not store.delete(uri)
    with pytest.raises(StorageError, match="not there"):
        store.fetch(uri, tmp_path / "copy.pt")


@pytest.mark.parametrize("key", ["../x.pt", "/etc/passwd", "a/../../x", ".hidden", "a//b", "", "a\0b", "a/", "x\n"])
def test_no_key_leads_out_of_the_store(store: CheckpointStore, file: Path, key: str) -> None:
    with pytest.raises(StorageError, match="not a name"):
        store.put(file, key)


def test_only_its_own_files_are_deleted(store: CheckpointStore, file: Path) -> None:
    uri, _ = store.put(file, "b.pt")
    with pytest.raises(StorageError, match="not in the checkpoint store"):
        store.delete(str(file))
    with pytest.raises(StorageError, match="not a name"):
        store.delete(uri + "/../../weights.pt")
    assert store.delete(uri)
    assert file.exists()


def test_a_broken_write_leaves_the_old_file(
    store: CheckpointStore, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, sha256 = store.put(file, "b.pt")
    upload = store._upload

    def no_space(path: Path, target: str) -> None:
        upload(path, target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_upload", no_space)
    file.write_bytes(b"newer")
    with pytest.raises((OSError, StorageError), match="No space"):
        store.put(file, "b.pt")
    assert store.is_intact(uri, sha256)
    assert store.sweep_partial(older_than_s=-1) == 0


def test_leftovers_of_killed_writers_are_swept(tmp_path: Path, file: Path) -> None:
    store = CheckpointStore(tmp_path / "store")
    store.put(file, "b.pt")
    (tmp_path / "store" / "c.pt.partial-0123").write_bytes(b"half")
    assert [f.key for f in store.files()] == ["b.pt"]
    assert store.sweep_partial() == 0
    assert store.sweep_partial(older_than_s=-1) == 1


def test_an_unknown_kind_of_store_is_refused() -> None:
    with pytest.raises(StorageError, match="nowhere://"):
        CheckpointStore("nowhere://bucket")
