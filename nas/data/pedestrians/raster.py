"""Draws solids of revolution into a picture with a depth buffer.

Every body part is a `Solid`: an axis between two points, a radius along it, a paint. For each pixel
the place on the axis (t) and around it (angle) is computed, so patterns stick to the body and turn
with it. Nothing here knows what a body is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.data.pedestrians.pose import Point

Floats = NDArray[np.float32]
Paint = Callable[[Floats, Floats], Floats]
"""(t in 0-1 from the upper end, angle in -pi..pi from the front, positive to the left) -> RGB in 0-255, (n, 3)."""

LIGHT = (-0.35, 0.6, 0.72)
"""Where the light comes from, in view coordinates."""


@dataclass(frozen=True, slots=True)
class Solid:
    """A part in view coordinates.

    a, b: ends of the axis. radii: at equal steps from a to b, as seen in the picture. depth: how far
    it bulges towards the camera, as a share of the radius. yaw: which way its front faces.
    paint: colours. capped: round ends beyond a and b. lift: moves it towards the camera for the depth
    test only, so that cloth hides the limb inside it.
    """

    a: Point
    b: Point
    radii: tuple[float, ...]
    paint: Paint
    yaw: float = 0.0
    depth: float = 1.0
    capped: bool = True
    lift: float = 0.0


class Canvas:
    """A picture being drawn: colours (H, W, 3) in 0-255 and depth (H, W).

    Args:
        background: float32 (H, W, 3).
        scale: pixels a unit of view coordinates.
        origin: pixel (column, row) of the view's origin.
        shade: how much of the light is directed, 0 (flat) to 1.
    """

    def __init__(self, background: Floats, scale: float, origin: tuple[float, float], shade: float = 0.45) -> None:
        self.pixels = background
        self.height, self.width = int(background.shape[0]), int(background.shape[1])
        self.depth = np.full((self.height, self.width), -np.inf, dtype=np.float32)
        self.scale, self.origin, self.shade = scale, origin, shade

    def draw(self, solid: Solid) -> None:
        """Draw a solid where nothing nearer has been drawn."""
        a, b = self._to_pixels(solid.a), self._to_pixels(solid.b)
        radii = np.maximum(np.asarray(solid.radii) * self.scale, 0.3)
        box = self._box(a, b, float(radii.max()))
        if box is None:
            return
        rows, columns, t, across, radius = _inside(box, a, b, radii, solid.capped)
        if len(rows) == 0:
            return
        s = np.clip(across / radius, -1, 1)
        bulge = np.sqrt(1 - s * s)
        z = a[2] + t * (b[2] - a[2]) + solid.depth * bulge * radius + solid.lift * self.scale
        nearer = z > self.depth[rows, columns]
        rows, columns, t, s, bulge = (v[nearer] for v in (rows, columns, t, s, bulge))
        self.depth[rows, columns] = z[nearer]
        angle = _wrap(np.arcsin(s) - solid.yaw)
        light = self._light(a, b, s, bulge)
        self.pixels[rows, columns] = solid.paint(t.astype(np.float32), angle) * light[:, None]

    def darken(self, point: Point, across: float, along: float, share: float) -> None:
        """A soft shadow on the background: an ellipse around a point in view coordinates, with these half-axes."""
        x, y, _ = self._to_pixels(point)
        rows, columns = np.ogrid[: self.height, : self.width]
        reach = ((columns - x) / (across * self.scale)) ** 2 + ((rows - y) / (along * self.scale)) ** 2
        self.pixels *= (1 - share * np.clip(1.2 - reach, 0, 1))[..., None].astype(np.float32)

    def _to_pixels(self, point: Point) -> Point:
        return np.array(
            [self.origin[0] + self.scale * point[0], self.origin[1] - self.scale * point[1], self.scale * point[2]]
        )

    def _box(self, a: Point, b: Point, radius: float) -> tuple[int, int, int, int] | None:
        height, width = self.height, self.width
        left, right = min(a[0], b[0]) - radius, max(a[0], b[0]) + radius
        top, bottom = min(a[1], b[1]) - radius, max(a[1], b[1]) + radius
        box = max(int(top), 0), min(int(bottom) + 2, height), max(int(left), 0), min(int(right) + 2, width)
        return box if box[0] < box[1] and box[2] < box[3] else None

    def _light(self, a: Point, b: Point, s: Floats, bulge: Floats) -> Floats:
        """Lambert's law with an ambient share."""
        dx, dy = float(b[0] - a[0]), float(b[1] - a[1])
        across = (dy * LIGHT[0] + dx * LIGHT[1]) / max(float(np.hypot(dx, dy)), 1e-6)
        facing = np.clip(s * across + bulge * LIGHT[2], 0, 1)
        lit: Floats = (1 - self.shade + self.shade * 1.35 * facing).astype(np.float32)
        return lit


def _inside(
    box: tuple[int, int, int, int], a: Point, b: Point, radii: Floats, capped: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats, Floats]:
    """Pixels of the solid: rows, columns, place on the axis, signed distance across it, radius there."""
    top, bottom, left, right = box
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - a[1]
    x = np.arange(left, right, dtype=np.float32)[None, :] + 0.5 - a[0]
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = max(float(np.hypot(dx, dy)), 1e-3)
    along = (x * dx + y * dy) / length**2
    # The sign makes `across` point to the right of the picture for an axis that points down.
    across = (x * dy - y * dx) / length
    t = np.clip(along, 0, 1)
    radius = np.interp(t, np.linspace(0, 1, len(radii)), radii)
    beyond = (along - t) * length
    inside = across**2 + beyond**2 < radius**2 if capped else (np.abs(across) < radius) & (beyond == 0)
    rows, columns = np.nonzero(inside)
    return rows + top, columns + left, t[inside], across[inside], radius[inside]


def _wrap(angle: Floats) -> Floats:
    return ((angle + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)
