"""The paper's notation for a candidate, both ways.

    resnet50                                       a backbone alone
    resnet50+cnl@6,8,14                            one block at three sites
    resnet50+cnl@8+agw(inner=one)@14               two types, one with a hyperparameter
    resnet50(width=0.25)+cnl@8[base_lr=0.0005]     a narrower backbone, and a value of the recipe
    timm:resnet50d+cnl@8, my_nets:Trunk+cnl@8      a backbone of timm's, and of one's own

Defaults are not written, placements of equal blocks are joined, and the order does not matter when read.
"""

from __future__ import annotations

import re
from typing import NoReturn

from nas.errors import SpaceError
from nas.spaces.blocks import Params, get_block_spec
from nas.spaces.candidate import BACKBONE_DEFAULTS, Candidate, Placed, Placement
from nas.spaces.values import ParamValue, format_value, parse_value, same_value

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_]\w*)?")
_BACKBONE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*)?")  # of timm's, with a tag that is refused
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|[^,()\[\]="\s]+')
_NUMBER = re.compile(r"\d+")
_SPACE = re.compile(r"\s*")
_EXAMPLE = "Write it like resnet50+cnl@6,8,14 or resnet50+cnl@8+agw(inner=one)@14."


def format_candidate(candidate: Candidate) -> str:
    """The canonical text of a candidate."""
    groups: dict[tuple[str, Params], list[int]] = {}
    for placement in candidate.placements:
        groups.setdefault((placement.block, placement.params), []).append(placement.site)
    placed = "".join(f"+{_format_group(block, params, sites)}" for (block, params), sites in groups.items())
    changed = tuple((k, v) for k, v in candidate.backbone_params if not same_value(v, BACKBONE_DEFAULTS[k]))
    return f"{candidate.backbone}{_format_params(changed, '()')}{placed}{_format_params(candidate.recipe, '[]')}"


def format_placement(placement: Placement) -> str:
    """One placement as the notation writes it, e.g. `agw(inner=one)@14`."""
    return _format_group(placement.block, placement.params, [placement.site])


def format_block(block: str, params: Params) -> str:
    """A block with the hyperparameters that are not defaults, e.g. `agw(inner=one)`."""
    return block + _format_params(get_block_spec(block).non_defaults(params), "()")


def _format_group(block: str, params: Params, sites: list[int]) -> str:
    return f"{format_block(block, params)}@{','.join(str(site) for site in sites)}"


def _format_params(params: Params, brackets: str) -> str:
    inside = ",".join(f"{key}={format_value(value)}" for key, value in params)
    return f"{brackets[0]}{inside}{brackets[1]}" if params else ""


def parse_candidate(text: str) -> Candidate:
    """The candidate a text stands for; a `SpaceError` where it is none, or what it names does not exist."""
    try:
        return _Reader(text).candidate()
    except SpaceError as error:
        if error.message.startswith("candidate "):
            raise
        raise SpaceError(f"candidate {text!r}: {error.message}", error.hint) from error


def parse_block(text: str) -> tuple[str, Params]:
    """A block with some hyperparameters, e.g. `agw(inner=one)`: its name and what is written, not looked up."""
    reader = _Reader(text, "block")
    name = reader.take(_NAME, "the name of a block")
    params = reader.params("()")
    if reader.peek():
        reader.fail("'(' or the end")
    return name, tuple(sorted(params.items()))


class _Reader:
    """Reads the notation from left to right."""

    def __init__(self, text: str, what: str = "candidate") -> None:
        self.text = text
        self.what = what
        self.position = 0

    def candidate(self) -> Candidate:
        backbone = self.take(_BACKBONE, "the name of a backbone")
        settings = self.params("()")
        placements: list[Placed] = []
        while self.skip("+"):
            placements += self.group()
        recipe = self.params("[]")
        if self.peek():
            self.fail("'+', '[' or the end")
        return Candidate.make(backbone, placements, settings, recipe)

    def group(self) -> list[Placed]:
        block = self.take(_NAME, "the name of a block")
        params = self.params("()")
        self.expect("@")
        sites = [int(self.take(_NUMBER, "the number of a site"))]
        while self.skip(","):
            sites.append(int(self.take(_NUMBER, "the number of a site")))
        return [(site, block, params) for site in sites]

    def params(self, brackets: str) -> dict[str, ParamValue]:
        values: dict[str, ParamValue] = {}
        if not self.skip(brackets[0]):
            return values
        while True:
            key = self.take(_KEY, "a name")
            self.expect("=")
            if key in values:
                raise SpaceError(f"{key} is given twice")
            values[key] = parse_value(self.take(_VALUE, f"a value for {key}"))
            if not self.skip(","):
                break
        self.expect(brackets[1])
        return values

    def peek(self) -> str:
        """The next character that is no space, or nothing at the end."""
        space = _SPACE.match(self.text, self.position)
        self.position = space.end() if space else self.position
        return self.text[self.position : self.position + 1]

    def skip(self, character: str) -> bool:
        found = self.peek() == character
        self.position += found
        return found

    def expect(self, character: str) -> None:
        if not self.skip(character):
            self.fail(f"{character!r}")

    def take(self, pattern: re.Pattern[str], what: str) -> str:
        self.peek()
        match = pattern.match(self.text, self.position)
        if match is None:
            self.fail(what)
        self.position = match.end()
        return match.group()

    def fail(self, expected: str) -> NoReturn:
        found = repr(self.peek()) if self.peek() else "the end"
        where = f"column {self.position + 1}"
        raise SpaceError(f"{self.what} {self.text!r}: expected {expected} at {where}, found {found}", _EXAMPLE)
