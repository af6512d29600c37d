"""From appearance and pose to the solids that make up a clothed body, in view coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nas.data.pedestrians.appearance import Appearance, Colour
from nas.data.pedestrians.paint import band, below, checks, front, masked, plain, rings, sides, strap
from nas.data.pedestrians.pose import Point, Stance, View, joints
from nas.data.pedestrians.raster import Paint, Solid

SLEEVES = {"tshirt": 0.55, "sweater": 2.0, "jacket": 2.0, "coat": 2.0, "vest": 0.0}
"""How far a garment covers the arm: 0 none, 1 to the elbow, 2 to the wrist."""


@dataclass(frozen=True, slots=True)
class Body:
    """A person in a stance, ready to be taken apart into solids."""

    person: Appearance
    stance: Stance
    view: View
    joints: dict[str, Point]

    @classmethod
    def of(cls, person: Appearance, stance: Stance) -> Body:
        """Place the joints."""
        return cls(person, stance, View(stance.yaw, stance.pitch), joints(person, stance))

    def solid(self, a: Point, b: Point, radii: tuple[float, ...], paint: Paint, **more: float | bool) -> Solid:
        """A solid between two points in body coordinates, radii as shares of the person's height."""
        sized = tuple(r * self.person.height for r in radii)
        return Solid(self.view(a), self.view(b), sized, paint, self.stance.yaw, **more)  # type: ignore[arg-type]

    def flat(
        self, a: Point, b: Point, wide: tuple[float, ...], deep: float, paint: Paint, **more: float | bool
    ) -> Solid:
        """A solid with an elliptic cross-section: `wide` from side to side, `deep` times that front to back."""
        c, s = np.cos(self.stance.yaw), np.sin(self.stance.yaw)
        seen = float(np.hypot(c, deep * s))
        bulge = float(np.hypot(s, deep * c)) / seen
        return self.solid(a, b, tuple(w * seen for w in wide), paint, depth=bulge, **more)


def body_solids(person: Appearance, stance: Stance) -> Iterator[Solid]:
    """Every solid of a clothed person."""
    body = Body.of(person, stance)
    yield from _head(body)
    yield from _torso(body)
    yield from _lower(body)
    for side in ("l", "r"):
        yield from _arm(body, side)
        yield from _foot(body, side)
    yield from _bag(body)


def upper_paint(person: Appearance) -> Paint:
    """The front and back of the upper garment with its pattern, and the bag's strap over it."""
    base, second = plain(person.upper), plain(person.upper_second)
    patterns: dict[str, Paint] = {
        "stripes": masked(base, second, rings(7)),
        "wide stripes": masked(base, second, rings(3.5)),
        "two-tone": masked(base, second, below(0.48)),
        "logo": masked(base, second, front(0.5, 0.2, 0.55)),
        "checks": masked(base, second, checks(5, 10)),
        "chest band": masked(base, second, band(0.25, 0.45)),
    }
    paint = patterns.get(person.upper_pattern, base)
    if person.upper_kind in ("jacket", "vest"):
        paint = masked(paint, second, front(0.33))
    if person.bag_kind.startswith("shoulder"):
        paint = masked(paint, plain(person.bag), strap(1.0 if person.bag_kind.endswith("left") else -1.0))
    return paint


def lower_paints(person: Appearance) -> tuple[Paint, Paint]:
    """The lower garment's upper half (hips and thighs, or a whole skirt) and its lower half (shins)."""
    base, second = plain(person.lower), plain(person.lower_second)
    if person.lower_pattern == "side stripe":
        striped = masked(base, second, sides(0.35))
        return striped, striped
    if person.lower_pattern == "two-tone":
        return (masked(base, second, below(0.6)), second) if "skirt" in person.lower_kind else (base, second)
    if person.lower_pattern == "cuffs":
        cuffs = masked(base, second, below(0.78))
        return (cuffs if person.lower_kind != "trousers" else base), cuffs
    return base, base


def _darker(colour: Colour, share: float = 0.75) -> Colour:
    return tuple(int(c * share) for c in colour)  # type: ignore[return-value]


