"""A report as Markdown (GitHub's dialect): readable as plain text, pictures where stills were made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from nas.files.shown import markdown_text, shown
from nas.reporting.document import (
    Bar,
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    FigureBlock,
    Paragraph,
    Picture,
    SideBySide,
    Stacked,
    Table,
    Tiles,
)


def render_markdown(document: Document, pictures: Mapping[str, PurePosixPath] | None = None) -> str:
    """The report as Markdown; `pictures` leads from a figure's name to its still, relative to the Markdown file."""
    parts = [f"# {markdown_text(document.title)}", markdown_text(document.subtitle)]
    for section in document.sections:
        parts.append(f"## {markdown_text(section.title)}")
        parts += [block_markdown(block, pictures or {}) for block in section.blocks]
    return shown("\n\n".join(part for part in parts if part)) + "\n"  # code too holds nothing a terminal obeys


def block_markdown(block: Block, pictures: Mapping[str, PurePosixPath]) -> str:
    """One block of a report as Markdown."""
    match block:
        case FigureBlock():
            return _figure(block, pictures)
        case SideBySide():
            return "\n\n".join(_figure(part, pictures) for part in block.blocks)
        case Paragraph():
            text = markdown_text(block.text)
            return {"lead": f"**{text}**" if "`" not in text else text, "warning": f"> {text}"}.get(block.style, text)
        case Picture():
            return f"*{markdown_text(block.words)}: drawn in report.html*"
        case Bullets():
            return "\n".join(f"- {markdown_text(item)}" for item in block.items)
        case Facts():
            return "\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in block.pairs)
        case Tiles():
            return "\n".join(f"- {markdown_text(number)}: {markdown_text(label)}" for number, label in block.tiles)
        case Code():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
            return f"{fence}{block.language}\n{block.text}\n{fence}"
        case Table():
            return _table(block)


def _table(block: Table) -> str:
    head = "| " + " | ".join(_cell(heading) for heading in block.headings) + " |"
    rule = "|" + "|".join("---:" if i in block.numeric else "---" for i in range(len(block.headings))) + "|"
    rows = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in block.rows]
    table = "\n".join([head, rule, *rows])
    return "\n\n".join(part for part in (markdown_text(block.caption), table, markdown_text(block.note)) if part)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Stacked):
        return f"{_cell(cell.top)}<br>{_cell(cell.under)}" if cell.under else _cell(cell.top)
    text = cell if isinstance(cell, str) else cell.words if isinstance(cell, Bar) else cell.text
    # Inside a table even code needs its bars escaped.
    parts = markdown_text(text).split("`")
    return "`".join(part.replace("|", "\\|") if i % 2 else part for i, part in enumerate(parts)).replace("\n", " ")


def _figure(block: FigureBlock, pictures: Mapping[str, PurePosixPath]) -> str:
    heading = f"### {markdown_text(block.title)}"
    if isinstance(block.drawing, str):
        return f"{heading}\n\n*{markdown_text(block.drawing)}*"
    picture = pictures.get(block.name)
    shown = f"![{markdown_text(block.title)}]({picture})\n\n" if picture else ""
    where = "" if picture else f" (Drawn in report.html; numbers in figures/{block.name}.csv.)"
    return f"{heading}\n\n{shown}{markdown_text(block.caption + where)}"
