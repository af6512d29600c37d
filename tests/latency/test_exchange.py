"""Far devices: jobs without weights, agents as real processes (one of them killed), folders with damaged files."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import LatencyError
from nas.latency import LatencyProtocol, device_agent
from nas.latency.agent import serve_database, serve_folder
from nas.latency.device_agent import DatabaseMailbox, EngineError
from nas.latency.exchange import (
    collect_jobs,
    export_jobs,
    import_results,
    request_jobs,
    retry_failed,
    still_open,
)
from nas.latency.jobs import make_job, pack
from nas.latency.store import RepositoryStore
from nas.spaces import Candidate
from nas.storage import Repository

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None,
    reason="onnx and onnxruntime are not installed",
)

DEVICE = "robot"
PROTOCOL = LatencyProtocol(backend="onnxruntime", batch=1, input=(32, 16), warmup=1, batches=5, threads=1)
NETWORKS = [Candidate.parse(f"resnet18(width=0.125){blocks}") for blocks in ("", "+se@4", "+se@8")]


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))


@pytest.fixture(scope="module")
def jobs() -> list[dict[str, Any]]:
    """Jobs for `NETWORKS`: exporting takes longer than all that is done with them."""
    return [make_job(candidate, PROTOCOL, DEVICE) for candidate in NETWORKS]


# -- jobs


def test_a_job_carries_no_weights() -> None:
    job = make_job(Candidate.parse("resnet50+cnl@8[loss=circle]"), PROTOCOL, DEVICE)
    assert job["notation"] == "resnet50+cnl@8"
    assert len(job["network"]) < 100_000  # the weights alone are 94 MB
    described = sum(int(part.partition(":")[2]) for part in job["noise"].split(" ")[1:])
    assert 90e6 < described < 110e6
    assert job["sha256"] == hashlib.sha256(job["network"]).hexdigest()


def test_equal_networks_make_equal_jobs(jobs: list[dict[str, Any]]) -> None:
    assert make_job(NETWORKS[1], PROTOCOL, DEVICE) == jobs[1]


def test_the_network_runs_on_noise_and_stays_finite(tmp_path: Path) -> None:
    import numpy as np
    import onnxruntime

    packed, noise = pack(NETWORKS[2], PROTOCOL)
    (tmp_path / "network.onnx").write_bytes(gzip.decompress(packed))
    assert noise is not None
    device_agent.noise_file(str(tmp_path), noise)
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, {"images": np.ones((1, 3, 32, 16), np.float32)})
    assert embeddings.shape == (1, 64)
    assert np.isfinite(embeddings).all()
    assert np.ptp(embeddings) > 0


def test_half_precision_jobs_are_half_precision() -> None:
    import onnx

    packed, noise = pack(NETWORKS[1], LatencyProtocol(backend="tensorrt", device="cuda", precision="fp16", batch=1))
    model = onnx.load_model_from_string(gzip.decompress(packed))
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert noise is not None
    assert noise.startswith("f16 ")


def test_a_backend_that_rebuilds_the_network_needs_no_file(sqlite_repository: Repository) -> None:
    protocol = LatencyProtocol(backend="eager", batch=1, input=(32, 16), warmup=0, batches=2, threads=1)
    request_jobs(sqlite_repository, NETWORKS[:1], protocol, DEVICE)
    assert serve_database(str(sqlite_repository.database.path), DEVICE, once=True, log=print) == 1
    (record,) = collect_jobs(sqlite_repository, DEVICE).records.values()
    assert (record.device_name, record.batches) == (DEVICE, 2)


# -- the database


def test_a_network_is_asked_for_once(sqlite_repository: Repository) -> None:
    first = request_jobs(sqlite_repository, NETWORKS[:2], PROTOCOL, DEVICE)
    again = request_jobs(sqlite_repository, [*NETWORKS[:2], *NETWORKS[:2]], PROTOCOL, DEVICE)
    assert first.ids == again.ids
    assert len(set(first.ids)) == 2


def test_what_cannot_be_sent_is_told_once_and_never_waited_for(
    sqlite_repository: Repository, jobs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def make(candidate: Candidate, *others: Any) -> dict[str, Any]:
        tried.append(candidate)
        if candidate == NETWORKS[1]:
            raise LatencyError("no such operator in ONNX")
        return jobs[NETWORKS.index(candidate)]

    monkeypatch.setattr("nas.latency.exchange.make_job", make)
    asked = request_jobs(sqlite_repository, NETWORKS[:2], PROTOCOL, DEVICE)
    assert asked.refused == {NETWORKS[1]: "no such operator in ONNX"}
    again = request_jobs(sqlite_repository, NETWORKS[:2], PROTOCOL, DEVICE)
    assert (again.refused, again.ids, len(tried)) == ({}, asked.ids, 2)
    assert still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE) == NETWORKS[:1]
    assert collect_jobs(sqlite_repository, DEVICE).failures == {NETWORKS[1]: "no such operator in ONNX"}
    assert retry_failed(sqlite_repository, DEVICE) == 0


def test_without_onnx_no_job_can_be_made(sqlite_repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.latency.exchange.installed", lambda *modules: "onnx is not installed")
    with pytest.raises(LatencyError, match="jobs for a device are ONNX files, and onnx is not installed"):
        request_jobs(sqlite_repository, NETWORKS[:1], PROTOCOL, DEVICE)
    assert sqlite_repository.latency_jobs() == []


def test_a_device_may_try_again(
    sqlite_repository: Repository, jobs: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways: a missing engine, then the engine is there."""
    (job_id, _) = sqlite_repository.request_latency_jobs(jobs[:2])
    sqlite_repository.finish_latency_job(job_id, None, "tensorrt is not installed on this device")
    assert still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE) == NETWORKS[1:2]
    assert retry_failed(sqlite_repository, DEVICE) == 1
    assert still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE) == NETWORKS[:2]

    folder = tmp_path / "stick"
    export_jobs(sqlite_repository, folder, DEVICE)
    with monkeypatch.context() as without_engine:
        without_engine.setattr("nas.latency.agent.measure_job", _no_engine)
        assert serve_folder(folder) == 0
    assert len(import_results(sqlite_repository, folder).failures) == 2
    assert retry_failed(sqlite_repository, DEVICE) == 2
    export_jobs(sqlite_repository, folder, DEVICE)
    assert serve_folder(folder) == 2
    assert set(import_results(sqlite_repository, folder).records) == set(NETWORKS[:2])


