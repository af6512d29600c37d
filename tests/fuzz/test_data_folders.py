"""A thousand damaged image sets, some of each reader, through the commands that read images."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from data_builders import grid, write_csv, write_cuhk03, write_duke, write_market, write_msmt17
from fuzz.folder_mutations import damaged
from fuzz.harness import Account, Said, nas, parts

CHUNKS = 5
FOLDERS = 400


def _csv(folder: Path) -> Path:
    folder.mkdir()
    splits = ["train"] * 8 + ["query"] * 4 + ["gallery"] * 4
    # Persons 1 to 4 to learn, 5 to 8 to find; each once in camera 1 and once in camera 2.
    rows = [(f"{n}.png", 1 + n % 4 + 4 * (n > 7), 1 + n // 4 % 2, split) for n, split in enumerate(splits)]
    return write_csv(folder / "own.csv", rows)


def _market(folder: Path) -> Path:
    return write_market(folder, grid((1, 2, 5, 7), (1, 2), 2))


# Name of the reader -> (writes a good set, what the command line is given of its folder).
SETS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "market1501": (_market, "market1501:{}"),
    "duke": (write_duke, "duke:{}"),
    "cuhk03": (write_cuhk03, "cuhk03:{},variant=detected"),
    "msmt17": (write_msmt17, "msmt17:{}"),
    "folders": (_market, "folders:{}"),
    "csv": (_csv, "csv:{}/own.csv"),
    "guessed": (_market, "{}"),
}
STUDY = """
name: damaged
space: {{name: s, backbones: {{resnet50: {{width: 0.125}}}}, blocks: [se], sites: [8], rules: [{{max_blocks: 1}}]}}
data: {{{name}: {path}}}
recipe: {{extends: quickstart, epochs: 1, identities: 2}}
latency: {{input: [64, 32]}}
stages: [{{sweep: {{candidates: 1}}}}]
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("good"))


def write_sets(root: Path) -> Path:
    """One good set of each kind."""
    for name, (write, _) in SETS.items():
        write(root / name)
    return root


def look(name: str, source: str, study: Path, rng: random.Random) -> Iterator[Said]:
    yield nas("data", "check", source, *rng.choice(((), ("--json",), ("--no-decode",))))
    yield nas("data", "info", source, *rng.choice(((), ("--json",))))
    yield nas("data", "pack", source, "--size", "16x8")
    if name != "guessed":
        yield nas("run", str(study))


@parts(FOLDERS, CHUNKS)
@pytest.mark.usefixtures("stops_before_work")
def test_damaged_image_folders(
    chunk: int, cases: int, good: Path, folder: Path, settle: Callable[[Account], None]
) -> None:
    account = Account("damaged image folders")
    try_folders(account, folder, good, cases, 5_000 + chunk)
    settle(account)


def try_folders(account: Account, folder: Path, good: Path, cases: int, seed: int) -> None:
    """Damaged copies of the good sets."""
    rng = random.Random(seed)
    for number in range(cases):
        name = list(SETS)[number % len(SETS)]
        root, study = folder / f"{number}", folder / "study.yaml"
        shutil.copytree(good / name, root)
        damaged(root, rng)
        study.write_text(STUDY.format(name=name, path=f"{root}/own.csv" if name == "csv" else root))
        source = SETS[name][1].format(root)
        account.case(f"seed {seed}, number {number}, {name}", look(name, source, study, rng), folder)
        shutil.rmtree(root)


@pytest.mark.usefixtures("stops_before_work")
@pytest.mark.parametrize("name", SETS)
def test_the_sets_that_are_damaged_are_good_ones(name: str, good: Path, folder: Path) -> None:
    source = SETS[name][1].format(good / name)
    for command in ("check", "info", "pack"):
        said = nas("data", command, source)
        assert said.code == 0, said
