"""The articulated figure: the solids that make up a clothed body, and how they stand at a moment of its walk.

Body coordinates: side (to the person's left), forward, up; the feet stand at height 0, lengths are
shares of the image height of a person of height 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.data.pedestrians.people import Appearance
from nas.data.pedestrians.raster import ALONG, AROUND, STEPS, Bytes, Colour, Solid, Solids, checks, front, paint, rings

Point = NDArray[np.float64]

SLEEVES = {"tshirt": 0.55, "sweater": 2.0, "jacket": 2.0, "coat": 2.0, "vest": 0.0}
"""How far a garment covers the arm: 0 none, 1 to the elbow, 2 to the wrist."""
HAIRLINE = {"short": 0.62, "cap": 0.5, "ponytail": 0.62, "bun": 0.62, "bald": 0.0}
"""How far down the back of the head hair reaches; other styles cover all of it."""
LOOSE_HAIR: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, ...]]] = {
    "bob": ((-0.025, 0.09), (-0.03, 0.0), (0.045, 0.058, 0.055)),
    "long": ((-0.025, 0.09), (-0.055, -0.11), (0.045, 0.058, 0.056, 0.045)),
    "ponytail": ((-0.062, 0.07), (-0.085, -0.05), (0.018, 0.022, 0.012)),
    "bun": ((-0.035, 0.125), (-0.04, 0.10), (0.024, 0.028)),
    "hood": ((-0.03, 0.05), (-0.045, -0.03), (0.052, 0.066, 0.05)),
    "cap": ((0.006, 0.125), (0.006, 0.082), (0.030, 0.056, 0.060)),
}
"""(forward, up) from the chin where it begins and ends, and its radii."""
LEFT = np.array([1.0, 0.0, 0.0])
SIDES = {"l": 1.0, "r": -1.0}
JOINTS = ("ground", "pelvis", "neck", "head", *(f"{j}_{s}" for s in SIDES for j in
          ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "hand")))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stance:
    """One moment: where in the walking cycle, facing where, with which habits.

    phase: radians of the walking cycle. stride: swing of the legs in radians. yaw: 0 faces the
    camera, pi turns the back. pitch: the camera looks down by this many radians. lean: of the
    torso, forwards. bend: of the elbows in radians.
    """

    phase: float
    stride: float
    yaw: float
    pitch: float
    lean: float
    bend: float


class Figure:
    """Parts hung on joints; made once, placed at every moment that is drawn."""

    def __init__(self, parts: Sequence[Solid], height: float = 1.0) -> None:
        self._ends = np.array([(JOINTS.index(p.a), JOINTS.index(p.b)) for p in parts]).T
        self._offsets = np.array([(p.above, p.below) for p in parts], float).transpose(1, 0, 2) * height
        places = np.linspace(0, 1, STEPS)
        self._radii = np.array([np.interp(places, np.linspace(0, 1, len(p.radii)), p.radii) for p in parts]) * height
        self._textures = np.stack([p.texture for p in parts])
        self._deep = np.array([np.nan if p.deep is None else p.deep for p in parts])
        self._bulge, self._lift = (np.array([getattr(p, name) for p in parts]) for name in ("bulge", "lift"))
        self._capped = np.array([p.capped for p in parts])

    def placed(
        self, points: Point, yaw: float, pitch: float, at: tuple[float, float, float] = (0, 0, 0), size: float = 1.0
    ) -> Solids:
        """The solids with the joints at `points` (len(JOINTS), 3), seen from a side, moved by `at` and scaled."""
        turn, tilt = (np.array([np.cos(v), np.sin(v)]) for v in (yaw, pitch))
        forward = np.array([turn[1], -turn[0] * tilt[1], turn[0] * tilt[0]])
        side = np.array([turn[0], turn[1] * tilt[1], -turn[1] * tilt[0]])
        view = np.stack([side, forward, [0.0, tilt[0], tilt[1]]]) * size
        a, b = (points[self._ends] + self._offsets) @ view + at
        # A part wider than deep (or deeper than wide) looks as wide as its ellipse is from here.
        wide = np.hypot(turn[0], self._deep * turn[1])
        flat = ~np.isnan(wide)
        bulge = np.where(flat, np.hypot(turn[1], self._deep * turn[0]) / wide, self._bulge)
        radii = self._radii * np.where(flat, wide, 1.0)[:, None] * size
        return Solids(a, b, radii, self._textures, np.full(len(a), yaw), bulge, self._lift * size, self._capped)


def joints(person: Appearance, stance: Stance) -> Point:
    """Body coordinates of `JOINTS`, (len(JOINTS), 3)."""
    h, g = person.height, person.girth
    leg, torso = person.leg_share * h, (0.86 - person.leg_share) * h
    pelvis = np.array([0.0, 0.0, leg * (0.965 + 0.02 * np.cos(2 * stance.phase))])
    neck = pelvis + torso * np.array([0.0, np.sin(stance.lean), np.cos(stance.lean)])
    found = [np.zeros(3), pelvis, neck, neck + h * np.array([0.0, 0.012, 0.012])]
    for sign in SIDES.values():
        swing = sign * stance.stride * np.sin(stance.phase)
        bend = 0.12 + 1.1 * stance.stride * max(0.0, sign * np.cos(stance.phase))
        hip = pelvis + sign * 0.05 * g * h * LEFT
        knee = hip + 0.5 * leg * _down(swing)
        ankle = knee + 0.46 * leg * _down(swing - bend)
        toe = ankle + 0.085 * h * np.array([0.1 * sign, 1.0, -0.15 - 0.3 * max(0.0, -swing)])
        across = sign * 0.092 * h * person.shoulders * (0.8 + 0.2 * g)
        shoulder = neck + np.array([across, 0.0, -0.058 * h])
        outward = sign * (0.19 + 0.16 * (g - 1)) * LEFT
        elbow = shoulder + 0.165 * h * (_down(-0.8 * swing) + outward)
        hand = elbow + 0.155 * h * (_down(stance.bend - 0.8 * swing) + 0.3 * outward)
        found += [hip, knee, ankle, toe, shoulder, elbow, hand]
    return np.stack(found)


def _down(angle: float) -> Point:
    """Unit vector that hangs down, swung forwards by `angle`."""
    return np.array([0.0, np.sin(angle), -np.cos(angle)])


def clothed(person: Appearance) -> Figure:
    """The figure of a person."""
    parts = [*_head(person), *_torso(person), *_bag(person)]
    for side in SIDES:
        parts += [*_leg(person, side), *_arm(person, side)]
    return Figure(parts, person.height)


def _darker(colour: Colour, share: float = 0.75) -> Colour:
    red, green, blue = (int(c * share) for c in colour)
    return red, green, blue


def _head(p: Appearance) -> Iterator[Solid]:
    hair = p.upper if p.hair_style == "hood" else p.hair
    grown = (ALONG < 0.27) | (np.abs(AROUND) > 1.15) & (HAIRLINE.get(p.hair_style, 1.1) > ALONG)
    eyes = (front(0.65, 0.42, 0.52), _darker(p.skin, 0.45))
    face = paint(p.skin, eyes, (grown & (p.hair_style != "bald"), hair))
    egg = (0.027, 0.048, 0.059, 0.062, 0.060, 0.049, 0.029)
    yield Solid("head", "head", egg, face, above=(0, 0.012, 0.115), deep=1.12)
    yield Solid("head", "neck", (0.026, 0.030), paint(p.skin), below=(0, 0, -0.03))
    if p.hair_style in LOOSE_HAIR:
        top, end, radii = LOOSE_HAIR[p.hair_style]
        colour = {"cap": p.bag, "hood": _darker(p.upper)}.get(p.hair_style, p.hair)
        deep = 1.12 if p.hair_style == "cap" else None
        yield Solid("head", "head", radii, paint(colour), (0, *top), (0, *end), deep)
    if p.hair_style == "cap":
        yield Solid("head", "head", (0.03, 0.02), paint(p.bag), (0, 0.05, 0.086), (0, 0.095, 0.076), bulge=0.2)


def _torso(p: Appearance) -> Iterator[Solid]:
    s, g = p.shoulders, p.girth
    profile = (0.040, 0.080 * s, 0.103 * s, 0.105 * s, 0.104 * s * g**0.5, 0.098 * g, 0.095 * g, 0.098 * g, 0.100 * g)
    cloth = _upper_cloth(p)
    yield Solid("neck", "pelvis", profile, cloth, below=(0, 0, -0.03), deep=0.62 * g**0.5, capped=False, lift=0.02)
    if p.upper_kind == "coat":
        coat, wide = paint(p.upper, (front(0.12), _darker(p.upper, 0.6))), (0.098 * g, 0.108 * g, 0.118 * g, 0.125 * g)
        yield Solid("pelvis", "pelvis", wide, coat, below=(0, 0, -0.24), deep=0.75, capped=False, lift=0.06)
    cloth, _ = _lower_cloth(p)
    if skirt := {"skirt": 0.20, "long skirt": 0.36}.get(p.lower_kind):
        flare = (0.090 * g, 0.103 * g, 0.11 * g + 0.1 * skirt)
        yield Solid("pelvis", "pelvis", flare, cloth, (0, 0, 0.02), (0, 0, -skirt), deep=0.96, capped=False, lift=0.06)
    else:
        hips = (0.094 * g, 0.09 * g)
        yield Solid("pelvis", "pelvis", hips, paint(p.lower), (0, 0, 0.05), (0, 0, -0.02), deep=0.7)


def _upper_cloth(p: Appearance) -> Bytes:
    """The front and back of the upper garment with its pattern, and the bag's strap over it."""
    patterns = {
        "stripes": rings(7),
        "wide stripes": rings(3.5),
        "two-tone": ALONG > 0.48,
        "logo": front(0.5, 0.2, 0.55),
        "checks": checks(5, 10),
        "chest band": (ALONG > 0.25) & (ALONG < 0.45),
    }
    layers = [(patterns[p.upper_pattern], p.upper_second)] if p.upper_pattern in patterns else []
    if p.upper_kind in ("jacket", "vest"):
        layers.append((front(0.33), p.upper_second))
    if p.bag_kind.startswith("shoulder"):
        hip = 1.0 if p.bag_kind.endswith("left") else -1.0
        layers.append((np.abs(np.sin(AROUND) * hip - (ALONG * 1.6 - 0.8)) < 0.10, p.bag))
    return paint(p.upper, *layers)


