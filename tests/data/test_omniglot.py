"""Omniglot in torchvision's layout, drawn small by the test; and the handwriting that lies beside the project."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from nas.data.load import load_dataset, parse_source
from nas.errors import DataError

HANDWRITING = Path(__file__).resolve().parents[3] / "shared" / "data" / "handwriting"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two alphabets of four and two characters, one of the other part with two, twenty drawers each."""
    number = 0
    for part, alphabet, characters in (
        ("images_background", "Greek", 4),
        ("images_background", "Tifinagh", 2),
        ("images_evaluation", "Tengwar", 2),
    ):
        for character in range(1, characters + 1):
            number += 1
            folder = tmp_path / "omniglot-py" / part / alphabet / f"character{character:02d}"
            folder.mkdir(parents=True)
            for drawer in range(1, 21):
                image = Image.new("1", (105, 105), 1)
                ImageDraw.Draw(image).line((drawer, 5, 10 * number, 100), fill=0, width=3)
                image.save(folder / f"{number:04d}_{drawer:02d}.png")
    return tmp_path


def test_characters_are_identities_and_groups_of_drawers_cameras(root: Path) -> None:
    dataset = load_dataset({"omniglot": str(root)})
    counts = dataset.counts()
    assert (counts["train"].identities, counts["train"].images, counts["train"].cameras) == (4, 80, 4)
    assert (counts["query"].identities, counts["query"].images) == (4, 16)
    assert (counts["gallery"].identities, counts["gallery"].images, counts["gallery"].cameras) == (4, 64, 4)
    assert not {r.identity for r in dataset.train} & {r.identity for r in dataset.query}
    for record in dataset.query:
        right = [g for g in dataset.gallery if g.identity == record.identity and g.camera != record.camera]
        assert len(right) == 12


def test_keys(root: Path) -> None:
    one = load_dataset(
        {"omniglot": str(root / "omniglot-py"), "alphabets": ["Greek"], "cameras": 2, "test_share": 0.25}
    )
    assert {split: (c.identities, c.images, c.cameras) for split, c in one.counts().items()} == {
        "train": (3, 60, 2),
        "query": (1, 2, 2),
        "gallery": (1, 18, 2),
    }
    spec = parse_source(f"omniglot:{root},alphabets=Greek+Tengwar,cameras=5")
    assert load_dataset(spec).counts()["train"].cameras == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alphabets": ["Grek"]}, "unknown alphabet of omniglot 'Grek'; did you mean 'Greek'"),
        ({"cameras": 1}, "cameras is 1, not a number from 2 to 20"),
        ({"cameras": 2.5}, "not a whole number"),
        ({"test_share": "half"}, "test_share is 'half'"),
        ({"alphabet": "Greek"}, "unknown option of omniglot 'alphabet'"),
    ],
)
def test_wrong_keys_are_one_sentence(root: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_dataset({"omniglot": str(root), **options})


def test_a_folder_without_it_and_a_name_without_a_drawer(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no Omniglot"):
        load_dataset({"omniglot": str(tmp_path / "empty")})
    Image.new("1", (5, 5)).save(root / "omniglot-py" / "images_background" / "Greek" / "character01" / "x.png")
    with pytest.raises(DataError, match="does not say its drawer"):
        load_dataset({"omniglot": str(root)})


def test_without_a_network_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.Omniglot.__init__", refuse)
    with pytest.raises(DataError, match="cannot be downloaded: Name or service not known") as caught:
        load_dataset({"omniglot": str(tmp_path), "download": True})
    assert "download=True" in (caught.value.hint or "")


@pytest.mark.skipif(not HANDWRITING.is_dir(), reason="no handwriting beside the project")
def test_the_handwriting_beside_the_project_is_read() -> None:
    counts = load_dataset({"folders": str(HANDWRITING)}).counts()
    assert sum(count.images for count in counts.values()) == 2720
    assert counts["train"].identities + counts["gallery"].identities == 136
