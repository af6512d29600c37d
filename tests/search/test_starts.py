"""Warm starts: plain networks trained once, controls in every seed, candidates in their identity forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from search_builders import open_study, small_space, study_file, work, write_table
from sqlalchemy import text

from nas import training
from nas.cli.main import main
from nas.errors import NasError, StudyError
from nas.files.hashes import sha256_of
from nas.search.checks import check_study, insertion_warnings
from nas.search.definition import StudyDefinition, load_study
from nas.search.stages.start import plain_scores
from nas.search.starts import PLAIN_SEEDS, Start, control_count, identity_forms, parse_starts, split_start
from nas.spaces import DesignSpace
from nas.storage import Repository
from nas.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

STAGES = [
    {"sweep": {"design": "stratified", "candidates": 16, "seeds": 2}},
    {"shrink": {"families": ["sites"], "confirm": 6}},
    {"search": {"sampler": "random", "trainings": 6, "batch": 3}},
    {"confirm": {"max_candidates": 2, "seeds": 2}},
]
TINY: dict[str, Any] = {
    "name": "tiny",
    "space": {
        "name": "tiny",
        "backbones": {"resnet18": {"width": 0.125}},
        "sites": "3-4",
        "blocks": ["se", "agw"],
        "rules": [{"max_blocks": 1}],
    },
    "data": {"generated": {"train_identities": 8, "test_identities": 4, "images": 2}},
    "recipe": {
        "extends": "quickstart",
        "epochs": 2,
        "input": [32, 16],
        "identities": 4,
        "images": 2,
        "augmentation": {"erasing": 0.0, "pad": 2},
    },
    "latency": {"input": [32, 16], "time_budget_s": 0.01, "reference": "resnet34", "isolated": False},
    "start": "plain",
    "select_on": "test",
    "seed": 5,
    "stages": [{"sweep": {"design": "exhaustive", "seeds": 2, "fidelity": {"epochs": 1}}}],
}


OTHER = {**TINY["space"], "name": "other", "backbones": {"resnet34": {"width": 0.125}}}
TESTED = {"test_rules": {"rules": [{"sites": "3"}], "spaces": [OTHER], "candidates": 2, "fidelity": {"epochs": 1}}}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tiny_study(folder: Path, **changes: Any) -> Path:
    data = {**TINY, "database": f"sqlite:///{folder / 'study.db'}", **changes}
    path = folder / f"{data['name']}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("scratch", (Start(),)),
        ("plain", (Start("plain", 0),)),
        ({"plain": 2}, (Start("plain", 0), Start("plain", 1))),
        (["plain", "a.pt"], (Start("plain", 0), Start("checkpoint", path="a.pt"))),
    ],
)
def test_starts_are_read_as_they_are_written(written: object, meant: tuple[Start, ...]) -> None:
    assert parse_starts(written) == meant


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["scratch", "plain"], "scratch cannot stand beside"),
        ({"plain": 0}, "with a number from 1 to 99"),
        ({"plane": 2}, "several plain networks are written"),
        (["a.pt", "a.pt"], "named twice"),
        ([], "at least one"),
        (3, "a start is scratch, plain"),
    ],
)
def test_what_is_no_start_is_said_in_one_sentence(written: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        parse_starts(written)
    with pytest.raises(StudyError):
        load_study(study_file(tmp_path, STAGES, start=written))


def test_controls_grow_with_the_root_of_the_candidates() -> None:
    assert [control_count(n) for n in (0, 1, 9, 36, 100)] == [2, 2, 3, 6, 10]


def test_plain_networks_are_trained_before_the_first_stage_that_needs_them(tmp_path: Path) -> None:
    study = load_study(tiny_study(tmp_path, select_on="validation", stages=["profile", *STAGES]))
    assert [stage.name for stage in study.named_stages()] == [
        *("profile", "start", "sweep", "shrink", "search", "start-2", "confirm"),
    ]
    first, second = (stage.settings for stage in study.named_stages() if stage.kind == "start")
    assert (first.before, first.view, second.before, second.view) == ("sweep", "select", "confirm", "final")
    assert StudyDefinition.model_validate(study.stored()).named_stages() == study.named_stages()
    apart = [{"sweep": {"candidates": 4}}, {"sweep": {"candidates": 4, "start": "plain"}, "name": "warm"}]
    study = load_study(tiny_study(tmp_path, start="scratch", stages=apart))
    assert [stage.name for stage in study.named_stages()] == ["sweep", "start", "warm"]
    # Rules are tested on other backbones, whose plain networks nothing before has trained.
    study = load_study(tiny_study(tmp_path, stages=[apart[0], TESTED, apart[0]]))
    assert [stage.name for stage in study.named_stages()] == ["start", "sweep", "start-2", "test_rules", "sweep-2"]


def test_under_a_warm_start_blocks_take_their_identity_forms_unless_the_space_says_otherwise() -> None:
    space = identity_forms(
        DesignSpace.from_dict(
            {"name": "s", "backbones": ["resnet50"], "blocks": {"se": {}, "agw": {}, "hac": {"start": "published"}}}
        )
    )
    named = {c.placements[0].block: c.notation for c in space.singles()}
    assert named["se"].startswith("resnet50+se(start=identity)@")
    assert named["agw"].startswith("resnet50+agw@")
    assert named["hac"].startswith("resnet50+hac@")
    assert identity_forms(space).id == space.id


def test_a_block_that_is_no_identity_is_warned_about_and_a_screen_is_no_key(tmp_path: Path) -> None:
    space = {**TINY["space"], "blocks": {"se": {"start": ["published"]}, "agw": {}}}
    (warning,) = insertion_warnings(load_study(tiny_study(tmp_path, space=space)))
    assert warning.startswith("se is no identity when it is put in: it changes the output by up to")
    assert not insertion_warnings(load_study(tiny_study(tmp_path)))
    with pytest.raises(StudyError, match=r"screen"):
        load_study(tiny_study(tmp_path, stages=[{"sweep": {"candidates": 4, "screen": "naswot"}}]))


def replayed(folder: Path, stages: list[Any], **changes: Any) -> Path:
    write_table(folder / "table.csv", identity_forms(small_space()), seeds=6)  # every stage reads seeds of its own
    return study_file(folder, stages, **{"start": "plain", **changes})


def test_a_warm_study_has_controls_in_every_seed_of_every_stage(tmp_path: Path) -> None:
    _, repository, context = open_study(replayed(tmp_path, STAGES))
    work(context)
    assert repository.status("replayed")["finished"]
    results = repository.results("replayed")
    assert not set(results["role"]) & {"baseline", "reference"}
    assert all(start.startswith("plain:") for start in results["start"])
    assert results.groupby("stage")["start"].agg(lambda s: s.map(lambda v: split_start(v)[0]).nunique()).eq(1).all()
    for stage, candidates in (("sweep", 16), ("search", 6), ("confirm", 2)):
        rows = results[results["stage"] == stage]
        controls = rows[rows["role"] == "control"]
        assert set(controls["notation"]) == {"resnet50"}
        assert set(controls["seed"]) == set(rows["seed"])
        assert controls.groupby("seed").size().eq(1).all(), "the table has one a seed: none is invented"
        assert candidates > 1
    chosen = results[results["stage"] != "confirm"]
    assert not set(results[results["stage"] == "confirm"]["seed"]) & set(chosen["seed"])
    swept = results[(results["stage"] == "sweep") & (results["role"] == "candidate")]
    assert swept["notation"].str.contains("start=identity").all()


def test_several_starts_are_dealt_out_to_the_seeds(tmp_path: Path) -> None:
    stages = [{"sweep": {"design": "stratified", "candidates": 6, "seeds": 4}}]
    _, repository, context = open_study(replayed(tmp_path, stages, start={"plain": 2}))
    work(context)
    results = repository.results("replayed")
    starts = results["start"].map(lambda value: split_start(value)[0])
    assert starts.groupby(results["seed"]).nunique().eq(1).all()
    assert starts.nunique() == 2


def left(repository: Repository, row: Any) -> tuple[Checkpoint, str]:
    """The checkpoint that a training left, and the hash of its weights."""
    kept = load_checkpoint(repository.training(int(row["training_id"]))["checkpoint_uri"].removeprefix("file://"))
    return kept, kept.weights_sha256


@pytest.mark.slow
def test_plain_networks_are_trained_once_for_all_seeds_and_studies(tmp_path: Path) -> None:
    path = tiny_study(tmp_path)
    check_study(load_study(path))
    _, repository, context = open_study(path)
    work(context)
    results = repository.results("tiny")
    assert results["status"].eq("finished").all()
    (plain,) = results[results["role"] == "start"].to_dict("records")
    assert (plain["stage"], plain["seed"], plain["start"], plain["epochs"]) == ("start", PLAIN_SEEDS, "scratch", 2)
    assert plain_scores(context) == [
        f"plain ResNet-18 (width=0.125): {plain['map']:.4f} mAP (one seed, no interval; test split, 2 epochs)"
    ]
    swept = results[results["stage"] == "sweep"]
    assert {split_start(start)[0] for start in swept["start"]} == {f"plain:{left(repository, plain)[1][:16]}"}
    assert (swept["role"] == "control").sum() == 2 * control_count(4)
    shorter = [{"sweep": {"candidates": 1, "fidelity": {"epochs": 1}}}]
    _, repository, context = open_study(tiny_study(tmp_path, name="other", seed=8, stages=shorter))
    work(context)
    other = repository.results("other")
    assert other.loc[other["role"] == "start", "training_id"].tolist() == [plain["training_id"]]
    assert set(other["start"]) == set(results["start"])


@pytest.mark.slow
def test_a_checkpoint_is_a_start_by_its_content(tmp_path: Path) -> None:
    _, repository, context = open_study(tiny_study(tmp_path))
    work(context)
    (plain,) = repository.results("tiny").query("role == 'start'").to_dict("records")
    kept, weights = left(repository, plain)
    start = tmp_path / "plain.pt"
    save_checkpoint(replace(kept, records=()), start)  # without its seconds: another file with the same weights
    path = tiny_study(tmp_path, name="from-file", start="plain.pt")
    check_study(load_study(path))
    _, repository, context = open_study(path)
    work(context)
    results = repository.results("from-file")
    assert results["status"].eq("finished").all()
    own, former = f"checkpoint:{weights[:16]}", f"checkpoint:{sha256_of(start)[:16]}"
    assert {split_start(s)[0] for s in results["start"]} == {own}
    first, again = (repository.results(name).set_index(["notation", "seed", "role"]) for name in ("tiny", "from-file"))
    row = ("resnet18(width=0.125)+agw@3", 5, "candidate")
    assert first.loc[[row], "map"].tolist() == again.loc[[row], "map"].tolist()
    with repository.database.engine.begin() as connection:  # as when a start was called by its whole file
        connection.execute(text(f"UPDATE nas_training SET start = replace(start, '{own}', '{former}')"))
    stages = [{"sweep": {**TINY["stages"][0]["sweep"], "seeds": 3}}]
    _, repository, context = open_study(tiny_study(tmp_path, name="from-file", start="plain.pt", stages=stages))
    work(context)
    grown = repository.results("from-file")
    assert len(grown) == 1.5 * len(results)
    assert {split_start(s)[0] for s in grown["start"]} == {former}


@pytest.mark.slow
def test_the_plain_network_that_is_a_start_may_itself_come_from_other_data(tmp_path: Path) -> None:
    """With `transfer` each of its trainings, and the plain network's, was refused."""
    plain = "resnet18(width=0.125)"
    source = {"data": {"generated": {**TINY["data"]["generated"], "seed": 1}}, "candidates": [plain]}
    stages = [{"pretrain": source}, {"sweep": {"candidates": 1, "fidelity": {"epochs": 1}}}]
    recipe = {**TINY["recipe"], "epochs": 1, "transfer": {"from": "pretrained", "head_epochs": 1}}
    path = tiny_study(tmp_path, recipe=recipe, stages=stages)
    check_study(load_study(path))
    _, repository, context = open_study(path)
    work(context)
    results = repository.results("tiny").set_index("role")
    assert results["status"].eq("finished").all()
    assert results["epochs"].to_dict() == {"source": 1, "start": 2, "candidate": 1, "control": 1}
    starts = results.loc[["candidate", "control"], "start"].map(lambda start: split_start(start)[0])
    assert set(starts) == {f"plain:{left(repository, results.loc['start'])[1][:16]}"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": "missing.pt"}, "no such file"),
        ({"start": "damaged.pt"}, "is no checkpoint of this program"),
        ({"recipe": {**TINY["recipe"], "keep": "none"}}, "keeps weights"),
        (
            {"start": "damaged.pt", "recipe": {**TINY["recipe"], "transfer": {"from": "a.pt"}}},
            "both say where a training begins",
        ),
    ],
)
def test_starts_that_cannot_be_are_found_before_anything_trains(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "damaged.pt").write_bytes(b"no checkpoint")
    with pytest.raises(Exception, match=words):
        check_study(load_study(tiny_study(tmp_path, **changes)))


