"""Who a person is: build, hair, skin, garments with colours and patterns, shoes and bag.

Persons are drawn in groups of look-alikes that share garments and their colours and differ in
build, hair, pattern, bag and shoes, so that colour alone cannot tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

Colour = tuple[int, int, int]
Choice = TypeVar("Choice")

SKIN: tuple[Colour, ...] = ((243, 207, 179), (224, 172, 135), (190, 135, 98), (141, 92, 62), (92, 60, 42))
HAIR: tuple[Colour, ...] = ((28, 23, 20), (74, 48, 32), (121, 78, 44), (196, 158, 96), (138, 136, 134), (148, 62, 32))
UPPER: tuple[Colour, ...] = (
    (236, 236, 230),
    (38, 38, 42),
    (128, 130, 134),
    (176, 40, 44),
    (36, 62, 130),
    (52, 116, 78),
    (222, 186, 66),
    (124, 160, 204),
    (206, 130, 156),
    (110, 78, 54),
)
LOWER: tuple[Colour, ...] = (
    (34, 36, 44),
    (58, 78, 122),
    (126, 122, 116),
    (176, 160, 130),
    (84, 66, 52),
    (220, 218, 212),
)
SHOES: tuple[Colour, ...] = ((26, 26, 28), (232, 232, 232), (104, 70, 44), (178, 44, 46), (66, 92, 150))
BAGS: tuple[Colour, ...] = ((30, 30, 34), (140, 44, 48), (44, 74, 120), (150, 110, 64), (70, 110, 80), (206, 200, 188))

UPPER_KINDS = ("tshirt", "sweater", "jacket", "coat", "vest")
LOWER_KINDS = ("trousers", "trousers", "shorts", "skirt", "long skirt")
UPPER_PATTERNS = ("plain", "stripes", "wide stripes", "two-tone", "logo", "checks", "chest band", "sleeves")
LOWER_PATTERNS = ("plain", "plain", "side stripe", "two-tone", "cuffs")
HAIR_STYLES = ("short", "bald", "bob", "long", "ponytail", "bun", "cap", "hood")
BAG_KINDS = ("none", "none", "backpack", "shoulder left", "shoulder right", "handbag")


@dataclass(frozen=True, slots=True)
class Appearance:
    """What stays the same wherever a person is seen; lengths are shares of a person of height 1."""

    height: float
    girth: float
    shoulders: float
    leg_share: float
    skin: Colour
    hair: Colour
    hair_style: str
    upper_kind: str
    upper: Colour
    upper_second: Colour
    upper_pattern: str
    lower_kind: str
    lower: Colour
    lower_second: Colour
    lower_pattern: str
    shoes: Colour
    boots: bool
    bag_kind: str
    bag: Colour

    @property
    def traits(self) -> tuple[object, ...]:
        """What tells look-alikes apart, but for build; no two of a group share all of it."""
        return (self.hair_style, self.hair, self.upper_pattern, self.upper_second, self.bag_kind, self.bag, self.shoes)


def draw_people(count: int, lookalikes: int, rng: np.random.Generator) -> list[Appearance]:
    """Persons in groups of `lookalikes`; within a group at least two traits differ between any two."""
    people: list[Appearance] = []
    while len(people) < count:
        group = [draw_person(rng)]
        while len(group) < min(lookalikes, count - len(people)):
            group.append(_distinct(group, rng))
        people.extend(group)
    return people


def draw_person(rng: np.random.Generator) -> Appearance:
    """One person, every attribute drawn at random."""
    upper, lower = pick(UPPER, rng), pick(LOWER, rng)
    return Appearance(
        height=float(rng.uniform(0.88, 1.04)),
        girth=float(rng.uniform(0.82, 1.28)),
        shoulders=float(rng.uniform(0.92, 1.12)),
        leg_share=float(rng.uniform(0.47, 0.52)),
        skin=pick(SKIN, rng),
        hair=pick(HAIR, rng),
        hair_style=pick(HAIR_STYLES, rng),
        upper_kind=pick(UPPER_KINDS, rng),
        upper=upper,
        upper_second=pick([c for c in UPPER if c != upper], rng),
        upper_pattern=pick(UPPER_PATTERNS, rng),
        lower_kind=pick(LOWER_KINDS, rng),
        lower=lower,
        lower_second=pick([c for c in LOWER if c != lower], rng),
        lower_pattern=pick(LOWER_PATTERNS, rng),
        shoes=pick(SHOES, rng),
        boots=bool(rng.random() < 0.25),
        bag_kind=pick(BAG_KINDS, rng),
        bag=pick(BAGS, rng),
    )


def pick(choices: tuple[Choice, ...] | list[Choice], rng: np.random.Generator) -> Choice:
    """One of the choices, all alike."""
    return choices[int(rng.integers(len(choices)))]


def _distinct(group: list[Appearance], rng: np.random.Generator) -> Appearance:
    first = group[0]
    while True:
        person = draw_person(rng)
        person = replace(
            person,
            upper_kind=first.upper_kind,
            upper=first.upper,
            upper_second=pick([c for c in UPPER if c != first.upper], rng),
            lower_kind=first.lower_kind,
            lower=first.lower,
            lower_second=first.lower_second,
        )
        if all(_differing(person, other) >= 2 for other in group):
            return person


def _differing(one: Appearance, other: Appearance) -> int:
    return sum(a != b for a, b in zip(one.traits, other.traits, strict=True))
