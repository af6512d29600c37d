"""Where people walk: each camera's scenery, and the things that stand behind or in front of a walker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from nas.data.pedestrians.figure import Figure
from nas.data.pedestrians.people import LOWER, UPPER, colours, pick
from nas.data.pedestrians.raster import Bytes, Floats, Solid, checks, paint, rings

GROUND = colours("96948e 787674 b0a492 687a54 8a6c5c")
WALL = colours("c4bcac 946858 a8b2ba 7a8074 d6d2cc 5a6068")
THINGS = colours("466840 5c5e62 a63a30 c6b246 3c5480 cecece")


def draw_scenery(seed: int, size: tuple[int, int]) -> Floats:
    """A wide picture that a camera's images of `size` (height, width) are cut out of.

    Wall above, ground below, with bricks or windows, paving and a few posts, in perspective-free 2-D.
    """
    rng = np.random.default_rng(seed)
    height, width = round(size[0] * 1.35), size[1] * 6
    picture = np.empty((height, width, 3), dtype=np.float32)
    horizon = int(height * rng.uniform(0.45, 0.72))
    picture[:horizon], picture[horizon:] = pick(WALL, rng), pick(GROUND, rng)
    _wall(picture[:horizon], size[1], rng)
    _paving(picture[horizon:], size[0], rng)
    _posts(picture, size, horizon, rng)
    # Soft irregular light, so that no surface is quite flat.
    light = Image.fromarray(rng.normal(0, 9, (height // 8 + 1, width // 8 + 1)).astype(np.float32))
    picture += np.asarray(light.resize((width, height), Image.Resampling.BILINEAR))[..., None]
    return picture


def cut_scenery(scenery: Floats, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A piece of a scenery, (height, width, 3), a little brighter or darker."""
    row, column = (int(rng.integers(whole - part + 1)) for whole, part in zip(scenery.shape, size, strict=False))
    return scenery[row : row + size[0], column : column + size[1]] * np.float32(rng.uniform(0.85, 1.12))


def cast_shadow(picture: Floats, at: tuple[float, float], across: float, along: float, share: float = 0.35) -> None:
    """A soft shadow on the ground, in place: an ellipse around a pixel (column, row) with these half-axes."""
    top = max(0, int(at[1] - 1.2 * along))
    rows, columns = np.ogrid[top : min(picture.shape[0], int(at[1] + 1.2 * along)), : picture.shape[1]]
    reach = ((columns - at[0]) / across) ** 2 + ((rows - at[1]) / along) ** 2
    picture[top : top + len(rows)] *= (1 - share * np.clip(1.2 - reach, 0, 1))[..., None].astype(np.float32)


def _wall(wall: Floats, unit: int, rng: np.random.Generator) -> None:
    y, x = np.ogrid[: wall.shape[0], : wall.shape[1]]
    if rng.random() < 0.5:
        step = max(3, unit // int(rng.integers(6, 12)))
        wall[(y % step == 0) | ((x + (y // step % 2) * step) % (2 * step) == 0)] *= 0.8
        return
    wide, tall = unit * rng.uniform(0.5, 1.0), unit * rng.uniform(0.7, 1.2)
    panes = ((x % (2 * wide)) < wide) & ((y % (1.6 * tall)) > 0.6 * tall)
    wall[panes] = wall[panes] * 0.35 + np.array(pick(WALL, rng), dtype=np.float32) * 0.25


def _paving(ground: Floats, unit: int, rng: np.random.Generator) -> None:
    y, x = np.ogrid[: ground.shape[0], : ground.shape[1]]
    kind = rng.integers(3)
    if kind == 0:
        step = unit // int(rng.integers(5, 10))
        ground[(y % step == 0) | ((x + y) % (2 * step) == 0)] *= 0.82
    elif kind == 1:
        ground[((x - 2 * y) % (unit // 2)) < unit // 12] = (216, 214, 206)
    ground *= np.linspace(0.85, 1.08, ground.shape[0], dtype=np.float32)[:, None, None]


def _posts(picture: Floats, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(4, 11))):
        left, wide = int(rng.integers(picture.shape[1])), max(2, int(size[1] * rng.uniform(0.05, 0.5)))
        top, bottom = int(horizon * rng.uniform(0.2, 0.95)), int(horizon + size[0] * rng.uniform(0.02, 0.2))
        shape = picture[top:bottom, left : left + wide]
        shape[:] = np.array(pick(THINGS, rng), dtype=np.float32) * rng.uniform(0.6, 1.1)
        shape[:, : max(1, wide // 4)] *= 0.8


def draw_thing(rng: np.random.Generator) -> Figure:
    """A post, bin, bush, sign or trolley."""
    return Figure(pick(THING_KINDS, rng)(rng))


def _upright(top: float, end: float, radii: tuple[float, ...], texture: Bytes, x: float = 0, **more: bool) -> Solid:
    return Solid("ground", "ground", radii, texture, (x, 0, top), (x, 0, end), **more)


def _post(rng: np.random.Generator) -> list[Solid]:
    wide, striped = rng.uniform(0.02, 0.05), rng.random() < 0.4
    bands = rings(rng.uniform(4, 9)) & striped
    return [_upright(1.3, -0.1, (wide, wide), paint(pick(THINGS, rng), (bands, pick(THINGS, rng))))]


def _bin(rng: np.random.Generator) -> list[Solid]:
    tall, wide, texture = rng.uniform(0.25, 0.45), rng.uniform(0.10, 0.17), paint(pick(THINGS, rng))
    lid = _upright(tall + 0.02, tall, (wide * 0.6, wide), texture)
    return [_upright(tall, -0.08, (wide, wide * 0.94, wide * 0.9), texture, capped=False), lid]


def _bush(rng: np.random.Generator) -> list[Solid]:
    leaves = []
    for _ in range(6):
        green = (int(rng.integers(40, 84)), int(rng.integers(84, 130)), int(rng.integers(36, 70)))
        up, x, size = rng.uniform(0.05, 0.30), rng.uniform(-0.09, 0.09), rng.uniform(0.05, 0.09)
        leaves.append(_upright(up + 0.05, up, (size, size), paint(green, (checks(5, 14), (30, 56, 30))), x))
    return leaves


def _sign(rng: np.random.Generator) -> list[Solid]:
    up, wide = rng.uniform(0.45, 0.75), rng.uniform(0.07, 0.11)
    board = paint(pick(THINGS, rng), (rings(3, 0.4), pick(UPPER, rng)))
    pole = _upright(up, -0.1, (0.014, 0.014), paint((90, 90, 92)))
    return [pole, _upright(up + 0.16, up, (wide, wide), board, capped=False)]


def _trolley(rng: np.random.Generator) -> list[Solid]:
    tall, cloth = rng.uniform(0.2, 0.3), paint(pick(LOWER, rng), (rings(2, 0.25), pick(UPPER, rng)))
    handle = _upright(tall + 0.2, tall, (0.01, 0.01), paint((60, 60, 62)), 0.05)
    return [_upright(tall, 0.03, (0.10, 0.105, 0.10), cloth), handle]


THING_KINDS: tuple[Callable[[np.random.Generator], list[Solid]], ...] = (_post, _bin, _bush, _sign, _trolley)
