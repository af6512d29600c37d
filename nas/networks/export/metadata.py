"""What an exported file says about itself: which network it is, what its input went through, what its output means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

import nas
from nas.networks.network import ReidNetwork

INPUT_NAME, OUTPUT_NAME = "images", "embeddings"


@dataclass(frozen=True)
class Preprocessing:
    """What a crop goes through before the network: RGB, resized, divided by 255, minus mean, divided by std.

    Mean and std are of the channels, for values in 0..1; ImageNet's by default.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: str = "bilinear, antialiased"


def describe(
    network: ReidNetwork,
    format_name: str,
    precision: str,
    preprocessing: Preprocessing,
    extra: Mapping[str, str],
    batch: int | None = None,
) -> dict[str, str]:
    """The metadata of a file: text by name, structured values as JSON; `batch` where it is not free."""
    height, width = network.input_size
    images = batch or "batch"
    taken = {
        "name": INPUT_NAME,
        "layout": "NCHW",
        "dtype": "float32",
        "shape": [images, 3, height, width],
        "channels": "RGB",
        "formula": "(pixel / 255 - mean) / std",
        **asdict(preprocessing),
    }
    given = {
        "name": OUTPUT_NAME,
        "shape": [images, network.embedding_dim],
        "dtype": "float32",
        "compare": "cosine similarity; rows are not normalised to length 1",
    }
    return {
        "producer": f"nas {nas.__version__}, torch {torch.__version__}",
        "candidate": network.candidate.notation,
        "format": format_name,
        "precision": precision,
        "batchnorm": "folded",
        "preprocessing": json.dumps(taken),
        "output": json.dumps(given),
        **extra,
    }