def _lower_cloth(p: Appearance) -> tuple[Bytes, Bytes]:
    """The lower garment's upper half (thighs, or a whole skirt) and its lower half (shins)."""
    base = paint(p.lower)
    if p.lower_pattern == "side stripe":
        striped = paint(p.lower, (np.abs(np.abs(AROUND) - np.pi / 2) < 0.35, p.lower_second))
        return striped, striped
    if p.lower_pattern == "two-tone":
        skirt = paint(p.lower, (ALONG > 0.6, p.lower_second))
        return skirt if "skirt" in p.lower_kind else base, paint(p.lower_second)
    if p.lower_pattern == "cuffs":
        cuffs = paint(p.lower, (ALONG > 0.78, p.lower_second))
        return cuffs if p.lower_kind != "trousers" else base, cuffs
    return base, base


def _leg(p: Appearance, side: str) -> Iterator[Solid]:
    g, long = p.girth, p.lower_kind == "trousers"
    thigh, shin = _lower_cloth(p)
    if "skirt" in p.lower_kind:
        thigh = paint(p.skin)
    elif p.lower_kind == "shorts":
        thigh = np.where((ALONG > 0.85)[..., None], paint(p.skin), thigh)
    if not long:
        shin = paint(p.skin, ((0.4 if p.boots else 1.0) < ALONG, p.shoes))
    loose = 1.0 if long else 0.82
    yield Solid(f"hip_{side}", f"knee_{side}", (0.064 * g, 0.058 * g, 0.046 * g), thigh)
    yield Solid(f"knee_{side}", f"ankle_{side}", (0.045 * g * loose, 0.043 * g * loose, 0.037 * loose), shin)
    yield Solid(f"ankle_{side}", f"toe_{side}", (0.030, 0.029, 0.020), paint(p.shoes))


