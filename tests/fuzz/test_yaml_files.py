"""Thousands of damaged space, study, rules and recipe files through the commands that read them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from data_builders import grid, write_market
from fuzz.harness import Account, Said, nas, parts, stop_before_work
from fuzz.texts import CAMPAIGN_FILE, RECIPE_FILES, RICH_SPACE, RICH_STUDY, RULES_FILE, TIED_SPACE
from fuzz.yaml_mutations import mutated

from nas import training
from nas.data.listing import read_folders
from nas.data.pedestrians.generate import MANIFEST
from nas.data.records import content_id
from nas.project.layout import shipped
from nas.search.definition import merge

CHUNKS = 4
SPACES, STUDIES, RULES, RECIPES = 800, 800, 200, 100

CANDIDATES = (
    "resnet50+cnl@6,8,14",
    "resnet50(width=0.25)+hac@4",
    "resnet18+cnl@5",
    "mobilenet_v3_small",
    "resnet50+cnl@6,8[loss=ce]",
)
TABLE = """candidate,map,latency_ms,params
resnet18+se@3,0.5,9.5,11e6
resnet18+cnl@3,0.6,9.7,11e6
resnet18,0.4,9,11e6
"""

Act = Callable[[Path, random.Random], Iterator[Said]]


def spaces() -> list[str]:
    return [path.read_text() for path in sorted(shipped("search_spaces").glob("*.yaml"))] + [RICH_SPACE, TIED_SPACE] * 2


def studies() -> list[str]:
    """The shipped studies, each of their profiles written out, a study with the keys that they lack, and a campaign."""
    texts = [path.read_text() for path in sorted(shipped("studies").glob("*.yaml"))]
    texts = [text for text in texts if "stages" in yaml.safe_load(text)]  # a campaign's names other files
    data = [yaml.safe_load(text) for text in texts]
    profiles = [merge(study, changes) for study in data for changes in study["profiles"].values()]
    written_out = [yaml.safe_dump({**study, "profiles": {}}, sort_keys=False) for study in profiles]
    return [*texts, *written_out, *[RICH_STUDY, CAMPAIGN_FILE] * 3]


def read_space(path: Path, rng: random.Random) -> Iterator[Said]:
    file = str(path)
    yield rng.choice(
        (
            lambda: nas("space", "validate", file),
            lambda: nas("space", "show", file),
            lambda: nas("space", "show", file, "--json"),
            lambda: nas("space", "size", file),
            lambda: nas("space", "sample", file, "-n", "3"),
            lambda: nas("space", "sample", file, "-n", "2", "--stratified", "--json"),
            lambda: nas("space", "explain", file, rng.choice(CANDIDATES)),
            lambda: nas("space", "validate", file, rng.choice(CANDIDATES)),
            lambda: nas("rules", "check", "rules.yaml", file),
            lambda: nas("rules", "apply", "rules.yaml", file, "--json"),
        )
    )()


def read_study(path: Path, rng: random.Random) -> Iterator[Said]:
    profile = ("--profile", rng.choice(("smoke", "smok", ""))) if rng.random() < 0.3 else ()
    yield nas("run", str(path), *rng.choice(((), ("--dry-run",))), *profile)


def read_rules(path: Path, rng: random.Random) -> Iterator[Said]:
    file = str(path)
    yield nas("rules", "show", file, *rng.choice(((), ("--json",))))
    yield nas("rules", "admits", file, rng.choice(CANDIDATES))
    yield nas("rules", "export", file, "--format", rng.choice(("text", "md", "yaml", "json", "latex")))
    yield nas("rules", "apply", file, rng.choice(("quickstart", "mobilenet_v3", "resnet50_pairs")))


def read_recipe(path: Path, rng: random.Random) -> Iterator[Said]:
    # The recipe is read first; there are no images, so that nothing is ever trained.
    yield nas("train", rng.choice(CANDIDATES[:3]), "--recipe", str(path), "--data", "nowhere")


@pytest.fixture
def cheap_studies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cheap(folder, monkeypatch)


def make_cheap(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """`nas run` ends where it would make its database; speed is not timed, generated images are small and there."""
    stop_before_work(patch)
    images = write_market(
        folder.parent / "generated", grid(range(1, 41), (1, 2)), grid((101, 102), (1,)), grid((101, 102), (2,))
    )
    patch.setattr(training, "probe", lambda *_: training.Speed(100.0, 300.0, 64))
    drawn = read_folders(images, "generated", example="0001_c1s1_000001_00.jpg").packable
    (images / MANIFEST).write_text(content_id(dict(enumerate(drawn)), fresh=True))
    patch.setattr("nas.data.readers.generated.generated_folder", lambda *_: images)
    (folder.parent / "table.csv").write_text(TABLE)
    (folder.parent / "good.yaml").write_text(RICH_STUDY)
    (folder.parent / "other.yaml").write_text(RICH_STUDY.replace("name: rich", "name: other"))
    (folder.parent / "search_spaces").mkdir()
    for path in shipped("search_spaces").glob("*.yaml"):
        shutil.copy(path, folder.parent / "search_spaces")


def damage(account: Account, folder: Path, texts: list[str], act: Act, count: int, seed: int) -> None:
    rng = random.Random(seed)
    (folder / "rules.yaml").write_text(RULES_FILE)
    path = folder / "damaged.yaml"
    for number in range(count):
        path.write_bytes(mutated(rng.choice(texts), rng))
        account.case(f"seed {seed}, number {number}", act(path, rng), folder)


@parts(SPACES, CHUNKS)
def test_damaged_space_files(chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]) -> None:
    account = Account("damaged space files")
    damage(account, folder, spaces(), read_space, cases, 1_000 + chunk)
    settle(account)


@parts(STUDIES, CHUNKS)
@pytest.mark.usefixtures("cheap_studies")
def test_damaged_study_files(chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]) -> None:
    account = Account("damaged study files")
    damage(account, folder, studies(), read_study, cases, 2_000 + chunk)
    settle(account)


@parts(RULES)
def test_damaged_rules_files(chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]) -> None:
    account = Account("damaged rules files")
    damage(account, folder, [RULES_FILE], read_rules, cases, 3_000 + chunk)
    settle(account)


@parts(RECIPES)
def test_damaged_recipe_files(chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]) -> None:
    account = Account("damaged recipe files")
    damage(account, folder, list(RECIPE_FILES), read_recipe, cases, 4_000 + chunk)
    settle(account)


@pytest.mark.slow
def test_the_files_that_are_damaged_are_good_ones(folder: Path, cheap_studies: None) -> None:
    (folder / "rules.yaml").write_text(RULES_FILE)
    for text in spaces():
        (folder / "space.yaml").write_text(text)
        assert nas("space", "validate", "space.yaml").code == 0
    for text in studies():
        (folder / "study.yaml").write_text(text)
        said = nas("run", "study.yaml", "--dry-run")
        # Benchmarks' images are not here; all before them is good.
        assert said.code == 0 or "the folder data/" in said.err, said.err
    assert nas("rules", "check", "rules.yaml", "quickstart").code == 0
    for text in RECIPE_FILES:
        (folder / "recipe.yaml").write_text(text)
        assert "nowhere" in nas("train", "resnet18", "--recipe", "recipe.yaml", "--data", "nowhere").err
