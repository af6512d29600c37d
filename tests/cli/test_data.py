"""`nas data`: what it prints, what `--json` gives to scripts, and exit code 2 for what a person must put right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_builders import write_csv, write_cuhk03, write_market

from nas.cli.common import parse_size
from nas.cli.main import main
from nas.errors import NasError


@pytest.fixture(autouse=True)
def wide_terminal_and_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def test_check_of_a_good_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_market(tmp_path / "m", gallery=[(3, 2, 1), (4, 1, 1)])
    assert main(["data", "check", str(root)]) == 0
    assert "All 2 queries have a right answer in another camera." in capsys.readouterr().out


def test_check_lists_every_unreadable_file_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_market(tmp_path / "m")
    broken = sorted((root / "query").iterdir())
    for path in broken:
        path.write_bytes(b"broken")
    assert main(["data", "check", f"market1501:{root}"]) == 2
    out = capsys.readouterr().out
    assert "2 images cannot be read." in out
    assert all(f"{path}: not an image file" in out for path in broken)


def test_check_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_market(tmp_path / "m")
    assert main(["data", "check", f"market1501:{root}", "--no-decode", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["splits"]["train"] == {"identities": 2, "images": 8, "cameras": 2, "distractors": 0}
    assert any("not the published ones" in f["sentence"] for f in found["findings"])


def test_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_cuhk03(tmp_path / "c")
    assert main(["data", "info", f"cuhk03:{root},variant=detected"]) == 0
    out = capsys.readouterr().out
    assert "cuhk03_detected" in out
    assert "right answers a query          1.00 on average, 1-1, median 1" in out
    assert main(["data", "info", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images_a_person"]["mean"] == 4


def test_synth_writes_market_folders_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, sheet = tmp_path / "set", tmp_path / "sheet.png"
    small = ["--train-identities", "2", "--test-identities", "1", "--cameras", "2", "--images", "2", "--height", "48"]
    command = ["data", "synth", str(folder), *small, "--width", "24", "--sheet", str(sheet)]
    assert main(command) == 0
    assert "12 images of 3 persons" in capsys.readouterr().err
    assert len(list((folder / "bounding_box_train").iterdir())) == 8
    assert sheet.stat().st_size > 0
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


def test_pack_then_nothing_left_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_csv(tmp_path / "own.csv", [("a.png", 1, 1, "train"), ("b.png", 1, 2, "train")])
    assert main(["data", "pack", str(table), "--size", "8x4", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["packs"]
    assert (made["split"], made["images"], made["bytes"]) == ("train", 2, 2 * 8 * 4 * 3)
    before = Path(made["file"]).stat().st_mtime_ns
    assert np.load(made["file"]).shape == (2, 8, 4, 3)
    assert main(["data", "pack", str(table), "--size", "8x4"]) == 0
    assert Path(made["file"]).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "nowhere"], "nowhere does not exist"),
        (["info", "market1501:nowhere"], "the folder nowhere does not exist; market1501 needs it"),
        (["info", "generated:camera=3"], "'camera'; did you mean 'cameras'"),
        (["info", "generated:cameras=1"], "generated data: cameras is '1'"),
        (["synth", "x", "--cameras", "99"], "generated data: cameras is 99"),
        (["pack", "generated:train_identities=1,test_identities=1", "--size", "64"], "the size must be height x width"),
    ],
)
def test_mistakes_end_with_2_and_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "64", "64x", "x32", "64x32x3", "0x3", "-1x4"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(NasError, match="height x width"):
        parse_size(text)
