"""Draws solids of revolution into a picture, all of one picture at once, nearer ones over farther ones.

Every body part and thing is a `Solid`: an axis between two points, a radius along it, a texture around
it. For each pixel the place along the axis and around it is computed, so patterns stick to the body and
turn with it. What depends on the axis or the angle alone is looked up in small tables.

View coordinates: x to the right of the picture, y up, z towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]
Colour = tuple[int, int, int]
Kind = TypeVar("Kind", bound=np.generic)

STEPS, SECTORS = 64, 64
"""Places along and around a part that a texture tells apart: finer than the pixels of the largest part."""
ALONG = ((np.arange(STEPS) + 0.5) / STEPS)[:, None]
"""(STEPS, 1): 0 at the part's upper end, 1 at its lower."""
AROUND = ((np.arange(SECTORS) + 0.5) / SECTORS * 2 - 1)[None] * np.pi
"""(1, SECTORS): radians, 0 = the front, positive = the person's left."""
LIGHT = (-0.35, 0.6, 0.72)
"""Where the light comes from, in view coordinates."""
SMALLEST_RADIUS = 0.3
"""In pixels: what is thinner would vanish between their centres."""


class Solid(NamedTuple):
    """A solid between two joints of a figure.

    a, b: names of the joints. radii: at equal steps from a to b. texture: (STEPS, SECTORS, 3). above,
    below: offsets from the joints (side, forward, up). deep: half-axis front to back as a share of the
    one from side to side; None for a round part. bulge: how far a round part comes towards the camera, as
    a share of its radius. capped: round ends beyond a and b. lift: moves it towards the camera where
    parts hide each other, so that cloth hides the limb inside it.
    """

    a: str
    b: str
    radii: tuple[float, ...]
    texture: Bytes
    above: tuple[float, float, float] = (0, 0, 0)
    below: tuple[float, float, float] = (0, 0, 0)
    deep: float | None = None
    bulge: float = 1.0
    capped: bool = True
    lift: float = 0.0


def paint(base: Colour, *layers: tuple[NDArray[np.bool_], Colour]) -> Bytes:
    """A texture of one colour, and others where their masks over `ALONG` and `AROUND` hold."""
    texture = np.empty((STEPS, SECTORS, 3), np.uint8)
    texture[:] = base
    for mask, colour in layers:
        texture[np.broadcast_to(mask, (STEPS, SECTORS))] = colour
    return texture


def rings(count: float, share: float = 0.5) -> NDArray[np.bool_]:
    """Mask: stripes around the axis, `count` along it."""
    return ALONG * count % 1 < share


def checks(rows: float, columns: float) -> NDArray[np.bool_]:
    """Mask: a chequered pattern."""
    return (ALONG * rows % 1 < 0.5) ^ (AROUND / (2 * np.pi) * columns % 1 < 0.5)


def front(half_width: float, top: float = 0.0, bottom: float = 1.0) -> NDArray[np.bool_]:
    """Mask: a field on the front."""
    return (np.abs(AROUND) < half_width) & (top < ALONG) & (bottom > ALONG)