def _head(body: Body) -> Iterator[Solid]:
    p, h = body.person, body.person.height
    low = body.joints["head"]
    top = low + h * np.array([0.0, 0.012, 0.115])
    face = masked(plain(p.skin), plain(_darker(p.skin, 0.45)), front(0.65, 0.42, 0.52))
    egg = (0.027, 0.048, 0.059, 0.062, 0.060, 0.049, 0.029)
    yield body.flat(top, low, egg, 1.12, _hair_paint(p, face))
    yield body.solid(low, body.joints["neck"] - h * np.array([0.0, 0.0, 0.03]), (0.026, 0.030), plain(p.skin))
    yield from _hair(body, top, low)


def _hair_paint(person: Appearance, face: Paint) -> Paint:
    hair = plain(person.upper if person.hair_style == "hood" else person.hair)
    if person.hair_style == "bald":
        return face
    low = {"short": 0.62, "cap": 0.5, "ponytail": 0.62, "bun": 0.62}.get(person.hair_style, 1.1)
    behind = masked(face, hair, lambda t, angle: (np.abs(angle) > 1.15) & (t < low))
    return masked(behind, hair, lambda t, angle: t < 0.27)


def _hair(body: Body, top: Point, low: Point) -> Iterator[Solid]:
    p, h = body.person, body.person.height
    hair = plain(p.hair)

    def at(forward: float, up: float) -> Point:
        return low + h * np.array([0.0, forward, up])

    if p.hair_style == "bob":
        yield body.solid(at(-0.025, 0.09), at(-0.03, 0.0), (0.045, 0.058, 0.055), hair)
    elif p.hair_style == "long":
        yield body.solid(at(-0.025, 0.09), at(-0.055, -0.11), (0.045, 0.058, 0.056, 0.045), hair)
    elif p.hair_style == "ponytail":
        yield body.solid(at(-0.062, 0.07), at(-0.085, -0.05), (0.018, 0.022, 0.012), hair)
    elif p.hair_style == "bun":
        yield body.solid(at(-0.035, 0.125), at(-0.04, 0.10), (0.024, 0.028), hair)
    elif p.hair_style == "cap":
        yield body.flat(at(0.006, 0.125), at(0.006, 0.082), (0.030, 0.056, 0.060), 1.12, plain(p.bag))
        yield body.solid(at(0.05, 0.086), at(0.095, 0.076), (0.03, 0.02), plain(p.bag), depth=0.2)
    elif p.hair_style == "hood":
        yield body.solid(at(-0.03, 0.05), at(-0.045, -0.03), (0.052, 0.066, 0.05), plain(_darker(p.upper)))


def _torso(body: Body) -> Iterator[Solid]:
    p, h = body.person, body.person.height
    pelvis, neck = body.joints["pelvis"], body.joints["neck"]
    s, g = p.shoulders, p.girth
    paint = upper_paint(p)
    hem = pelvis - h * np.array([0.0, 0.0, 0.03])
    profile = (0.040, 0.080 * s, 0.103 * s, 0.105 * s, 0.104 * s * g**0.5, 0.098 * g, 0.095 * g, 0.098 * g, 0.100 * g)
    yield body.flat(neck, hem, profile, 0.62 * g**0.5, paint, capped=False, lift=0.02)
    if p.upper_kind == "coat":
        knee = pelvis - h * np.array([0.0, 0.0, 0.24])
        coat = masked(plain(p.upper), plain(_darker(p.upper, 0.6)), front(0.12))
        yield body.flat(pelvis, knee, (0.098 * g, 0.108 * g, 0.118 * g, 0.125 * g), 0.75, coat, capped=False, lift=0.06)