def _no_engine(job: dict[str, Any], path: str) -> dict[str, Any]:
    raise EngineError("tensorrt is not installed on this device")


def test_an_agent_measures_and_the_study_collects(repository: Repository, url: str, jobs: list[dict[str, Any]]) -> None:
    repository.request_latency_jobs(jobs)
    assert still_open(repository, NETWORKS, PROTOCOL, DEVICE) == NETWORKS
    assert serve_database(url, DEVICE, once=True, log=print) == 3
    assert still_open(repository, NETWORKS, PROTOCOL, DEVICE) == []
    assert set(collect_jobs(repository, DEVICE).records) == set(NETWORKS)
    assert collect_jobs(repository, DEVICE).records == {}
    stored = RepositoryStore(repository).find(NETWORKS, PROTOCOL, DEVICE)
    assert set(stored) == set(NETWORKS)
    assert all(record.environment and "onnxruntime" in record.environment["libraries"] for record in stored.values())


def test_jobs_for_another_device_are_left(sqlite_repository: Repository, jobs: list[dict[str, Any]]) -> None:
    sqlite_repository.request_latency_jobs([{**jobs[0], "device": "other"}])
    assert serve_database(str(sqlite_repository.database.path), DEVICE, once=True, log=print) == 0


def test_a_device_that_cannot_says_why(sqlite_repository: Repository) -> None:
    protocol = LatencyProtocol(backend="tensorrt", device="cuda", batch=1, input=(32, 16))
    request_jobs(sqlite_repository, NETWORKS[:1], protocol, DEVICE)
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    serve_database(str(sqlite_repository.database.path), DEVICE, once=True, log=print)
    assert collect_jobs(sqlite_repository, DEVICE).failures == {NETWORKS[0]: "tensorrt is not installed on this device"}
    assert still_open(sqlite_repository, NETWORKS, protocol, DEVICE) == []


