"""How a camera sees: its side of the walkers, its colours, exposure, sharpness and resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from nas.data.pedestrians.raster import Floats


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    yaw: directions people mostly walk in, in radians (0 = towards it); several are passed in turn.
    spread: standard deviation of the direction. pitch: it looks down by this many radians.
    gain: RGB factors (colour cast and exposure). gamma: of its response. contrast: about mid-grey.
    resolution: share of the picture's pixels it really resolves. blur: standard deviation in pixels
    of a picture 128 high. noise: standard deviation in 0-255. scenery: seed of its background.
    """

    yaw: tuple[float, ...]
    spread: float
    pitch: float
    gain: tuple[float, ...]
    gamma: float
    contrast: float
    resolution: float
    blur: float
    noise: float
    scenery: int


def draw_cameras(count: int, rng: np.random.Generator) -> list[Camera]:
    """Cameras that differ; neighbours look from different sides."""
    right, back = np.pi / 2, np.pi
    sides = ((0.0, back), (right,), (0.2, right), (back, back + right), (0.0,), (back,))
    order = rng.permutation(len(sides))
    return [_draw_camera(sides[order[n % len(sides)]], rng) for n in range(count)]


def _draw_camera(yaw: tuple[float, ...], rng: np.random.Generator) -> Camera:
    exposure = rng.uniform(0.8, 1.15)
    return Camera(
        yaw=yaw,
        gain=tuple((exposure * (1 + rng.uniform(-0.12, 0.12, 3))).tolist()),
        spread=float(rng.uniform(0.15, 0.4)),
        pitch=float(rng.uniform(0.02, 0.32)),
        gamma=float(rng.uniform(0.85, 1.2)),
        contrast=float(rng.uniform(0.85, 1.1)),
        resolution=float(rng.uniform(0.5, 1.0)),
        blur=float(rng.uniform(0.0, 0.7)),
        noise=float(rng.uniform(1.5, 6.0)),
        scenery=int(rng.integers(2**31)),
    )


def photograph(picture: Floats, camera: Camera, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A rendered picture (H, W, 3) as the camera would store it, in `size` (height, width).

    Exposure and contrast differ a little from image to image, as daylight does.
    """
    height, width = size
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    share = camera.resolution * rng.uniform(0.8, 1.0)
    coarse = (max(8, round(width * share)), max(16, round(height * share)))
    image = image.resize(coarse, Image.Resampling.BOX)
    blur = camera.blur * rng.uniform(0.6, 1.3) * coarse[1] / 128
    if blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    response = (np.arange(256) / 255)[:, None] ** camera.gamma * camera.gain * rng.uniform(0.85, 1.15)
    response = 255 * ((response - 0.5) * camera.contrast + 0.5)
    values = np.take_along_axis(response.astype(np.float32), np.asarray(image).reshape(-1, 3), axis=0)
    values += rng.standard_normal(values.shape, dtype=np.float32) * np.float32(camera.noise)
    stored = Image.fromarray(values.clip(0, 255).astype(np.uint8).reshape(coarse[1], coarse[0], 3))
    return stored.resize((width, height), Image.Resampling.BICUBIC)
