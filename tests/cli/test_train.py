"""`nas train`, `nas evaluate`, `nas extract` on a few generated pedestrians."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchreid_models import torchreid_network

from nas.cli.main import main

DATA = "generated:train_identities=6,test_identities=4,cameras=2,images=2,height=32,width=16"
CANDIDATE = "resnet18(width=0.25)+se@5"
TINY = ["--recipe", "quickstart", "--set", "input=[32,16]", "--set", "identities=4", "--set", "images=2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def train_arguments(cache: Path, out: Path, *extra: str, epochs: int = 2, candidate: str = CANDIDATE) -> list[str]:
    common = ["train", candidate, "--data", DATA, *TINY, "--epochs", str(epochs)]
    return [*common, "--cache", str(cache), "--out", str(out), "--device", "cpu", *extra]


@pytest.fixture(scope="module")
def checkpoint(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "a.pt"
    assert main(train_arguments(cache, out)) == 0
    return out


def test_train_prints_one_json_document(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train_arguments(cache, tmp_path / "a.pt", "--json", "--set", "base_lr=2e-3")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["candidate"] == CANDIDATE
    assert document["data"]["judged_on"] == "test split"
    assert document["recipe"]["base_lr"] == 2e-3
    assert [epoch["epoch"] for epoch in document["epochs"]] == [1, 2]
    assert 0 < document["metrics"]["map"] <= 1
    assert document["checkpoint"] == str(tmp_path / "a.pt")
    assert len(document["checkpoint_sha256"]) == 64


def test_train_again_only_scores_again(checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = checkpoint.read_bytes()
    assert main(train_arguments(cache, checkpoint)) == 0
    assert "Judged on the test split:\nmAP" in capsys.readouterr().out
    assert checkpoint.read_bytes() == before


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    arguments = train_arguments(cache, out, "--json", epochs=400)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NAS_CACHE": str(cache)}
    command = [sys.executable, "-m", "nas", *arguments, "--set", "checkpoint_seconds=0"]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, messages = running.communicate(timeout=100)
    assert running.returncode == 130, messages
    assert "Run the same command again to go on." in messages
    assert "Traceback" not in messages
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "resnet50+cnll@6", "--data", DATA], "cnll"),
        (["train", "X@8"], "X@8"),  # without --data, too: the candidate comes first
        (["train", "resnet50", "--data", "nowhere/at/all"], "nowhere/at/all"),
        (["train", "resnet50", "--data", DATA, "--recipe", "stong_baseline"], "strong_baseline"),
        (["train", "resnet50", "--data", DATA, "--set", "base_ln=3"], "base_ln"),
        (["train", "resnet50", "--data", DATA, "--set", "base_lr"], "KEY=VALUE"),
        (["train", "resnet50", "--data", DATA, "--set", "weights=absent.pth"], "absent.pth"),
        (["train", "resnet50", "--data", DATA, "--view", "finale"], "final"),
        (["evaluate", "none.pt", "--data", DATA], "none.pt"),
        (["evaluate", "none.pt", "--data", DATA, "--metric", "map_at_5"], "map_at_5"),
        (["extract", "none.pt", ".", "--out", "a.csv"], ".npy or .parquet"),
        (["extract", "none.pt", "nowhere", "--out", "a.npy"], "nowhere"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    words: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(cache))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_evaluate_tells_the_same_numbers_as_train(
    checkpoint: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(train_arguments(cache, checkpoint, "--json"))
    trained = json.loads(capsys.readouterr().out)["metrics"]
    files = {name: tmp_path / name for name in ("queries.csv", "lists.png", "histogram.csv")}
    arguments = ["evaluate", str(checkpoint), "--data", DATA, "--cache", str(cache), "--json", "--verification"]
    arguments += ["--per-query", str(files["queries.csv"]), "--worst", "3", "--rank-lists", str(files["lists.png"])]
    assert main([*arguments, "--histogram", str(files["histogram.csv"])]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"] == trained
    table = pd.read_csv(files["queries.csv"])
    assert len(table) == trained["queries"]
    assert table["ap"].mean() == pytest.approx(trained["map"])
    assert [row["ap"] for row in document["worst"]] == pytest.approx(sorted(table["ap"])[:3])
    assert 0 <= document["verification"]["auc"] <= 1
    with Image.open(files["lists.png"]) as picture:
        assert picture.height > 3 * 100
    bins = pd.read_csv(files["histogram.csv"])
    assert bins["same_person"].sum() > 0
    assert (bins["to"] > bins["from"]).all()


def test_evaluate_for_people_and_with_reranking(
    checkpoint: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(checkpoint), "--data", DATA, "--cache", str(cache), "--worst", "2"]
    assert main([*arguments, "--histogram", str(tmp_path / "pairs.html")]) == 0
    assert "plotly.js v" in (tmp_path / "pairs.html").read_text(encoding="utf-8")
    plain = capsys.readouterr().out
    assert "Worst queries" in plain
    assert main([*arguments, "--rerank"]) == 0
    assert "rank" in capsys.readouterr().out.split("queries; ")[1]
    assert main([*arguments, "--histogram", "pairs.pdf"]) == 2
    assert "written as .html, .png or .csv" in capsys.readouterr().err


def test_evaluate_says_how_a_published_network_is_read(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"state_dict": torchreid_network("osnet_x0_25").state_dict()}, tmp_path / "zoo.pth.tar")
    arguments = ["evaluate", str(tmp_path / "zoo.pth.tar"), "--data", DATA, "--cache", str(cache), "--device", "cpu"]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert "zoo.pth.tar is read as osnet_x0_25 with head fc, for images of 256x128, as torchreid has it" in caplog.text
    document = json.loads(captured.out)
    assert (document["candidate"], document["trained_on"]) == ("osnet_x0_25", "published")
    assert 0 < document["metrics"]["map"] <= 1


def test_extract_from_a_folder_and_a_list(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crops = tmp_path / "crops" / "camera1"
    crops.mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (20, 40), (80 * i, 100, 30)).save(crops / f"{2 - i}.png")
    (crops / "notes.md").write_text("no image")
    out = tmp_path / "features.npy"
    assert main(["extract", str(checkpoint), str(tmp_path / "crops"), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3
    features = np.load(out)
    assert features.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    paths = out.with_suffix(".txt").read_text().splitlines()
    assert paths == [str(crops / f"{i}.png") for i in range(3)]
    listing = tmp_path / "some.txt"
    listing.write_text("\n".join(reversed(paths)))
    assert main(["extract", str(checkpoint), str(listing), "--out", str(tmp_path / "b.parquet")]) == 0
    table = pd.read_parquet(tmp_path / "b.parquet")
    assert table["path"].tolist() == paths[::-1]
    np.testing.assert_allclose(np.stack(table["feature"]), features[::-1], atol=1e-6)
    assert main(["extract", str(checkpoint), str(crops / "notes.md"), "--out", str(out), "--force"]) == 2
    assert np.array_equal(np.load(out), features)


def test_extract_reads_what_every_command_reads_and_names_every_bad_image(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = tmp_path / "crops"
    for name in ("a.png", "b.ppm", ".thumbnails/c.png", "@eaDir/d.png", "._a.jpg", "bad1.jpg", "bad2.jpg"):
        (crops / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 40), (10 * len(name), 200, 30)).save(crops / name)
    for name in ("bad1.jpg", "bad2.jpg"):
        (crops / name).write_bytes(b"\xff\xd8cut off")
    command = ["extract", str(checkpoint), str(crops), "--out", str(tmp_path / "f.npy")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "bad1.jpg" in said
    assert "bad2.jpg" in said
    assert not (tmp_path / "f.npy").exists()
    assert main([*command, "--skip-bad"]) == 0
    assert np.load(tmp_path / "f.npy").shape == (2, 128)
    assert (tmp_path / "f.txt").read_text().splitlines() == [str(crops / "a.png"), str(crops / "b.ppm")]


def test_outputs_replace_nothing_unasked(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (20, 40)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("mine")
    command = ["extract", str(checkpoint), str(tmp_path / "a.png"), "--out", str(tmp_path / "notes.npy")]
    assert main(command) == 2
    assert "notes.txt exists already" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    before = checkpoint.read_bytes()
    assert main(["export", str(checkpoint), "--out", str(checkpoint)]) == 2
    assert checkpoint.read_bytes() == before


def test_two_sets_are_joined_in_every_command(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    two = ["--data", DATA, "--data", f"{DATA},seed=1"]
    assert main(["evaluate", str(checkpoint), *two, "--cache", str(cache), "--device", "cpu"]) == 0
    out = ["--epochs", "1", "--cache", str(cache), "--out", str(tmp_path / "two.pt"), "--device", "cpu"]
    assert main(["train", CANDIDATE, *two, *TINY, *out]) == 0


def test_a_set_of_query_and_gallery_alone_is_evaluated(
    checkpoint: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = next((cache / "generated").glob("*/bounding_box_test")).parent
    for name in ("query", "bounding_box_test"):
        shutil.copytree(drawn / name, tmp_path / "set" / name)
    command = ["--data", f"folders:{tmp_path / 'set'}", "--cache", str(cache), "--device", "cpu"]
    assert main(["evaluate", str(checkpoint), *command]) == 0
    assert main(["train", CANDIDATE, *command, *TINY, "--out", str(tmp_path / "x.pt")]) == 2
    assert "no training images" in capsys.readouterr().err


def test_an_empty_folder_has_no_features(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["extract", str(checkpoint), str(tmp_path / "empty"), "--out", str(tmp_path / "f.npy")]) == 2
    assert "no images" in capsys.readouterr().err


def test_transfer_and_start_from_the_command_line(
    checkpoint: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train_arguments(cache, tmp_path / "t.pt", "--json", "--transfer", str(checkpoint), epochs=1)) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["epochs"]) == 1 + document["recipe"]["transfer"]["head_epochs"]
    assert main(train_arguments(cache, tmp_path / "i.pt", "--start", str(checkpoint), epochs=1)) == 2
    assert "which has blocks; a start is a plain network" in capsys.readouterr().err
    assert main(train_arguments(cache, tmp_path / "plain.pt", candidate="resnet18(width=0.25)", epochs=1)) == 0
    capsys.readouterr()
    start = ["--json", "--start", str(tmp_path / "plain.pt")]
    assert main(train_arguments(cache, tmp_path / "i.pt", *start, epochs=1)) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["schedule"] == "cosine"
