"""`nas run`, `nas worker` and `nas status` as a person or a script calls them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from search_builders import open_study, study_file, work

from nas import reporting, training
from nas.cli import campaign, common, run
from nas.cli.main import main
from nas.commands import terminal
from nas.reporting import stills

STAGES = [{"profile": {}}, {"sweep": {"design": "stratified", "candidates": 6}}, {"confirm": {"seeds": 1}}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    monkeypatch.setattr(stills, "_BROWSERS", ())  # pictures take seconds; their own test draws them
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    return tmp_path


def test_the_folder_of_tables_and_pictures_is_named_once(capfd: pytest.CaptureFixture[str]) -> None:
    files = {"figures": Path("reports/a/figures"), "png": Path("reports/a/figures"), "md": Path("reports/a/r.md")}
    run._report(SimpleNamespace(name="a", report=lambda folder: files))  # type: ignore[arg-type]
    told = ["Writing the report.", "Report:", "  reports/a/figures", "  reports/a/r.md"]
    assert capfd.readouterr().err.splitlines() == told


def test_paths_of_a_campaigns_report_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=20, soft_wrap=True)
    monkeypatch.setattr(terminal, "console", lambda: out)
    monkeypatch.setattr(campaign, "load_studies", lambda *_, **__: [None, None])
    monkeypatch.setattr(reporting, "write_combined", lambda *_: {"html": tmp_path / "report.html"})
    asked = SimpleNamespace(name="a", studies=(), title="", question="")
    campaign._report(asked, str)  # type: ignore[arg-type]
    assert "Writing the report over all studies." in out.file.getvalue()  # type: ignore[attr-defined]
    assert f"{tmp_path.as_uri()}/report.html\x1b\\" in out.file.getvalue()  # type: ignore[attr-defined]


def test_a_path_is_a_link_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=20, soft_wrap=True)
    monkeypatch.setattr(terminal, "console", lambda: out)
    common.note_path(tmp_path / "a report.html")
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert f"{tmp_path.as_uri()}/a%20report.html\x1b\\" in shown
    assert "a report.html" in shown


def test_of_many_adopted_rules_the_strongest_are_told_and_the_rest_counted() -> None:
    rules = [{"sentence": f"rule {i}", "verdict": "adopted"} for i in range(9)]
    lines = run._rule_lines(rules)
    assert lines[:5] == [f"Rule adopted: rule {i}" for i in range(5)]
    assert lines[5:] == ["4 more rules adopted: `nas rules show` has all."]


def test_a_study_runs_reports_and_resumes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = study_file(folder, STAGES)
    assert main(["run", str(path), "--json"]) == 0
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert result["finished"]
    assert result["trainings"]["failed"] == 0
    assert "report.html" in err
    for name in ("report.html", "report.md", "pareto.csv", "rules.yaml", "figures"):
        assert (folder / "reports" / "replayed" / name).exists()
    assert main(["run", str(path), "--json", "--no-report"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert again["trainings"] == result["trainings"]
    assert main(["status", str(path), "--json"]) == 0
    status = json.loads(capfd.readouterr().out)
    assert status["finished"]
    # One seed each: the terminal ends with the answer, that nothing can be told, and why, in the same words everywhere.
    assert result["answer"]["kind"] == "one seed"
    assert [limit["kind"] for limit in result["health"]] == ["one seed"]
    limit = " ".join(result["health"][0][part] for part in ("fact", "consequence", "cure"))
    assert result["choice"]
    told = f"{result['answer']['sentence']} Mind: {limit} {result['choice']} Writing the report. Report: reports"
    assert told in " ".join(err.split())
    assert status["health"] == result["health"]
    assert status["answer"] == again["answer"] == result["answer"]
    assert main(["status", str(path)]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert result["answer"]["sentence"] in said
    assert f"finished: {result['trainings']['finished']} trainings" in said


@pytest.mark.slow
def test_rules_are_told_after_the_answer(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = {"sweep": {"blocks": 1, "design": "exhaustive", "seeds": 2}}
    path = study_file(folder, [sweep, {"shrink": {"families": ["sites", "cost"], "confirm": 4}}])
    assert main(["run", str(path), "--json"]) == 0
    out, err = capfd.readouterr()
    result, said = json.loads(out), " ".join(err.split())
    verdicts = [rule["verdict"] for rule in result["rules"]]
    assert verdicts
    assert said.count("Rule adopted: ") == verdicts.count("adopted")
    assert ("No rule is adopted of" in said) == ("adopted" not in verdicts)
    assert main(["status", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rules"] == result["rules"]


def test_a_dry_run_leaves_nothing_behind(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = study_file(folder, STAGES)
    before = sorted(folder.rglob("*"))
    assert main(["run", str(path), "--dry-run", "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert plan["space_size"] == "515"
    assert [s["stage"] for s in plan["stages"]] == ["profile", "sweep", "confirm"]
    assert plan["stages"][1]["trainings"] == 8
    assert sorted(folder.rglob("*")) == before


def test_a_dry_run_says_what_a_run_would_do_with_the_study_of_that_name(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def dry(code: int, candidates: int = 6, **changes: object) -> dict[str, object]:
        stages = [{"sweep": {"design": "stratified", "candidates": candidates}}]
        path = study_file(folder, stages, **changes)
        assert main(["run", str(path), "--dry-run", "--json"]) == code
        return json.loads(capfd.readouterr().out)  # type: ignore[no-any-return]

    assert dry(0)["standing"] is None
    open_study(folder / "study.yaml")
    begun = "Study 'replayed' is in the database (0 trainings): a run "
    assert dry(0)["standing"] == begun + "goes on with it."
    assert dry(0, 9)["standing"] == begun + "goes on with it as it has grown (sweep.candidates: 6 to 9)."
    assert dry(2, seed=4)["problem"] == "study 'replayed' was begun with seed 3, not 4: a study grows with its own seed"
    assert "changed: cost" in str(dry(2, cost="params")["problem"])
    _, _, context = open_study(study_file(folder, [{"sweep": {"design": "stratified", "candidates": 6}}]))
    work(context)
    assert dry(0)["standing"] == begun.replace("0", "8") + "does nothing, as it is finished."
    (folder / "table.csv").write_text((folder / "table.csv").read_text().replace("0.86", "0.85"))
    assert "holds other values" in str(dry(2)["problem"])


def test_a_dry_run_that_takes_long_says_what_it_is_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five networks are timed, of which each may take 20 s on a small machine: over a minute without a word."""
    begun: list[str] = []
    monkeypatch.setattr(run, "slow_steps", lambda _: contextlib.nullcontext(begun.append))
    assert main(["run", str(study_file(folder, [{"sweep": {"candidates": 2}}])), "--dry-run"]) == 0
    assert begun[-1] == "estimating how long it takes"


