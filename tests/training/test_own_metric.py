"""A metric of one's own: the how-to's module as it stands, by `module:function` and by entry point."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.data.prepared import PreparedData
from nas.errors import SpaceError, TrainingError
from nas.spaces import own_code
from nas.training.recipe import Recipe
from nas.training.run import train
from nas.training.scoring import Embeddings, own_metrics

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "own-metric.md"
CODE, TOML = (
    re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[0] for language in ("python", "toml")
)
NAME = "my_metrics:separation"
WRONG = "\n\ndef lost(*given):\n    return float('nan')\n\n\ndef fails(*given):\n    return given[7]\n"
BYTES = "\n\ndef bytes_each(q, *given):\n    return (q @ q.T).element_size()\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_metrics.py").write_text(CODE + WRONG + BYTES)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_metrics", None)
    own_code._trusted.clear()
    yield tmp_path
    sys.modules.pop("my_metrics", None)
    own_code._trusted.clear()


def by_hand(embeddings: Embeddings, data: PreparedData) -> float:
    """The metric in loops."""
    same, others = [], []
    for q, person, camera in zip(embeddings.query, data.query.identities, data.query.cameras, strict=True):
        for g, other, place in zip(embeddings.gallery, data.gallery.identities, data.gallery.cameras, strict=True):
            if camera != place:
                (same if person == other else others).append(float(q @ g))
    return sum(same) / len(same) - sum(others) / len(others)


def test_by_its_function(module: Path, data: PreparedData) -> None:
    embeddings = Embeddings(
        *(torch.nn.functional.normalize(torch.randn(len(s.identities), 8), dim=1) for s in (data.query, data.gallery))
    )
    with pytest.raises(SpaceError, match=f"uses code that was not named here: {NAME}"):
        own_metrics([NAME], embeddings, data)
    own_code.trust([NAME, "my_metrics:lost", "my_metrics:fails", "my_metrics:none", "my_metrics:bytes_each"])
    assert own_metrics([NAME], embeddings, data) == {"separation": pytest.approx(by_hand(embeddings, data), abs=1e-5)}
    with torch.autocast("cpu", torch.bfloat16):  # as in a training with `evaluation_precision: training`
        assert own_metrics(["my_metrics:bytes_each"], embeddings, data) == {"bytes_each": 4}
    with pytest.raises(TrainingError, match="metric my_metrics:lost gave nan, which is no number"):
        own_metrics(["my_metrics:lost"], embeddings, data)
    with pytest.raises(TrainingError, match="metric my_metrics:fails raised IndexError"):
        own_metrics(["my_metrics:fails"], embeddings, data)
    with pytest.raises(SpaceError, match="module 'my_metrics' has no function 'none'"):
        own_metrics(["my_metrics:none"], embeddings, data)


def test_by_entry_point_beside_the_map_of_a_training(module: Path, data: PreparedData, recipe: Recipe) -> None:
    installed = module / "my_metrics-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(TOML.replace('"', "").replace("[project.entry-points.", "["))
    importlib.invalidate_caches()
    found = train("resnet18(width=0.125)", recipe, data, seed=0, metrics=["separation"]).metrics
    assert -2 <= found.own["separation"] <= 2
    assert found.to_dict()["separation"] == found.own["separation"]
