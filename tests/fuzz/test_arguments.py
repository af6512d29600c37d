"""Odd words on the command line of every command."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main
from fuzz.harness import Account, Said, nas, parts

from nas.cli.main import build_app

CHUNKS = 3
CASES = 450
WORDS = (
    "", " ", "-", "--", "---", "-1", "0", "999999999999999999999999", "1e999", "nan", "inf", "0x10", "1.5", "true",
    "null", "nowhere", "nowhere.yaml", "nowhere/at/all.yaml", "/", "/dev/null", "/dev/full", "/proc/self/mem", ".",
    "..", "~", "*", "?", "a b", "é", "\u202eabc", "\U0001f9b4", "\x1b[31m", "[bold]x[/]", "{x}", "%s", "x" * 1_000,
    "a\nb", "--help=1", "--json=maybe", "--no-such", "-x", "-hh", "resnet50", "resnet50+cnl@6,8,14", "resnet50+cnl@",
    "resnet50+@6", "resnet50+cnl(", "resnet999", "generated:", "generated:images=0", "generated:seed=x",
    "market1501:", "csv:", ":", "a:b:c", "quickstart", "sqlite://", "sqlite:///", "sqlite:////dev/full",
    "mysql://u:secret@h/d", "postgresql://u:secret@localhost:1/d", "http://x", "a=b", "=", "a=", "256x128", "0x0",
    "-1x-1", "99999999x99999999", "cpu", "cuda:99", "tpu", "fp8", "int8", "slurm",
    "ray://x:1", "timm:nothing",
    "made.up:Net", "distil={teacher: x}", "head=pcb", "campaign", "recipe", "%00", "file.txt", "folder", "empty.yaml",
)  # fmt: skip
# These would go on for long, or for ever, if by chance all their words were good ones.
ENDLESS = {("dashboard",), ("latency", "agent"), ("worker",), ("latency", "profile"), ("train",), ("data", "synth")}


def commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that lead to it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


def odd_line(words: tuple[str, ...], command: Any, rng: random.Random) -> list[str]:
    """A command line with known options and unsuitable words."""
    options = [option for p in command.params for option in p.opts if option.startswith("-")]
    line = list(words)
    for _ in range(rng.randrange(5)):
        if options and rng.random() < 0.6:
            line.append(rng.choice(options))
        if rng.random() < 0.8:
            line.append(rng.choice(WORDS))
    return line


def answer(line: list[str]) -> Iterator[Said]:
    yield nas(*line)


@parts(CASES, CHUNKS, few=30)
def test_odd_arguments(chunk: int, cases: int, folder: Path, settle: Callable[[Account], None]) -> None:
    account = Account("odd command lines")
    try_arguments(account, folder, cases, 9_000 + chunk)
    settle(account)


def try_arguments(account: Account, folder: Path, cases: int, seed: int) -> None:
    """Odd lines to every command."""
    rng = random.Random(seed)
    known = [row for row in commands(typer.main.get_command(build_app())) if row[0] not in ENDLESS]
    for number in range(cases):
        (folder / "folder").mkdir()
        (folder / "file.txt").write_text("words")
        (folder / "empty.yaml").write_text("")
        line = odd_line(*rng.choice(known), rng)
        account.case(f"seed {seed}, number {number}", answer(line), folder, may_change=True)
        shutil.rmtree(folder)
        folder.mkdir()
        os.chdir(folder)
