"""The report on disk: complete, offline, escaped, readable for any state of a study."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from nas import DesignSpace, RuleSet
from nas.errors import StudyError
from nas.progress import Progress
from nas.reporting import stills, story, write_report
from nas.reporting.document import Bullets, Document, Paragraph, Section, SideBySide
from nas.reporting.figures import FIGURES
from nas.reporting.files import PARETO_COLUMNS, RECORD, pareto_table
from nas.reporting.html import render_html
from nas.reporting.latex import PAGE_ROWS, _table, render_latex
from nas.reporting.markdown import render_markdown
from nas.reporting.robot import robot_words
from nas.reporting.rules_file import rule_set
from nas.reporting.stills import stills_missing
from nas.reporting.story import question, tell, trust
from nas.reporting.study_data import StudyData


class Outline(HTMLParser):
    """Elements, attributes and texts of a page, scripts apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "input", "link"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        (self.scripts if inside == "script" else self.texts).append(data) if inside != "style" else None


def page_of(data: StudyData) -> Outline:
    return Outline(render_html(tell(data)))


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Document]:
    """Tells a study no other test has, in these parts alone: all of it takes seconds."""

    def told(data: StudyData, *parts: Callable[[StudyData], Section | None]) -> Document:
        with monkeypatch.context() as patch:
            patch.setattr(story, "_PARTS", parts)
            return tell(data)

    return told


def test_every_asked_file_is_written(full: StudyData, folder: Path) -> None:
    written = write_report(full, folder, ("html", "md", "csv", "rules", "latex"))
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "report.md", "pareto.csv", "rules.yaml", "tables.tex", "figures", ".nas-report",
    }  # fmt: skip
    assert written["html"] == folder / "report.html"
    assert not list(folder.rglob("*.partial"))


