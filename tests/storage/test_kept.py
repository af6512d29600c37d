"""What is kept of a study's results beside reading them anew, whoever writes in between, and what."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from storage_builders import outcome, processes, real_row, request

from nas.errors import StorageError, StudyError
from nas.storage import Repository, open_database
from nas.storage.administration import delete_study, retry_failed
from nas.storage.base import AnySelect
from nas.storage.kept import KeptResults
from nas.storage.models import StageTraining, Training

PROTOCOL, DEVICE = "a1b2", "here"
OBJECTIVES = {"told": {"metrics": {"map": {}}, "costs": ["latency_ms", "peak_memory_mb"]}, "measured": None}
NETWORKS = 6


def study(repository: Repository, name: str, objective: object) -> int:
    """The stage of a study of that name, both made where they are missing."""
    repository.ensure_candidates([real_row(number) for number in range(NETWORKS)])
    repository.ensure_dataset("data", "generated", {}, {})
    found = repository.ensure_study(name, {"name": name, "objective": objective}, 1, None)
    repository.set_study_latency(found, PROTOCOL, DEVICE)
    return repository.ensure_stage(found, 0, "0-sweep", "sweep", {})


def ask(repository: Repository, name: str, number: int) -> None:
    stage = study(repository, name, repository.study(name).definition["objective"])
    asked = repository.rows(select(StageTraining.batch).where(StageTraining.stage_id == stage))
    batch = max((row.batch for row in asked), default=-1) + 1
    wanted = [
        request(n % NETWORKS, candidate_id=real_row(n % NETWORKS)["id"], seed=n // NETWORKS, batch=batch)
        for n in (number, number + 1)
    ]
    noted = [{"generation": number}, {}]
    repository.request_trainings(
        stage, [type(w)(**{**vars(w), "sampler_attrs": a}) for w, a in zip(wanted, noted, strict=True)]
    )


def claimed(repository: Repository, name: str, end: Callable[[int], object]) -> None:
    claim = repository.claim_training(repository.study(name).id, "w")
    if claim is not None:
        end(claim.id)


def finish(repository: Repository, name: str, number: int) -> None:
    costs = {"latency_ms": 1.0 + number / 7, "peak_memory_mb": 100.0 + number}
    told = outcome(0.5 + number / 1000, metrics={"costs": costs})
    claimed(repository, name, lambda training: repository.finish_training(training, "w", told))


def fail(repository: Repository, name: str, number: int) -> None:
    again = bool(number % 2)
    claimed(repository, name, lambda t: repository.fail_training(t, "w", "error", "broke", retry=again))


def give_back(repository: Repository, name: str, number: int) -> None:
    claimed(repository, name, lambda training: repository.release(training, "w"))


def drop(repository: Repository, name: str, number: int) -> None:
    """Waiting ones go; on SQLite the next that is asked for gets the id of the last."""
    repository.drop_waiting(study(repository, name, repository.study(name).definition["objective"]))


def bring(repository: Repository, name: str, number: int) -> None:
    """As an archive does: what is not finished here becomes so, with the archive's numbers and its time."""
    values = {"status": "finished", "map": 0.1, "finished_at": 1.0 + number, "failure_kind": None, "seconds": None}
    values["metrics"] = {"costs": {"latency_ms": 9.0, "peak_memory_mb": 9.0}}
    some = select(Training.id).where(Training.status != "finished").limit(1).scalar_subquery()
    repository.run(update(Training).where(Training.id == some).values(values))


def count_sizes(repository: Repository, name: str, number: int) -> None:
    architecture = real_row(number % NETWORKS)["architecture_id"]
    protocol = PROTOCOL if number % 2 else "another"
    repository.set_complexity(architecture, 10 + number, 20, {"activation_elements": number}, protocol_id=protocol)


def measure(repository: Repository, name: str, number: int) -> None:
    row = real_row(number % NETWORKS)
    names = {"architecture_id": row["architecture_id"], "notation": row["notation"]}
    record = {"median_ms": 5.0 + number, "drift": 1.0, "peak_memory_mb": 3.0}
    repository.store_latency(record, **names, protocol_id=PROTOCOL, device=DEVICE, measured=bool(number % 3))


def delete_other(repository: Repository, name: str, number: int) -> None:
    delete_study(repository, "other", force=True)
    study(repository, "other", None)


OPERATIONS: dict[str, Callable[[Repository, str, int], object]] = {
    "ask": ask,
    "ask elsewhere": lambda repository, name, number: ask(repository, "other", number),
    "finish": finish,
    "finish elsewhere": lambda repository, name, number: finish(repository, "other", number),
    "fail": fail,
    "claim": lambda repository, name, number: claimed(repository, name, lambda training: None),
    "give back": give_back,
    "retry": lambda repository, name, number: retry_failed(repository, name),
    "drop": drop,
    "bring": bring,
    "count": count_sizes,
    "measure": measure,
    "other protocol": lambda r, name, n: r.set_study_latency(r.study(name).id, PROTOCOL if n % 2 else "b3", DEVICE),
    "delete other": delete_other,
}


def assert_same(kept: KeptResults, repository: Repository, name: str = "own") -> None:
    """Both tables and the notes are those that are read anew, to the bit and the type."""
    kept.look()
    pd.testing.assert_frame_equal(kept.results(), repository.results(name), check_exact=True)
    pd.testing.assert_frame_equal(kept.costs(), repository.costs(name), check_exact=True)
    noted = {int(row.training_id): row.sampler_attrs for row in repository.rows(notes(repository, name))}
    assert kept.sampler_attrs() == {training: attrs for training, attrs in noted.items() if attrs}


