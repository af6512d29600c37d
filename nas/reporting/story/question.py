"""The question a study asks, and its answer so far."""

from __future__ import annotations

from nas.reporting.comparison import summarise_candidates, trusted_level
from nas.reporting.costs import COST_WORDS
from nas.reporting.document import Block, Paragraph, Section, Tiles, code, words
from nas.reporting.headline import Gain, Headline, headline
from nas.reporting.numbers import MISSING, count, fixed, interval, mean_sd, plural, signed
from nas.reporting.study_data import StudyData
from nas.spaces.labels import backbone_title, short_label


def question(data: StudyData) -> Section:
    """What is asked, then the answer with its numbers."""
    blocks: list[Block] = [Paragraph(_question_words(data))]
    if asked := data.definition.get("question"):
        blocks.insert(0, Paragraph(words(asked)))
    answer = headline(data)
    if answer is None:
        blocks.append(Paragraph(_no_answer(data), "lead"))
    else:
        blocks += [Paragraph(_answer_words(answer), "lead"), _tiles(answer, data)]
        blocks.append(Paragraph(_choice_words(answer)))
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


def _no_answer(data: StudyData) -> str:
    if data.finished.empty:
        return "No training has finished yet, so there is no answer so far."
    level, noun = trusted_level(data), COST_WORDS[data.cost].noun
    summary = summarise_candidates(data, level)
    if level is not None and len(summary) and summary["on_front"].any() and (summary["n_blocks"] > 0).any():
        return (
            f"None of the candidates with attention is on the front ({level.words}): "
            f"plain {backbone_title(data.backbone)} is at least as accurate as each of them, for less {noun}."
        )
    return f"Trainings have finished, but none of them has both an mAP and a known {noun}, so there is no front yet."


def _answer_words(answer: Headline) -> str:
    best, cost = answer.best, COST_WORDS[answer.cost]
    said = (
        f"{short_label(best['notation'])} reaches mAP {mean_sd(best['map_mean'], best['map_sd'])} "
        f"({plural(int(best['seeds']), 'seed')}) at {cost.value(best[answer.cost])}"
    )
    comparisons = [
        _comparison(gained, row["notation"], cost.noun)
        for gained, row in ((answer.over_baseline, answer.baseline), (answer.over_reference, answer.reference))
        if gained is not None and row is not None
    ]
    return f"{said}: {'; '.join(comparisons)}." if comparisons else f"{said}."


def _choice_words(answer: Headline) -> str:
    """Why this one and not the most accurate of all."""
    cost = COST_WORDS[answer.cost]
    gap, other = answer.over_most_accurate, short_label(answer.most_accurate["notation"])
    if answer.best.name == answer.most_accurate.name:
        within = f"within the reference's {cost.noun}"
        return f"It is the most accurate candidate on the front {within} ({answer.level.words})."
    return (
        f"{other} is more accurate by {fixed(-gap.map, 4)}, which {plural(int(answer.best['seeds']), 'seed')} cannot "
        f"tell from zero (95 % interval of the difference {interval(gap.low, gap.high)}), and takes "
        f"{cost.value(-gap.cost)} more ({answer.level.words})."
    )


def _comparison(gained: Gain, notation: str, noun: str) -> str:
    bounds = interval(gained.low, gained.high)
    bounds = "" if bounds == MISSING else f" {bounds}"
    cheaper = f"{fixed(abs(gained.relative_cost) * 100, 1)} % {'more' if gained.cost > 0 else 'less'} {noun}"
    return f"{signed(gained.map)}{bounds} mAP over {short_label(notation)} for {cheaper}"


def _tiles(answer: Headline, data: StudyData) -> Tiles:
    best, over = answer.best, answer.over_baseline
    tiles = [(fixed(best["map_mean"], 4), f"mAP of {short_label(best['notation'])}")]
    if over is not None and answer.baseline is not None:
        name = short_label(answer.baseline["notation"])
        cost = COST_WORDS[answer.cost]
        tiles += [(signed(over.map), f"mAP over {name}"), (cost.change(over.cost), f"{cost.noun} over {name}")]
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
