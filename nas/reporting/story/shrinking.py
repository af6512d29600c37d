"""How the space was shrunk: what each step proposed, what fresh draws said, and why an automatic shrink ended."""

from __future__ import annotations

from nas.reporting.document import Badge, Block, Bullets, Cell, Paragraph, Section, Table, code, words
from nas.reporting.numbers import MISSING, count
from nas.reporting.shrink_steps import ShrinkStep, endings, shrink_steps
from nas.reporting.study_data import StudyData


def shrinking(data: StudyData) -> Section | None:
    """Steps with their decisions; nothing when no stage has shrunk anything yet."""
    steps, ended = shrink_steps(data), endings(data)
    if not steps and not ended:
        return None
    blocks: list[Block] = [_table(steps)] if steps else []
    opened = [f"{code(step.name)}: {words(text)}." for step in steps for text in step.reopened]
    if opened:
        blocks += [Paragraph("Edges that were too tight, moved outwards again:"), Bullets(opened)]
    blocks += [Paragraph(f"{code(name)} ended because {words(why)}.") for name, why in ended.items()]
    return Section("shrinking", "How the space was shrunk", blocks)


def _table(steps: list[ShrinkStep]) -> Table:
    return Table(
        ["step", "candidates before", "proposed", "left", "decision", "why"],
        [_row(step) for step in steps],
        caption="Each proposal is judged on fresh uniform draws from both spaces; one that fails is undone.",
        name="shrink-steps",
        numeric=frozenset({1, 2, 3}),
    )


def _row(step: ShrinkStep) -> list[Cell]:
    sizes = [MISSING if size is None else count(size) for size in (step.before, step.proposed, step.after)]
    return [code(step.name), *sizes, _decision(step), words(step.why) or MISSING]


def _decision(step: ShrinkStep) -> Badge:
    if step.kept is None:
        return Badge("no rule passed" if step.proposed is None else "not decided")
    return Badge("kept", "good") if step.kept else Badge("undone", "bad")
