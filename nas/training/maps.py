"""Pictures of where a trained network looks: each image with its Grad-CAM and with what every block does to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional

from nas.networks.maps import block_maps, grad_cam
from nas.spaces.labels import block_title
from nas.training.extraction import FeatureExtractor

CAPTION = 28
GAP = 4
INK = (60, 60, 60)
LOW, MIDDLE, HIGH = (38, 110, 178), (245, 245, 245), (196, 60, 20)
"""Colours of what is lowered, left alone and raised; blue and red-brown stay apart for the colour-blind."""


def draw_maps(checkpoint: str | Path, images: Sequence[Any], device: str = "cpu") -> Image.Image:
    """One row an image: the image, Grad-CAM over it, and the gain of every position in each block.

    Args:
        images: paths, PIL images or uint8 arrays (H, W, 3).

    Raises:
        TrainingError: the checkpoint is missing or damaged.
        DataError: an image cannot be read.
    """
    return maps_of(FeatureExtractor(checkpoint, device), images)


def maps_of(extractor: FeatureExtractor, images: Sequence[Any]) -> Image.Image:
    """The same with an extractor that is there."""
    pixels = [extractor.pixels(image) for image in images]
    network = extractor.network
    batch = extractor.normalised(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
    cams = grad_cam(network, batch.clone()).cpu()
    blocks = block_maps(network, batch)
    large = [
        functional.interpolate(found.positions[:, None], size=batch.shape[2:], mode="nearest")[:, 0].cpu()
        for found in blocks
    ]
    names = ["image", "Grad-CAM", *(f"{block_title(found.block)} @ {found.site}" for found in blocks)]
    rows = []
    for place, image in enumerate(pixels):
        tiles = [image, _over(image, cams[place].numpy())]
        tiles += [_diverging(found[place].numpy()) for found in large]
        spans = ["", "0 to 1", *(_span(found.positions[place]) for found in blocks)]
        rows.append((tiles, spans))
    return _sheet(names, rows)


def _over(image: NDArray[np.uint8], cam: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image, grey where nothing speaks for the answer and coloured where much does."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    share = cam[:, :, None]
    return _colours((1 - 0.6 * share) * grey + 0.6 * share * np.array(HIGH))


def _diverging(gain: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Gains as colours: white at their mean, so that what stands out is seen whatever the gate's level."""
    middle = gain - gain.mean()
    share = (middle / max(float(np.abs(middle).max()), 1e-12))[:, :, None]
    up, down = np.clip(share, 0, 1), np.clip(-share, 0, 1)
    mixed = np.array(MIDDLE) * (1 - up - down) + np.array(HIGH) * up + np.array(LOW) * down
    return _colours(mixed)


def _colours(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(values.clip(0, 255), dtype=np.uint8)


def _span(positions: torch.Tensor) -> str:
    return f"x {float(positions.min()):.3f} to {float(positions.max()):.3f}"


def _sheet(names: Sequence[str], rows: Sequence[tuple[list[NDArray[np.uint8]], list[str]]]) -> Image.Image:
    height, width = rows[0][0][0].shape[:2]
    wide = max(width, 120)
    sheet = Image.new("RGB", (len(names) * (wide + GAP), 14 + len(rows) * (height + CAPTION)), "white")
    ink = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        x = column * (wide + GAP)
        ink.text((x, 0), name, fill=INK, font_size=11)
        for row, (tiles, spans) in enumerate(rows):
            y = 14 + row * (height + CAPTION)
            sheet.paste(Image.fromarray(tiles[column]), (x, y))
            ink.text((x, y + height + 2), spans[column], fill=INK, font_size=10)
    return sheet
