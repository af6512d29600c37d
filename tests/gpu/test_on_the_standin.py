"""Runs the tests of `tests/gpu/inside` on the stand-in for CUDA; a file's tests fail as one, with what pytest said."""

from __future__ import annotations

from pathlib import Path

import gpu_standin
import pytest

FILES = sorted((Path(__file__).parent / "inside").glob("*.py"))


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_on_the_standin(file: Path) -> None:
    gpu_standin.inside(file)
