"""The dashboard without a browser: addresses, filters, access, reading only, and what it answers when things break."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

dash = pytest.importorskip("dash", reason="the dashboard needs Dash: pip install 'nas-reid[dashboard]'")

from nas import reporting  # noqa: E402
from nas.errors import NasError, StorageError, StudyError  # noqa: E402
from nas.reporting import style  # noqa: E402
from nas.reporting.dashboard import create_app  # noqa: E402
from nas.reporting.dashboard.access import is_loopback  # noqa: E402
from nas.reporting.dashboard.app import body_of, navigation, page_of, token_of  # noqa: E402
from nas.reporting.dashboard.components import View, figure_for  # noqa: E402
from nas.reporting.dashboard.filters import Filters, _numbers  # noqa: E402
from nas.reporting.dashboard.pages import WITH_CONTROLS, candidate, explorer, studies  # noqa: E402
from nas.reporting.dashboard.pages.comparison import pair_of, studies_layout, together, told_apart, with_lists  # noqa: E402
from nas.reporting.dashboard.pages.explorer import draw_front, filters_of, tabulate_front  # noqa: E402
from nas.reporting.dashboard.pages.rule_choice import adopted, chosen_rules, rule_options  # noqa: E402
from nas.reporting.dashboard.progress import seconds_left, study_state  # noqa: E402
from nas.reporting.dashboard.routing import PAGES, href, read_route  # noqa: E402
from nas.reporting.dashboard.source import StudySource  # noqa: E402
from nas.reporting.figures import FIGURES  # noqa: E402
from nas.reporting.notations import placements_of  # noqa: E402
from nas.reporting.study_data import StudyData  # noqa: E402
from nas.storage import Repository, open_database  # noqa: E402

LIGHT: View = {"theme": "light", "width": 1280}
DARK: View = {"theme": "dark", "width": 390}


@pytest.fixture(autouse=True)
def _not_read_ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lists studies has all of them read in the background, which one test is about and others need not pay."""
    if request.node.name != "test_the_list_of_studies_tells_what_was_found_once_it_was_read":
        monkeypatch.setattr(StudySource, "warm", lambda _: None)


@given(st.text(min_size=1, max_size=30), st.sampled_from([*PAGES]))
def test_addresses_read_back(study: str, page: str) -> None:
    route = read_route(*href(study, page).split("?"))
    assert (route.study, route.page) == (study, page)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_candidate_addresses_read_back(study: str, candidate: str) -> None:
    route = read_route(href(study, "candidate", candidate))
    assert (route.study, route.candidate, route.page) == (study, candidate, "candidate")


@pytest.mark.parametrize("path", ["/x", "/study", "/study/a/b/c/d", "/study/a/nowhere", "/study/a/front/x"])
def test_other_addresses_are_unknown(path: str) -> None:
    assert read_route(path).page == "unknown"


def test_filters_survive_the_address() -> None:
    filters = Filters(blocks="cnl,hac", sites="6,8", max_ms="40", speed="batches_per_s")
    given = {"blocks": "cnl,hac", "sites": "6,8", "max_ms": "40", "speed": "batches_per_s", "other": "x"}
    assert Filters.from_query(given) == filters


@example("²")
@example("abc")
@given(st.text(max_size=20))
def test_any_text_is_a_list_of_sites_or_a_sentence(text: str) -> None:
    with contextlib.suppress(StudyError):
        assert all(isinstance(number, int) for number in _numbers(text))


@pytest.mark.parametrize("filters", [Filters(sites="6,abc"), Filters(max_ms="abc")])
def test_a_filter_that_cannot_be_read_is_said_not_ignored(filters: Filters, full: StudyData) -> None:
    with pytest.raises(StudyError, match="abc"):
        draw_front(full, filters, LIGHT, [])


