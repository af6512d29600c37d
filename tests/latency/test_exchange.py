"""Far devices: jobs without weights, folders that go out and come back, false results, workers on a device."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from latency_builders import PlantedDevice

from nas.errors import LatencyError
from nas.latency import LatencyProtocol, LatencyRecord
from nas.latency.device_agent.mailbox import FolderMailbox, payload_sha256
from nas.latency.device_agent.noise import noise_file
from nas.latency.device_agent.program import serve, unpack
from nas.latency.exchange import Bridge, answer_jobs, request_jobs, retry_failed, still_open
from nas.latency.jobs import make_job, pack, packed_notations
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
PLAIN = NETWORKS[0]


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))


@pytest.fixture(scope="module")
def jobs() -> list[dict[str, Any]]:
    """Jobs for `NETWORKS`: exporting takes longer than all that is done with them."""
    return [make_job(candidate, PROTOCOL, DEVICE, PLAIN if candidate != PLAIN else None) for candidate in NETWORKS]


# -- jobs


def test_a_job_carries_no_weights() -> None:
    job = make_job(Candidate.parse("resnet50+cnl@8[loss=circle]"), PROTOCOL, DEVICE, Candidate.parse("resnet50"))
    assert job["notation"] == "resnet50+cnl@8"
    assert len(job["network"]) < 150_000  # the weights alone are 94 MB
    assert packed_notations(job["network"]) == ["resnet50+cnl@8", "resnet50"]
    with zipfile.ZipFile(io.BytesIO(job["network"])) as archive:
        (own, _) = json.loads(archive.read("networks.json"))
    described = sum(int(part.partition(":")[2]) for part in own["noise"].split(" ")[1:])
    assert 90e6 < described < 110e6
    assert job["sha256"] == hashlib.sha256(job["network"]).hexdigest()


def test_equal_networks_make_equal_jobs(jobs: list[dict[str, Any]]) -> None:
    assert make_job(NETWORKS[1], PROTOCOL, DEVICE, PLAIN) == jobs[1]


def test_the_networks_run_on_noise_and_stay_finite(tmp_path: Path, jobs: list[dict[str, Any]]) -> None:
    import numpy as np
    import onnxruntime

    paths = unpack(jobs[2]["network"], jobs[2]["sha256"], str(tmp_path))
    assert len(paths) == 2
    for path in paths:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (embeddings,) = session.run(None, {"images": np.ones((1, 3, 32, 16), np.float32)})
        assert embeddings.shape == (1, 64)
        assert np.isfinite(embeddings).all()
        assert np.ptp(embeddings) > 0


def test_half_precision_jobs_are_half_precision(tmp_path: Path) -> None:
    import onnx

    protocol = LatencyProtocol(backend="tensorrt", device="cuda", precision="fp16", batch=1)
    packed = pack(NETWORKS[1], protocol)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        (listed,) = json.loads(archive.read("networks.json"))
        model = onnx.load_model_from_string(archive.read(listed["file"]))
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert model.opset_import[0].version == 17
    assert listed["noise"].startswith("f16 ")
    assert Path(noise_file(str(tmp_path), listed["noise"])).stat().st_size > 0


# -- the database


def test_a_network_and_its_reference_are_asked_for_once(sqlite_repository: Repository) -> None:
    request_jobs(sqlite_repository, NETWORKS[1:2], PROTOCOL, DEVICE)
    request_jobs(sqlite_repository, [*NETWORKS[:2], *NETWORKS[:2]], PROTOCOL, DEVICE)
    notations = [job["notation"] for job in sqlite_repository.latency_jobs()]
    assert notations == [PLAIN.notation, NETWORKS[1].notation], "references are done first"


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
    refused = request_jobs(sqlite_repository, NETWORKS[:2], PROTOCOL, DEVICE)
    assert refused == {NETWORKS[1]: "no such operator in ONNX"}
    assert request_jobs(sqlite_repository, NETWORKS[:2], PROTOCOL, DEVICE) == {}
    assert (len(tried), len(sqlite_repository.latency_jobs())) == (2, 2)
    assert still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE) == NETWORKS[:1]
    assert retry_failed(sqlite_repository, DEVICE) == 0


def test_without_onnx_no_job_can_be_made(sqlite_repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.latency.exchange.installed", lambda *modules: "onnx is not installed")
    with pytest.raises(LatencyError, match="jobs for a device are ONNX files, and onnx is not installed"):
        request_jobs(sqlite_repository, NETWORKS[:1], PROTOCOL, DEVICE)
    assert sqlite_repository.latency_jobs() == []


# -- a worker on the device


def on_the_robot(device: PlantedDevice) -> Callable[..., LatencyRecord]:
    def measure(candidate: Candidate, protocol: LatencyProtocol, **how: Any) -> LatencyRecord:
        record = device(candidate, protocol, how["reference"], how["reference_ms"])
        return replace(record, protocol=protocol)

    return measure


PLANTED = {"resnet18": 10.0, "resnet50": 30.0, "resnet101": 50.0}


def test_a_worker_on_the_device_answers(repository: Repository, jobs: list[dict[str, Any]]) -> None:
    repository.request_latency_jobs(jobs)
    device = PlantedDevice(baselines=PLANTED, slowness=lambda count: 1.0 + count)
    done = answer_jobs(repository, DEVICE, "me", plain=PLAIN, measure_one=on_the_robot(device))
    assert set(done.records) == set(NETWORKS)
    stored = RepositoryStore(repository).find(NETWORKS, PROTOCOL, DEVICE)
    assert stored[NETWORKS[2]].median_ms == pytest.approx(device.ms(NETWORKS[2])), "told in the first reading"
    assert stored[NETWORKS[2]].device_name == DEVICE
    assert still_open(repository, NETWORKS, PROTOCOL, DEVICE) == []
    assert answer_jobs(repository, DEVICE, "me", plain=PLAIN).records == {}


def test_jobs_of_other_devices_and_of_other_workers_are_left(
    repository: Repository, jobs: list[dict[str, Any]]
) -> None:
    other, taken = repository.request_latency_jobs([{**jobs[0], "device": "other"}, jobs[1]])
    assert repository.take_latency_job(taken, "her", 600.0)
    assert not repository.take_latency_job(taken, "me", 600.0)
    assert answer_jobs(repository, DEVICE, "me", plain=PLAIN).records == {}
    repository.release_latency_job(taken, "me")  # not mine to give back
    assert {job["id"]: job["status"] for job in repository.latency_jobs()} == {other: "waiting", taken: "running"}
    repository.release_latency_job(taken, "her")
    assert repository.take_latency_job(taken, "me", -1.0)
    assert repository.take_latency_job(taken, "her", 600.0), "who was silent for as long as he said has lost it"


def test_a_worker_that_is_stopped_gives_its_job_back(sqlite_repository: Repository, jobs: list[dict[str, Any]]) -> None:
    sqlite_repository.request_latency_jobs(jobs[:1])

    def stopped(*_: Any, **how: Any) -> LatencyRecord:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_jobs(sqlite_repository, DEVICE, "me", plain=PLAIN, measure_one=stopped)
    assert [job["status"] for job in sqlite_repository.latency_jobs()] == ["waiting"]


def test_what_the_device_cannot_do_has_a_reason(sqlite_repository: Repository, jobs: list[dict[str, Any]]) -> None:
    sqlite_repository.request_latency_jobs(jobs[:1])

    def cannot(*_: Any, **how: Any) -> LatencyRecord:
        raise LatencyError("no CUDA device is visible to PyTorch")

    done = answer_jobs(sqlite_repository, DEVICE, "me", plain=PLAIN, measure_one=cannot)
    assert done.failures == {PLAIN: "no CUDA device is visible to PyTorch"}
    assert still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE) == []
    assert retry_failed(sqlite_repository, DEVICE) == 1
    assert still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE) == NETWORKS[:1]


# -- the exchange folder


@pytest.fixture
def stick(sqlite_repository: Repository, tmp_path: Path, jobs: list[dict[str, Any]]) -> Path:
    sqlite_repository.request_latency_jobs(jobs)
    path = tmp_path / "stick"
    waiting, found = Bridge(sqlite_repository, str(path), DEVICE).carry()
    assert (waiting, found.records) == (3, {})
    return path


def run_agent(folder: Path) -> str:
    command = [sys.executable, "-I", "device_agent.py", "--folder", "."]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_folder_goes_out_and_comes_back(sqlite_repository: Repository, stick: Path) -> None:
    assert "3 network(s) measured" in run_agent(stick)
    bridge = Bridge(sqlite_repository, str(stick), DEVICE)
    waiting, found = bridge.carry()
    assert waiting == 0
    assert set(found.records) == set(NETWORKS)
    assert (found.unusable, found.failures) == ([], {})
    stored = RepositoryStore(sqlite_repository).find(NETWORKS, PROTOCOL, DEVICE)
    plain, placed = stored[PLAIN], stored[NETWORKS[1]]
    assert (placed.reference, placed.pairs, placed.reference_ms) == (PLAIN.notation, 5, plain.median_ms)
    assert placed.median_ms == pytest.approx((placed.ratio or 0.0) * plain.median_ms)
    environment: Any = placed.environment
    assert "onnxruntime" in environment["libraries"]
    assert bridge.carry()[1].records == {}


def test_a_folder_may_lie_anywhere(sqlite_repository: Repository, jobs: list[dict[str, Any]], tmp_path: Path) -> None:
    """Through fsspec's memory, as it would through sftp: out to the folder, by hand to a device, and back."""
    sqlite_repository.request_latency_jobs(jobs[:2])
    bridge = Bridge(sqlite_repository, "memory://robot/exchange", DEVICE)
    assert bridge.carry()[0] == 2
    memory = fsspec.filesystem("memory")
    memory.get("/robot/exchange/", str(tmp_path / "device"), recursive=True)
    run_agent(tmp_path / "device")
    memory.put(str(tmp_path / "device" / "results"), "/robot/exchange/", recursive=True)
    assert set(bridge.carry()[1].records) == set(NETWORKS[:2])
    assert memory.exists("/robot/exchange/device_agent.py")