def _arm(p: Appearance, side: str) -> Iterator[Solid]:
    reach, count = SLEEVES[p.upper_kind], {"stripes": 3.0, "wide stripes": 1.5}.get(p.upper_pattern)
    sleeve = p.upper_second if p.upper_pattern == "sleeves" else p.upper
    striped = (rings(count or 1) & (count is not None), p.upper_second)
    loose = (0.5 + 0.5 * p.girth) * (1.0 if reach < 2 else 1.18)
    upper = paint(sleeve, striped, (reach < ALONG, p.skin))
    yield Solid(f"shoulder_{side}", f"elbow_{side}", (0.031 * loose, 0.033 * loose, 0.028 * loose), upper)
    lower = paint(sleeve, striped) if reach >= 2 else paint(p.skin)
    yield Solid(f"elbow_{side}", f"hand_{side}", (0.029 * loose, 0.027 * loose, 0.022 * loose), lower)
    yield Solid(f"hand_{side}", f"hand_{side}", (0.021, 0.017), paint(p.skin), below=(0, 0.006, -0.02))


def _bag(p: Appearance) -> Iterator[Solid]:
    cloth = paint(p.bag, (rings(2, 0.12), _darker(p.bag, 0.6)))
    if p.bag_kind == "backpack":
        radii = (0.05, 0.082, 0.086, 0.086, 0.07)
        yield Solid("neck", "neck", radii, cloth, (0, -0.105, -0.02), (0, -0.105, -0.22), deep=0.62)
    elif p.bag_kind == "handbag":
        yield Solid("hand_l", "hand_l", (0.045, 0.052, 0.05), cloth, (0, 0, -0.04), (0, 0, -0.115), bulge=0.5)
    elif p.bag_kind != "none":
        x = (1.0 if p.bag_kind.endswith("left") else -1.0) * 0.115 * p.girth
        yield Solid("pelvis", "pelvis", (0.052, 0.06, 0.056), cloth, (x, 0, 0.03), (x, 0, -0.07), bulge=0.6)