@pytest.mark.parametrize(
    "filters",
    [
        Filters(blocks="cnl"),
        Filters(blocks="cnl,hac", counts="2"),
        Filters(sites="6,8,14"),
        Filters(max_ms="38"),
        Filters(stage="4-search"),
        Filters(text="agw"),
        Filters(blocks="agw", sites="1-4", max_ms="60"),
    ],
)
def test_the_mask_is_what_a_loop_says(filters: Filters, full: StudyData) -> None:
    summary = full.candidates(full.widest)
    stages = full.results.groupby("candidate_id")["stage"].agg(set)
    blocks, sites, counts = set(filters.blocks.split(",")) - {""}, _numbers(filters.sites), _numbers(filters.counts)

    def passes(row: object) -> bool:
        placed = placements_of(row.notation)
        return all(
            (
                not blocks or not placed or {b for _, b in placed} <= blocks,
                not sites or not placed or {s for s, _ in placed} <= sites,
                not counts or not placed or len(placed) in counts,
                not filters.stage or filters.stage in stages[row.candidate_id],
                not filters.max_ms or row.latency_ms <= float(filters.max_ms),
                filters.text in row.notation,
            )
        )

    expected = [passes(row) for row in summary.itertuples()]
    assert filters.mask(summary, full).tolist() == expected
    assert 0 < sum(expected) < len(summary)


def test_controls_in_any_order_are_one_filter() -> None:
    assert filters_of(["", ["hac", "cnl"], "", [], None, None, " x ", None]) == Filters(blocks="cnl,hac", text="x")


def test_the_front_is_of_what_is_shown(full: StudyData) -> None:
    figure, words = draw_front(full, Filters(blocks="hac", level="val:e60"), LIGHT, [])
    assert words.startswith("3")
    front = next(trace for trace in figure["data"] if trace.get("name") == "front")
    from nas.reporting.dashboard.pages.explorer import shown_candidates

    shown = shown_candidates(full, Filters(blocks="hac", level="val:e60"))
    assert len(np.asarray(shown[shown["on_front"]])) >= 2
    assert front["mode"] == "lines"


def paying_activations(full: StudyData) -> StudyData:
    """The study paid with activations, of which the slowest network needs least."""
    results = full.results.assign(activations=(500.0 - full.results["latency_ms"]) * 1e6)
    return replace(full, results=results, definition={**full.definition, "cost": "activations"})


def test_the_explorer_is_of_what_is_paid(full: StudyData) -> None:
    """Its limit was on times, its table had no column for what is paid, and `ms` could not be chosen to stay."""
    data = paying_activations(full)
    summary = data.candidates(data.widest)
    limit = summary["activations"].median() / 1e6
    shown = summary[Filters(max_ms=str(limit)).mask(summary, data)]
    assert 0 < len(shown) < len(summary)
    assert shown["activations"].max() <= limit * 1e6
    panel = str(explorer._filter_panel(data, Filters()))
    assert "At most, activations (million elements)" in panel
    assert "At most, ms per batch" in str(explorer._filter_panel(full, Filters()))
    axes = {entry["label"]: entry["value"] for entry in explorer._axes(data, "")}
    assert (axes["activations, elements"], axes["time, ms"]) == ("", "ms")
    never = replace(data, results=data.results.assign(latency_ms=np.nan))
    assert "time, ms" not in {entry["label"] for entry in explorer._axes(never, "")}
    assert {entry["label"]: entry["value"] for entry in explorer._axes(full, "")}["time, ms"] == ""
    order = {"column": "activations", "descending": False, "page": 0}
    table, _ = tabulate_front(data, Filters(level="val:e60"), [], order, "1")
    assert "activations (million elements)" in table
    least = summary.sort_values("activations", kind="stable")
    assert table.index(str(least["notation"].iloc[0])) < table.index(str(least["notation"].iloc[1]))
    row = data.results[data.results["notation"] == "resnet50"]
    told = dict(candidate._latency_facts(data, row).pairs)
    assert told["activations"] == f"{row['activations'].iloc[0] / 1e6:.3f} million elements"


def test_a_rule_says_nothing_of_times_that_nobody_pays(full: StudyData) -> None:
    untimed = [{**finding, "evidence": {**finding["evidence"], "latency_ms": None}} for finding in full.findings]
    for data, told in ((full, True), (paying_activations(full), False)):
        cards = str(rule_options(replace(data, findings=untimed), ""))
        assert ("its effect on time was not measured" in cards) == told


def test_a_selection_is_of_candidates_not_of_places(full: StudyData) -> None:
    chosen = full.candidates(full.widest).query("notation == 'resnet50+cnl@8'")["candidate_id"].iloc[0]
    figure, _ = draw_front(full, Filters(level="val:e60"), LIGHT, [chosen])
    marked = [
        trace["customdata"][i][0]
        for trace in figure["data"]
        if trace.get("customdata") is not None
        for i in trace["selectedpoints"]
    ]
    assert marked == [chosen]
    _, words = tabulate_front(
        full, Filters(level="val:e60"), [chosen], {"column": "map_mean", "descending": True, "page": 0}, "market1501"
    )
    assert words == "1 candidate selected"


