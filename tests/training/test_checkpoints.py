"""Checkpoint files: whole or not at all, no code inside, and clear about what is wrong with a bad one."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import IO

import pytest
import torch

from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.files.hashes import sha256_of
from nas.files.whole import HashingWriter
from nas.training.checkpoints import load_checkpoint, network_from_checkpoint, save_checkpoint
from nas.training.recipe import Recipe
from nas.training.run import train

CANDIDATE = "resnet18(width=0.25)+se@3"


@pytest.fixture
def trained(data: PreparedData, recipe: Recipe, tmp_path: Path) -> Path:
    """A checkpoint in the middle of a training."""
    train(CANDIDATE, recipe, data, seed=3, checkpoint=tmp_path / "a.pt", stop_epoch=1)
    return tmp_path / "a.pt"


class FullDisk:
    """A file that takes a number of bytes and then has no space left."""

    def __init__(self, file: IO[bytes], space: int) -> None:
        self.file, self.space = file, space

    def write(self, data: bytes) -> int:
        self.space -= len(data)
        if self.space < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


@pytest.mark.parametrize("space", [0, 100, 50_000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    space: int, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, content = sha256_of(trained), load_checkpoint(trained)
    real = HashingWriter.__init__

    def small(self: HashingWriter, file: IO[bytes]) -> None:
        real(self, FullDisk(file, space))  # type: ignore[arg-type]

    monkeypatch.setattr(HashingWriter, "__init__", small)
    with pytest.raises(TrainingError) as error:
        save_checkpoint(content, trained)
    assert str(trained) in error.value.message
    assert "No space left" in error.value.message
    assert "Free some space" in (error.value.hint or "")
    assert sha256_of(trained) == before
    assert [p.name for p in trained.parent.iterdir()] == ["a.pt"]


def test_the_digest_is_that_of_the_file(trained: Path) -> None:
    digest = save_checkpoint(load_checkpoint(trained), trained.with_name("b.pt"))
    assert digest == sha256_of(trained.with_name("b.pt"))
    load_checkpoint(trained.with_name("b.pt"), sha256=digest)
    with pytest.raises(TrainingError, match="SHA-256 differs"):
        load_checkpoint(trained, sha256="0" * 64)


def test_round_trip(trained: Path) -> None:
    first = load_checkpoint(trained)
    save_checkpoint(first, trained.with_name("b.pt"))
    second = load_checkpoint(trained.with_name("b.pt"))
    assert (first.candidate, first.recipe, first.records) == (second.candidate, second.recipe, second.records)
    assert all(torch.equal(value, second.network[name]) for name, value in first.network.items())
    assert first.versions["torch"] == torch.__version__


class Attack:
    """Pickles to a call that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_opening_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"format": "nas-checkpoint", "network": Attack(mark)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Attack(mark)))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(TrainingError, match=name):
            load_checkpoint(tmp_path / name)
    assert not mark.exists()


def test_bad_files_are_named(trained: Path, tmp_path: Path) -> None:
    whole = trained.read_bytes()
    bad = {
        "empty.pt": b"",
        "text.pt": b"no checkpoint at all",
        "short.pt": whole[: len(whole) // 2],
        "flipped.pt": whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 255]) + whole[len(whole) // 2 + 1 :],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrainingError, match=name):
            load_checkpoint(tmp_path / name)
    with pytest.raises(TrainingError, match=r"there is no checkpoint .*none\.pt"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(TrainingError, match="no checkpoint of this program"):
        load_checkpoint(tmp_path / "other.pt")
    torch.save({"format": "nas-checkpoint", "version": 99}, tmp_path / "newer.pt")
    with pytest.raises(TrainingError, match="version 99"):
        load_checkpoint(tmp_path / "newer.pt")
    content = torch.load(trained, weights_only=True)
    for name in ("candidate", "recipe"):
        for value in ("quickstart", 2, None):
            torch.save({**content, name: value}, tmp_path / "kind.pt")
            with pytest.raises(TrainingError, match=f"damaged checkpoint: {name} is"):
                load_checkpoint(tmp_path / "kind.pt")
    torch.save({"format": "nas-checkpoint", "version": 1}, tmp_path / "hollow.pt")
    with pytest.raises(TrainingError, match="damaged"):
        load_checkpoint(tmp_path / "hollow.pt")


def test_the_network_comes_back(trained: Path, data: PreparedData) -> None:
    network = network_from_checkpoint(trained)
    saved = load_checkpoint(trained).weights
    assert not network.training
    assert str(network.candidate) == CANDIDATE
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