def test_a_checkpoint_must_fit_what_each_stage_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of the persons, another backbone, other persons: trainings would fail, or go on as somebody else's."""
    data = "generated:train_identities=8,test_identities=4,images=2"
    recipe = ["--recipe", "quickstart", "--set", "input=[32,16]", "--set", "identities=4", "--set", "images=2"]
    assert main(["train", "resnet18(width=0.125)", "--data", data, *recipe, "--epochs", "1", "--out", "plain.pt"]) == 0
    (stage,) = TINY["stages"]
    few = [{"sweep": {**stage["sweep"], "fidelity": {"epochs": 1, "identities": 0.5}}}]
    confirmed = [{"confirm": {"front": False, "baselines": ["resnet18(width=0.125)", "resnet34"]}}]
    named = [{"sweep": {**stage["sweep"], "named": ["resnet34(width=0.125)+se@3"]}}]
    others = {"generated": {**TINY["data"]["generated"], "seed": 1}}
    read: list[Any] = []
    load = training.load_checkpoint
    monkeypatch.setattr(training, "load_checkpoint", lambda path: read.append(path) or load(path))  # type: ignore[func-returns-value]
    check_study(load_study(tiny_study(tmp_path, start="plain.pt", stages=[stage, {**stage, "name": "again"}])))
    assert len(read) == 1
    for changes, words in (
        ({"stages": few}, "was trained on 8 identities, but there are 4 here"),
        *(({"stages": stages}, "resnet34.* cannot start from .*plain.pt") for stages in ([TESTED], confirmed, named)),
        ({"data": others}, "was trained on other images than stage 'sweep' trains on"),
    ):
        with pytest.raises(NasError, match=words):
            check_study(load_study(tiny_study(tmp_path, start="plain.pt", **changes)))


def test_a_stage_that_trains_on_fewer_persons_than_a_batch_holds_is_refused(tmp_path: Path) -> None:
    stages = [{"sweep": {"design": "exhaustive", "seeds": 2, "fidelity": {"epochs": 1, "identities": 0.25}}}]
    with pytest.raises(
        StudyError, match="stage 'start': the recipe's batches hold 4 identities, but only 2 are trained"
    ):
        check_study(load_study(tiny_study(tmp_path, stages=stages)))