def test_filters_that_leave_nothing_say_so(full: StudyData) -> None:
    figure, words = draw_front(full, Filters(text="no such text"), LIGHT, [])
    assert words.startswith("0 of")
    assert "No candidate passes" in str(figure["layout"]["annotations"][0]["text"])


def test_sorting_keeps_missing_values_last(full: StudyData) -> None:
    for down in (True, False):
        order = {"column": "latency_ms", "descending": down, "page": 2}
        table, _ = tabulate_front(full, Filters(level="val:e60"), [], order, "market1501")
        last = table.rpartition("<tr>")[2].split("<td")
        assert last[7] == ' class="n">–</td>'


def test_what_a_narrow_network_takes_over_the_plain_one_is_told(full: StudyData) -> None:
    from nas.reporting.story.times import _table

    narrow = full.latencies["notation"].str.replace("resnet50", "resnet50(width=0.25)")
    rows = {str(row[0]): row[4] for row in _table(replace(full, latencies=full.latencies.assign(notation=narrow))).rows}
    assert next(added for name, added in rows.items() if name.endswith("(width=0.25)`")) == "+0.000"
    assert all(added[0] in "+−" for added in rows.values())


@pytest.mark.parametrize("name", FIGURES)
def test_dark_figures_have_no_light_token(name: str, full: StudyData) -> None:
    from nas.reporting import style

    drawing = FIGURES[name]()(full)
    assert not isinstance(drawing, str)
    text = str(figure_for(drawing, DARK))
    for token in (style.INK, style.SURFACE, style.GRID, style.BAND):
        assert token not in text


@pytest.mark.parametrize("study", ["market1501", "nothing_yet"])
@pytest.mark.parametrize("page", [*PAGES, "candidate"])
def test_every_page_is_drawn_for_every_study(page: str, study: str, stored: str) -> None:
    source = StudySource(stored)
    route = read_route(href(study, page, "resnet50+cnl@8" if page == "candidate" else None))
    assert page_of(source, route)
    if page not in WITH_CONTROLS:
        assert body_of(source, route, DARK)


@pytest.mark.parametrize("page", [*WITH_CONTROLS, "nowhere"])
def test_what_is_asked_while_another_page_comes_is_no_fault(page: str, stored: str) -> None:
    assert body_of(StudySource(stored), read_route(f"/study/market1501/{page}"), LIGHT) == []


def test_two_candidates_are_held_against_each_other(full: StudyData) -> None:
    said = str(pair_of(full, "resnet50+cnl@8", "resnet50+hac@8,14", LIGHT))
    assert "first minus second, 95 %" in said
    assert "not told apart" in said or "better" in said or "worse" in said
    assert said.index("site 08") < said.index("differs") < said.index("backbone")  # what differs stands first
    assert "Choose two different candidates." in str(pair_of(full, "resnet50", "resnet50", LIGHT))
    assert "There is no candidate gone" in str(pair_of(full, "resnet50", "gone", LIGHT))


def test_the_difference_of_two_candidates_is_paired_within_seeds(full: StudyData) -> None:
    from nas.reporting.story.beside import beside
    from nas.results.differences import difference

    level, pair = full.widest, ("resnet50+cnl@8", "resnet50")
    assert level is not None
    found = difference(level.rows(full.results), *pair)
    assert f"{found.estimate.value:+.4f}".replace("-", "−") in str(beside(full, *pair)[0])


