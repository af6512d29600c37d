"""`nas explain`: what a network is, what it costs, what its blocks change, and what a database knows of it."""

from __future__ import annotations

import json

import pytest

from nas.cli.main import main
from nas.networks import complexity

NETWORK = "resnet18(width=0.25)+se@2+agw@3"


def test_explains_size_blocks_and_insertion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", NETWORK, "--input", "64x32"]) == 0
    said = capsys.readouterr().out
    assert "at insertion: changes the output by up to" in said
    assert main(["explain", NETWORK, "--input", "64x32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [block["identity"] for block in found["blocks"]] == [False, True]
    assert found["cost"][0]["network"] == complexity(NETWORK, (64, 32)).params
    assert found["results"] == []


def test_a_misspelt_network_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "resnet18+see@2"]) == 2
    assert "see" in capsys.readouterr().err
