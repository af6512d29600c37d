"""A study's own question, put as data, is answered with numbers whatever they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from search_builders import study_file

from nas.cli import run
from nas.errors import StudyError
from nas.files.yaml_source import dump_yaml, load_yaml
from nas.reporting.document import Bullets, Paragraph, Table
from nas.reporting.story.question import question
from nas.reporting.study_data import StudyData
from nas.search.checks import check_study
from nas.search.definition import load_study

ASKED = {"words": "Is C-NL worth more than SE?", "compare": ["cnl", "se"], "by": "site"}


def told(rows: list[tuple[str, int, float]]) -> list[object]:
    table = pd.DataFrame(
        {
            "training_id": range(len(rows)),
            "notation": [f"resnet50+{name}" for name, _, _ in rows],
            "backbone": "resnet50",
            "seed": [seed for _, seed, _ in rows],
            "map": [value for _, _, value in rows],
            "status": "finished",
            "split": "val",
            "fidelity": "e4",
            "role": "candidate",
        }
    )
    return list(question(StudyData("study", definition={"question": ASKED}, results=table)).blocks)


def test_it_is_answered_with_means_and_a_paired_difference() -> None:
    rows = [("cnl@4", 0, 0.62), ("cnl@4", 1, 0.60), ("se@4", 0, 0.61), ("se@4", 1, 0.59)]
    rows += [("cnl@8", 0, 0.64), ("cnl@8", 1, 0.62), ("se@8", 0, 0.632), ("se@8", 1, 0.612)]
    words, said, table, *_ = told(rows)
    assert isinstance(words, Paragraph)
    assert "Is C-NL worth more than SE?" in str(words)
    assert isinstance(said, Bullets)
    assert "C-NL over SE: +0.0090 [" in str(said)
    assert "not told apart" in str(said)
    assert isinstance(table, Table)
    assert len(table.rows) == 4


def test_terminal_and_json_answer_it_as_the_report_does() -> None:
    table = pd.DataFrame({"notation": ["resnet50+cnl@4"], "map": [0.6], "status": "finished", "training_id": [1]})
    data = StudyData("study", definition={"question": {"compare": ["se", "hac"]}}, results=table)
    lines, plain = run._told(data)
    assert lines[0] == plain["own_question"][0] == "No network with one of the compared blocks has finished yet."
    assert lines[1] == data.answer.sentence
    assert run._told(replace(data, definition={"question": "Which one?"}))[1]["own_question"] == []


def test_before_anything_has_finished_that_is_said() -> None:
    assert "No network with one of the compared blocks has finished yet" in str(told([("hac@4", 0, 0.6)])[1])


def test_blocks_that_are_compared_are_blocks_of_the_space(tmp_path: Path) -> None:
    path = study_file(tmp_path, [{"sweep": {"candidates": 4}}])
    data = dict(load_yaml(path, StudyError).data)
    path.write_text(dump_yaml({**data, "question": {"compare": ["cnl", "hac"]}}))
    check_study(load_study(path))
    path.write_text(dump_yaml({**data, "question": {"compare": ["cnl", "hacc"]}}))
    with pytest.raises(StudyError, match="did you mean 'hac'"):
        check_study(load_study(path))
    path.write_text(dump_yaml({**data, "question": "What is it worth?"}))
    assert load_study(path).question == "What is it worth?"
