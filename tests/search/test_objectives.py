"""One's own trainer: a function, a command, or a loop outside; what each gives, and what is wrong with it."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
import pytest
from search_builders import SPACE, true_map, true_ms

import nas
from nas.cli.main import main
from nas.errors import NasError, SpaceError, StudyError, TrainingError
from nas.search import own_function
from nas.search.asking import Asked, Asker
from nas.search.objectives import OwnTrainer, filled, run_command
from nas.search.settings import ObjectiveSettings
from nas.spaces import Candidate, own_code
from nas.storage import Database, Repository, open_database
from nas.storage.optuna_storage import TRAINING_KEY, mirror_trials, mirrored_studies, optuna_storage
from nas.training.failures import Diverged, TrainingInterrupted
from nas.training.fidelity import Fidelity

ONE = Candidate.parse("resnet50+cnl@6")
SMALL = {**SPACE, "backbones": ["resnet18"], "blocks": ["se"]}
SWEEP = {"sweep": {"design": "stratified", "candidates": 6, "seeds": 2}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    return tmp_path


def score(candidate: Candidate, seed: int) -> dict[str, float]:
    return {"map": true_map(candidate) + 0.001 * (seed % 3), "latency_ms": true_ms(candidate)}


def noisy(candidate: Candidate, seed: int) -> dict[str, float]:
    """With what a training moves by itself: of scores without any noise no interval is known."""
    wobble = 1e-5 * (zlib.crc32(f"{candidate.notation} {seed}".encode()) % 7)
    return {"map": true_map(candidate) + 0.001 * (seed % 3) + wobble, "latency_ms": true_ms(candidate)}


TOLD = {"python": score, "costs": ["latency_ms"]}


def study(objective: Any = TOLD, **changes: Any) -> dict[str, Any]:
    return {"name": "own", "space": SPACE, "objective": objective, "stages": [SWEEP], **changes}


def here(objective: Any = TOLD, **changes: Any) -> nas.Study:
    return nas.run(study(objective, **changes), in_process=True, progress=False)


# -- functions


@pytest.mark.slow
def test_a_function_is_searched_shrunk_and_confirmed_with_its_own_costs() -> None:
    stages = [
        {"sweep": {"design": "stratified", "candidates": 40, "seeds": 2}},
        {"shrink": {"confirm": 6}},
        {"search": {"trainings": 8, "batch": 4}},
        {"confirm": {"seeds": 2, "max_candidates": 3}},
    ]
    objective = {"python": noisy, "costs": ["latency_ms"]}
    found = nas.run(study(objective, stages=stages), in_process=True, workers=3, progress=False)
    rows = found.results()
    assert set(rows["status"]) == {"finished"}
    assert set(rows["split"]) == {"own"}
    trained = zip(rows["notation"], rows["seed"], strict=True)
    assert rows["map"].tolist() == [noisy(Candidate.parse(name), seed)["map"] for name, seed in trained]
    assert rows["latency_ms"].tolist() == [true_ms(Candidate.parse(n)) for n in rows["notation"]]
    assert set(rows["latency_how"]) == {"told"}
    assert found.answer().kind == "better"
    assert any("cost" in json.dumps(rule.to_dict()) or rule.sentence() for rule in found.rules().rules)


@pytest.mark.slow
def test_trainings_in_worker_processes_import_the_function(folder: Path) -> None:
    (folder / "trainer_here.py").write_text(
        "def score(candidate, seed, fidelity, start):\n"
        "    print('noise on stdout')\n"
        "    return {'map': 0.8 + 0.001 * (seed % 3) * len(candidate.sites), 'latency_ms': 37 + len(candidate.sites)}\n"
    )
    objective = {"python": "trainer_here:score", "costs": ["latency_ms"]}
    found = nas.run(study(objective, name="processes"), workers=2, progress=False)
    same = here(objective, name="threads", database="sqlite:///other.db")
    columns = ["notation", "seed", "map", "latency_ms", "code"]
    assert found.results()[columns].equals(same.results()[columns])
    assert set(found.results()["status"]) == {"finished"}
    assert set(found.results()["code"]) != {""}
    # The same trainings under another name are shared, not repeated.
    shared = here(objective, name="shared")
    assert set(shared.results()["training_id"]) == set(found.results()["training_id"])
    # Another code is another study: its results would be those of two trainers.
    source = (folder / "trainer_here.py").read_text()
    del sys.modules["trainer_here"]
    (folder / "trainer_here.py").write_text(source.replace("0.001", "0.002"))
    with pytest.raises(StudyError, match="the code of trainer_here:score was changed since study 'processes'"):
        nas.run(study(objective, name="processes"), workers=2, progress=False)
    del sys.modules["trainer_here"]


def test_a_function_of_a_script_is_known_there_and_nowhere_else() -> None:
    bonus = 0.001

    def local(candidate: Candidate) -> float:
        return true_map(candidate) + bonus

    name = own_function.register(local)
    assert own_function.is_here(name)
    assert own_function.find(name) is local
    before = own_function.hash_of(name, None)
    bonus = 0.002
    assert own_function.hash_of(name, None) != before  # values that it closes over are part of what it is
    with pytest.raises(StudyError, match="a function of the program that began this study"):
        own_function.find("<here> of_another_program")
    assert own_function.register(json.dumps) == "json:dumps"


def test_a_direction_and_a_unit_are_the_metrics_own_for_optuna_too() -> None:
    metrics = {"error": {"unit": "%", "better": "less"}}
    objective = {"python": lambda candidate: 5 - true_map(candidate), "metrics": metrics}
    found = here(objective, cost="params", space=SMALL)
    rows = found.results()
    assert (rows["map"] == -rows["error"]).all()
    assert rows["error"].between(4.0, 4.2).all()
    assert rows["params"].notna().all()  # counted, as the trainer does not give them
    assert rows["latency_ms"].isna().all()  # nothing asked for a time
    with open_database("sqlite:///nas.db") as database:
        (name,), storage = mirrored_studies(database, "own"), optuna_storage(database)
        assert optuna.load_study(study_name=name, storage=storage).metric_names == ["-error (%)", "params"]


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (math.nan, Diverged, "the objective f gave map = nan"),
        ({"map": math.inf}, Diverged, "gave map = inf"),
        ({"rank1": 0.5}, StudyError, "gave no 'map', only rank1"),
        ({}, StudyError, "gave no 'map', only an empty dictionary"),
        (None, StudyError, "gave None, not a number or a dictionary"),
        ({"map": "0.5"}, StudyError, "gave map = '0.5', which is no number"),
        ({"map": 82.0}, StudyError, "gave map = 82, which is no fraction"),
        ({"map": 0.5, "checkpoint": "none.pt"}, StudyError, "gave the checkpoint 'none.pt', which is no file"),
    ],
)
def test_what_is_given_is_a_result_or_one_sentence(given: Any, kind: type[NasError], said: str) -> None:
    def f(candidate: Candidate) -> Any:
        return given

    trainer = OwnTrainer(ObjectiveSettings(python=own_function.register(f)))
    with pytest.raises(kind, match=said.replace("objective f", "objective .*f")):
        trainer.run(ONE, 0, Fidelity(), None)


def test_a_cost_that_is_declared_must_come_and_be_one() -> None:
    trainer = OwnTrainer(ObjectiveSettings(ask=True, costs=["energy_j"]))
    assert trainer.read({"map": 0.5, "energy_j": 2}).costs == {"energy_j": 2.0}
    with pytest.raises(StudyError, match="gave no 'energy_j', only map"):
        trainer.read({"map": 0.5})
    with pytest.raises(StudyError, match=r"energy_j = 0.0, which is no cost"):
        trainer.read({"map": 0.5, "energy_j": 0})


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({"python": "json:none"}, "module 'json' has no function 'none'"),
        ({"python": "json:decoder"}, "json:decoder is no function"),
        ({"python": lambda candidate, rate: 0}, "needs unknown argument 'rate'"),
        ({"command": ["no-such-program-x"]}, "there is no program 'no-such-program-x'"),
        ({"command": [sys.executable, "{note}"]}, "unknown place 'note'; did you mean 'notation'"),
        ({"command": []}, "objective.command: at least 1 must be given, not 0"),
        ({}, "one of table, python, command and ask; this one has none"),
        ({"table": "a.csv", "ask": True}, "this one has table, ask"),
        ({"python": score, "metrics": ["latency_ms"]}, "latency_ms is a cost: write it under `costs`"),
        ({"python": score, "costs": ["latency"]}, r"objective.costs\[0\]: 'latency_ms'.* is needed, not 'latency'"),
        ({"pyton": score}, "unknown key 'pyton'; did you mean 'python'"),
    ],
)
def test_what_is_wrong_with_an_objective_is_said_before_anything_runs(objective: Any, said: str) -> None:
    with pytest.raises((StudyError, SpaceError), match=said):
        here(objective)


def test_functions_are_given_what_they_name() -> None:
    seen: list[Any] = []

    def everything(candidate: Candidate, seed: int, fidelity: Fidelity, start: Path | None) -> float:
        seen.append((candidate, seed, fidelity.epochs, start))
        return 0.5

    def anything(**given: Any) -> float:
        seen.append(sorted(given))
        return 0.5

    def only(network: Candidate, seed: int = 9) -> float:
        seen.append((network, seed))
        return 0.5

    for function in (everything, anything, only):
        settings = ObjectiveSettings(python=own_function.register(function))
        OwnTrainer(settings).run(ONE, 3, Fidelity(epochs=2), Path("a.pt"))
    assert seen == [(ONE, 3, 2, Path("a.pt")), ["candidate", "fidelity", "seed", "start"], (ONE, 3)]


FAILS = "test_failures_are_counted_and_the_study_goes_on.<locals>.fails"


def test_failures_are_counted_and_the_study_goes_on() -> None:
    tries: list[str] = []

    def fails(candidate: Candidate) -> float:
        if not candidate.placements:
            return 0.8
        tries.append(candidate.notation)
        raise ValueError("cannot train it")

    found = here(fails, cost="params", space=SMALL, max_attempts=2)
    assert found.status()["failures"] == {"error": 12}
    assert len(tries) == 24
    reasons = found.results().query("status == 'failed'")["failure_reason"]
    assert set(reasons) == {f"the objective {FAILS} raised ValueError: cannot train it"}


def test_a_function_that_hangs_has_failed_and_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over, later = threading.Event(), [0.0]
    # Hours pass where it hangs, and nowhere else.
    monkeypatch.setattr("nas.search.worker.time", SimpleNamespace(monotonic=lambda: time.monotonic() + later[0]))

    def hangs(candidate: Candidate) -> float:
        if candidate.placements:
            later[0] += 2 * 3600.0
            over.wait()
        return 0.8

    found = nas.run(
        study({"python": hangs, "costs": []}, cost="params", max_training_hours=1.0,
              space=SMALL, stages=[{"sweep": {"candidates": 2}}]),
        in_process=True, lease_s=1.0, progress=False,
    )  # fmt: skip
    assert found.status()["failures"] == {"timeout": 2}
    over.set()


def test_what_every_training_would_end_with_stops_the_study() -> None:
    with pytest.raises(StudyError, match="gave no 'map', only accuracy"):
        here(lambda candidate: {"accuracy": 0.5}, cost="params")


# -- commands

SCRIPT = """
import json, sys
from nas.spaces import Candidate
from search_builders import true_map, true_ms
print("epoch 1 of 1")
candidate = Candidate.parse(sys.argv[1])
print(json.dumps({"map": true_map(candidate) + 0.001 * (int(sys.argv[3]) % 3), "latency_ms": true_ms(candidate)}))
"""


@pytest.mark.slow
def test_a_command_answers_with_json_on_its_last_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]) + ":" + str(Path(nas.__file__).parents[1]))
    (folder / "train.py").write_text(SCRIPT)
    objective = {"command": [sys.executable, "train.py", "{notation}", "--seed", "{seed}"], "costs": ["latency_ms"]}
    small = [{"sweep": {"candidates": 2}}]
    found = here(objective, name="commands", stages=small)
    rows = found.results()
    assert rows["map"].tolist() == [
        true_map(Candidate.parse(n)) + 0.001 * (s % 3) for n, s in zip(rows["notation"], rows["seed"], strict=True)
    ]
    (folder / "train.py").write_text(SCRIPT.replace("epoch 1", "epoch 0"))
    with pytest.raises(StudyError, match="the code of the command was changed"):
        here(objective, name="commands", stages=small)


def test_a_command_in_a_database_is_run_only_where_it_is_trusted(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = {"command": [sys.executable, "-c", 'print("0.5")', "{notation}"]}
    here(objective, name="trusted", cost="params", stages=[{"sweep": {"candidates": 1}}],
         space=SMALL)  # fmt: skip
    monkeypatch.setattr(own_code, "_trusted", set())
    assert main(["worker", "trusted", "--db", "sqlite:///nas.db"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "uses code that was not named here: nas_command:c" in said
    assert f"--trust {own_function.command_name(objective['command'])}" in said


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("import sys; sys.exit('no memory left')", TrainingError, "ended with exit code 1: no memory left"),
        ("pass", StudyError, "wrote nothing to its standard output"),
        ("print('done')", StudyError, "the last line of the command is not JSON: 'done'"),
        ("print('[1]')", StudyError, r"gave \[1\], not a number"),
        ("print('{\"map\": NaN}')", Diverged, "gave map = nan"),
    ],
)
def test_a_command_that_gives_no_result_is_one_sentence(code: str, kind: type[NasError], said: str) -> None:
    with pytest.raises(kind, match=said):
        OwnTrainer(ObjectiveSettings(command=[sys.executable, "-c", code])).run(ONE, 0, Fidelity(), None)


def test_a_command_is_ended_with_its_children(folder: Path) -> None:
    shell = ["sh", "-c", f"sleep 1000 & echo $! > {folder / 'child'}; wait"]
    with pytest.raises(TrainingInterrupted):
        run_command(shell, lambda: (folder / "child").exists() and (folder / "child").read_text() != "")
    child = int((folder / "child").read_text())
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.1)


def test_places_are_filled_and_nothing_else() -> None:
    assert filled(["a", "{seed}", "--x={notation}{seed}", '{"a": 1}'], {"seed": 3, "notation": "n"}) == [
        "a", "3", "--x=n3", '{"a": 1}',
    ]  # fmt: skip


# -- ask and tell


def asking(**changes: Any) -> nas.Study:
    objective = {"ask": True, "costs": ["latency_ms"]}
    return nas.Study.create(study(objective, **changes))


@pytest.mark.slow
def test_a_loop_of_ones_own_gives_what_a_function_gives() -> None:
    stages = [{"sweep": {"design": "stratified", "candidates": 12, "seeds": 2}}, {"search": {"trainings": 8}}]
    told = asking(name="asked", stages=stages)
    while trial := told.ask():
        assert told.tell(trial, score(trial.candidate, trial.seed))
    columns = ["notation", "seed", "map", "latency_ms"]
    ran = here(stages=stages)
    assert told.results()[columns].equals(ran.results()[columns])
    assert told.answer() == ran.answer()
    assert told.ask() is None


def test_what_was_asked_must_be_told_and_failures_are_results() -> None:
    told = asking()
    first = told.ask()
    assert first is not None
    with pytest.raises(StudyError, match="gave no 'latency_ms', only map"):
        told.tell(first, {"map": 0.8})
    others = [other for _ in range(2 * 8 - 1) if (other := told.ask()) is not None]
    with pytest.raises(StudyError, match="nothing can be proposed before 16 results are told"):
        told.ask()
    assert told.tell(first, failed="the cable was out")
    assert told.tell(others[0], {"map": math.nan, "latency_ms": 1.0})
    with pytest.raises(StudyError, match="was told already"):
        told.tell(first, score(first.candidate, first.seed))
    for other in others[1:]:
        told.tell(other, score(other.candidate, other.seed))
    assert told.ask() is None
    assert told.status()["failures"] == {"diverged": 1, "error": 1}


def test_a_loop_stays_alive_over_a_database_that_was_away(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its signs of life ended for good with the first that could not be given, and its trainings went to others."""
    asking()
    with open_database("sqlite:///nas.db") as database:
        asker = Asker(database, "own", lease_s=0.3)
        asked = asker.ask()
        assert asked is not None
        repository = Repository(database)
        (before,) = repository.workers(repository.study("own").id)
        files = [file for end in ("", "-wal", "-shm") if (file := folder / f"nas.db{end}").exists()]
        for file in files:
            file.rename(f"{file}.away")
        _soon(lambda: "no sign of life" in caplog.text)
        for file in files:
            Path(f"{file}.away").rename(file)
        number = repository.study("own").id
        _soon(lambda: repository.workers(number)[0]["heartbeat_at"] > before["heartbeat_at"])
        assert asker.tell(asked, score(asked.candidate, asked.seed))
        asker.close()


