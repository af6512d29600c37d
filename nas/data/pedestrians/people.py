"""Who a person is: build, hair, skin, garments with colours and patterns, shoes and bag.

Persons are drawn in groups of look-alikes that share garments and their colours and differ in
build, hair, pattern, bag and shoes, so that colour alone cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from nas.data.pedestrians.raster import Colour

Choice = TypeVar("Choice")


def colours(text: str) -> tuple[Colour, ...]:
    """Colours written as in HTML.

    >>> colours("ff0080 102030")
    ((255, 0, 128), (16, 32, 48))
    """
    return tuple((int(w[:2], 16), int(w[2:4], 16), int(w[4:], 16)) for w in text.split())


SKIN = colours("f3cfb3 e0ac87 be8762 8d5c3e 5c3c2a")
HAIR = colours("1c1714 4a3020 794e2c c49e60 8a8886 943e20")
UPPER = colours("ecece6 26262a 808286 b0282c 243e82 34744e deba42 7ca0cc ce829c 6e4e36")
LOWER = colours("22242c 3a4e7a 7e7a74 b0a082 544234 dcdad4")
SHOES = colours("1a1a1c e8e8e8 68462c b22c2e 425c96")
BAGS = colours("1e1e22 8c2c30 2c4a78 966e40 466e50 cec8bc")

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
        """What tells look-alikes apart, but for build; any two of a group differ in two of them."""
        return (self.hair_style, self.hair, self.upper_pattern, self.upper_second, self.bag_kind, self.bag, self.shoes)


def draw_people(count: int, lookalikes: int, rng: np.random.Generator) -> list[Appearance]:
    """Persons in groups of `lookalikes`; within a group at least two traits differ between any two."""
    people: list[Appearance] = []
    while len(people) < count:
        group = [draw_person(rng)]
        while len(group) < min(lookalikes, count - len(people)):
            person = _lookalike(group[0], rng)
            if all(sum(a != b for a, b in zip(person.traits, other.traits, strict=True)) >= 2 for other in group):
                group.append(person)
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


def pick(choices: Sequence[Choice], rng: np.random.Generator) -> Choice:
    """One of the choices, all alike."""
    return choices[int(rng.integers(len(choices)))]


def _lookalike(first: Appearance, rng: np.random.Generator) -> Appearance:
    """Another person in the same garments, of the same colours."""
    person, second = draw_person(rng), pick([c for c in UPPER if c != first.upper], rng)
    shared = ("upper_kind", "upper", "lower_kind", "lower", "lower_second")
    return replace(person, upper_second=second, **{name: getattr(first, name) for name in shared})
