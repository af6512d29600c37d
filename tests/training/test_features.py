"""Features that say nothing are refused where they are made."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from nas.training.extraction import check_features
from nas.training.failures import Diverged, fault_of


def some() -> torch.Tensor:
    return normalize(torch.randn(9, 16, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_not_finite_or_zero_features_are_refused(value: float) -> None:
    features = some()
    features[4] = value
    with pytest.raises(Diverged, match="features of 1 of 9 images are not finite or zero"):
        check_features(features)


def test_a_collapsed_network_is_a_failed_training_of_its_candidate() -> None:
    features = some()[:1].repeat(9, 1) + 1e-8 * torch.randn(9, 16)
    with pytest.raises(Diverged, match="the network has collapsed") as caught:
        check_features(features)
    assert fault_of(caught.value) == "candidate"


def test_healthy_features_and_a_single_image_are_fine() -> None:
    check_features(some())
    check_features(some()[:1])
    close = normalize(some()[:1].repeat(9, 1) + 1e-3 * torch.randn(9, 16), dim=1)
    check_features(close)
