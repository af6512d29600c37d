"""Locks beside files: one holder among threads and processes, and no file of somebody else's choosing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.files.locks import locked

HOLD = """
import sys, pathlib
from nas.files.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_another_process_waits_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "made")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        waited: list[int] = []
        with locked(tmp_path / "made", lambda: (waited.append(1), holder.kill())):
            pass
    assert waited == [1]


def test_a_holder_that_does_not_end_is_waited_for_as_long_as_was_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "made")]
    said = r"another program has held the lock of .*made for 0\.1 s"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NasError, match=said), locked(tmp_path / "made", patience_s=0.1):
            pass
        holder.kill()
    with locked(tmp_path / "made"), pytest.raises(NasError, match=said), locked(tmp_path / "made", patience_s=0.1):
        pass


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = [0], [0]
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(20):
            with locked(tmp_path / "made"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "made.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(NasError, match="cannot be used"), locked(tmp_path / "made"):
        pass
    assert not (tmp_path / "precious").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "made.lock")
    with pytest.raises(NasError, match="it is no file"), locked(tmp_path / "made"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of another user")
def test_a_strangers_lock_in_an_open_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "made.lock").touch()
    os.chown(tmp_path / "made.lock", 12345, 12345)
    with pytest.raises(NasError, match="belongs to another user"), locked(tmp_path / "made"):
        pass