def test_rank_lists_are_of_the_same_queries(stored: str, full: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def made(
        _: object, data: StudyData, *, notation: str, queries: object, split: str | None = None
    ) -> dict[str, list[dict[str, object]]]:
        asked.append((queries, split))
        lists = full.rank_lists["resnet50+cnl@6,8,14"]
        return {notation: [{**row, "query": place, "split": "test"} for place in (7, 3) for row in lists]}

    monkeypatch.setattr("nas.reporting.make_rank_lists", made, raising=False)
    both = with_lists(StudySource(stored).database("market1501"), full, "resnet50", "resnet50+cnl@8", queries=2)
    assert asked == [(2, None), ([7, 3], "test")]
    assert set(both.rank_lists) == {"resnet50", "resnet50+cnl@8"}


def test_several_studies_stand_in_one_view(full: StudyData, empty: StudyData) -> None:
    again = replace(full, name="again")
    said = str(together([full, again], LIGHT))
    assert "Rules of both" in said
    assert "Table I beside the paper" in said
    assert "no finished training to compare" in str(together([full, empty], LIGHT))
    assert "Choose two studies or more." in str(together([full], LIGHT))
    assert "'again'" in str(
        studies_layout({"market1501": "", "again": ""}, read_route("/compare", "?studies=again,gone"))
    )


@pytest.fixture
def three(stored: str, tmp_path: Path) -> list[str]:
    """Two databases that hold the same studies, and one of a later version."""
    urls = []
    for name in ("one", "two", "later"):
        shutil.copy(stored.removeprefix("sqlite:///"), tmp_path / f"{name}.db")
        urls.append(f"sqlite:///{tmp_path}/{name}.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "later.db")) as later, later:
        later.execute("UPDATE nas_alembic_version SET version_num = '9999_later'")
    return urls


def test_studies_of_several_databases_stand_in_one_list(three: list[str]) -> None:
    source = StudySource(*three)
    rows = [(row["study"], Path(row["database"]).name) for row in source.studies()]
    assert sorted(rows) == [(s, d) for s in ("market1501", "nothing_yet") for d in ("one.db", "two.db")]
    page = str(body_of(source, read_route("/"), LIGHT))
    assert "later.db is passed over: " in page
    assert page.count("/study/") == len({row["key"] for row in source.studies()}) == 4
    assert "Databases" in str(page_of(source, read_route("/")))


def test_every_page_is_of_the_study_of_its_own_database(three: list[str]) -> None:
    with open_database(three[1]) as database:
        Repository(database).note("market1501", "resnet50+cnl@8", comment="of two")
    source = StudySource(*three)
    of = {Path(row["database"]).name: row["key"] for row in source.studies() if row["study"] == "market1501"}
    assert [note.comment for note in source.data(of["two.db"]).notes.values()] == ["of two"]
    assert not source.data(of["one.db"]).notes
    for key, page in zip(itertools.cycle(of.values()), [*PAGES, "candidate"], strict=False):  # in turn: each is drawn
        route = read_route(href(key, page, "resnet50+cnl@8" if page == "candidate" else None))
        drawn = str([navigation(route), page_of(source, route)])
        if page not in WITH_CONTROLS:
            drawn += str(body_of(source, route, LIGHT))
        assert f"/study/{key}/" in drawn, page
        assert "/study/market1501/" not in drawn, page


def test_the_table_of_the_front_leads_to_its_own_database(full: StudyData) -> None:
    order = {"column": "map_mean", "descending": True, "page": 0}
    table, _ = tabulate_front(full, Filters(level="val:e60"), [], order, "1f2e3d4c~market1501")
    assert "/study/1f2e3d4c~market1501/candidate/" in table
    assert "/study/market1501/" not in table


def test_studies_of_one_name_are_told_apart_by_their_databases(three: list[str]) -> None:
    source = StudySource(*three)
    pair = {key: source.data(key) for key, shown in source.names().items() if "market1501" in shown}
    said = str(together(told_apart(pair, source.names()), LIGHT))
    assert "Rules of both" in said
    assert "reports/" not in said  # they have other names there
    assert f"market1501 ({three[0].removeprefix('sqlite:///')})" in said
    assert f"market1501 ({three[1].removeprefix('sqlite:///')})" in said


def test_a_database_that_breaks_hides_none_of_the_others(three: list[str]) -> None:
    source = StudySource(*three)
    before = {row["key"]: token_of(source, read_route(href(row["key"]))) for row in source.studies()}
    listed = token_of(source, read_route("/"))
    source.close()
    Path(three[0].removeprefix("sqlite:///")).write_bytes(b"no database at all" * 100)
    assert {Path(row["database"]).name for row in source.studies()} == {"two.db"}
    assert token_of(source, read_route("/")) != listed
    assert [key for key in before if key in source.names()] == [row["key"] for row in source.studies()]
    assert "one.db is passed over" in str(body_of(source, read_route("/"), LIGHT))
    lost = next(key for key in before if key not in source.names())
    assert "problem" in str(body_of(source, read_route(href(lost)), LIGHT))


def test_a_study_that_cannot_be_read_keeps_none_of_the_others_waiting(
    three: list[str], empty: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, asked = StudySource(*three), []

    def read(_: object, name: str) -> StudyData:
        asked.append(name)
        if len(asked) == 1:
            raise StorageError("damaged")
        return empty

    monkeypatch.setattr("nas.reporting.dashboard.source.study_data", read)
    source._warm()
    assert list(source._told) == list(source.names())[1:]


def test_an_address_has_nothing_of_a_password() -> None:
    plain, secret = (StudySource(f"postgresql://robot:{word}@host/nas", "sqlite:///nas.db") for word in ("a", "secret"))
    assert list(plain._urls) == list(secret._urls)
    with pytest.raises(StudyError, match="no database of this dashboard has a study 'market1501'"):
        secret.token("market1501")


def test_the_list_of_studies_tells_what_was_found_once_it_was_read(stored: str) -> None:
    source = StudySource(stored)
    assert "being read" in str(studies.render(source.studies())) or source.studies()[0]["told"]
    for thread in threading.enumerate():
        if thread.name == "nas-dashboard-warm":
            thread.join()
    said = {row["study"]: row["told"] for row in source.studies()}
    assert said["market1501"]["limits"] >= 1
    assert said["market1501"]["difference"].startswith("+0.0")
    assert said["nothing_yet"] == {"difference": "–", "of": "no result", "limits": 0}


def test_an_unknown_study_is_a_sentence(stored: str) -> None:
    words = str(body_of(StudySource(stored), read_route("/study/zzz"), LIGHT))
    assert "unknown study" in words


def test_reading_never_changes_the_file(stored: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(stored.removeprefix("sqlite:///"), copy)
    before = hashlib.sha256(copy.read_bytes()).hexdigest()
    source = StudySource(f"sqlite:///{copy}")
    for page in PAGES:
        page_of(source, read_route(href("market1501", page)))
    body_of(source, read_route("/study/market1501"), LIGHT)
    source.close()
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == before


def test_a_database_that_breaks_is_a_sentence_and_comes_back(stored: str, tmp_path: Path) -> None:
    copy, kept = tmp_path / "copy.db", tmp_path / "kept.db"
    shutil.copy(stored.removeprefix("sqlite:///"), copy)
    source = StudySource(f"sqlite:///{copy}")
    assert source.names()
    source.close()
    copy.rename(kept)
    with pytest.raises(StorageError):
        source.names()
    kept.rename(copy)
    assert source.names()


def test_a_snapshot_is_read_again_only_when_something_changed(stored: str) -> None:
    source = StudySource(stored)
    assert source.data("market1501") is source.data("market1501")
    with pytest.raises(StudyError):
        source.data("zzz")


def test_the_reader_chooses_rules_without_touching_the_study(full: StudyData) -> None:
    start = adopted(full)
    assert [finding.adopted for finding in chosen_rules(full, start)] == [i in start for i in range(len(full.findings))]
    other = chosen_rules(full, [2])
    assert [finding.adopted for finding in other] == [False, False, True, False]
    assert "chosen by a reader" in list(other)[2].reason
    assert list(other)[3].verdict == "not enough data"


def test_time_left_is_open_work_over_workers() -> None:
    stage = {"mean_seconds": 100.0, "trainings": {"waiting": 8, "running": 2, "finished": 5, "failed": 0}}
    status = {"stages": [stage], "trainings": {"running": 2}, "launch": {}, "now": 100.0}
    assert seconds_left(status, [{"state": "working"}, {"state": "working"}, {"state": "silent"}]) == pytest.approx(450)
    assert seconds_left(status | {"trainings": {"running": 0}}, []) is None
    assert seconds_left(status | {"stages": [], "trainings": {"running": 1}}, []) is None


def test_time_left_is_what_the_terminal_says() -> None:
    status = {"stages": [], "trainings": {"running": 0}, "launch": {"ends_at": 190.0}, "now": 100.0}
    assert seconds_left(status, []) == 90.0
    assert seconds_left(status | {"now": 200.0}, []) == 0.0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "not begun"),
        ({"stages": [{"status": "running"}]}, "stopped"),
        ({"stages": [{"status": "running"}], "launch": {"pid": 1}}, "running"),
        ({"stages": [{"status": "running"}], "launch": {"pid": 1}, "wish": "pause"}, "paused"),
        ({"doing": {"w": "timing network 3 of 19: resnet50+cnl@4"}}, "measuring"),
        ({"doing": {"w": "measurement: waiting for the machine, held by process 7", "v": "timing"}}, "waiting"),
        ({"trainings": {"running": 1, "failed": 0}}, "running"),
        ({"finished": True}, "finished"),
        ({"finished": True, "trainings": {"running": 0, "failed": 2}}, "finished with failures"),
        ({"stages": [{"status": "failed"}]}, "failed"),
    ],
)
def test_the_state_of_a_study_is_what_it_does(changes: dict[str, Any], word: str) -> None:
    still = {"stages": [{"status": "waiting"}], "trainings": {"running": 0, "failed": 0}, "doing": {}, "launch": {}}
    assert study_state(still | {"finished": False, "wish": "run"} | changes).text == word


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_own_addresses(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_without_a_token_only_this_machine_is_answered(stored: str) -> None:
    client = create_app(stored).server.test_client()
    assert client.get("/", headers={"Host": "127.0.0.1:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example:8050"}).status_code == 403
    assert client.get("/_dash-layout", headers={"Host": "evil.example"}).status_code == 403


def test_with_a_token_nothing_is_answered_without_it(stored: str) -> None:
    client = create_app(stored, token="secret").server.test_client()
    for path in ("/", "/_dash-layout", "/_dash-dependencies", "/assets/dashboard.css", "/study/market1501"):
        answer = client.get(path)
        assert answer.status_code == 403, path
        assert b"market1501" not in answer.data
    assert client.post("/_dash-update-component", json={}).status_code == 403
    assert client.get("/?token=wrong").status_code == 403
    welcome = client.get("/study/market1501?token=secret")
    assert welcome.status_code == 303
    assert welcome.headers["Location"] == "/study/market1501"
    assert "HttpOnly" in welcome.headers["Set-Cookie"]
    assert "SameSite=Strict" in welcome.headers["Set-Cookie"]
    assert client.get("/").status_code == 200


def test_pages_may_load_nothing_from_outside(stored: str) -> None:
    answer = create_app(stored).server.test_client().get("/", headers={"Host": "127.0.0.1"})
    policy = answer.headers["Content-Security-Policy"]
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert b"https://" not in answer.data
    assert b"http://" not in answer.data


def test_a_wrong_database_is_refused_before_serving(tmp_path: Path) -> None:
    with pytest.raises(NasError):
        create_app(f"sqlite:///{tmp_path}/none.db")


def test_a_rule_card_tells_its_effect_on_time_once(full: StudyData) -> None:
    """A limit's sentence says what the next block adds; the number beside it had the other sign."""
    limit = next(finding for finding in full.findings if "max_blocks" in finding["rule"])
    said = str(rule_options(replace(full, findings=[limit]), ""))
    assert "-1.70 ms per batch" in said
    assert said.count("1.70") == 1


@pytest.mark.parametrize("name", style.WIDE_FIGURES)
def test_a_figure_that_moves_sideways_stays_wide_on_a_telephone(name: str, full: StudyData) -> None:
    figure = FIGURES[name]().draw(FIGURES[name]().table(full))
    assert not isinstance(figure, str)
    narrow, wide = (figure_for(figure, {"width": width}, name)["layout"].get("margin") for width in (390, 1280))
    assert narrow == wide
    sheets = list(Path(reporting.__file__).parent.rglob("assets/*.css"))
    assert ["#fig-" + name in sheet.read_text() for sheet in sheets] == [True, True]


def test_what_was_not_measured_is_said_in_words(full: StudyData) -> None:
    finding = dict(full.findings[0])
    finding["evidence"] = dict(finding["evidence"]) | {"effect": None, "latency_ms": None}
    said = str(rule_options(replace(full, findings=[finding]), ""))
    assert "not measured" in said


def test_commands_on_pages_find_the_database(stored: str, tmp_path: Path) -> None:
    """Pasted where it is not `nas.db`, they said that there is no such study."""
    source = StudySource(stored)
    told = str(body_of(source, read_route("/study/nothing_yet/overview"), LIGHT))
    assert f"nas worker nothing_yet --db {stored}" in told
    assert "any machine" not in told, "a file is found on its own machine only"
    page = href("market1501", "candidate", "resnet50+cnl@8")
    assert f"--comment ... --db {stored}" in str(body_of(source, read_route(page), LIGHT))
    source.close()
    empty = f"sqlite:///{tmp_path}/empty.db"
    open_database(empty).close()
    assert f"nas run studies/quickstart.yaml --db {empty}" in str(studies.render([], (), StudySource(empty).find))
    assert StudySource("nas.db").find == StudySource("a.db", "b.db").find == []