def test_a_damaged_network_is_not_measured(sqlite_repository: Repository, jobs: list[dict[str, Any]]) -> None:
    job = jobs[0]
    sqlite_repository.request_latency_jobs([{**job, "network": job["network"][:-1] + b"x"}])
    serve_database(str(sqlite_repository.database.path), DEVICE, once=True, log=print)
    assert collect_jobs(sqlite_repository, DEVICE).failures == {NETWORKS[0]: "the network file is damaged or missing"}


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts agents as a device would: the module alone, as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        work = tmp_path / f"work{len(started)}"
        command = [sys.executable, device_agent.__file__, "--db", url, "--device", DEVICE, "--work", str(work)]
        started.append(subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def wait_for(repository: Repository, status: str, count: int, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while len(repository.latency_jobs(status=status)) < count:
        assert time.monotonic() < until, [(job["status"], job["reason"]) for job in repository.latency_jobs()]
        time.sleep(0.05)


def test_two_agents_share_the_work(
    repository: Repository, start: Callable[..., subprocess.Popen[str]], jobs: list[dict[str, Any]]
) -> None:
    networks = [Candidate.parse(f"resnet18(width=0.125)+se@{site}") for site in range(1, 9)]
    repository.request_latency_jobs([jobs[0] | {"architecture_id": c.id, "notation": c.notation} for c in networks])
    agents = [start("--once") for _ in range(2)]
    assert [agent.wait(120) for agent in agents] == [0, 0]
    jobs = repository.latency_jobs()
    assert [job["status"] for job in jobs] == ["finished"] * 8
    assert [job["attempts"] for job in jobs] == [1] * 8
    assert len(collect_jobs(repository).records) == 8


def test_the_job_of_a_killed_agent_is_measured_by_another(
    repository: Repository, start: Callable[..., subprocess.Popen[str]], jobs: list[dict[str, Any]]
) -> None:
    protocol = replace(PROTOCOL, batches=None, time_budget_s=2.0)
    long = {"protocol": protocol.resolved().to_dict(), "protocol_id": protocol.id}
    repository.request_latency_jobs([jobs[0] | long])
    killed = start("--lease", "1")
    wait_for(repository, "running", 1)
    killed.kill()
    killed.wait()
    assert repository.latency_jobs()[0]["status"] == "running"
    start("--poll", "0.2", "--lease", "60")
    wait_for(repository, "finished", 1)
    (job,) = repository.latency_jobs()
    assert job["attempts"] == 2
    assert len(collect_jobs(repository).records) == 1


def test_a_late_agent_does_not_overwrite_the_result_of_another(
    repository: Repository, url: str, jobs: list[dict[str, Any]]
) -> None:
    repository.request_latency_jobs(jobs[:1])
    slow, quick = DatabaseMailbox(url, DEVICE, lease_s=0.0), DatabaseMailbox(url, DEVICE)
    first = slow.claim()
    time.sleep(0.01)
    second = quick.claim()
    assert first is not None
    assert second is not None
    assert first["id"] == second["id"]
    slow.finish(first, {"from": "slow"})
    assert repository.latency_jobs()[0]["status"] == "running"
    quick.finish(second, {"from": "quick"})
    slow.fail(first, "too late")
    assert repository.latency_jobs()[0]["result"] == {"from": "quick"}


def test_a_job_that_silences_every_agent_is_given_up(
    repository: Repository, url: str, jobs: list[dict[str, Any]]
) -> None:
    repository.request_latency_jobs(jobs[:1])
    mailbox = DatabaseMailbox(url, DEVICE, lease_s=0.0, max_attempts=2)
    taken = []
    for _ in range(3):
        taken.append(mailbox.claim() is not None)
        time.sleep(0.01)
    assert taken == [True, True, False]
    (failure,) = collect_jobs(repository, DEVICE).failures.values()
    assert "fell silent" in failure


def test_a_lease_is_renewed_while_measuring(repository: Repository, url: str, jobs: list[dict[str, Any]]) -> None:
    repository.request_latency_jobs(jobs[:1])
    mailbox = DatabaseMailbox(url, DEVICE, lease_s=0.4)
    job = mailbox.claim()
    assert job is not None
    with mailbox.alive(job):
        time.sleep(1.0)
        assert DatabaseMailbox(url, DEVICE).claim() is None


def test_a_device_is_measured_on_by_one_agent_at_a_time(
    repository: Repository, url: str, jobs: list[dict[str, Any]]
) -> None:
    other = Candidate.parse("resnet18(width=0.125)+se@3")
    repository.request_latency_jobs([jobs[0], jobs[0] | {"architecture_id": other.id, "notation": other.notation}])
    first, second = DatabaseMailbox(url, DEVICE, lease_s=60), DatabaseMailbox(url, DEVICE)
    elsewhere = DatabaseMailbox(url, "another device")
    held = first.claim()
    assert held is not None
    assert second.claim() is None, "the second job waits for the device"
    assert second.busy()
    assert not first.busy()
    assert elsewhere.claim() is None
    assert not elsewhere.busy()
    first.finish(held, {"median_ms": 1.0})
    assert not second.busy()
    assert second.claim() is not None
    assert first.claim() is None


def test_the_device_of_a_silent_agent_is_free_after_its_lease(
    repository: Repository, url: str, jobs: list[dict[str, Any]]
) -> None:
    repository.request_latency_jobs(jobs[:1])
    assert DatabaseMailbox(url, DEVICE, lease_s=0.3).claim() is not None
    waiting = DatabaseMailbox(url, DEVICE)
    assert waiting.claim() is None
    time.sleep(0.4)
    assert waiting.claim() is not None


def test_a_released_job_costs_no_attempt(repository: Repository, url: str, jobs: list[dict[str, Any]]) -> None:
    repository.request_latency_jobs(jobs[:1])
    mailbox = DatabaseMailbox(url, DEVICE)
    job = mailbox.claim()
    assert job is not None
    mailbox.release(job)
    (left,) = repository.latency_jobs()
    assert (left["status"], left["attempts"]) == ("waiting", 0)


def test_a_missing_database_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no database"):
        DatabaseMailbox(f"sqlite:///{tmp_path}/absent.db", DEVICE)
    (tmp_path / "other.db").touch()
    with pytest.raises(EngineError, match="cannot be used"):
        DatabaseMailbox(f"sqlite:///{tmp_path}/other.db", DEVICE)


# -- the exchange folder


@pytest.fixture
def folder(sqlite_repository: Repository, tmp_path: Path, jobs: list[dict[str, Any]]) -> Path:
    sqlite_repository.request_latency_jobs(jobs)
    path = tmp_path / "stick"
    assert export_jobs(sqlite_repository, path, DEVICE) == 3
    return path


def test_a_folder_goes_out_and_comes_back(sqlite_repository: Repository, folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "device_agent.py", "--folder", ".", "--work", str(folder / "work")],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "3 network(s) measured" in run.stdout
    found = import_results(sqlite_repository, folder)
    assert set(found.records) == set(NETWORKS)
    assert (found.unusable, found.failures) == ([], {})
    again = import_results(sqlite_repository, folder)
    assert (again.records, again.unusable) == ({}, [])


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_damaged_results_are_named_and_the_rest_is_taken(sqlite_repository: Repository, folder: Path) -> None:
    assert serve_folder(folder, log=print) == 3
    first, second, _ = sorted((folder / "results").iterdir())
    spoil(first, '"median_ms": ', '"median_ms": 9')
    second.write_bytes(second.read_bytes()[:100])
    (folder / "results" / "stranger.json").write_text(json.dumps({"payload": {"job": "x"}, "sha256": ""}))
    found = import_results(sqlite_repository, folder)
    reasons = {path.name: why for path, why in found.unusable}
    assert "checksum" in reasons[first.name]
    assert "no result of an agent" in reasons[second.name]
    assert set(reasons) == {first.name, second.name, "stranger.json"}
    assert len(found.records) == 1
    assert len(still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE)) == 2
    for name in reasons:
        (folder / "results" / name).unlink()
    assert serve_folder(folder, log=print) == 2
    assert len(import_results(sqlite_repository, folder).records) == 2


def test_a_damaged_network_in_a_folder_is_a_failure_with_a_reason(sqlite_repository: Repository, folder: Path) -> None:
    victim = sorted((folder / "jobs").iterdir())[0]
    (victim / "network.onnx.gz").write_bytes(b"not what was sent")
    assert serve_folder(folder, log=print) == 2
    found = import_results(sqlite_repository, folder)
    assert list(found.failures.values()) == ["the network file is damaged or missing"]
    assert len(found.records) == 2


def test_results_of_another_network_are_not_believed(sqlite_repository: Repository, folder: Path) -> None:
    victim = sorted((folder / "jobs").iterdir())[0]
    other = gzip.compress(b"another network")
    (victim / "network.onnx.gz").write_bytes(other)
    spoil(victim / "job.json", '"sha256": "', f'"sha256": "{hashlib.sha256(other).hexdigest()}", "was": "')
    payload = {"job": victim.name, "job_sha256": hashlib.sha256(other).hexdigest(), "record": {}}
    (folder / "results").mkdir(exist_ok=True)
    text = json.dumps({"payload": payload, "sha256": device_agent.payload_sha256(payload)})
    (folder / "results" / f"{victim.name}.json").write_text(text)
    ((_, why),) = import_results(sqlite_repository, folder).unusable
    assert "another network file" in why


def test_without_waiting_networks_there_is_nothing_to_export(sqlite_repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="no network waits for device 'robot'"):
        export_jobs(sqlite_repository, tmp_path / "stick", DEVICE)
    assert not (tmp_path / "stick").exists()


def test_a_folder_cannot_carry_backends_that_need_the_package(sqlite_repository: Repository, tmp_path: Path) -> None:
    request_jobs(sqlite_repository, NETWORKS[:1], LatencyProtocol(), DEVICE)
    with pytest.raises(LatencyError, match="'eager' needs this package on the device"):
        export_jobs(sqlite_repository, tmp_path / "stick", DEVICE)
    assert not (tmp_path / "stick").exists()
