"""Where people walk: each camera's scenery, things and people behind, and what stands in front."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nas.data.pedestrians.appearance import LOWER, UPPER, Colour, pick
from nas.data.pedestrians.paint import checks, masked, plain, rings
from nas.data.pedestrians.pose import Point
from nas.data.pedestrians.raster import Canvas, Floats, Solid

GROUND: tuple[Colour, ...] = ((150, 148, 142), (120, 118, 116), (176, 164, 146), (104, 122, 84), (138, 108, 92))
WALL: tuple[Colour, ...] = (
    (196, 188, 172),
    (148, 104, 88),
    (168, 178, 186),
    (122, 128, 116),
    (214, 210, 204),
    (90, 96, 104),
)
THINGS: tuple[Colour, ...] = (
    (70, 104, 64),
    (92, 94, 98),
    (166, 58, 48),
    (198, 178, 70),
    (60, 84, 128),
    (206, 206, 206),
)


@dataclass(frozen=True)
class Scenery:
    """A wide picture (H, W, 3) that a camera's images are cut out of; H is twice an image's height."""

    picture: Floats

    def cut(self, size: tuple[int, int], rng: np.random.Generator) -> Floats:
        """A piece of it, (height, width, 3), a little brighter or darker."""
        height, width = size
        row = int(rng.integers(self.picture.shape[0] - height + 1))
        column = int(rng.integers(self.picture.shape[1] - width + 1))
        return self.picture[row : row + height, column : column + width] * np.float32(rng.uniform(0.85, 1.12))


def draw_scenery(seed: int, size: tuple[int, int]) -> Scenery:
    """Wall above, ground below, with bricks or windows, paving and a few posts, in perspective-free 2-D."""
    rng = np.random.default_rng(seed)
    height, width = round(size[0] * 1.35), size[1] * 6
    picture = np.empty((height, width, 3), dtype=np.float32)
    horizon = int(height * rng.uniform(0.45, 0.72))
    picture[:horizon], picture[horizon:] = pick(WALL, rng), pick(GROUND, rng)
    _wall(picture[:horizon], size[1], rng)
    _paving(picture[horizon:], size[0], rng)
    _posts(picture, size, horizon, rng)
    return Scenery(picture + _mottle(picture.shape, rng))


def _wall(wall: Floats, unit: int, rng: np.random.Generator) -> None:
    y, x = np.ogrid[: wall.shape[0], : wall.shape[1]]
    if rng.random() < 0.5:
        step = max(3, unit // int(rng.integers(6, 12)))
        joints = (y % step == 0) | ((x + (y // step % 2) * step) % (2 * step) == 0)
        wall[joints] *= 0.8
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
        top = int(horizon * rng.uniform(0.2, 0.95))
        bottom = min(picture.shape[0], int(horizon + size[0] * rng.uniform(0.02, 0.2)))
        shape = picture[top:bottom, left : left + wide]
        shape[:] = np.array(pick(THINGS, rng), dtype=np.float32) * rng.uniform(0.6, 1.1)
        shape[:, : max(1, wide // 4)] *= 0.8


def _mottle(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Soft irregular light, so that no surface is quite flat."""
    coarse = rng.normal(0, 9, (shape[0] // 8 + 2, shape[1] // 8 + 2)).astype(np.float32)
    rows, columns = np.arange(shape[0]) / 8, np.arange(shape[1]) / 8
    i, j = rows.astype(int), columns.astype(int)
    u, v = (rows - i)[:, None].astype(np.float32), (columns - j)[None].astype(np.float32)
    soft = (coarse[i][:, j] * (1 - v) + coarse[i][:, j + 1] * v) * (1 - u)
    soft += (coarse[i + 1][:, j] * (1 - v) + coarse[i + 1][:, j + 1] * v) * u
    light: Floats = soft[..., None]
    return light


def draw_things_behind(canvas: Canvas, rng: np.random.Generator) -> None:
    """A post, bin or bush behind the walker."""
    for solid in _things(rng, depth=-3.0, reach=0.34):
        canvas.draw(solid)


def draw_things_in_front(canvas: Canvas, rng: np.random.Generator) -> None:
    """Something that hides a part of the walker."""
    for solid in _things(rng, depth=3.0, reach=0.16):
        canvas.draw(solid)


def _things(rng: np.random.Generator, depth: float, reach: float) -> Iterator[Solid]:
    x = float(rng.choice([-1, 1]) * rng.uniform(reach * 0.35, reach))
    yield from pick(THING_KINDS, rng)(x, depth, rng)


def _post(x: float, z: float, rng: np.random.Generator) -> Iterator[Solid]:
    wide = rng.uniform(0.02, 0.05)
    paint = plain(pick(THINGS, rng))
    if rng.random() < 0.4:
        paint = masked(paint, plain(pick(THINGS, rng)), rings(rng.uniform(4, 9)))
    yield Solid(_at(x, 1.3, z), _at(x, -0.1, z), (wide, wide), paint)


def _bin(x: float, z: float, rng: np.random.Generator) -> Iterator[Solid]:
    tall, wide = rng.uniform(0.25, 0.45), rng.uniform(0.10, 0.17)
    paint = plain(pick(THINGS, rng))
    yield Solid(_at(x, tall, z), _at(x, -0.08, z), (wide, wide * 0.94, wide * 0.9), paint, capped=False)
    yield Solid(_at(x, tall + 0.02, z), _at(x, tall, z), (wide * 0.6, wide), paint)


def _bush(x: float, z: float, rng: np.random.Generator) -> Iterator[Solid]:
    for _ in range(6):
        tall = rng.uniform(0.05, 0.30)
        leaves = (int(rng.integers(40, 84)), int(rng.integers(84, 130)), int(rng.integers(36, 70)))
        paint = masked(plain(leaves), plain((30, 56, 30)), checks(5, 14))
        at = x + rng.uniform(-0.09, 0.09)
        yield Solid(_at(at, tall + 0.05, z), _at(at, tall, z), (rng.uniform(0.05, 0.09),) * 2, paint)


def _sign(x: float, z: float, rng: np.random.Generator) -> Iterator[Solid]:
    up = rng.uniform(0.45, 0.75)
    board = masked(plain(pick(THINGS, rng)), plain(pick(UPPER, rng)), rings(3, 0.4))
    yield Solid(_at(x, up, z), _at(x, -0.1, z), (0.014, 0.014), plain((90, 90, 92)))
    yield Solid(_at(x, up + 0.16, z), _at(x, up, z), (rng.uniform(0.07, 0.11),) * 2, board, capped=False)


def _trolley(x: float, z: float, rng: np.random.Generator) -> Iterator[Solid]:
    tall = rng.uniform(0.2, 0.3)
    cloth = masked(plain(pick(LOWER, rng)), plain(pick(UPPER, rng)), rings(2, 0.25))
    yield Solid(_at(x, tall, z), _at(x, 0.03, z), (0.10, 0.105, 0.10), cloth)
    yield Solid(_at(x + 0.05, tall + 0.2, z - 0.1), _at(x + 0.05, tall, z - 0.1), (0.01, 0.01), plain((60, 60, 62)))


THING_KINDS: tuple[Callable[[float, float, np.random.Generator], Iterator[Solid]], ...] = (
    _post,
    _bin,
    _bush,
    _sign,
    _trolley,
)


def _at(x: float, y: float, z: float) -> Point:
    return np.array([x, y, z])


def shifted(solid: Solid, x: float, y: float, z: float, scale: float) -> Solid:
    """A solid moved and scaled in view coordinates: another person nearer or farther away."""
    move = np.array([x, y, z])
    radii = tuple(r * scale for r in solid.radii)
    return Solid(
        solid.a * scale + move,
        solid.b * scale + move,
        radii,
        solid.paint,
        solid.yaw,
        solid.depth,
        solid.capped,
        solid.lift,
    )