def test_the_same_study_gives_the_same_bytes(full: StudyData, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(full, tmp_path / name, ("html", "md", "csv", "rules", "latex"))
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path.name


def test_the_story_is_told_in_order(full: StudyData) -> None:
    sections = tell(full).sections
    found = ["question", "rules", "front", "positions", "times", "tables", "shrinking", "course", "paper", "tried"]
    how = ["data", "protocol", "provenance", "reproduce"]
    assert [section.anchor for section in sections] == [*found, "failures", *how]
    assert [section.anchor for section in sections if section.folded] == how


def test_the_first_screen_is_answer_limits_front_and_map(full: StudyData, telling: Callable[..., Document]) -> None:
    broken = replace(full, latencies=full.latencies.assign(isolated=[False, *[True] * (len(full.latencies) - 1)]))
    document = telling(broken, question.question)
    lead, limits, heading, adopted, choice, figures, *_ = document.sections[0].blocks
    assert isinstance(lead, Paragraph)
    assert lead.text == full.answer.sentence
    assert isinstance(limits, Bullets)
    assert any("times of 1 network were read while other work" in said for said in limits.items)
    assert isinstance(heading, Paragraph)
    assert "rules adopted" in heading.text
    assert isinstance(adopted, Bullets)
    assert isinstance(choice, Paragraph)
    assert choice.text == (
        "For a robot, at most 5 % more time than plain ResNet-50: C-NL @ 6,8,14 has the best mean (0.8789 mAP, 95 % "
        "interval [0.8776, 0.8803]), told apart from all others within that."
    )
    assert isinstance(figures, SideBySide)
    assert [figure.name for figure in figures.blocks] == ["pareto_front", "placement_map"]
    shown = render_html(document)
    assert shown.index('class="lead"') < shown.index('class="health"') < shown.index('class="beside"')


def test_what_is_said_for_a_robot_is_said_of_whom_it_is_known(full: StudyData) -> None:
    table = full.results

    def words(results: pd.DataFrame, untimed: pd.Series | None = None) -> str:
        if untimed is not None:
            time, measured = results["latency_ms"].mask(untimed), results["latency_measured"].mask(untimed, False)
            results = results.assign(latency_ms=time, latency_measured=measured)
        return robot_words(replace(full, results=results))

    test, blocks = table["split"].eq("test"), table["n_blocks"].gt(0)
    best, other = (table["notation"].eq(f"resnet50+{text}") for text in ("cnl@6,8,14", "cnl@8"))
    known = "of those whose time is known"
    assert words(table, other).endswith(
        f"has the best mean {known} (0.8789 mAP, 95 % interval [0.8776, 0.8803]), told apart from all others within "
        "that."
    )
    one = test & other & table["seed"].eq(table.loc[test & other, "seed"].min())
    lost = table.assign(status=table["status"].mask(one, "failed"), map=table["map"].mask(one))
    assert "has the best mean of those of which no training failed (0.8789 mAP, 95 % interval [" in words(lost)
    assert words(table[table["stage_kind"].ne("confirm")]).endswith(" (not confirmed).")
    alone_in_seed = table[table["seed"].eq(table.loc[test & best, "seed"].min())]
    assert " mAP, one seed)" in words(alone_in_seed)
    assert words(table, blocks).endswith(f"plain ResNet-50: no network with blocks {known} is within that.")
    first = test & table["notation"].eq("resnet50") & table["seed"].eq(table.loc[one, "seed"].min())
    alone = table.assign(status=table["status"].mask(first, "failed"), map=table["map"].mask(first))
    assert " told apart from" not in words(alone, blocks & ~best)
    worse = table.assign(map=table["map"].mask(blocks, table["map"] - 0.5))
    assert words(worse).endswith("plain ResNet-50: no network with blocks has a higher mean.")
    assert words(worse, other).endswith(f"plain ResNet-50: no network with blocks {known} has a higher mean.")


def test_every_figure_is_in_the_report(full: StudyData) -> None:
    names = {block.name for block in tell(full).figures}
    assert names >= set(FIGURES)


def test_the_page_is_whole_and_loads_nothing(full: StudyData) -> None:
    page = render_html(tell(full))
    outline = Outline(page)
    assert outline._open == []
    linked = [value for _, attrs in outline.tags for key, value in attrs.items() if key in ("src", "href") and value]
    assert all(value.startswith("#") for value in linked), linked
    assert page.count("plotly.js v") == 1
    policy = next(attrs["content"] for tag, attrs in outline.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_links_inside_the_page_lead_somewhere(full: StudyData) -> None:
    outline = page_of(full)
    ids = {attrs["id"] for _, attrs in outline.tags if attrs.get("id")}
    targets = {attrs["href"][1:] for tag, attrs in outline.tags if tag == "a" and attrs.get("href")}
    assert targets <= ids


def test_figures_are_json_in_the_page(full: StudyData) -> None:
    outline = page_of(full)
    embedded = [
        attrs["id"] for tag, attrs in outline.tags if tag == "script" and attrs.get("type") == "application/json"
    ]
    assert len(embedded) == 1 + len(tell(full).figures)
    for text in outline.scripts:
        if text.startswith("{"):
            json.loads(text)


def test_a_study_without_trainings_is_readable(empty: StudyData, folder: Path) -> None:
    write_report(empty, folder, ("html", "md", "csv", "rules", "latex"))
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "No training has finished yet" in text
    assert "resnet50_attention" in text
    assert pd.read_csv(folder / "pareto.csv").columns.tolist() == list(PARETO_COLUMNS)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "plotly.js v" in page  # the lineage is drawn
    assert len(RuleSet.load(folder / "rules.yaml")) == 0


def test_nothing_at_all_is_readable(folder: Path) -> None:
    write_report(StudyData("nothing"), folder, ("html", "md", "csv", "rules", "latex"))
    assert (folder / "report.html").stat().st_size < 100_000


@pytest.mark.slow
def test_no_text_of_a_user_becomes_markup(hostile: StudyData) -> None:
    page = render_html(tell(hostile))
    outline = Outline(page)
    assert "<script>alert" not in page
    assert sum('<script>alert("x")</script>' in text for text in outline.texts) >= 3
    assert all(
        "alert(" not in str(value) or key in ("aria-label",) for _, a in outline.tags for key, value in a.items()
    )


def test_no_text_of_a_user_becomes_markdown(hostile: StudyData) -> None:
    text = render_markdown(tell(hostile))
    outside_code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<script", outside_code)


def test_markdown_tables_have_equal_columns(full: StudyData, hostile: StudyData) -> None:
    for data in (full, hostile):
        tables = re.findall(r"(?:^\|.*\n)+", render_markdown(tell(data)), flags=re.MULTILINE)
        assert len(tables) > 4
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


@pytest.mark.slow
def test_a_report_ends_with_a_sentence_to_cite(full: StudyData) -> None:
    said = str(next(section for section in tell(full).sections if section.anchor == "reproduce").blocks)
    assert "To cite: study `market1501`, reported by nas" in said
    assert "arXiv 2302.14574" in said


def test_a_warning_when_the_test_split_selects(full: StudyData, telling: Callable[..., Document]) -> None:
    chosen = replace(full, definition={**full.definition, "select_on": "test"})
    assert "selects on the test split" in render_markdown(telling(chosen, question.question))
    assert "selects on the test split" not in render_markdown(tell(full))


@pytest.mark.slow
def test_a_warning_when_nothing_was_confirmed(full: StudyData) -> None:
    searching = replace(full, results=full.results[full.results["split"] == "val"])
    assert "nothing has been confirmed on the test split" in render_markdown(tell(searching))


def test_pareto_csv_is_every_candidate_at_full_precision(full: StudyData, folder: Path) -> None:
    write_report(full, folder, ("csv",))
    read = pd.read_csv(folder / "pareto.csv")
    made = pareto_table(full)
    assert len(read) == len(made)
    assert (read["map_mean"] - made["map_mean"]).abs().max() < 1e-15
    assert read["latency_ms"].isna().sum() == made["latency_ms"].isna().sum() == 1
    rows = list(csv.reader(io.StringIO((folder / "pareto.csv").read_text(encoding="utf-8"))))
    assert "0.0" not in {row[rows[0].index("latency_ms")] for row in rows[1:]}


def test_rules_yaml_is_read_back_by_a_rule_set(full: StudyData, folder: Path) -> None:
    write_report(full, folder, ("rules",))
    rules = RuleSet.load(folder / "rules.yaml")
    assert len(rules) == len(full.findings)
    assert rules.admits("resnet50+cnl@6,8,14")
    assert not rules.admits("resnet50+cnl@3")
    assert rules.provenance.study == full.name


@pytest.mark.parametrize("limit", [1, 2])
def test_rules_are_of_networks_as_large_as_the_space_has(limit: int) -> None:
    """Not as large as the study trained: it may confirm larger ones, or sweep a part."""
    space = DesignSpace.from_dict(
        {"name": "s", "backbones": ["resnet50"], "blocks": ["cnl"], "rules": [{"max_blocks": limit}]}
    )
    rows = pd.DataFrame({"notation": ["resnet50+cnl@6", "resnet50+cnl@6,8,14"], "status": "finished", "map": 0.8})
    told = rule_set(StudyData("s", {"space": space.to_dict()}, rows)).provenance
    assert told.details == {"most_blocks": limit}


def test_a_bare_table_has_its_rules_file(tmp_path: Path) -> None:
    rows = pd.DataFrame({"notation": ["resnet50", "resnet50+se@8"], "status": "finished", "map": [0.6, 0.7], "seed": 1})
    write_report(StudyData.from_results(rows, "bare"), tmp_path, ["rules"])
    assert RuleSet.load(tmp_path / "rules.yaml").provenance.details == {}


def test_a_report_replaces_reports_only(full: StudyData, tmp_path: Path) -> None:
    for name in ("report.md", "rules.yaml"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(StudyError, match=f"{name} exists already and is of no report"):
            write_report(full, folder)
        assert (folder / name).read_text() == "mine"
        assert len(list(folder.iterdir())) == 1
    written = write_report(full, tmp_path / "again", ["md"])
    assert write_report(full, tmp_path / "again", ["md"]) == written
    old = tmp_path / "old"  # of before there were records
    write_report(full, old, ["html"])
    (old / RECORD).unlink()
    write_report(full, old, ["html"])


def test_the_study_file_in_a_report_is_one(full: StudyData, telling: Callable[..., Document]) -> None:
    """What the database keeps beside its keys is none of them, and where the file lay is nobody's business."""
    kept = {"precision": "fp32", "file": "/home/somebody/s.yaml", "history": [], "code": {}}
    page = render_markdown(telling(replace(full, definition={**full.definition, **kept}), trust.reproduce), {})
    assert "The study file" in page
    assert "/home/somebody" not in page
    assert "precision: fp32" not in page


def test_latex_is_balanced_and_escaped(full: StudyData, hostile: StudyData) -> None:
    for data in (full, hostile):
        text = render_latex(data)
        for name in set(re.findall(r"\\begin\{(\w+)\}", text)):
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}")
        bare = text.replace(r"\{", "").replace(r"\}", "")
        assert bare.count("{") == bare.count("}")
        lines = [line for line in text.splitlines() if not line.startswith("%")]
        assert not re.search(r"(?<!\\)[#%]", "\n".join(lines))
    assert r"0.8" in render_latex(full)
    assert r"$\pm$" in render_latex(full)


def test_latex_tables_end_with_the_page(full: StudyData) -> None:
    many = replace(full, findings=[dict(full.findings[0], note=str(i)) for i in range(40)])
    text = render_latex(many)
    assert text.count(r"\begin{table*}") == 3
    assert text.count("(continued)") == 2
    assert text.count(r"\label{tab:rules}") == 1
    rows = _table(pd.DataFrame({"mAP": [str(i) for i in range(60)]}), "l", "Systems.", "systems")
    assert rows.count(r" \\") == 1 + PAGE_ROWS
    assert f"The first {PAGE_ROWS} of 60 rows." in rows


def test_latex_tables_fit_a_column_and_a_page(full: StudyData, hostile: StudyData, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex")
    head = r"\documentclass[twocolumn]{article}\usepackage[utf8]{inputenc}\usepackage{booktabs}\begin{document}"
    for name, data in {"full": full, "hostile": hostile}.items():
        (tmp_path / f"{name}.tex").write_text("\n".join([head, render_latex(data), r"\end{document}"]))
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        wide = [float(points) for points in re.findall(r"Overfull .hbox \(([\d.]+)pt", done.stdout)]
        assert max(wide, default=0.0) < 1 or name == "hostile", done.stdout


def test_when_it_ran_is_said_where_nobody_timed_the_trainings(
    full: StudyData, telling: Callable[..., Document]
) -> None:
    untimed = replace(full, results=full.results.assign(seconds=float("nan")))
    ended = full.finished["finished_at"].max()
    assert f"{ended:%Y-%m-%d %H:%M} UTC" in telling(untimed).subtitle


def test_the_head_counts_what_failed(full: StudyData, telling: Callable[..., Document]) -> None:
    assert f"planned ones, {len(full.failed)} failed" in tell(full).subtitle
    whole = replace(full, results=full.results[full.results["status"] != "failed"])
    assert "failed" not in telling(whole).subtitle


def test_an_unknown_format_names_the_known_ones(full: StudyData, folder: Path) -> None:
    with pytest.raises(StudyError, match="did you mean 'html'"):
        write_report(full, folder, ("htlm",))
    assert not folder.exists()


def test_plotly_may_lie_beside_the_page(full: StudyData, folder: Path) -> None:
    write_report(full, folder, ("html",), plotlyjs="directory")
    assert (folder / "plotly.min.js").stat().st_size > 1_000_000
    assert (folder / "report.html").stat().st_size < 1_500_000


def test_figure_numbers_are_beside_the_report(full: StudyData, folder: Path) -> None:
    write_report(full, folder, ("md",))
    table = pd.read_csv(folder / "figures" / "pareto_front.csv")
    assert not [column for column in table.columns if column.startswith("_")]
    assert {"notation", "map_mean", "latency_ms", "on_front"} <= set(table.columns)


def test_progress_is_told(full: StudyData, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    write_report(full, folder, ("md", "csv"), progress=lambda done, total, what="": told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


@pytest.fixture
def drawer(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """In place of a browser: stills are empty files, and noted."""
    drawn: list[Path] = []

    def draw(figures: Sequence[go.Figure], paths: Sequence[Path], progress: Progress) -> None:
        for done, path in enumerate(paths, start=1):
            path.touch()
            drawn.append(path)
            progress(done, len(paths), path.name)

    monkeypatch.setattr(stills, "_draw", draw)
    return drawn


def test_markdown_has_its_pictures_where_nothing_is_asked_for(
    full: StudyData, folder: Path, drawer: list[Path]
) -> None:
    told: list[tuple[int, int]] = []
    written = write_report(full, folder, progress=lambda done, total, what="": told.append((done, total)))
    assert written["png"] == folder / "figures"
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.count("](figures/") == len(drawer) >= 16
    assert "](figures/pareto_front.png)" in text
    assert told == [(done, len(drawer) + 4) for done in range(1, len(drawer) + 5)]
    assert 'href="figures/pareto_front.png"' in (folder / "report.html").read_text(encoding="utf-8")


def test_a_page_whose_plotly_lies_beside_it_shows_stills_without_it(
    full: StudyData, folder: Path, drawer: list[Path]
) -> None:
    write_report(full, folder, ("html", "png"), plotlyjs="directory")
    assert '<img src="figures/pareto_front.png"' in (folder / "report.html").read_text(encoding="utf-8")


def test_a_browser_that_fails_costs_the_pictures_not_the_report(
    full: StudyData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    assert set(write_report(full, folder)) == {"figures", "html", "md", "csv", "rules"}
    assert "Drawn in report.html" in (folder / "report.md").read_text(encoding="utf-8")
    with pytest.raises(StudyError, match="no stills: the browser failed"):
        write_report(full, folder, ("md", "png"))


def test_no_still_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page that figures are drawn in loaded MathJax from a stranger's server."""
    kaleido, given = pytest.importorskip("kaleido"), {}

    def start(**options: Any) -> None:
        given.update(options)
        raise RuntimeError("not here")

    monkeypatch.setattr(kaleido, "Kaleido", start)
    monkeypatch.setattr(stills, "stills_missing", lambda: None)
    with pytest.raises(StudyError, match="not here"):
        stills.write_still(go.Figure(), tmp_path / "a.png")
    pages = {key: value for key, value in given.items() if key in ("mathjax", "plotly")}
    assert "http" not in kaleido.PageGenerator(**pages).generate_index()


def test_a_farewell_of_the_browser_is_no_traceback_in_the_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen after the last still, when the pipe's own last words were read behind a message."""
    channels = pytest.importorskip("choreographer.channels")
    monkeypatch.setattr(pytest.importorskip("kaleido"), "Kaleido", lambda **_: 1 / 0)
    monkeypatch.setattr(stills, "stills_missing", lambda: None)
    with pytest.raises(StudyError, match="the browser failed"):
        stills.write_still(go.Figure(), tmp_path / "a.png")
    caplog.clear()
    pipe = channels.Pipe()
    pipe.open()
    os.write(pipe.from_external_to_choreo, b"{bye}\n\0")
    assert pipe.read_jsons(blocking=True)[0] == []
    assert not caplog.records


@pytest.mark.slow
def test_a_browser_that_never_answers_is_not_waited_for(
    full: StudyData, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "browser"
    silent.write_text("#!/bin/sh\nsleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(silent))
    monkeypatch.setattr(stills, "START_S", 2.0)
    assert "md" in write_report(full, folder)
    assert not (folder / "figures" / "pareto_front.png").exists()


@pytest.mark.slow
def test_stills_are_pictures_and_markdown_shows_them(full: StudyData, folder: Path) -> None:
    if missing := stills_missing():
        pytest.skip(missing)
    small = replace(full, epochs=None, rank_lists={})
    write_report(small, folder, ("md", "svg"))
    picture = (folder / "figures" / "pareto_front.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "C-NL @ 6,8,14" in picture
    assert "](figures/pareto_front.svg)" in (folder / "report.md").read_text(encoding="utf-8")