def test_signs_of_life_do_not_wait_for_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long plan held them up, and what the same program had asked for before went to another."""
    asking()
    entered, free, in_time = threading.Event(), threading.Event(), []
    with open_database("sqlite:///nas.db") as database:
        repository, asker = Repository(database), Asker(database, "own", lease_s=3.0)
        first = asker.ask()
        assert first is not None

        def plans() -> None:
            entered.set()
            in_time.append(free.wait(60))

        def held() -> float:
            (row,) = repository.status("own")["running"]
            return float(row["heartbeat_at"])

        with monkeypatch.context() as patched:
            patched.setattr(asker._worker, "claim", plans)
            planning = threading.Thread(target=lambda: asker.ask(wait=True))
            planning.start()
            _soon(entered.is_set)
            before = held()
            _soon(lambda: held() > before + 3.5)  # longer than the lease
            assert asker.tell(first, score(first.candidate, first.seed))
        free.set()
        planning.join()
        assert in_time == [True]
        asker.close()


def test_neither_a_lease_nor_a_plan_waits_for_optunas_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else writes there holds the lock as long as it likes; what is told meanwhile is there at the end."""
    asking()
    entered, free = threading.Event(), threading.Event()

    def mirrors(*given: Any, **more: Any) -> int:
        entered.set()
        assert free.wait(240)
        return mirror_trials(*given, **more)

    monkeypatch.setattr("nas.search.mirror.mirror_trials", mirrors)
    monkeypatch.setattr("nas.search.mirror.FLUSH_COUNT", 1)
    with open_database("sqlite:///nas.db") as database:
        repository, asker = Repository(database), Asker(database, "own", lease_s=3.0)
        asked = [one for _ in range(4) if (one := asker.ask()) is not None]
        for one in asked[:2]:
            assert asker.tell(one, score(one.candidate, one.seed))
        _soon(entered.is_set)

        def held() -> float:
            rows = repository.status("own")["running"]
            return min(row["heartbeat_at"] for row in rows if row["training_id"] == asked[2].id)

        before = held()
        _soon(lambda: held() > before + 3.5)  # longer than the lease
        assert asker.tell(asked[2], score(asked[2].candidate, asked[2].seed))
        closing = threading.Thread(target=asker.close)
        closing.start()
        _soon(lambda: not repository.status("own")["running"])  # given back at once
        assert closing.is_alive()
        free.set()
        closing.join()
        assert _shown(database) == {one.id for one in asked[:3] if _is_in_the_space(asker, one)}


