"""Hyperparameters that are computed from others: `reduction: {derived: channels / 64}`.

    expression = number | name | -expression | (expression) | expression (+ - * /) expression
               | min(expression, ...) | max(expression, ...)

Arithmetic is exact (fractions): nothing is rounded, so a result is a legal value or it is none. Python's own parser
reads the text; only these forms are accepted and nothing is evaluated by Python.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from nas.errors import SpaceError
from nas.spaces.values import ParamValue, canonical_value, format_value

CHANNELS = "channels"
"""Stands for the channels at the site, at width 1."""
DERIVED = "derived"

_LONGEST = 200
_LEGAL = re.compile(r"[\w.+\-*/(), ]*\Z", re.ASCII)
_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[[list[Fraction]], Fraction]] = {"min": min, "max": max}


@dataclass(frozen=True)
class Derived:
    """An expression over `channels` and a block's other hyperparameters; `text` has one space around its operators."""

    text: str

    @classmethod
    def of(cls, written: object) -> Derived:
        """An expression from what a person wrote.

        >>> Derived.of("min(channels/64,16)").text
        'min(channels / 64, 16)'

        Raises:
            SpaceError: it is none.
        """
        text = str(written).strip() if isinstance(written, (str, int, float)) else ""
        try:
            if not _LEGAL.match(text) or len(text) > _LONGEST:
                raise ValueError(text)
            tree = ast.parse(text, mode="eval").body
            _check(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            hint = "Write numbers, channels and other hyperparameters with + - * / min( , ) max( , ) and parentheses."
            raise SpaceError(f"{written!r} is no expression of at most {_LONGEST} characters", hint) from None
        return cls(ast.unparse(tree))

    @cached_property
    def names(self) -> frozenset[str]:
        """What it is computed from."""
        tree = ast.walk(ast.parse(self.text, mode="eval"))
        return frozenset(node.id for node in tree if isinstance(node, ast.Name)) - set(_FUNCTIONS)

    def value(self, known: Mapping[str, ParamValue]) -> ParamValue:
        """The result, a whole number where it is one.

        >>> Derived.of("max(channels / 64, 4)").value({"channels": 512})
        8

        Raises:
            SpaceError: a name has no value or none that is a number, or something is divided by 0.
        """
        try:
            return canonical_value(float(_value(ast.parse(self.text, mode="eval").body, known)))
        except (ZeroDivisionError, OverflowError):
            raise SpaceError(f"{self.text} divides by 0 or is too large") from None

    def to_data(self) -> dict[str, str]:
        """As a space file writes it."""
        return {DERIVED: self.text}


def _check(node: ast.expr) -> None:
    """Refuses everything that the grammar does not have, with a ValueError."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < 1e12:
            return
        case ast.Name(id=name) if name not in _FUNCTIONS:
            return
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check(left)
            _check(right)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if name in _FUNCTIONS:
            for argument in args:
                _check(argument)
        case _:
            raise ValueError(ast.dump(node))


def _value(node: ast.expr, known: Mapping[str, ParamValue]) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as value):
            return Fraction(repr(value))
        case ast.Name(id=name):
            return _number(name, known)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, known)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, known), _value(right, known))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name]([_value(argument, known) for argument in args])
    raise TypeError(ast.dump(node))


def _number(name: str, known: Mapping[str, ParamValue]) -> Fraction:
    value = known.get(name)
    if value is None:
        raise SpaceError(f"{name} has no value beside the others")
    if isinstance(value, (bool, str)):
        raise SpaceError(f"{name} is {format_value(value)}, which is no number")
    return Fraction(repr(value))
