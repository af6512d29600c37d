"""The command line as a whole: help, version, completion, quick starts, exit codes where no command can see to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import nas
from nas.cli.main import build_app, main

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "optuna",
    "plotly",
    "dash",
    "sqlalchemy",
    "alembic",
    "pandas",
)


def commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that lead to every command and group, the program itself first."""
    yield above
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*above, name))


COMMANDS = list(commands(typer.main.get_command(build_app())))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NAS_DATABASE", "NAS_HOME", "NAS_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def process(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """`nas` as an own process."""
    settings = {"capture_output": True, "text": True, **settings}
    return subprocess.run([sys.executable, "-m", "nas", *arguments], **settings)


# -- help


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_80_columns_and_has_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert max(map(len, shown.splitlines())) <= 80
    lines = " ".join(line.strip() for line in shown.splitlines())
    assert f"Example: {' '.join(('nas', *words))}" in lines


def test_there_are_all_the_commands_of_the_handbook() -> None:
    wanted = "run worker status studies space train evaluate extract latency rules report dashboard export data db init"
    assert {(word,) for word in [*wanted.split(), "doctor", "blocks", "compare"]} <= set(COMMANDS)


def test_no_words_at_all_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = "".join(capsys.readouterr())
    assert "nas init" in shown
    assert "nas run studies/quickstart.yaml" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nas {nas.__version__}\n"


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doktor"]) == 2
    assert "doctor" in capsys.readouterr().err


# -- completion


@pytest.mark.parametrize(
    ("typed", "wanted"), [("nas sp", "space"), ("nas space sa", "sample"), ("nas run --pro", "--profile")]
)
def test_the_shell_completes_words(typed: str, wanted: str) -> None:
    typed_words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    found = process(env={**os.environ, "_NAS_COMPLETE": "complete_bash", **typed_words})
    assert found.stdout.split() == [wanted]


@pytest.mark.parametrize("shell", ["bash", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zsh", "fish"))])
def test_completion_can_be_installed(shell: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = process("--show-completion", shell, env=environment)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "_NAS_COMPLETE" in shown.stdout
    assert process("--install-completion", shell, env=environment).returncode == 0
    assert any("NAS_COMPLETE" in path.read_text() for path in tmp_path.rglob("*nas*") if path.is_file())


# -- quick starts


def test_what_computes_nothing_loads_nothing_heavy() -> None:
    quick = [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["space", "show", "quickstart"],
        ["space", "sample", "resnet50_attention", "-n", "3"],
        ["blocks", "list"],
        ["rules", "schema"],
        ["init"],
    ]
    code = f"""
import sys
from nas.cli.main import main
for words in {quick}:
    assert main(words) == 0, words
    assert not {set(HEAVY)} & set(sys.modules), words
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_where_a_study_stands_is_told_before_what_computes_is_loaded() -> None:
    """The table of `nas status` once waited for the worker, and all that it needs."""
    code = "import sys; from nas import search; search.find_study, search.stage_state, search.launch_lines"
    found = subprocess.run([sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True)
    assert "nas.search.launchers.base" in found.stdout.split()
    assert not {"nas.search.worker", "scipy", "torch"} & set(found.stdout.split())


# -- exit codes


def test_a_reader_who_leaves_is_no_error() -> None:
    code = "import sys; from nas.cli.main import entry_point; sys.argv[1:] = ['space', 'schema']; entry_point()"
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_behind_the_output_is_a_sentence() -> None:
    with open("/dev/full", "w") as full:
        found = process("space", "schema", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert found.returncode == 2
    assert "No space left" in found.stderr
    assert "free some space" in found.stderr
    assert "Traceback" not in found.stderr


def test_names_that_are_no_text_can_be_told() -> None:
    name = os.fsdecode(b"no_\xff_text.yaml")
    found = process("space", "show", name)
    assert found.returncode == 2
    assert "there is no" in found.stderr


def test_ctrl_c_is_one_sentence_and_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas", "data", "synth", "set", "--train-identities", "3000"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not any(tmp_path.rglob("*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert not (tmp_path / "set").exists()