def notes(repository: Repository, name: str) -> AnySelect:
    (stage,) = repository.stages(repository.study(name).id)
    columns = (StageTraining.training_id, StageTraining.sampler_attrs)
    return select(*columns).where(StageTraining.stage_id == stage.id)


@pytest.fixture(scope="module", params=list(OBJECTIVES))
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study that has no trainings yet, and another one."""
    path = tmp_path_factory.mktemp("kept") / "study.db"
    with open_database(f"sqlite:///{path}") as database:
        study(Repository(database), "own", OBJECTIVES[request.param])
        study(Repository(database), "other", None)
    return path


steps = st.lists(
    st.tuples(st.sampled_from(["ask", "finish", *OPERATIONS]), st.integers(0, 11), st.booleans(), st.booleans()),
    min_size=4,
    max_size=16,
)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_what_is_kept_is_what_is_read_anew(template: Path, done: list[tuple[str, int, bool, bool]]) -> None:
    """Whatever happens, here or through other connections, looked at after each or only after several."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{shutil.copy(template, Path(folder) / 'study.db')}"
        with open_database(url) as here, open_database(url) as there:
            mine, others = Repository(here), Repository(there)
            kept = KeptResults(mine, "own")
            for name, number, is_elsewhere, looks in [("ask", 0, False, True), *done]:
                OPERATIONS[name](others if is_elsewhere else mine, "own", number)
                if looks:
                    assert_same(kept, mine)
            assert_same(kept, mine)


def test_on_both_engines(repository: Repository) -> None:
    for objective in OBJECTIVES.values():
        name = "own" if objective is None else "told"
        study(repository, name, objective)
        study(repository, "other", None)
        kept = KeptResults(repository, name)
        ask(repository, name, 0)
        for number, operation in enumerate(OPERATIONS.values()):
            operation(repository, name, number)
            assert_same(kept, repository, name)


def write_along(url: str, name: str) -> None:
    """Another process asks, and finishes or fails what it is given."""
    with open_database(url) as database:
        repository = Repository(database)
        for number in range(12):
            ask(repository, name, number)
            (fail if number % 5 == 4 else finish)(repository, name, number)


def test_while_other_processes_write(url: str) -> None:
    """Finished trainings only become more, and none changes; at the end all is as it is read anew."""
    with open_database(url) as database:
        study(Repository(database), "own", OBJECTIVES["told"])
        study(Repository(database), "other", None)
        kept = KeptResults(Repository(database), "own")
        before: dict[int, float] = {}
        with processes().Pool(2) as pool:
            writing = pool.starmap_async(write_along, [(url, "own")] * 2, chunksize=1)
            while not writing.ready():
                kept.look()
                done = kept.results().query("status == 'finished'")
                now = dict(zip(done["training_id"].tolist(), done["map"].tolist(), strict=True))
                assert before.items() <= now.items()
                before = now
            writing.get()
        assert_same(kept, Repository(database))


def copied(source: Path, target: Path) -> None:
    """One database's content into another's file, which others have open."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def test_a_database_that_is_put_back_is_read_as_it_is(tmp_path: Path) -> None:
    """An older copy under the same name, ids and numbers of rows given again to others."""
    url = f"sqlite:///{tmp_path}/study.db"
    with open_database(url) as database:
        repository = Repository(database)
        study(repository, "own", OBJECTIVES["told"])
        ask(repository, "own", 0)
        kept = KeptResults(repository, "own")
        assert_same(kept, repository)
        copied(tmp_path / "study.db", tmp_path / "older.db")
        finish(repository, "own", 1)
        assert_same(kept, repository)
        copied(tmp_path / "older.db", tmp_path / "study.db")
        finish(repository, "own", 2)
        assert_same(kept, repository)
        assert kept.results()["map"].dropna().tolist() == [0.502]


def test_tables_that_were_given_out_stay(repository: Repository) -> None:
    study(repository, "own", OBJECTIVES["told"])
    kept = KeptResults(repository, "own")
    ask(repository, "own", 0)
    kept.look()
    first, costs = kept.results(), kept.costs()
    assert kept.costs() is costs
    first["map"] = 1.0
    assert kept.results()["map"].isna().all()
    kept.look()
    assert kept.costs() is costs
    finish(repository, "own", 0)
    kept.look()
    assert kept.costs() is not costs
    assert costs.empty


def test_a_look_that_failed_leaves_nothing_of_the_protocol_before(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the protocol before were taken for those of the new one by the look after."""
    study(repository, "own", None)
    kept = KeptResults(repository, "own")
    ask(repository, "own", 0)
    for number, protocol in enumerate((PROTOCOL, "another")):
        architecture = real_row(0)["architecture_id"]
        repository.set_complexity(architecture, 10 + number, 20, {"activation_elements": 1}, protocol_id=protocol)
    assert_same(kept, repository)
    repository.set_study_latency(repository.study("own").id, "another", DEVICE)
    read = kept._in_full
    monkeypatch.setattr(kept, "_in_full", Mock(side_effect=StorageError("away", None)))
    with pytest.raises(StorageError):
        kept.look()
    monkeypatch.setattr(kept, "_in_full", read)
    assert_same(kept, repository)


def test_a_study_that_is_gone_is_said(repository: Repository) -> None:
    study(repository, "own", None)
    kept = KeptResults(repository, "own")
    kept.look()
    delete_study(repository, "own")
    with pytest.raises(StudyError, match="unknown study 'own'"):
        kept.look()
