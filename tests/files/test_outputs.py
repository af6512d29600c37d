"""The guard for outputs: an input is never one, and what exists is replaced only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import NasError
from nas.files.outputs import check_outputs


def test_an_output_that_is_an_input_is_always_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    (tmp_path / "link.pt").symlink_to(tmp_path / "a.pt")
    for name in ("a.pt", "link.pt", "sub/../a.pt"):
        with pytest.raises(NasError, match="read by this command"):
            check_outputs([tmp_path / name], [tmp_path / "a.pt"], force=True)


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="written twice"):
        check_outputs([tmp_path / "a.csv", None, tmp_path / "." / "a.csv"])


def test_what_exists_needs_force_and_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(NasError, match="exists already"):
        check_outputs([tmp_path / "a.txt"])
    check_outputs([tmp_path / "a.txt"], force=True)
    with pytest.raises(NasError, match="is a folder"):
        check_outputs([tmp_path], force=True)
    check_outputs([tmp_path / "new.txt", None], [tmp_path / "a.txt", None])
