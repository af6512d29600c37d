"""The question a study asks, and its answer so far."""

from __future__ import annotations

from nas.reporting.costs import COST_WORDS
from nas.reporting.document import Block, Paragraph, Section, Tiles, code, words
from nas.reporting.numbers import count, interval, signed
from nas.reporting.study_data import StudyData
from nas.spaces.labels import backbone_title, short_label


def question(data: StudyData) -> Section:
    """What is asked, then the answer with its numbers."""
    blocks: list[Block] = [Paragraph(_question_words(data))]
    if asked := data.definition.get("question"):
        blocks.insert(0, Paragraph(words(asked)))
    blocks.append(Paragraph(data.answer.sentence, "lead"))
    blocks.append(_tiles(data))
    if warning := selection_warning(data):
        blocks.append(Paragraph(warning, "warning"))
    return Section("question", "The question, and the answer", blocks)


def _question_words(data: StudyData) -> str:
    space = data.spaces[0] if data.spaces else {}
    cost = COST_WORDS[data.cost]
    where = f" The design space {code(space['name'])} holds {count(space.get('size'))} candidates." if space else ""
    return (
        f"Which attention block, at which positions of {backbone_title(data.backbone)}, buys accuracy in person "
        f"re-identification for the least {cost.noun}?{where} Accuracy is the mean average precision (mAP); "
        f"{cost.noun} is {cost.what.format(batch=data.batch_words)}."
    )


def _tiles(data: StudyData) -> Tiles:
    found = data.answer
    tiles: list[tuple[str, str]] = []
    if found.kind == "better" and found.named and found.control:
        over = f"mAP of {short_label(found.named)} over {short_label(found.control)}"
        tiles.append((signed(found.difference), f"{over}, 95 % interval {interval(found.low, found.high)}"))
    elif found.visible is not None:
        tiles.append((signed(found.visible), "mAP is what this design sees with 80 % power"))
    adopted = sum(finding.get("verdict") == "adopted" for finding in data.findings)
    tiles.append((count(len(data.finished)), "finished trainings"))
    tiles.append((f"{adopted} of {len(data.findings)}", "rules adopted"))
    return Tiles(tiles)


def selection_warning(data: StudyData) -> str:
    """What a reader must know before quoting numbers of this study; empty when there is nothing."""
    if data.definition.get("select_on") == "test":
        return (
            "This study selects on the test split (`select_on: test`), as the paper did. Its best numbers are "
            "therefore optimistic: candidates were chosen by the data they are judged on."
        )
    if len(data.finished) and not (data.finished["split"] == "test").any():
        return (
            "All numbers are on validation identities held out of the training set; nothing has been confirmed on "
            "the test split yet, so they must not be compared with published results."
        )
    return ""