def test_an_address_that_cannot_be_reached_is_said(sqlite_repository: Repository) -> None:
    with pytest.raises(LatencyError, match="the exchange folder cannot be reached"):
        Bridge(sqlite_repository, "nowhere://host/path", DEVICE)


def edit(path: Path, change: Callable[[dict[str, Any]], None], *, sign: bool = True) -> None:
    """Changes a result, with a checksum that fits again where asked."""
    content = json.loads(path.read_text())
    change(content["payload"])
    if sign:
        content["sha256"] = payload_sha256(content["payload"])
    path.write_text(json.dumps(content))


def figure(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload["record"].update(values)


def test_damaged_results_are_named_and_the_rest_is_taken(sqlite_repository: Repository, stick: Path) -> None:
    run_agent(stick)
    first, second, _ = sorted((stick / "results").iterdir())
    edit(first, figure(median_ms=9.0), sign=False)
    second.write_bytes(second.read_bytes()[:100])
    stranger = {"payload": {"job": "stranger", "device": DEVICE, "job_sha256": ""}}
    stranger["sha256"] = payload_sha256(stranger["payload"])  # type: ignore[assignment]
    (stick / "results" / "stranger.json").write_text(json.dumps(stranger))
    bridge = Bridge(sqlite_repository, str(stick), DEVICE)
    found = bridge._take_results()
    reasons = dict(found.unusable)
    assert "checksum" in reasons[first.name]
    assert "no result of an agent" in reasons[second.name]
    assert "no such job" in reasons["stranger.json"]
    assert len(found.records) == 1
    assert len(still_open(sqlite_repository, NETWORKS, PROTOCOL, DEVICE)) == 2
    bridge.carry()  # takes the damaged files of open jobs away, so that the agent measures again
    run_agent(stick)
    assert len(bridge.carry()[1].records) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (figure(median_ms=None), "its median_ms is None, not a number"),
        (figure(median_ms=0.0), "its median_ms is 0.0"),
        (figure(p95_ms="fast"), "its p95_ms is 'fast', not a number"),
        (figure(p5_ms=1e9), "percentiles are not in order"),
        (figure(batches=7), "do not hold the batches it counts"),
        (figure(builds=[]), "do not hold the batches it counts"),
        (figure(builds=3), "this is not a latency record"),
        (figure(ratio=-1.0), "its ratio is -1.0"),
        (figure(ratio=None), "parts of a pair and no ratio"),
        (figure(ratio_high=0.0), "the interval of its ratio"),
        (figure(isolated="yes"), "not of its type"),
        (figure(device_name="another"), "is of another device than asked for"),
        (figure(notation="resnet50"), "is of another network than asked for"),
        (figure(reference="resnet50"), "is of another reference than asked for"),
        (lambda payload: payload["record"]["protocol"].update(batch=64), "is of another protocol than asked for"),
        (lambda payload: payload.update(record=[1]), "its record is no record"),
        (lambda payload: payload.update(device="orin"), "measured for the device 'orin', not for 'robot'"),
        (lambda payload: payload.update(job_sha256="0" * 64), "another network file than the one sent"),
    ],
)
def test_a_false_result_is_not_stored(
    change: Callable[[dict[str, Any]], None], said: str, sqlite_repository: Repository, stick: Path, answered: Path
) -> None:
    """Well-formed and signed, but not a measurement of what was asked: nothing of it reaches the database."""
    results = stick / "results"
    results.mkdir()
    name = sorted(path.name for path in answered.iterdir())[1]
    (results / name).write_bytes((answered / name).read_bytes())
    edit(results / name, change)
    found = Bridge(sqlite_repository, str(stick), DEVICE)._take_results()
    assert [file for file, _ in found.unusable] == [name]
    assert said in found.unusable[0][1]
    assert sqlite_repository.latencies().empty
    assert {job["status"] for job in sqlite_repository.latency_jobs()} == {"waiting"}


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, jobs: list[dict[str, Any]]) -> Path:
    """Results of an agent for the jobs of a fresh database."""
    from nas.storage import open_database

    folder = tmp_path_factory.mktemp("answered")
    with open_database(f"sqlite:///{folder}/study.db") as database:
        repository = Repository(database)
        repository.request_latency_jobs(jobs)
        Bridge(repository, str(folder / "stick"), DEVICE).carry()
    run_agent(folder / "stick")
    return folder / "stick" / "results"