def test_a_program_that_keeps_optunas_tables_to_itself_keeps_none_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asking()
    monkeypatch.setattr("nas.storage.optuna_storage.LOCK_S", 0.1)
    with open_database("sqlite:///nas.db") as database:
        with database.lock("nas optuna mirror"):
            asker = Asker(database, "own")
            asked = [one for _ in range(4) if (one := asker.ask()) is not None]
            for one in asked:
                assert asker.tell(one, score(one.candidate, one.seed))
            asker.close()
            assert "not mirrored to Optuna yet: another program has held the lock" in caplog.text
        assert not _shown(database)
        following = Asker(database, "own")
        following.close()
        assert _shown(database) == {one.id for one in asked if _is_in_the_space(following, one)}


def test_what_optunas_tables_were_closed_to_is_shown_once_they_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    asking()
    monkeypatch.setattr("nas.storage.optuna_storage.LOCK_S", 0.1)
    monkeypatch.setattr("nas.search.mirror.FLUSH_COUNT", 1)
    monkeypatch.setattr("nas.search.mirror.FLUSH_S", math.inf)
    with open_database("sqlite:///nas.db") as database:
        asker = Asker(database, "own")
        with database.lock("nas optuna mirror"):
            asked = [one for _ in range(4) if (one := asker.ask()) is not None]
            for one in asked:
                assert asker.tell(one, score(one.candidate, one.seed))
            asker._mirror.flush()
            assert not asker._mirror.due()  # a worker would wait for the lock again after each training
            assert not asker._mirror.due(idle=True)
        asker.close()
        assert _shown(database) == {one.id for one in asked if _is_in_the_space(asker, one)}


