"""Where a figure was made: read once, and nothing claimed that was not read."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.errors import LatencyError
from nas.latency import LatencyProtocol, environment
from nas.latency.environment import device_name, git_commit, library_versions, read_environment, read_state


@pytest.fixture(autouse=True)
def forget() -> None:
    git_commit.cache_clear()


def test_machine_libraries_and_package_are_named() -> None:
    found: Any = read_environment(LatencyProtocol(), {"engine": "1.2"})
    assert found["libraries"]["engine"] == "1.2"
    assert found["libraries"]["torch"] == torch.__version__.split("+")[0]
    assert found["package"] == nas.__version__
    assert found["cpu"]
    assert found["gpu"] is None


def test_missing_libraries_are_left_out() -> None:
    assert set(library_versions()) <= set(environment.LIBRARIES)


def test_the_device_is_the_processor_with_its_threads() -> None:
    assert device_name(LatencyProtocol(threads=1)).endswith("(1 thread)")
    assert device_name(LatencyProtocol(threads=3)).endswith("(3 threads)")


def test_a_gpu_is_named_by_its_model_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards that are both called `cuda` would be compared."""
    monkeypatch.setattr(environment, "read_clocks", lambda index: None)
    monkeypatch.setattr(environment, "gpu_model", lambda index: "Test GPU")
    assert device_name(LatencyProtocol(device="cuda")) == device_name(LatencyProtocol(device="cuda:0")) == "Test GPU"
    assert read_state(LatencyProtocol(device="cuda:1")) is None
    monkeypatch.setattr(environment, "gpu_model", lambda index: None)
    with pytest.raises(LatencyError, match="the model of cuda:1 cannot be read"):
        device_name(LatencyProtocol(device="cuda:1"))


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nas").mkdir()
    monkeypatch.setattr(nas, "__file__", str(tmp_path / "nas" / "__init__.py"))
    assert git_commit() is None


def test_in_a_checkout_the_commit_is_named_and_changes_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "nas").mkdir()
    (tmp_path / "file").write_text("1")
    git("init")
    git("add", "file")
    git("commit", "-m", "first")
    monkeypatch.setattr(nas, "__file__", str(tmp_path / "nas" / "__init__.py"))
    clean = git_commit()
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "file").write_text("2")
    git_commit.cache_clear()
    assert git_commit() == f"{clean}+"