def test_results_of_one_device_do_not_touch_the_jobs_of_another(
    sqlite_repository: Repository, stick: Path, jobs: list[dict[str, Any]], answered: Path
) -> None:
    sqlite_repository.request_latency_jobs([{**job, "device": "orin"} for job in jobs])
    (stick / "results").mkdir()
    for path in answered.iterdir():
        (stick / "results" / path.name).write_bytes(path.read_bytes())
    found = Bridge(sqlite_repository, str(stick), "orin")._take_results()
    assert len(found.unusable) == 3
    assert {job["status"] for job in sqlite_repository.latency_jobs(device="orin")} == {"waiting"}


def test_a_damaged_network_in_a_folder_is_a_failure_with_a_reason_and_may_be_tried_again(
    sqlite_repository: Repository, stick: Path
) -> None:
    victim = sorted((stick / "jobs").iterdir())[1]
    (victim / "networks.zip").write_bytes(gzip.compress(b"not what was sent"))
    assert serve(FolderMailbox(str(stick)), log=lambda line: None) == 2
    bridge = Bridge(sqlite_repository, str(stick), DEVICE)
    _, found = bridge.carry()
    assert list(found.failures.values()) == ["the network file is damaged or missing"]
    assert len(found.records) == 2
    assert retry_failed(sqlite_repository, DEVICE) == 1
    assert bridge.carry()[0] == 1
    assert serve(FolderMailbox(str(stick)), log=lambda line: None) == 1
    assert len(bridge.carry()[1].records) == 1


def test_nothing_is_written_while_nothing_waits(sqlite_repository: Repository, tmp_path: Path) -> None:
    assert Bridge(sqlite_repository, str(tmp_path / "stick"), DEVICE).carry()[0] == 0
    assert not (tmp_path / "stick").exists()


def test_a_folder_cannot_carry_backends_that_need_the_package(sqlite_repository: Repository, tmp_path: Path) -> None:
    request_jobs(sqlite_repository, NETWORKS[:1], LatencyProtocol(), DEVICE)
    with pytest.raises(LatencyError, match="'eager' needs this package on the device") as caught:
        Bridge(sqlite_repository, str(tmp_path / "stick"), DEVICE).carry()
    assert "nas worker STUDY --db URL --measures-for robot" in str(caught.value.hint)
    assert not (tmp_path / "stick").exists()
