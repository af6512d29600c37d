"""Beyond the study's own data and backbone: transfer to other images, and rules tested on other networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.document import Badge, Bullets, Cell, Paragraph, Section, Table, code, words
from nas.reporting.numbers import MISSING, fixed, interval, mean_sd, p_value, signed
from nas.reporting.study_data import StudyData, records_of
from nas.results.levels import Level, candidates, levels, quoted_level
from nas.spaces.labels import short_label

_TONES = {"hold": "good", "mislead": "bad"}


def transfer(data: StudyData) -> Section | None:
    """The paper's Table II: source networks as they are, and after two-step fine-tuning."""
    both = transfer_table(data)
    if both.empty:
        return None
    rows: list[list[Cell]] = [
        [
            code(short_label(str(row["notation"]))),
            mean_sd(row["direct_mean"], row["direct_sd"]),
            fixed(row["direct_best"], 4),
            mean_sd(row["tuned_mean"], row["tuned_sd"]),
            fixed(row["tuned_best"], 4),
            signed(row["gain"]),
        ]
        for row in records_of(both)
    ]
    text = (
        "Networks trained on the source data, read on this study's test split: first as they are, then after two-step "
        f"fine-tuning (the new classifier alone, then everything). {data.metric.title}, mean "
        "and standard deviation over seeds, and the best of them, which is what the paper's Table II quotes; "
        "the gain is that of the means."
    )
    headings = ["system", "no fine-tuning", "best", "two-step fine-tuning", "best", "gain"]
    table = Table(headings, rows, name="transfer", numeric=frozenset(range(1, 6)))
    return Section("transfer", "Transfer to other images", [Paragraph(text), table])


def transfer_table(data: StudyData) -> pd.DataFrame:
    """One row a source network: notation, direct_mean, direct_sd, direct_best, the same of tuned, gain (NaN where
    unknown).
    """
    finished = data.finished
    sources = finished[finished["role"] == "source"].assign(role="candidate")
    direct = _scores(sources, quoted_level(levels(sources)), "direct")
    table = direct.join(_scores(finished, data.quoted, "tuned"), how="left").reset_index()
    return table.assign(gain=table["tuned_mean"] - table["direct_mean"])


def _scores(rows: pd.DataFrame, level: Level | None, prefix: str) -> pd.DataFrame:
    """Mean, sd and best of each network of a level, by its notation without recipe values."""
    own = rows.iloc[:0] if level is None else level.rows(rows)
    own = own.assign(notation=own["notation"].astype(str).str.split("[").str[0])
    found = candidates(own, level).set_index("notation")[["map_mean", "map_sd"]]
    found = found.assign(best=own.groupby("notation")["map"].max())
    return found.set_axis([f"{prefix}_{name}" for name in ("mean", "sd", "best")], axis="columns")


def rule_tests(data: StudyData) -> list[str]:
    """The sentence of each backbone on which rules, or a single block, were tested."""
    tests, sufficient, _ = _found_elsewhere(data)
    return [str(test["sentence"]) for test in (*tests, *sufficient)]


def _found_elsewhere(data: StudyData) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """What `test_rules` stages found: tests of rules, of a single block, and why there are none."""
    results = [stage.get("result") or {} for stage in data.stages if stage.get("kind") == "test_rules"]
    tests, sufficient = ([test for r in results for test in r.get(key) or ()] for key in ("tests", "sufficient"))
    return tests, sufficient, [str(r["why"]) for r in results if r.get("why")]


def rules_elsewhere(data: StudyData) -> Section | None:
    """What `test_rules` stages found: do networks that follow the rules beat the rest?"""
    tests, sufficient, reasons = _found_elsewhere(data)
    if not tests and not reasons and not sufficient:
        return None
    text = (
        "Uniform draws that follow every rule against uniform draws that do not, with equal numbers of blocks on both "
        "sides; each network counts once. p values: Mann-Whitney, two-sided, Holm over the backbones, failed networks "
        "last. Differences are those of the means of finished networks, with their 95 % interval (Welch)."
    )
    blocks: list[Any] = [Paragraph(text)]
    if tests:
        metric = data.metric.title
        headings = ["backbone", "follow", "rest", f"{metric}, follow", f"{metric}, rest", "difference"]
        headings += ["95 %", "p", "verdict"]
        table = Table(headings, [_row(t) for t in tests], name="rule-tests", numeric=frozenset(range(1, 8)))
        blocks += [table, Bullets([words(test["sentence"]) for test in tests])]
    if sufficient:
        blocks += [
            Paragraph(
                "Is one channel-wise block sufficient there? Plain networks, uniform draws with one such block and "
                "with several blocks, trained beside each other; each network counts once (the plain one: each "
                "training). Differences of means with their 95 % interval (Welch)."
            ),
            Bullets([words(test["sentence"]) for test in sufficient]),
        ]
    blocks += [Paragraph(words(f"{reason[0].upper()}{reason[1:]}.")) for reason in reasons]
    return Section("rules-elsewhere", "Do the rules hold elsewhere?", blocks)


def _row(test: Mapping[str, Any]) -> list[Cell]:
    known = test.get("difference") is not None
    return [
        code(test["name"]),
        str(test["following"]),
        str(test["rest"]),
        fixed(test.get("mean_following"), 4),
        fixed(test.get("mean_rest"), 4),
        signed(test.get("difference")),
        interval(test.get("low"), test.get("high")) if known else MISSING,
        p_value(test.get("p_adjusted")),
        Badge(str(test["verdict"]), _TONES.get(str(test["verdict"]), "quiet")),
    ]
