"""How a person walks: joints of an articulated figure over the walking cycle, seen from any side.

Body coordinates: side (to the person's left), forward, up; the feet stand at height 0, lengths are
shares of the image height of a person of height 1. View coordinates: x to the right of the
picture, y up, z towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.data.pedestrians.appearance import Appearance

Point = NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class View:
    """Turns body coordinates into view coordinates."""

    yaw: float
    pitch: float

    def __call__(self, point: Point) -> Point:
        """(side, forward, up) to (x, y, z)."""
        side, forward, up = point
        x = side * np.cos(self.yaw) + forward * np.sin(self.yaw)
        z = forward * np.cos(self.yaw) - side * np.sin(self.yaw)
        y = up * np.cos(self.pitch) - z * np.sin(self.pitch)
        return np.array([x, y, z * np.cos(self.pitch) + up * np.sin(self.pitch)])


def joints(person: Appearance, stance: Stance) -> dict[str, Point]:
    """Body coordinates of the joints, left ones ending in `_l`, right ones in `_r`."""
    h = person.height
    leg, torso = person.leg_share * h, (0.86 - person.leg_share) * h
    hip_up = leg * (0.965 + 0.02 * np.cos(2 * stance.phase))
    pelvis = np.array([0.0, 0.0, hip_up])
    neck = pelvis + torso * np.array([0.0, np.sin(stance.lean), np.cos(stance.lean)])
    found = {"pelvis": pelvis, "neck": neck, "head": neck + h * np.array([0.0, 0.012, 0.012])}
    for side, sign in (("l", 1.0), ("r", -1.0)):
        found |= _leg(person, stance, pelvis, leg, side, sign)
        found |= _arm(person, stance, neck, side, sign)
    return found


def _leg(person: Appearance, stance: Stance, pelvis: Point, length: float, side: str, sign: float) -> dict[str, Point]:
    swing = sign * stance.stride * np.sin(stance.phase)
    lifting = sign * np.cos(stance.phase)
    knee_bend = 0.12 + 1.1 * stance.stride * max(0.0, lifting)
    hip = pelvis + np.array([sign * 0.05 * person.girth * person.height, 0.0, 0.0])
    knee = hip + 0.5 * length * _down(swing)
    ankle = knee + 0.46 * length * _down(swing - knee_bend)
    toe = ankle + 0.085 * person.height * np.array([0.1 * sign, 1.0, -0.15 - 0.3 * max(0.0, -swing)])
    return {f"hip_{side}": hip, f"knee_{side}": knee, f"ankle_{side}": ankle, f"toe_{side}": toe}


def _arm(person: Appearance, stance: Stance, neck: Point, side: str, sign: float) -> dict[str, Point]:
    h = person.height
    swing = -sign * 0.8 * stance.stride * np.sin(stance.phase)
    across = sign * 0.092 * h * person.shoulders * (0.8 + 0.2 * person.girth)
    shoulder = neck + np.array([across, 0.0, -0.058 * h])
    outward = np.array([sign * (0.19 + 0.16 * (person.girth - 1)), 0.0, 0.0])
    elbow = shoulder + 0.165 * h * (_down(swing) + outward)
    hand = elbow + 0.155 * h * (_down(swing + stance.bend) + 0.3 * outward)
    return {f"shoulder_{side}": shoulder, f"elbow_{side}": elbow, f"hand_{side}": hand}


def _down(angle: float) -> Point:
    """Unit vector that hangs down, swung forwards by `angle`."""
    return np.array([0.0, np.sin(angle), -np.cos(angle)])
