"""From a database to the value object: the same numbers, on both engines, read-only, also while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from private_postgres import MISSING, PrivatePostgres, find_binaries
from reporting_builders import store_study
from sqlalchemy import update

from nas import Study
from nas.errors import StorageError, StudyError
from nas.reporting import load_study_data
from nas.reporting.dashboard.pages.candidate import _files
from nas.reporting.study_data import StudyData
from nas.storage import Repository, open_database
from nas.storage.models import Training
from nas.storage.reads import total_loss


@pytest.fixture(scope="module")
def on_postgres(full: StudyData) -> Iterator[str]:
    """The finished study on a private PostgreSQL server."""
    if find_binaries() is None:
        pytest.skip(MISSING)
    server = PrivatePostgres()
    url = server.create_database()
    with open_database(url) as database:
        store_study(Repository(database), full)
    yield url
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """A database with the finished study, on each engine."""
    name = "stored" if request.param == "sqlite" else "on_postgres"
    return str(request.getfixturevalue(name))


def test_what_is_stored_is_what_is_loaded(url: str, full: StudyData) -> None:
    with open_database(url, create=False, read_only=True) as database:
        data = load_study_data(database, full.name)
    keys = ["stage", "training_id", "notation", "map", "seed", "fidelity", "split", "status"]
    pd.testing.assert_frame_equal(
        data.results[keys].reset_index(drop=True), full.results[keys].reset_index(drop=True), check_dtype=False
    )
    assert len(data.spaces) == 2
    assert [finding["verdict"] for finding in data.findings] == [finding["verdict"] for finding in full.findings]
    assert data.environment["trained on"]["trainings"] == len(full.trainings)
    assert data.dataset["splits"]["train"]["images"] == 12936
    assert set(data.failed["failure_reason"]) == {"CUDA out of memory"}
    assert data.epochs is not None
    assert set(data.epochs["notation"]) <= set(full.results["notation"])


def test_summaries_are_the_same_from_a_database(url: str, full: StudyData) -> None:
    with open_database(url, create=False, read_only=True) as database:
        data = load_study_data(database, full.name)
    ours = data.candidates(data.quoted).set_index("notation")
    theirs = full.candidates(full.quoted).set_index("notation")
    pd.testing.assert_series_equal(ours["map_mean"], theirs["map_mean"], check_dtype=False)
    pd.testing.assert_series_equal(ours["on_front"], theirs["on_front"], check_dtype=False)


def test_spaces_know_what_became_of_them(url: str, full: StudyData) -> None:
    with open_database(url, create=False, read_only=True) as database:
        spaces = load_study_data(database, full.name).spaces
    assert [space["name"] for space in spaces] == ["resnet50_attention", "resnet50_attention/3-shrink"]
    assert spaces[1]["adopted"] is True
    assert spaces[1]["stage"] == "3-shrink"


def test_a_change_changes_the_token_and_nothing_else_does(
    tmp_path_factory: pytest.TempPathFactory, empty: StudyData
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('token')}/a.db"
    with open_database(url) as database:
        repository = Repository(database)
        store_study(repository, empty)
        queries = Repository(database)
        before = queries.change_token(empty.name)
        assert queries.change_token(empty.name) == before
        stage = queries.stages(queries.study(empty.name).id)[0]
        repository.set_stage(stage.id, status="running")
        assert queries.change_token(empty.name) != before


def test_an_unknown_study_names_the_known_ones(stored: str) -> None:
    with open_database(stored, create=False, read_only=True) as database, pytest.raises(StudyError, match="market1501"):
        load_study_data(database, "market1510")


def test_the_whole_loss_is_the_total_or_the_sum() -> None:
    assert total_loss({"total": 3.0, "ce": 2.0}) == 3.0
    assert total_loss({"ce": 2.0, "triplet": 0.5}) == 2.5


def test_a_study_opens_in_a_notebook(stored: str, full: StudyData) -> None:
    study = Study.open(stored, full.name)
    results = study.results()
    assert len(results) == len(full.results)
    results.loc[:, "map"] = 0.0  # a copy: what is cached stays
    assert study.results()["map"].max() > 0.5
    assert study.figure("pareto_front").data
    assert study.rules().admits("resnet50+cnl@8")
    assert "C-NL" in study._repr_html_()
    assert full.name in repr(study)
    assert study.candidates()["on_front"].any()


def test_a_notebook_says_what_is_missing(stored: str) -> None:
    with pytest.raises(StudyError, match="did you mean 'market1501'"):
        Study.open(stored, "market1510")
    with pytest.raises(StudyError, match="name one of the studies"):
        Study.open(stored)
    with pytest.raises(StudyError, match="pareto_front"):
        Study.open(stored, "market1501").figure("pareto_frnt")
    with pytest.raises(StorageError):
        Study.open("sqlite:////nowhere/at/all.db", "x")


def test_keys_of_a_far_device_are_no_protocol_of_a_measurement_here() -> None:
    """`on: cuda` is where a far device runs networks; it says nothing of times that were read on this CPU."""
    latency = {"backend": "eager", "device": "auto", "on": "cuda", "wait_for_device": True}
    assert StudyData("here", {"latency": latency}).latency_protocol == {"backend": "eager", "device": "auto"}
    far = {**latency, "device": "xavier"}
    assert StudyData("far", {"latency": far}).latency_protocol == far


def test_weights_that_were_kept_are_named_with_what_to_type(stored: str, tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    path.write_bytes(Path(stored.removeprefix("sqlite:///")).read_bytes())
    kept = {"checkpoint_uri": "file:///weights/one.pt", "checkpoint_sha256": "0" * 64}
    with open_database(f"sqlite:///{path}") as database, database.write() as session:
        session.execute(update(Training).where(Training.id == 1).values(kept))
    study = Study.open(f"sqlite:///{path}", "market1501")
    assert list(study.checkpoints()["checkpoint"]) == ["/weights/one.pt"]
    assert list(study.candidates()["export"].dropna()) == ["nas export /weights/one.pt"]
    rows = study.data().results.query("checkpoint.notna()")
    page = str(_files(study.data(), rows))
    for typed in ("nas evaluate /weights/one.pt --data", "nas export /weights/one.pt", "nas extract /weights/one.pt"):
        assert typed in page
    other = Study.open(f"sqlite:///{path}", "nothing_yet")
    assert other.checkpoints().empty
