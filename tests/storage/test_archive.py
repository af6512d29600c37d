"""Archives: a whole study out and in again, between engines; hostile ones are refused and change nothing."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from private_postgres import PrivatePostgres
from storage_builders import fill, finish_all, outcome, request

from nas.errors import NasError, StorageError, StudyError
from nas.storage import Repository, open_database
from nas.storage.archive import MANIFEST
from nas.storage.archive_export import export_study
from nas.storage.archive_import import import_study
from nas.storage.checkpoint_store import CheckpointStore

CHANGING = ["training_id", "study"]


@pytest.fixture
def rich(repository: Repository, tmp_path: Path) -> Repository:
    """A study with everything in it: spaces, two stages, rungs, failures, curves, latencies, findings, a checkpoint."""
    repository.ensure_space("parent", "all", 18**30, {"sites": "1-17"})
    repository.ensure_space("child", "fewer", 12, {"sites": "4"}, parent_id="parent", rules=[{"kind": "sites"}])
    study_id, (sweep, search), ids = fill(repository, 5, stages=("sweep", "search"))
    repository.ensure_study("made_up", {"name": "made_up", "seed": 1}, 1, "parent", update_definition=True)
    store = CheckpointStore(tmp_path / "store")
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights" * 1000)
    uri, sha256 = store.put(weights, "one.pt")
    environment = repository.ensure_environment({"torch": "2.15"})
    claim = repository.claim_training(study_id, "w")
    assert claim is not None
    done = outcome(0.7312345678901234, checkpoint_uri=uri, checkpoint_sha256=sha256, environment_id=environment)
    repository.finish_training(claim.id, "w", done)
    repository.record_epochs(claim.id, [{"epoch": e, "lr": 0.1 / e, "losses": {"id": 1 / e}} for e in (1, 2, 3)])
    finish_all(repository, study_id)
    rung = {"fidelity_label": "e40", "resume_from": ids[0], "batch": 1, "sampler_attrs": {"rank": 1}}
    repository.request_trainings(search, [request(0, **rung), request(1, seed=1, position=1), request(2, seed=1)])
    running = repository.claim_training(study_id, "w")
    failing = repository.claim_training(study_id, "w")
    assert running
    assert failing
    repository.fail_training(failing.id, "w", "diverged", "loss is NaN", "Traceback ...")
    repository.set_stage(sweep, status="finished", space_id="parent", result={"space_id": "child", "training_ids": ids})
    finding = {"rule": {"kind": "sites"}, "verdict": "adopted", "evidence": {"training_ids": ids[:2], "p": 0.01}}
    repository.store_findings(study_id, sweep, [finding])
    repository.set_complexity("a000000000000001", 10, 20, {"head": 3})
    timed = {"notation": "x", "protocol_id": "p", "device": "gpu", "environment_id": environment}
    repository.store_latency({"median_ms": 9.5, "protocol": {"batch": 16}}, architecture_id="a000000000000001", **timed)
    repository.store_latency({"median_ms": 8.5}, architecture_id="never-trained", **timed)
    repository.set_study_latency(study_id, "p", "gpu")
    return repository


def comparable(repository: Repository, study: str) -> dict[str, Any]:
    """All a study knows, without what an archive gives anew."""
    info = repository.study(study)
    table = repository.results(study)
    trainings = [repository.training(int(id_)) for id_ in table["training_id"]]
    anew = ("id", "resume_from_id", "init_from_id", "checkpoint_uri", "owner", "claim_token", "lease_seconds")
    anew += ("lease_until", "heartbeat_at", "attempts", "silences")
    return {
        "definition": {**info.definition, "name": ""},
        "seed": info.seed,
        "space": repository.lineage(info.space_id or ""),
        "stages": [
            (s.name, s.kind, s.status, s.space_id, s.started_at, (s.result or {}).get("space_id"))
            for s in repository.stages(info.id)
        ],
        "trainings": [{k: v for k, v in t.items() if k not in anew} for t in trainings if t],
        "epochs": [repository.epochs(int(id_)).to_dict("list") for id_ in table["training_id"]],
        "findings": [(f["verdict"], len(f["evidence"]["training_ids"])) for f in repository.findings(info.id)],
        "latencies": json.loads(
            repository.latencies().drop(columns="id").to_json(orient="records", double_precision=15)
        ),
    }


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/other.db"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    return server.create_database()


def test_a_study_goes_from_any_engine_to_any_engine(rich: Repository, other_url: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "store")
    written = export_study(rich, "made_up", tmp_path / "a.nas.zip", store=store)
    assert (written.rows["nas_training"], written.checkpoints) == (8, 1)
    before = comparable(rich, "made_up")
    with open_database(other_url) as database:
        there = Repository(database)
        elsewhere = CheckpointStore(tmp_path / "elsewhere")
        import_study(there, tmp_path / "a.nas.zip", name="again", store=elsewhere)
        for training in before["trainings"]:  # a claim means nothing elsewhere
            training["status"] = training["status"].replace("running", "waiting")
        assert comparable(there, "again") == before
        first = there.results("again").iloc[0]
        stored = there.training(int(first["training_id"]))
        assert stored is not None
        assert elsewhere.is_intact(stored["checkpoint_uri"], stored["checkpoint_sha256"])
        assert stored["map"] == 0.7312345678901234
        (rung,) = there.results("again").query("fidelity == 'e40'")["training_id"]
        assert (there.training(int(rung)) or {})["resume_from_id"] == first["training_id"]
        evidence = there.findings(there.study("again").id)[0]["evidence"]["training_ids"]
        assert evidence == there.results("again")["training_id"].tolist()[:2]
        assert len(finish_all(there, there.study("again").id)) == 2
        export_study(there, "again", tmp_path / "b.nas.zip", store=elsewhere)
        assert len(zipfile.ZipFile(tmp_path / "b.nas.zip").namelist()) == len(written.rows) + 2


def test_a_finished_training_meets_itself(rich: Repository, tmp_path: Path) -> None:
    export_study(rich, "made_up", tmp_path / "a.nas.zip")
    import_study(rich, tmp_path / "a.nas.zip", name="copy")
    pd.testing.assert_frame_equal(
        rich.results("made_up").drop(columns="study"), rich.results("copy").drop(columns="study")
    )
    assert rich.status("copy")["trainings"] == rich.status("made_up")["trainings"]


def test_an_archived_result_settles_what_is_still_to_do(repository: Repository, tmp_path: Path) -> None:
    study_id, _, _ = fill(repository, 2)
    finish_all(repository, study_id)
    export_study(repository, "made_up", tmp_path / "a.nas.zip")
    with open_database(f"sqlite:///{tmp_path}/other.db") as database:
        there = Repository(database)
        waiting, (stage,), _ = fill(there, 2, study="waiting")
        import_study(there, tmp_path / "a.nas.zip")
        assert there.claim_training(waiting, "w") is None
        assert not there.has_open_trainings(stage)
        assert there.results("waiting")["map"].notna().all()


def test_a_name_that_is_taken_is_refused(rich: Repository, tmp_path: Path) -> None:
    export_study(rich, "made_up", tmp_path / "a.nas.zip")
    with pytest.raises(StudyError, match="already"):
        import_study(rich, tmp_path / "a.nas.zip")


def test_a_failed_export_leaves_the_old_archive(
    rich: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out" / "a.nas.zip"
    export_study(rich, "made_up", target)
    before = target.read_bytes()

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", no_space)
    with pytest.raises(OSError, match="No space"):
        export_study(rich, "made_up", target)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["a.nas.zip"]


# --- hostile and damaged archives ------------------------------------------------------------------

Members = dict[str, bytes]


def rewritten(source: Path, target: Path, change: Callable[[Members, dict[str, Any]], None], *, sign: bool) -> Path:
    """A changed copy; with `sign` the manifest is made to fit, as an attacker would."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    change(members, manifest)
    if sign:
        facts = {n: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in members.items()}
        manifest["members"] = {n: {**manifest["members"].get(n, {}), **f} for n, f in facts.items()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(MANIFEST, json.dumps(manifest))
    return target


TRAINING, STUDY = "tables/nas_training.jsonl", "tables/nas_study.jsonl"


def edit(name: str, **values: Any) -> Callable[[Members, dict[str, Any]], None]:
    """Changes the first row of a table."""

    def change(members: Members, manifest: dict[str, Any]) -> None:
        first, *rest = members[name].splitlines(keepends=True)
        members[name] = b"".join([json.dumps({**json.loads(first), **values}).encode() + b"\n", *rest])

    return change


def put(name: str, data: bytes) -> Callable[[Members, dict[str, Any]], None]:
    return lambda members, manifest: members.update({name: data})


def tell(**values: Any) -> Callable[[Members, dict[str, Any]], None]:
    return lambda members, manifest: manifest.update(values)


HOSTILE: dict[str, tuple[Callable[[Members, dict[str, Any]], None], bool]] = {
    "a bit changed": (lambda m, _: m.update({TRAINING: m[TRAINING].replace(b"0.7", b"0.9", 1)}), False),
    "a path out of its folder": (put("../../evil.txt", b"x"), True),
    "an absolute path": (put("/tmp/evil.txt", b"x"), True),
    "a member nobody named": (put("tables/nas_evil.jsonl", b"{}"), False),
    "a table of the system": (put("tables/sqlite_master.jsonl", b"{}"), True),
    "a column that does not exist": (edit(TRAINING, evil=1), True),
    "text for a number": (edit(TRAINING, map="0.5; DROP TABLE nas_study"), True),
    "a huge number": (edit(TRAINING, seed=1 << 70), True),
    "nothing where something is needed": (edit(TRAINING, seed=None), True),
    "a status nobody knows": (edit(TRAINING, status="evil"), True),
    "a candidate that is not there": (edit(TRAINING, candidate_id="elsewhere"), True),
    "two studies": (lambda m, _: m.update({STUDY: m[STUDY] * 2}), True),
    "no study": (put(STUDY, b""), True),
    "a row that is no object": (put(STUDY, b"[1]\n"), True),
    "a row that is no JSON": (put(STUDY, b"{\n"), True),
    "a newer format": (tell(format=99), False),
    "a newer schema": (tell(schema="9999"), False),
    "a manifest without members": (tell(members=None), False),
    "a checkpoint key that leads out": (
        lambda m, manifest: [f.update(key="../../evil.pt") for n, f in manifest["members"].items() if "check" in n],
        True,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_changes_nothing(name: str, tmp_path: Path) -> None:
    change, sign = HOSTILE[name]
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        rich_one = rich.__wrapped__(Repository(database), tmp_path)  # type: ignore[attr-defined]
        store = CheckpointStore(tmp_path / "store")
        good = export_study(rich_one, "made_up", tmp_path / "good.zip", store=store)
    bad = rewritten(Path(good.path), tmp_path / "bad.zip", change, sign=sign)
    with open_database(f"sqlite:///{tmp_path}/other.db") as database:
        there = Repository(database)
        with pytest.raises(NasError):
            import_study(there, bad, store=CheckpointStore(tmp_path / "deep" / "down" / "elsewhere"))
        assert there.studies() == []
        assert there.latencies().empty
    outside = list(tmp_path.rglob("evil*")) + list(tmp_path.parent.glob("evil*"))
    assert outside == []
    assert not Path("/tmp/evil.txt").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_archive_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with open_database(f"sqlite:///{tmp_path}/study.db") as database, pytest.raises(StorageError, match="archive"):
        import_study(Repository(database), tmp_path / "a.zip")


def test_a_truncated_archive_is_told(rich: Repository, tmp_path: Path) -> None:
    data = Path(export_study(rich, "made_up", tmp_path / "a.zip").path).read_bytes()
    (tmp_path / "half.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(StorageError):
        import_study(rich, tmp_path / "half.zip", name="half")
    assert [study.name for study in rich.studies()] == ["made_up"]
