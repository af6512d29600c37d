"""A latency backend of one's own: the how-to's module as it stands, by `module:Class` and by entry point."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nas
from nas.errors import LatencyError
from nas.latency import LatencyProtocol
from nas.latency.backends import get_backend
from nas.spaces import own_code

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-latency-backend.md"
CODE, TOML = (
    re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0] for language in ("python", "toml")
)
NAME = "my_engine:Exported"
SMALL = {"batch": 1, "input": [32, 16], "batches": 2, "threads": 1}


def forget() -> None:
    sys.modules.pop("my_engine", None)
    own_code._trusted.clear()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_engine.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()


def test_it_times_like_a_shipped_one(module: Path) -> None:
    own_code.trust([NAME])
    found = nas.measure("resnet18(width=0.125)+se@3", backend=NAME, **SMALL)
    assert found.median_ms > 0
    assert found.protocol.backend == NAME
    assert LatencyProtocol.from_record(found.protocol.to_dict()).id == found.protocol.id


def test_an_edited_one_gives_other_figures(module: Path) -> None:
    own_code.trust([NAME])
    before = LatencyProtocol(backend=NAME)
    (module / "my_engine.py").write_text(CODE + "# edited\n")
    assert LatencyProtocol(backend=NAME).id != before.id


def test_by_entry_point_of_an_installed_package(module: Path) -> None:
    installed = module / "my_engine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-engine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(TOML.replace('"', "").replace("[project.entry-points.", "["))
    importlib.invalidate_caches()
    assert get_backend("exported").name == "exported"
    with pytest.raises(LatencyError, match="did you mean 'exported'"):
        get_backend("exportet")


def test_what_is_no_backend_is_one_sentence(module: Path) -> None:
    with pytest.raises(LatencyError, match=f"uses code that was not named here: {NAME}"):
        get_backend(NAME)
    own_code.trust(["my_engine:Session", "my_engine:Half"])
    with pytest.raises(LatencyError, match="my_engine:Session cannot be made without arguments"):
        get_backend("my_engine:Session")
    (module / "my_engine.py").write_text("class Half:\n    def open(self): ...\n")
    sys.modules.pop("my_engine", None)
    with pytest.raises(LatencyError, match="my_engine:Half has no unavailable and no versions"):
        get_backend("my_engine:Half")