def _lower(body: Body) -> Iterator[Solid]:
    p, h, j = body.person, body.person.height, body.joints
    (cloth, shin), g = lower_paints(p), p.girth
    skirt = {"skirt": 0.20, "long skirt": 0.36}.get(p.lower_kind)
    if skirt is not None:
        end = j["pelvis"] - h * np.array([0.0, 0.0, skirt])
        flare = (0.090 * g, 0.103 * g, 0.11 * g + 0.1 * skirt)
        top = j["pelvis"] + h * np.array([0, 0, 0.02])
        yield body.flat(top, end, flare, 0.8 + 0.5 * body.stance.stride, cloth, capped=False, lift=0.06)
    else:
        hips = (j["hip_l"] + j["hip_r"]) / 2
        top, bottom = hips + h * np.array([0, 0, 0.05]), hips - h * np.array([0, 0, 0.02])
        yield body.flat(top, bottom, (0.094 * g, 0.09 * g), 0.7, plain(p.lower))
    for side in ("l", "r"):
        yield from _leg(body, side, plain(p.skin) if skirt else cloth, shin)


def _leg(body: Body, side: str, thigh: Paint, shin: Paint) -> Iterator[Solid]:
    p, j = body.person, body.joints
    g, long = p.girth, p.lower_kind == "trousers"
    thigh = masked(thigh, plain(p.skin), below(0.85)) if p.lower_kind == "shorts" else thigh
    shin = shin if long else plain(p.skin)
    if p.boots and not long:
        shin = masked(shin, plain(p.shoes), below(0.4))
    loose = 1.0 if long else 0.82
    yield body.solid(j[f"hip_{side}"], j[f"knee_{side}"], (0.064 * g, 0.058 * g, 0.046 * g), thigh)
    yield body.solid(j[f"knee_{side}"], j[f"ankle_{side}"], (0.045 * g * loose, 0.043 * g * loose, 0.037 * loose), shin)


def _foot(body: Body, side: str) -> Iterator[Solid]:
    ankle, toe = body.joints[f"ankle_{side}"], body.joints[f"toe_{side}"]
    yield body.solid(ankle, toe, (0.030, 0.029, 0.020), plain(body.person.shoes))


def _arm(body: Body, side: str) -> Iterator[Solid]:
    p, j = body.person, body.joints
    g, skin = 0.5 + 0.5 * p.girth, plain(p.skin)
    cloth = plain(p.upper_second if p.upper_pattern == "sleeves" else p.upper)
    if p.upper_pattern in ("stripes", "wide stripes"):
        cloth = masked(cloth, plain(p.upper_second), rings(3 if p.upper_pattern == "stripes" else 1.5))
    reach = SLEEVES[p.upper_kind]
    upper = cloth if reach >= 1 else masked(cloth, skin, below(reach))
    loose = 1.0 if reach < 2 else 1.18
    arm = (0.031 * g * loose, 0.033 * g * loose, 0.028 * g * loose)
    yield body.solid(j[f"shoulder_{side}"], j[f"elbow_{side}"], arm, upper)
    forearm = (0.029 * g * loose, 0.027 * g * loose, 0.022 * loose)
    yield body.solid(j[f"elbow_{side}"], j[f"hand_{side}"], forearm, cloth if reach >= 2 else skin)
    fingers = j[f"hand_{side}"] + 0.02 * p.height * np.array([0.0, 0.3, -1.0])
    yield body.solid(j[f"hand_{side}"], fingers, (0.021, 0.017), skin)


def _bag(body: Body) -> Iterator[Solid]:
    p, h, j = body.person, body.person.height, body.joints
    cloth = masked(plain(p.bag), plain(_darker(p.bag, 0.6)), rings(2, 0.12))
    if p.bag_kind == "backpack":
        top = j["neck"] + h * np.array([0.0, -0.105, -0.02])
        yield body.flat(top, top - h * np.array([0, 0, 0.2]), (0.05, 0.082, 0.086, 0.086, 0.07), 0.62, cloth)
    elif p.bag_kind.startswith("shoulder"):
        side = 1.0 if p.bag_kind.endswith("left") else -1.0
        top = j["pelvis"] + h * np.array([side * 0.115 * p.girth, 0.0, 0.03])
        yield body.solid(top, top - h * np.array([0, 0, 0.1]), (0.052, 0.06, 0.056), cloth, depth=0.6)
    elif p.bag_kind == "handbag":
        top = j["hand_l"] - h * np.array([0.0, 0.0, 0.04])
        yield body.solid(top, top - h * np.array([0, 0, 0.075]), (0.045, 0.052, 0.05), cloth, depth=0.5)
