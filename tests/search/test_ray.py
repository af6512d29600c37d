"""Studies on a real Ray cluster of several nodes, one of which is killed."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_builders import FaultStudy
from private_postgres import PASSWORD, PrivatePostgres, serving

from nas.errors import StudyError
from nas.search.launchers import ray as launching
from nas.search.launchers.base import WorkerTask
from nas.search.launchers.settings import RaySettings
from nas.storage import Repository, open_database

pytestmark = [pytest.mark.slow, pytest.mark.heavy, pytest.mark.postgres]
SWEEP: list[Any] = [{"sweep": {"candidates": 10, "baselines": False}}]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    """The database that all nodes reach."""
    yield from serving()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without slots and two nodes of two slots."""
    pytest.importorskip("ray", reason="ray is not installed")
    building = importlib.import_module("ray.cluster_utils")
    # Not 127.0.0.1: Ray looks for what is said to be there under the machine's own address.
    common = {"include_dashboard": False, "object_store_memory": 80 << 20}
    made = building.Cluster(initialize_head=True, head_node_args={**common, "num_cpus": 0})
    for _ in range(2):
        made.add_node(num_cpus=2, **common)
    yield made
    made.shutdown()


@pytest.fixture
def study(tmp_path: Path, postgres: PrivatePostgres) -> FaultStudy:
    """Ten trainings of half a second, for three workers."""
    return FaultStudy.replayed(
        tmp_path, postgres.create_database(), SWEEP, seconds=0.5, launcher={"ray": {"max_workers": 3}}
    )


def trainings(study: FaultStudy) -> dict[str, int]:
    with open_database(study.url) as database:
        found: dict[str, int] = Repository(database).status(study.name)["trainings"]
    return found


WHOLE = {"waiting": 0, "running": 0, "finished": 10, "failed": 0}


def on(study: FaultStudy, cluster: Any) -> subprocess.Popen[bytes]:
    """`nas run --on ray` with the cluster's address in the environment, where `ray job submit` puts it."""
    return study.run("--on", "ray", RAY_ADDRESS=cluster.address)


def test_a_whole_study(study: FaultStudy, cluster: Any) -> None:
    study.finish(on(study, cluster))
    assert trainings(study) == WHOLE
    logs = list((study.folder / ".nas" / "logs").glob("*-ray-*.log"))
    assert logs
    assert PASSWORD not in study.said(None)


def test_a_node_that_dies_in_mid_study_loses_nothing(study: FaultStudy, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20)
    with study.watched():
        process = on(study, cluster)
        study.wait_for(2, process)
        cluster.remove_node(node, allow_graceful=False)
        study.finish(process)
    assert trainings(study) == WHOLE


def test_what_no_node_has_and_no_cluster_are_sentences(tmp_path: Path, postgres: PrivatePostgres, cluster: Any) -> None:
    url = postgres.create_database()
    study = FaultStudy.replayed(tmp_path, url, SWEEP, launcher={"ray": {"gpus": 7}})
    study.finish(on(study, cluster), 2)
    assert "no node of the Ray cluster has 1 CPU, 7 GPU" in " ".join(study.said().split())
    study.finish(study.run("--on", "ray://127.0.0.1:1"), 2)
    assert "no Ray cluster can be used at ray://127.0.0.1:1" in " ".join(study.said().split())


def test_another_version_on_a_node_is_refused_with_both(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    launcher = launching.RayLauncher(WorkerTask("study", "sqlite://"), RaySettings(), tmp_path)
    monkeypatch.setattr(launching, "VERSIONS", {"nas": "9.9", "python": "3.11.2"})
    launcher.submit(1)
    (sent,) = launcher._sent.values()
    launcher._ray.wait([sent.where], timeout=60)
    with pytest.raises(StudyError, match=r"versions differ: here nas 9\.9, python 3\.11\.2, on .* nas 0\."):
        launcher.jobs()
    launcher.end()


def test_own_code_is_shipped_with_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shipped_own.py").write_text("from shipped_help import K\nclass Mine:\n    k = K\n")
    (tmp_path / "shipped_help.py").write_text("K = 3\n")
    (tmp_path / "secret.txt").write_text("not code")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(launching.own_code, "require_trusted", lambda *_: None)
    folder = Path(launching._shipped(["shipped_own:Mine"]))
    assert sorted(path.name for path in folder.iterdir()) == ["shipped_help.py", "shipped_own.py"]
