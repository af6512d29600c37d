"""Disks that fill up in mid-study: one sentence, nothing lost, and the same command goes on when there is space."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_builders import (
    STAND,
    FaultStudy,
    Row,
    after_saves,
    fill_up,
    generate_images,
    small_disk,
    until,
    until_it_stands,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    with small_disk(tmp_path / "disk", 24) as folder:
        if folder is None:
            pytest.skip("a small file system can only be mounted as root")
        yield folder


def end_for_lack_of_space(study: FaultStudy, process: subprocess.Popen[bytes], disk: Path) -> None:
    """Keeps the disk full until the process ends, which it must with a sentence; then makes room."""

    def ended() -> bool:
        fill_up(disk)
        return process.poll() is not None

    until(ended, "the end of the run")
    (disk / "ballast").unlink()
    study.finish(process, 2)
    assert "space" in study.last_error(), study.said()
    assert "Traceback" not in study.said()


def images_and_packs(cache: Path) -> list[Path]:
    """All files of a cache, its locks apart."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_no_space_for_the_sqlite_file(tmp_path: Path, disk: Path, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, f"sqlite:///{disk / 'study.db'}", seconds=0.15, workers=2)
    with study.watched():
        with study.held():
            runner = study.run()
            study.wait_for(3, runner)
            end_for_lack_of_space(study, runner, disk)
        study.finish(study.run())
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


def test_no_space_for_checkpoints(tmp_path: Path, disk: Path, expected_real: list[Row]) -> None:
    study = FaultStudy.real(tmp_path)
    home = {"NAS_HOME": str(disk)}
    with study.watched():
        worker = study.worker(hooks=after_saves(3, STAND), **home)
        until_it_stands(worker)
        fill_up(disk)
        worker.send_signal(signal.SIGCONT)
        end_for_lack_of_space(study, worker, disk)
        study.finish(study.worker(**home))
    counts = study.counts(expected_real)
    assert counts.whole, counts.sentence()


def test_no_space_for_packed_images(tmp_path: Path, disk: Path, expected_real: list[Row]) -> None:
    study = FaultStudy.real(tmp_path)
    generate_images(study, disk)
    before = images_and_packs(disk)
    fill_up(disk)
    end_for_lack_of_space(study, study.worker(NAS_CACHE=str(disk)), disk)
    assert images_and_packs(disk) == before  # nothing half-written stays
    with study.watched():
        study.finish(study.worker(NAS_CACHE=str(disk)))
    counts = study.counts(expected_real)
    assert counts.whole, counts.sentence()