def test_what_optunas_tables_are_made_of_is_not_what_a_planner_has_looked_at() -> None:
    asking()
    with open_database("sqlite:///nas.db") as database:
        asker = Asker(database, "own")
        one, two = asker.ask(), asker.ask()
        assert one is not None
        assert two is not None
        context = asker._worker.context
        with context.one_look():
            context.results()
            context.asked()
            asker._mirror.reconcile()
            assert asker.tell(one, score(one.candidate, one.seed))
            assert one.id in context.results().query("status == 'finished'")["training_id"].tolist()
        asker.close()


def test_at_the_end_optunas_tables_are_whole() -> None:
    asking()
    with open_database("sqlite:///nas.db") as database:
        asker = Asker(database, "own")
        told: set[int] = set()
        while asked := asker.ask():
            assert asker.tell(asked, score(asked.candidate, asked.seed))
            told |= {asked.id} if _is_in_the_space(asker, asked) else set()
        assert _shown(database) == told
        asker.close()


def _is_in_the_space(asker: Asker, asked: Asked) -> bool:
    """The reference network is not: Optuna has no place for it."""
    return asked.candidate != asker._worker.context.reference


def _shown(database: Database) -> set[int]:
    """The trainings that Optuna's tables show of the study `own`."""
    storage = optuna_storage(database)
    trials = [
        t
        for name in mirrored_studies(database, "own")
        for t in optuna.load_study(study_name=name, storage=storage).trials
    ]
    return {trial.user_attrs[TRAINING_KEY] for trial in trials}


