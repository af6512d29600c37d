"""A reader of one's own: the how-to's module as it stands, by `module:name` and by entry point."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_builders import write_image

from nas.data import ImageRecord, load_dataset, parse_source
from nas.errors import DataError, SpaceError
from nas.spaces import own_code

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-reader.md"
CODE, TOML = (
    re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0] for language in ("python", "toml")
)
NAME = "my_sets:read_depot"


@pytest.fixture
def depot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Four persons before two cameras, and the module beside them."""
    (tmp_path / "my_sets.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for camera in ("cam1", "cam2"):
        for person in range(1, 5):
            write_image(tmp_path / "depot" / camera / f"{person}-1.png")
    sys.modules.pop("my_sets", None)
    own_code._trusted.clear()
    yield tmp_path / "depot"
    sys.modules.pop("my_sets", None)
    own_code._trusted.clear()


def test_by_its_function(depot: Path) -> None:
    own_code.trust([NAME])
    found = load_dataset({NAME: str(depot), "first": "cam2"})
    assert found.name == "depot"
    assert [(r.identity, r.camera) for r in found.train] == [(1, 1), (3, 1), (1, 2), (3, 2)]
    assert found.query == tuple(ImageRecord(depot / "cam2" / f"{p}-1.png", p, 2) for p in (2, 4))
    assert load_dataset(found.spec).id == found.id


def test_on_the_command_line(depot: Path) -> None:
    word = f"{NAME}:{depot},first=cam2"
    assert own_code.named_in([word]) == {NAME}
    assert parse_source(word) == {NAME: str(depot), "first": "cam2"}
    assert parse_source("market1501:data:1") == {"market1501": "data:1"}


def test_data_import_nothing(depot: Path) -> None:
    (depot.parent / "my_sets.py").write_text("raise SystemExit('imported')")
    with pytest.raises(SpaceError, match=f"uses code that was not named here: {NAME}"):
        load_dataset({NAME: str(depot)})


def test_by_entry_point_of_an_installed_package(depot: Path) -> None:
    installed = depot.parent / "my_sets-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-sets\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(TOML.replace('"', "").replace("[project.entry-points.", "["))
    importlib.invalidate_caches()
    assert parse_source(f"depot:{depot}") == {"depot": str(depot)}
    assert len(load_dataset({"depot": str(depot)}).query) == 2


def test_a_reader_that_fails_is_one_sentence(depot: Path) -> None:
    (depot.parent / "my_sets.py").write_text(CODE + "\n\ndef nothing(root):\n    return []\n")
    own_code.trust([NAME, "my_sets:nothing"])
    with pytest.raises(DataError, match=r"reader my_sets:read_depot cannot read .*none: .*No such file"):
        load_dataset({NAME: str(depot.parent / "none")})
    with pytest.raises(DataError, match=r"cannot read .*unexpected keyword argument 'last'"):
        load_dataset({NAME: str(depot), "last": "cam1"})
    with pytest.raises(DataError, match=r"my_sets:nothing must return a nas.data.ReidDataset, not list"):
        load_dataset({"my_sets:nothing": str(depot)})
