"""Files whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from nas.errors import DataError
from nas.files import whole
from nas.files.hashes import sha256_of
from nas.files.whole import remove_stale_partials, write_atomically, write_text


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, lambda file: file.write(b"old"))

    def slow(file: whole.HashingWriter) -> None:
        file.write(b"ne")
        assert path.read_bytes() == b"old"
        file.write(b"w")

    write_atomically(path, slow)
    assert path.read_bytes() == b"new"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "a.pt", lambda file: file.write(b""), DataError)


def test_what_killed_writers_left_is_removed_later(tmp_path: Path) -> None:
    old, new, foreign = (tmp_path / name for name in (".a.pt.x1.partial", ".a.pt.x2.partial", ".b.pt.x3.partial"))
    for path in (old, new, foreign):
        path.write_bytes(b"")
    long_ago = time.time() - 2 * whole.STALE_AFTER_S
    for path in (old, foreign):
        os.utime(path, (long_ago, long_ago))
    remove_stale_partials(tmp_path / "a.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [new.name, foreign.name]


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    digest = write_atomically(tmp_path / "below" / "a", lambda file: (file.write(b"one"), file.write(b"two")))
    assert digest == hashlib.sha256(b"onetwo").hexdigest() == sha256_of(tmp_path / "below" / "a")


def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    made = write_text(tmp_path / "made", "text")
    assert made.read_text() == "text"
    assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(_file: whole.HashingWriter) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_atomically(tmp_path / "a", fail)
    assert list(tmp_path.iterdir()) == []
