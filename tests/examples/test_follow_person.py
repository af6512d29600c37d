"""The robot's side, run on drawn persons: following one in Python, and two crops compared in C++."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas
from nas.data.images import read_image

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[2] / "examples" / "follow_person"
HEIGHT, WIDTH = 64, 32
PERSONS, FRAMES = 3, 6
TRAINED_ON = {"generated": {"train_identities": 24, "test_identities": 4, "cameras": 2, "images": 4}}
FOLLOWED = {"generated": {"train_identities": 1, "test_identities": 8, "cameras": 2, "images": FRAMES, "seed": 5}}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained network, exported."""
    folder = tmp_path_factory.mktemp("network")
    nas.train("resnet18(width=0.25)", TRAINED_ON, "quickstart", epochs=6, out=folder / "network.pt")
    return nas.export(folder / "network.pt", folder / "network.onnx").path


def crops() -> list[list[np.ndarray]]:
    """Pictures of some persons, by person."""
    found = nas.load_dataset(FOLLOWED)
    by_person: dict[int, list[np.ndarray]] = {}
    for record in [*found.query, *found.gallery]:
        by_person.setdefault(record.identity, []).append(read_image(record, (HEIGHT, WIDTH)))
    return [views for _, views in sorted(by_person.items())][:PERSONS]


def test_one_person_is_followed_through_frames(network: Path, tmp_path: Path) -> None:
    """The same picture of one person among other pictures of others: what is seen does not depend on the network."""
    people, random, places = crops(), np.random.default_rng(3), []
    (tmp_path / "frames").mkdir()
    with (tmp_path / "boxes.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["frame", "left", "top", "right", "bottom"])
        for number in range(FRAMES):
            picture = random.integers(0, 255, (80, 160, 3), dtype=np.uint8)
            order = random.permutation(PERSONS)
            for slot, person in enumerate(order):
                left = 10 + 50 * slot
                picture[8 : 8 + HEIGHT, left : left + WIDTH] = people[person][number if person else 0]
                out.writerow([f"{number:03d}.png", left, 8, left + WIDTH, 8 + HEIGHT])
            places.append(10 + 50 * list(order).index(0))
            Image.fromarray(picture).save(tmp_path / "frames" / f"{number:03d}.png")
        Image.fromarray(picture).save(tmp_path / "frames" / "last.png")  # nobody was detected there
    person = f"{places[0]},8,{places[0] + WIDTH},{8 + HEIGHT}"
    files = (FOLDER / "follow.py", network, tmp_path / "frames", tmp_path / "boxes.csv")
    command = [*map(str, files), "--person", person]
    said = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True).stdout
    *rows, last = csv.DictReader(said.splitlines())
    assert [int(row["left"]) for row in rows] == places
    assert len(set(places)) > 1
    assert all(float(row["similarity"]) == pytest.approx(1, abs=1e-3) for row in rows)
    assert (last["frame"], last["left"]) == ("last.png", "")


def test_the_example_needs_no_torch() -> None:
    code = f"import runpy, sys; runpy.run_path({str(FOLDER / 'follow.py')!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs CMake and a compiler")
def test_two_crops_are_compared_in_cpp(network: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    config = Path(openvino.__file__).parent / "cmake"
    subprocess.run(
        ["cmake", "-S", FOLDER, "-B", tmp_path / "build", f"-DOpenVINO_DIR={config}"], check=True, capture_output=True
    )
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True, capture_output=True)
    (one, two, *_), (other, *_) = crops()[:2]
    for name, picture in (("one", one), ("two", two), ("other", other)):
        Image.fromarray(picture).save(tmp_path / f"{name}.ppm")
    wide = tmp_path / "wide.ppm"
    Image.fromarray(np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)).save(wide)

    def similarity(*names: str) -> subprocess.CompletedProcess[str]:
        crops = [tmp_path / f"{name}.ppm" for name in names]
        return subprocess.run([tmp_path / "build" / "similarity", network, *crops], capture_output=True, text=True)

    found = nas.extract(network.with_suffix(".pt"), [one, two, other])
    assert float(similarity("one", "one").stdout) == pytest.approx(1, abs=1e-4)
    assert float(similarity("one", "two").stdout) == pytest.approx(float(found[0] @ found[1]), abs=1e-3)
    assert float(similarity("one", "other").stdout) == pytest.approx(float(found[0] @ found[2]), abs=1e-3)
    refused = similarity("one", "wide")
    assert (refused.returncode, "is not 32 pixels wide and 64 high" in refused.stderr) == (2, True)
