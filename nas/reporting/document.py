"""A report as structure - sections, paragraphs, tables, figures - before it becomes HTML, Markdown or LaTeX.

Texts are plain; a part between backticks is code. User text goes in through `code`, which takes backticks
out, and every renderer escapes everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from nas.reporting.figures.base import Drawing
from nas.reporting.words import code as code
from nas.reporting.words import words as words


@dataclass(frozen=True)
class Badge:
    """A short word with a meaning that colour repeats: tone is good, bad, warn or quiet."""

    text: str
    tone: str = "quiet"


@dataclass(frozen=True)
class Stacked:
    """A cell of two lines: what it is, and small print under it."""

    top: str
    under: str


@dataclass(frozen=True)
class Link:
    """A cell that leads to another page, with small print under it."""

    text: str
    href: str
    under: str = ""


@dataclass(frozen=True)
class Bar:
    """A cell that shows how much of `total` is done: (tone, number) of each part; `words` says it."""

    parts: Sequence[tuple[str, int]]
    total: int
    words: str


Cell = str | Badge | Stacked | Link | Bar


@dataclass(frozen=True)
class Paragraph:
    """One paragraph; `lead` for the answer at the top, `warning` for what limits the findings."""

    text: str
    style: str = "normal"


@dataclass(frozen=True)
class Bullets:
    """A list of short texts; the style `health` is for what limits the numbers."""

    items: Sequence[str]
    style: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values, one pair a line."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Tiles:
    """Few numbers worth a large font: (number, what it is)."""

    tiles: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; `numeric` columns are right-aligned; `note` says what was left out."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    note: str = ""
    name: str = ""
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class FigureBlock:
    """A figure with its caption, or the sentence that stands in for it; `data` is what was drawn."""

    name: str
    title: str
    drawing: Drawing
    caption: str
    data: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Code:
    """A block of code to copy."""

    text: str
    language: str = ""


@dataclass(frozen=True)
class SideBySide:
    """Figures side by side where there is room."""

    blocks: Sequence[FigureBlock]


@dataclass(frozen=True)
class Picture:
    """A picture as a data address (`data:image/png;base64,...`), with the words that stand for it."""

    address: str
    words: str


Block = Paragraph | Bullets | Facts | Tiles | Table | FigureBlock | Code | SideBySide | Picture


@dataclass(frozen=True)
class Section:
    """A heading with its blocks; `anchor` is the link target, a `folded` one opens on demand."""

    anchor: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    @property
    def figures(self) -> list[FigureBlock]:
        """All figures in order, those without a drawing too."""
        blocks = [block for section in self.sections for block in section.blocks]
        single = [block.blocks if isinstance(block, SideBySide) else [block] for block in blocks]
        return [block for part in single for block in part if isinstance(block, FigureBlock)]
