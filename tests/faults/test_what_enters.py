"""What a person names is looked at before memory, time or trainings go: one sentence, exit code 2, nothing changed."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from data_builders import write_image
from fuzz.harness import Said, nas, state
from search_builders import open_study, study_file
from storage_builders import fill, real_row

from nas.errors import StudyError
from nas.files.whole import write_text
from nas.search.checkpoints import CheckpointFiles
from nas.search.context import StudyContext
from nas.search.execution import Execution
from nas.search.stages import HANDLERS
from nas.storage import Repository, open_database
from nas.storage.checkpoint_store import CheckpointStore

STUDY: dict[str, Any] = {
    "name": "entering",
    "space": {"name": "s", "backbones": {"resnet18": {"width": 0.125}}, "blocks": ["se"], "rules": [{"max_blocks": 1}]},
    "recipe": {"extends": "quickstart", "input": [32, 16], "epochs": 1, "identities": 2, "images": 2},
    "latency": {"input": [32, 16], "reference": "resnet34"},
    "cost": "params",
    "device": "cpu",
}
SWEEP = {"sweep": {"candidates": 1}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    monkeypatch.setattr("nas.training.speed.LONG_S", 0.0)  # how exact an estimate is, is asked elsewhere
    return tmp_path


def study(stages: list[Any], **changes: Any) -> str:
    Path("study.yaml").write_text(yaml.safe_dump({**STUDY, "stages": stages, **changes}))
    return "study.yaml"


def write_set(*splits: str, persons: int = 8) -> dict[str, str]:
    """Persons in two cameras, all in the same splits; not equal to the byte."""
    seeds = itertools.count()
    with Path("own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "identity", "camera", "split"))
        for split in splits:
            for person in range(1, persons + 1):
                for camera in (1, 2):
                    name = f"{split}{person}_{camera}.png"
                    write_image(Path(name), seed=next(seeds), size=(32, 16))
                    writer.writerow((name, person, camera, split))
    return {"csv": "own.csv"}


def refused(said: Said, words: str) -> None:
    assert said.code == 2, said
    assert words in " ".join(said.err.split()), said.err
    assert "Traceback" not in said.err


# -- known at the start, said at the start


@pytest.mark.parametrize("dry", [(), pytest.param(("--dry-run",), marks=pytest.mark.slow)])
def test_a_confirmation_without_a_test_split_is_refused_before_the_sweep(folder: Path, dry: tuple[str, ...]) -> None:
    data = write_set("train")
    said = nas("run", study([SWEEP, {"confirm": {"max_candidates": 1}}], data=data), "--db", "new.db", *dry)
    refused(said, "has no query and gallery images to evaluate on")
    assert not Path("new.db").exists()


@pytest.mark.slow
def test_a_dry_run_says_what_would_keep_the_study_from_starting(folder: Path) -> None:
    few = study([SWEEP], data=write_set("train", persons=4), recipe={**STUDY["recipe"], "identities": 16})
    said = nas("run", few, "--dry-run", "--json")
    refused(said, "batches hold 16 identities")
    document = json.loads(said.out)
    assert document["trainings"] == 3  # what was asked for is answered all the same
    assert "16 identities" in document["problem"]
    gone = study([SWEEP], data={"market1501": "nowhere"})
    refused(nas("run", gone, "--dry-run"), "the folder nowhere does not exist")
    weights = study([SWEEP], data=write_set("train"), recipe={**STUDY["recipe"], "weights": "gone.pth"})
    refused(nas("run", weights, "--dry-run"), "no weights file at gone.pth")


def test_a_good_study_passes_the_dry_run(folder: Path) -> None:
    said = nas("run", study([SWEEP], data=write_set("train")), "--dry-run", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["problem"] is None
    assert json.loads(said.out)["warnings"] == []


def test_a_dry_run_warns_of_what_spoils_a_trained_network(folder: Path) -> None:
    space = {**STUDY["space"], "blocks": {"se": {"start": "published"}}}
    said = nas("run", study([SWEEP], data=write_set("train"), space=space, start="plain"), "--dry-run", "--json")
    assert said.code == 0, said.err
    (warning,) = json.loads(said.out)["warnings"]
    assert warning.startswith("se is no identity when it is put in")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "mps", "meta"])
def test_a_device_that_is_not_here_is_refused_before_any_work(folder: Path, device: str) -> None:
    write_set("train", "query", "gallery")
    before = state(folder)
    for command in (
        ("train", "resnet18", "--data", "csv:own.csv"),
        ("evaluate", "gone.pt", "--data", "csv:own.csv"),
        ("extract", "gone.pt", "train1_1.png", "--out", "f.npy"),
    ):
        said = nas(*command, "--device", device)
        assert said.code == 2, said
        assert any(word in said.err for word in (device, "no GPU")), said.err
    assert state(folder) == before


# -- size


@pytest.mark.parametrize(
    ("stages", "changes", "key"),
    [
        ([{"sweep": {"candidates": 10**9}}], {}, "sweep.candidates"),
        ([{"sweep": {"candidates": 1, "seeds": 10**9}}], {}, "sweep.seeds"),
        ([{"search": {"trainings": 10**9}}], {}, "search.trainings"),
        ([{"search": {"trainings": 8, "batch": 10**9}}], {}, "search.batch"),
        ([SWEEP, {"confirm": {"seeds": 10**9}}], {}, "confirm.seeds"),
        ([{"profile": {"multi": 10**9}}], {}, "profile.multi"),
        ([SWEEP], {"latency": {"builds": 10**9}}, "latency.builds"),
        ([SWEEP], {"workers": 10**9}, "workers"),
        ([SWEEP], {"data": {"generated": {"train_identities": 10**9}}}, "train_identities"),
    ],
)
@pytest.mark.slow
def test_numbers_with_too_many_zeros_are_refused(
    folder: Path, stages: list[Any], changes: dict[str, Any], key: str
) -> None:
    refused(nas("run", study(stages, **changes), "--dry-run"), key)


@pytest.mark.slow
def test_an_exhaustive_sweep_of_a_space_without_end_is_refused(folder: Path) -> None:
    space = {"name": "vast", "backbones": ["resnet50"], "blocks": ["se", "cnl"]}
    said = nas("run", study([{"sweep": {"design": "exhaustive"}}], space=space, data=write_set("train")), "--dry-run")
    refused(said, "a stage trains 100,000 at most")


def test_a_packed_table_is_not_unpacked(folder: Path) -> None:
    import gzip

    with gzip.open("table.csv.gz", "wb") as file:
        file.write(b"candidate,map\nresnet18(width=0.125),0.5\n")
    refused(nas("run", study([SWEEP], objective={"table": "table.csv.gz"}), "--dry-run"), "must be unpacked first")


def test_packed_tensors_are_refused(folder: Path) -> None:
    import torch

    torch.save({"conv1.weight": torch.zeros(8, 3, 7, 7)}, "plain.pth")
    with zipfile.ZipFile("plain.pth") as good, zipfile.ZipFile("packed.pth", "w", zipfile.ZIP_DEFLATED) as bad:
        for name in good.namelist():
            bad.writestr(name, good.read(name))
    write_set("train")
    for words in (("--set", "weights=packed.pth"), ("--transfer", "packed.pth"), ("--start", "packed.pth")):
        said = nas("train", "resnet18(width=0.125)", "--data", "csv:own.csv", "--device", "cpu", *words)
        refused(said, "is compressed, which torch never writes")


# -- what is no file of its kind


@pytest.fixture
def pipe(folder: Path) -> str:
    os.mkfifo("pipe")
    return "pipe"


@pytest.mark.parametrize("given", ["pipe", "/dev/zero"])
def test_pipes_and_devices_are_no_inputs(folder: Path, pipe: str, given: str) -> None:
    write_set("train", "query", "gallery")
    tables = (
        ({"space": given}, {"objective": {"table": given}}) if given == pipe else ({"objective": {"table": given}},)
    )
    for changes in tables:
        refused(nas("run", study([SWEEP], **changes), "--dry-run"), "not a regular file")
    for command in (
        ("space", "show", given), ("space", "size", given), ("run", given),
        ("evaluate", given, "--data", "csv:own.csv"),
        ("export", given), ("explain", given), ("extract", given, "train1_1.png", "--out", "f.npy"),
        ("status", "x", "--db", given), ("db", "info", "--db", given), ("db", "import", given),
        ("rules", "show", given),
        ("data", "check", f"csv:{given}"), ("train", "resnet18", "--data", "csv:own.csv", "--recipe", f"{given}.yaml"),
        ("train", "resnet18", "--data", "csv:own.csv", "--start", given),
        ("train", "resnet18", "--data", "csv:own.csv", "--transfer", given),
    ):  # fmt: skip
        said = nas(*command)
        assert said.code == 2, (command, said)
        assert len(said.err) < 600, said.err


def test_a_table_that_is_none_does_not_show_what_it_holds(folder: Path) -> None:
    Path("shadow").write_text("root:$6$secret:19000:0:99999:7:::\nrobot:$6$more:19000::::::\n")
    said = nas("run", study([SWEEP], objective={"table": "shadow"}), "--dry-run")
    assert said.code == 2
    assert "secret" not in said.err


# -- streams


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(folder: Path, closed: str) -> None:
    command = f"exec {sys.executable} -m nas blocks list {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=240)
    assert (done.returncode, "Error" in done.stderr) == (0, False), done.stderr


# -- outputs


def test_rules_replace_no_input_and_nothing_else_unasked(folder: Path) -> None:
    rules = "rules:\n  - max_blocks: 2\n"
    Path("rules.yaml").write_text(rules)
    Path("notes.txt").write_text("mine")
    export = ("rules", "export", "rules.yaml", "--format", "json", "--output")
    for output, force in (("rules.yaml", ()), ("./rules.yaml", ("--force",)), ("notes.txt", ())):
        refused(nas(*export, output, *force), "would be overwritten" if "rules" in output else "exists already")
    refused(nas("rules", "apply", "rules.yaml", "quickstart", "-o", "rules.yaml"), "would be overwritten")
    assert (Path("rules.yaml").read_text(), Path("notes.txt").read_text()) == (rules, "mine")
    assert nas(*export, "notes.txt", "--force").code == 0
    assert "max_blocks" in Path("notes.txt").read_text()


def test_an_archive_replaces_an_archive_and_nothing_else(folder: Path) -> None:
    with open_database("study.db") as database:
        fill(Repository(database), 2, row_of=real_row)
    Path("notes.zip").write_text("mine")
    before = Path("study.db").read_bytes()
    refused(nas("db", "export", "made_up", "study.db", "--db", "study.db"), "would be overwritten")
    refused(nas("db", "export", "made_up", "notes.zip", "--db", "study.db"), "exists already")
    assert (Path("study.db").read_bytes(), Path("notes.zip").read_text()) == (before, "mine")
    assert [nas("db", "export", "made_up", "out.zip", "--db", "study.db").code for _ in "ab"] == [0, 0]


def test_names_that_are_no_text_are_spelt_out(folder: Path) -> None:
    name = os.fsdecode(b"a\xff.png")
    assert write_text(Path("names.csv"), f"path\n{name}\n").read_text() == "path\na\\udcff.png\n"


# -- what changes meanwhile


def test_a_table_that_was_edited_meanwhile_is_another(folder: Path) -> None:
    definition, repository, context = open_study(study_file(folder, [SWEEP]))
    (stage,) = repository.stages(context.study_id)
    HANDLERS["sweep"].advance(context, stage, context.definition.stages[0].settings)
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("0.8", "0.7"))
    fresh = StudyContext(definition, repository, context.study_id, owner="late")
    claim = repository.claim_training(context.study_id, "late")
    assert claim is not None
    with pytest.raises(StudyError, match="holds other values than when"):
        Execution(fresh, CheckpointFiles(CheckpointStore(folder / "store"), folder / "work")).run(claim, lambda: False)