def test_a_dry_run_refuses_an_address_that_no_database_has(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = study_file(folder, STAGES, database="mysql://localhost/x")
    assert main(["run", str(path), "--dry-run"]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert "'mysql' databases are not supported" in told.err


def test_a_dry_run_looks_at_paths_before_it_times_anything(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "probe", lambda *_: pytest.fail("timed"))
    recipe = {"extends": "quickstart", "weights": "gone.pth"}
    stages = [{"sweep": {"candidates": 2}}]
    path = study_file(folder, stages, objective=None, data={"market1501": "nowhere"}, recipe=recipe)
    assert main(["run", str(path), "--dry-run"]) == 2
    told = capfd.readouterr()
    assert "no weights file at gone.pth" in told.err
    assert "Speed: not known." in told.err


def test_a_worker_joins_by_name(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from search_builders import open_study

    definition, repository, _ = open_study(study_file(folder, STAGES))
    assert main(["worker", "replayed", "--db", definition.database]) == 0
    assert repository.status("replayed")["finished"]
    assert "trainings" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": "nowhere.yaml"}, "nowhere.yaml"),
        ({"objective": {"table": "nowhere.csv"}}, "nowhere.csv"),
        ({"objective": None, "recipe": "strong_basline"}, "strong_baseline"),
        ({"objective": None, "recipe": "quickstart", "data": {"market1501": "nowhere"}}, "nowhere"),
        ({"objective": None, "recipe": "quickstart", "latency": {"backend": "tensorrrt"}}, "tensorrt"),
        ({"stages": [{"search": {"sampler": "tpee", "trainings": 3}}]}, "did you mean 'tpe'"),
        ({"database": "mysql://localhost/x"}, "mysql"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(
    folder: Path, capfd: pytest.CaptureFixture[str], changes: dict[str, object], words: str
) -> None:
    path = study_file(folder, STAGES, **{k: v for k, v in changes.items() if k != "stages"})
    if "stages" in changes:
        path = study_file(folder, changes["stages"])  # type: ignore[arg-type]
    before = sorted(folder.rglob("*"))
    assert main(["run", str(path)]) == 2
    err = capfd.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert sorted(folder.rglob("*")) == before


def test_missing_files_and_names(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert main(["status", "nobody", "--db", f"sqlite:///{folder / 'no.db'}"]) == 2
    assert main(["worker", "nobody"]) == 2
    assert main(["runn"]) == 2
    assert "Traceback" not in capfd.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_family_that_has_nothing_to_ask_is_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing of hyperparameters varies in the space, and who asked for rules of them heard nothing at all."""
    shrink = {"shrink": {"families": ["sites", "hyperparameters"], "confirm": 0}}
    file = study_file(folder, [{"sweep": {"design": "stratified", "candidates": 26}}, shrink])
    said = "Rules of hyperparameters: not asked, all candidates are alike in it."
    assert main(["run", str(file), "--no-report"]) == 0
    assert said in capfd.readouterr().err
    assert main(["report", str(file), "--format", "md"]) == 0
    assert said in (folder / "reports" / "replayed" / "report.md").read_text()
    capfd.readouterr()
    assert main(["status", str(file)]) == 0
    assert f"  {said}" in capfd.readouterr().out.splitlines()
    assert main(["status", str(file), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["not_asked"] == [said]


def test_what_rules_do_elsewhere_is_said_in_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A study that tested rules ended with "nothing may be quoted", and its verdict stood in the report alone."""
    tested = {"test_rules": {"rules": [{"stage_ends": True}], "spaces": ["space.yaml"], "candidates": 8}}
    file = study_file(folder, [tested])
    assert main(["run", str(file), "--no-report"]) == 0
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("Rules elsewhere: "))
    assert line.startswith("Rules elsewhere: resnet50: ")
    assert main(["status", str(file), "--json"]) == 0
    (told,) = json.loads(capfd.readouterr().out)["rule_tests"]
    assert line == f"Rules elsewhere: {told}"
