"""How the report speaks of what a study pays mAP with."""

from __future__ import annotations

from dataclasses import dataclass

from nas.reporting.numbers import MISSING, fixed, signed


@dataclass(frozen=True)
class CostWords:
    """One cost in words.

    Attributes:
        noun: what is paid: `time`.
        name: of the figure that is measured or counted: `latency`.
        what: what the noun stands for, with `{batch}` for the batch it was measured on.
        unit: of a value: `ms`.
        per: what a value is of, behind the unit: ` a batch`.
        scale: what one unit is in the results table.
        digits: decimals shown.
    """

    noun: str
    name: str
    what: str
    unit: str
    per: str = ""
    scale: float = 1.0
    digits: int = 2

    def value(self, cost: float) -> str:
        """`36.90 ms a batch`; a dash where it was not measured."""
        number = fixed(cost / self.scale, self.digits)
        return number if number == MISSING else f"{number} {self.unit}{self.per}"

    def change(self, cost: float) -> str:
        """`+1.20 ms`."""
        number = signed(cost / self.scale, self.digits)
        return number if number == MISSING else f"{number} {self.unit}"


COST_WORDS = {
    "latency_ms": CostWords("time", "latency", "the measured median of a {batch}", "ms", " a batch"),
    "peak_memory_mb": CostWords("memory", "peak memory", "the measured peak of a {batch}", "MB", digits=1),
    "energy_j": CostWords("energy", "energy", "what a {batch} was measured to take", "J", " a batch"),
    "params": CostWords("size", "size", "the number of parameters", "million parameters", scale=1e6),
    "macs": CostWords("work", "size", "multiply-adds of an image", "million multiply-adds", " an image", 1e6, 0),
}
"""Column of the results table -> its words."""
