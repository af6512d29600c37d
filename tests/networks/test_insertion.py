"""What blocks change when they are put in, and that identity forms are deployed as they were trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.networks import build_network, check_insertion, fold_batchnorm
from nas.networks.export import export_network
from nas.spaces import BLOCKS, Candidate

TRUNK = "resnet18(width=0.25)"
SIZE = (64, 32)


@pytest.mark.parametrize("block", BLOCKS)
def test_identity_forms_leave_the_network_as_it_was(block: str) -> None:
    assert check_insertion(f"{TRUNK}+{block}(start=identity)@3,7", SIZE).is_identity


def test_published_gates_are_seen_to_change_the_network() -> None:
    found = check_insertion(f"{TRUNK}+se@3", SIZE)
    assert not found.is_identity
    assert "changes the output by up to" in found.sentence()


def test_forms_are_told_apart_and_read_back() -> None:
    candidate = Candidate.parse(f"{TRUNK}+se(start=identity)@3+agw(start=identity)@7")
    assert candidate.notation == f"{TRUNK}+se(start=identity)@3+agw@7"
    assert Candidate.from_dict(candidate.to_dict()).id == candidate.id
    assert candidate.id != Candidate.parse(f"{TRUNK}+se@3+agw@7").id
    assert Candidate.parse(f"{TRUNK}+se(start=published)@3") == Candidate.parse(f"{TRUNK}+se@3")


@pytest.mark.parametrize("block", BLOCKS)
def test_trained_identity_forms_survive_folding(block: str) -> None:
    network = shaken(f"{TRUNK}+{block}(start=identity)@3")
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(fold_batchnorm(network)(images), network(images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_an_identity_form_is_exported_with_parity(tmp_path: Path) -> None:
    report = export_network(shaken(f"{TRUNK}+hac(start=identity)@3+raga(start=identity)@7"), tmp_path / "a.onnx")
    assert report.parity.min_cosine > 0.9999


def shaken(notation: str) -> torch.nn.Module:
    """A network whose learned shares are away from 0, as if trained."""
    network = build_network(notation, input_size=SIZE, seed=0).eval()
    for name, parameter in network.blocks.named_parameters():
        if name.endswith("share"):
            torch.nn.init.constant_(parameter, 0.7)
    return network