def _soon(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def test_another_program_goes_on_where_one_stopped() -> None:
    one = asking()
    first = one.ask()
    assert first is not None
    one.close()  # as at the end of a program
    two = nas.Study.open("sqlite:///nas.db", "own")
    again = two.ask()
    assert again is not None
    assert (again.candidate, again.seed) == (first.candidate, first.seed)
    two.close()


def test_threads_share_a_study() -> None:
    told = asking()

    def work() -> None:
        while trial := told.ask(wait=True):
            time.sleep(0.01)
            told.tell(trial, score(trial.candidate, trial.seed))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.status()["trainings"]["finished"] == 2 * 8


def test_who_holds_the_loop_is_said() -> None:
    asking()
    with pytest.raises(StudyError, match="its trainings are asked for by a program"):
        nas.run(study({"ask": True, "costs": ["latency_ms"]}), progress=False)
    here(name="function")
    with pytest.raises(StudyError, match="does not ask"):
        nas.Study.open("sqlite:///nas.db", "function").ask()
    with pytest.raises(StudyError, match="are not asked for"):
        nas.Study.create(study(name="function"))


def test_networks_start_from_what_the_trainer_left(folder: Path) -> None:
    starts: list[tuple[str, Callable[[], bytes] | None]] = []

    def trains(candidate: Candidate, seed: int, start: Path | None) -> dict[str, Any]:
        starts.append((candidate.notation, None if start is None else start.read_bytes))
        if start is not None:
            assert start.read_bytes() == b"weights of resnet18"
        file = folder / "weights.pt"
        file.write_bytes(f"weights of {candidate}".encode())
        return {"map": 0.5 + 0.01 * len(candidate.placements), "checkpoint": str(file)}

    space = SMALL
    found = here(trains, cost="params", space=space, start="plain", stages=[{"sweep": {"candidates": 3}}])
    assert starts[0] == ("resnet18", None)
    assert all(start is not None for _, start in starts[1:])
    assert len(starts) > 4
    assert set(found.results().query("stage == 'sweep'")["start"].str.split(":").str[0]) == {"plain"}


# -- more than two objectives


def test_three_objectives_have_a_front_and_a_volume_of_their_own() -> None:
    def three(candidate: Candidate) -> dict[str, float]:
        energy = 9.0 - len(candidate.placements) + 0.1 * sum(candidate.sites)
        return {"map": true_map(candidate), "latency_ms": true_ms(candidate), "energy_j": energy}

    objective = {"python": three, "costs": ["latency_ms", "energy_j"]}
    stages: list[Any] = [
        {"sweep": {"design": "stratified", "candidates": 20}},
        {"search": {"sampler": "nsga3", "trainings": 8}},
        {"confirm": {"seeds": 1}},
    ]
    found = here(objective, stages=stages, more_costs=["energy_j"])
    rows = found.results().query("stage != 'confirm' and role == 'candidate'").drop_duplicates("notation")
    beaten = [
        any(
            other.map >= row.map and other.latency_ms <= row.latency_ms and other.energy_j <= row.energy_j
            and (other.map, other.latency_ms, other.energy_j) != (row.map, row.latency_ms, row.energy_j)
            for other in rows.itertuples()
        )
        for row in rows.itertuples()
    ]  # fmt: skip
    confirmed = set(found.results().query("stage == 'confirm' and role == 'candidate'")["notation"])
    best = set(rows["notation"][[not is_beaten for is_beaten in beaten]])
    assert confirmed <= best
    assert len(confirmed) == min(12, len(best))
    two = rows[["map", "latency_ms"]].to_numpy()
    plain = [not any(((o[0] >= p[0]) and (o[1] <= p[1]) and tuple(o) != tuple(p)) for o in two) for p in two]
    assert len(best) > sum(plain)  # the third objective keeps candidates that two would drop
    volume = found.figure("hypervolume")
    assert "mAP x ms x J" in str(volume.layout.yaxis.title.text)
    with pytest.raises(StudyError, match="the sampler placement weighs mAP against one cost, not energy_j too"):
        here(objective, name="placement", stages=[{"search": {"trainings": 8}}], more_costs=["energy_j"])
    with pytest.raises(StudyError, match="count one thing twice"):
        here(objective, name="twice", more_costs=["batches_per_s"])


@pytest.mark.slow
def test_what_a_study_offers_beside_its_tables() -> None:
    stages = [{"sweep": {"design": "stratified", "candidates": 12, "seeds": 2}}]
    one = here(stages=stages)
    front = one.front()
    assert front["latency_ms"].is_monotonic_increasing
    assert front["on_front"].all()
    cheap = one.choice(at_most=37.0)
    assert cheap is not None
    assert cheap.best == "resnet50"
    assert one.choice(at_most=1.0) is None
    columns = one.columns().set_index("name")
    assert columns.loc["latency_ms", "unit"] == "ms"
    assert set(columns.index) <= set(one.results().columns)
    figures = one.figures()
    assert {"pareto_front", "hypervolume", "rank_lists"} <= set(figures)
    assert figures["rank_lists"].layout.annotations[0].text  # an empty one says why
    with pytest.raises(StudyError, match="unknown setting of pareto_front 'colour'"):
        one.figure("pareto_front", colour="red")
    shifted = {"python": lambda candidate, seed: {**score(candidate, seed), "map": true_map(candidate) - 0.01}}
    other = here({**shifted, "costs": ["latency_ms"]}, name="other", stages=stages)
    both = one.compare(other)
    assert len(both.networks) == len(one.candidates())
    assert both.shift.value == pytest.approx(0.0105)
    assert both.tau == pytest.approx(1.0)
    assert "own minus other: +0.0105 mAP" in both.sentence()
