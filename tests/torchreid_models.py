"""torchreid's own networks, from its model files alone: its package also imports OpenCV, gdown and TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

FILES = {
    "osnet_x1_0": "osnet",
    "osnet_x0_75": "osnet",
    "osnet_x0_5": "osnet",
    "osnet_x0_25": "osnet",
    "osnet_ain_x1_0": "osnet_ain",
    "resnet50_ibn_a": "resnet_ibn_a",
    "resnet50_ibn_b": "resnet_ibn_b",
    "resnet18": "resnet",
    "resnet50_fc512": "resnet",
}


def torchreid_network(name: str, classes: int = 5) -> Any:
    """One of torchreid's networks with random weights, normalisation included, in evaluation mode."""
    package = importlib.util.find_spec("torchreid")  # finds the package and does not import it
    if package is None or not package.submodule_search_locations:
        pytest.skip("torchreid is not installed")
    path = Path(package.submodule_search_locations[0], "reid", "models", f"{FILES[name]}.py")
    spec = importlib.util.spec_from_file_location(f"torchreid_{FILES[name]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network = getattr(module, name)(num_classes=classes, pretrained=False).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d | nn.InstanceNorm2d | nn.BatchNorm1d):
            nn.init.normal_(part.weight, 1.0, 0.2)
            nn.init.normal_(part.bias, 0.0, 0.2)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(part.running_mean, 0.0, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network