@dataclass(frozen=True)
class Solids:
    """S parts in view coordinates, ready to be drawn.

    a, b: (S, 3) ends of the axes. radii: (S, STEPS) as seen in the picture. textures: (S, STEPS, SECTORS, 3).
    yaw: (S,) which way the fronts face. bulge, lift: (S,). capped: bool (S,).
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    radii: NDArray[np.float64]
    textures: Bytes
    yaw: NDArray[np.float64]
    bulge: NDArray[np.float64]
    lift: NDArray[np.float64]
    capped: NDArray[np.bool_]

    @classmethod
    def joined(cls, groups: list[Solids]) -> Solids:
        """Several groups as one."""
        return cls(*(np.concatenate([getattr(g, name) for g in groups]) for name in cls.__dataclass_fields__))


def draw(picture: Floats, solids: Solids, scale: float, origin: tuple[float, float], shade: float) -> None:
    """Draw into a picture (H, W, 3) in 0-255, in place.

    Args:
        picture: what is behind everything.
        scale: pixels a unit of view coordinates.
        origin: pixel (column, row) of the view's origin.
        shade: how much of the light is directed, 0 (flat) to 1.
    """
    a, b = ((p * scale * (1, -1, 1) + (*origin, 0)).astype(np.float32) for p in (solids.a, solids.b))
    radii = np.maximum(solids.radii * scale, SMALLEST_RADIUS).astype(np.float32)
    dx, dy, dz = (b - a).T
    length = np.maximum(np.hypot(dx, dy), np.float32(1e-3))
    ux, uy = dx / length, dy / length
    part, row, column, widths = _boxes(a, b, radii.max(1), picture.shape)
    y = row.astype(np.float32) + 0.5 - a[part, 1]

    def over_pixels(of_rows: NDArray[Kind]) -> NDArray[Kind]:
        return np.repeat(of_rows, widths)

    x = column.astype(np.float32) + over_pixels(0.5 - a[part, 0])
    along = x * over_pixels(ux[part]) + over_pixels(y * uy[part])
    # The sign makes `across` point to the right of the picture for an axis that points down.
    across = x * over_pixels(uy[part]) - over_pixels(y * ux[part])
    on_axis = np.clip(along, 0, over_pixels(length[part]))
    step = (on_axis * over_pixels((STEPS - 1) / length[part])).astype(np.int64) + over_pixels(part * STEPS)
    radius = radii.take(step)
    # An end without a cap: any way beyond it is too far.
    beyond = (along - on_axis) * over_pixels(np.where(solids.capped, 1, 1e6).astype(np.float32)[part])
    kept = np.flatnonzero(across * across + beyond * beyond < radius * radius)
    of_row = over_pixels(np.arange(len(part))).take(kept)
    part, step, radius = part.take(of_row), step.take(kept), radius.take(kept)
    pixel = (row * picture.shape[1]).take(of_row) + column.take(kept)
    s = across.take(kept) / radius
    z = (a[:, 2] + solids.lift.astype(np.float32) * scale).take(part) + on_axis.take(kept) * (dz / length).take(part)
    z += solids.bulge.astype(np.float32).take(part) * radius * np.sqrt(1 - s * s)
    depth = np.full(picture.shape[0] * picture.shape[1], -np.inf, np.float32)
    np.maximum.at(depth, pixel, z)
    nearest = np.flatnonzero(z == depth.take(pixel))
    part, step, s = part.take(nearest), step.take(nearest), s.take(nearest)
    picture.reshape(-1, 3)[pixel.take(nearest)] = _colours(part, step, s, solids, _light(ux, uy, shade))


def _boxes(a: Floats, b: Floats, reach: Floats, size: tuple[int, ...]) -> tuple[Whole, Whole, Whole, Whole]:
    """The rows of the boxes around all parts: part and row of each, columns of their pixels, pixels in each."""
    low, high = np.minimum(a, b)[:, :2] - reach[:, None], np.maximum(a, b)[:, :2] + reach[:, None] + 2
    left, top = np.clip(low, 0, size[1::-1]).astype(np.int64).T
    wide, tall = np.clip(high, 0, size[1::-1]).astype(np.int64).T - (left, top)
    part = np.repeat(np.arange(len(a)), tall)
    row = np.arange(len(part)) - np.repeat(np.cumsum(tall) - tall - top, tall)
    widths = wide[part]
    column = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths - left[part], widths)
    return part, row, column, widths


def _light(ux: Floats, uy: Floats, shade: float) -> Floats:
    """(S, SECTORS) light by place across a part: Lambert's law with an ambient share."""
    s = np.linspace(-1, 1, SECTORS, dtype=np.float32)
    facing = np.clip(s * (uy * LIGHT[0] + ux * LIGHT[1])[:, None] + np.sqrt(1 - s * s) * LIGHT[2], 0, 1)
    lit: Floats = (1 - shade + shade * 1.35 * facing).astype(np.float32)
    return lit


def _colours(part: Whole, step: Whole, s: Floats, solids: Solids, light: Floats) -> Floats:
    """Colour (n, 3) of places on parts, `s` across them from -1 to 1."""
    turned = np.arcsin(s) - solids.yaw.astype(np.float32).take(part)
    sector = ((turned + np.float32(2 * np.pi)) * (SECTORS / (2 * np.pi)) + SECTORS // 2).astype(np.int64) % SECTORS
    lit = light.take(part * SECTORS + ((s + 1) * ((SECTORS - 1) / 2)).astype(np.int64))
    return solids.textures.reshape(-1, 3).take(step * SECTORS + sector, axis=0) * lit[:, None]
