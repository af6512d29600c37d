"""Archives: a whole study out and in again, between engines; hostile ones are refused and change nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from early_database import ARCHIVE as EARLY_ARCHIVE
from early_database import STEP_BY_STEP
from private_postgres import PrivatePostgres
from storage_builders import RECIPE, fill, finish_all, outcome, real_row, request

from nas.cli import db
from nas.errors import NasError, StorageError, StudyError
from nas.latency import LatencyProtocol
from nas.spaces import DesignSpace
from nas.storage import Repository, TrainingRequest, open_database
from nas.storage.archive import DATABASE, export_study
from nas.storage.archive_import import import_study
from nas.storage.checkpoint_store import CheckpointStore
from nas.training import Recipe

PARENT = DesignSpace.from_dict({"name": "all", "backbones": ["resnet50"], "blocks": ["cnl", "se"]})
CHILD = DesignSpace.from_dict({**PARENT.to_dict(), "name": "fewer", "rules": [{"sites": "4-6"}]})
IDS = {
    "recipe": lambda definition: "recipe" if definition == RECIPE else "another",
    "protocol": lambda definition: "p" if definition in ({"batch": 16}, {}) else "another",
}
"""What made-up recipes and protocols are called."""
CHANGING = ["training_id", "study"]


def asked(number: int, **changes: Any) -> TrainingRequest:
    """The wish to train a real candidate."""
    return request(number, candidate_id=real_row(number)["id"], **changes)


@pytest.fixture
def rich(repository: Repository, tmp_path: Path) -> Repository:
    """A study with everything in it: spaces, two stages, rungs, failures, curves, latencies, findings, a checkpoint."""
    for space, parent in ((PARENT, None), (CHILD, PARENT.id)):
        rules = [rule.to_dict() for rule in space.rules]
        repository.ensure_space(space.id, space.name, space.size(), space.to_dict(), parent_id=parent, rules=rules)
    study_id, (sweep, search), ids = fill(repository, 5, stages=("sweep", "search"), row_of=real_row)
    repository.ensure_study("made_up", {"name": "made_up", "seed": 1}, 1, PARENT.id)
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
    repository.request_trainings(search, [asked(0, **rung), asked(1, seed=1, position=1), asked(2, seed=1)])
    running = repository.claim_training(study_id, "w")
    failing = repository.claim_training(study_id, "w")
    assert running
    assert failing
    repository.fail_training(failing.id, "w", "diverged", "loss is NaN", "Traceback ...")
    result = {"space_id": CHILD.id, "training_ids": ids}
    repository.set_stage(sweep, status="finished", space_id=PARENT.id, result=result)
    finding = {"rule": {"kind": "sites"}, "verdict": "adopted", "evidence": {"training_ids": ids[:2], "p": 0.01}}
    repository.store_findings(study_id, sweep, [finding])
    timed_one = real_row(1)["architecture_id"]
    repository.set_complexity(timed_one, 10, 20, {"head": 3})
    timed = {"protocol_id": "p", "device": "gpu", "environment_id": environment}
    first = {"median_ms": 9.5, "protocol": {"batch": 16}}
    repository.store_latency(first, architecture_id=timed_one, notation=real_row(1)["notation"], **timed)
    repository.store_latency({"median_ms": 8.5}, architecture_id="never-trained", notation="x", **timed)
    repository.set_study_latency(study_id, "p", "gpu")
    return repository


def comparable(repository: Repository, study: str) -> dict[str, Any]:
    """All a study knows, without what an archive gives anew."""
    info = repository.study(study)
    table = repository.results(study)
    trainings = [repository.training(int(id_)) for id_ in table["training_id"]]
    anew = ("id", "resume_from_id", "init_from_id", "checkpoint_uri", "owner", "claim_token", "lease_seconds")
    anew += ("lease_until", "heartbeat_at", "attempts", "silences", "imported")
    return {
        "definition": {**info.definition, "name": ""},
        "seed": info.seed,
        "spaces": repository.spaces_of(study),
        "stages": [
            (s.name, s.kind, s.status, s.space_id, s.started_at, (s.result or {}).get("space_id"))
            for s in repository.stages(info.id)
        ],
        "trainings": [{k: v for k, v in t.items() if k not in anew} for t in trainings if t],
        "epochs": [repository.epochs(int(id_)).to_dict("list") for id_ in table["training_id"]],
        "findings": [(f["verdict"], len(f["evidence"]["training_ids"])) for f in repository.findings(info.id)],
        "latencies": json.loads(
            repository.latencies().drop(columns=["id", "imported"]).to_json(orient="records", double_precision=15)
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
        import_study(there, tmp_path / "a.nas.zip", name="again", store=elsewhere, ids=IDS)
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
        assert sorted(zipfile.ZipFile(tmp_path / "b.nas.zip").namelist()) == [
            f"checkpoints/{stored['checkpoint_sha256']}",
            "study.db",
        ]


def test_a_finished_training_meets_itself(rich: Repository, tmp_path: Path) -> None:
    export_study(rich, "made_up", tmp_path / "a.nas.zip")
    import_study(rich, tmp_path / "a.nas.zip", name="copy")
    pd.testing.assert_frame_equal(
        rich.results("made_up").drop(columns="study"), rich.results("copy").drop(columns="study")
    )
    assert rich.status("copy")["trainings"] == rich.status("made_up")["trainings"]


def test_an_archived_result_settles_what_is_still_to_do(repository: Repository, tmp_path: Path) -> None:
    study_id, _, _ = fill(repository, 2, row_of=real_row)
    finish_all(repository, study_id)
    export_study(repository, "made_up", tmp_path / "a.nas.zip")
    with open_database(f"sqlite:///{tmp_path}/other.db") as database:
        there = Repository(database)
        waiting, (stage,), (first, _) = fill(there, 2, study="waiting", row_of=real_row)
        done = import_study(there, tmp_path / "a.nas.zip")
        assert done.touched == ("2 trainings that 'waiting' waited for",)
        assert str((there.training(first) or {})["imported"]).startswith("a.nas.zip ")
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

    monkeypatch.setattr(zipfile.ZipFile, "write", no_space)
    with pytest.raises(OSError, match="No space"):
        export_study(rich, "made_up", target)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["a.nas.zip"]


# --- hostile and damaged archives ------------------------------------------------------------------


def rewritten(source: Path, target: Path, change: Callable[[sqlite3.Connection], object]) -> Path:
    """A copy whose database was changed."""
    database = target.with_suffix(".db")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            if name != DATABASE:
                copy.writestr(name, archive.read(name))
        database.write_bytes(archive.read(DATABASE))
        with closing(sqlite3.connect(database)) as connection:
            change(connection)
            connection.commit()
        copy.write(database, DATABASE)
    database.unlink()
    return target


def does(*statements: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: [connection.execute(statement) for statement in statements]


def resized(connection: sqlite3.Connection) -> None:
    """A column that the schema has lost, behind SQLite's back."""
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'seed BIGINT', 'seed_ BIGINT')")


HOSTILE: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a trigger": does("CREATE TRIGGER evil AFTER INSERT ON nas_epoch BEGIN DELETE FROM nas_study; END"),
    "a view": does("ALTER TABLE nas_epoch RENAME TO other", "CREATE VIEW nas_epoch AS SELECT * FROM other"),
    "a table more": does("CREATE TABLE evil (x)"),
    "a table less": does("DROP TABLE nas_latency_job"),
    "a column more": does("ALTER TABLE nas_training ADD COLUMN evil TEXT"),
    "a column that is computed": does("ALTER TABLE nas_training ADD COLUMN evil TEXT AS (map + 1)"),
    "another column": resized,
    "text for a number": does("UPDATE nas_training SET map = '0.5; DROP TABLE nas_study'"),
    "no time for a latency": does("UPDATE nas_latency SET median_ms = 'nan'"),
    "a time below nothing": does("UPDATE nas_latency SET median_ms = -1.0"),
    "an endless time": does("UPDATE nas_latency SET median_ms = 9e999"),
    "percent for a share": does("UPDATE nas_training SET map = 82.0 WHERE map IS NOT NULL"),
    "a result of nothing": does("UPDATE nas_training SET map = NULL WHERE status = 'finished'"),
    "a status nobody knows": does("PRAGMA ignore_check_constraints=ON", "UPDATE nas_training SET status = 'evil'"),
    "a candidate that is not there": does("UPDATE nas_training SET candidate_id = 'elsewhere' WHERE id = 1"),
    "two studies": does("INSERT INTO nas_study SELECT 99, 'b', '{}', 1, NULL, NULL, NULL, NULL, 1 FROM nas_study"),
    "no study": does("PRAGMA foreign_keys=ON", "DELETE FROM nas_study"),
    "a name that leads out": does("UPDATE nas_study SET name = '../../evil'"),
    "another definition under a true id": does(
        "UPDATE nas_candidate SET definition = replace(definition, 'cnl', 'agw')"
    ),
    "another notation under a true id": does("UPDATE nas_candidate SET notation = 'evil:module+x'"),
    "other facts under a true id": does("UPDATE nas_environment SET facts = '{}'"),
    "another space under a true id": does("UPDATE nas_space SET definition = replace(definition, '\"se\"', '\"agw\"')"),
    "another size of a space": does("UPDATE nas_space SET size = '7'"),
    "another protocol under a true id": does("UPDATE nas_latency SET protocol = '{\"batch\": 1}'"),
    "another recipe under a true id": does("UPDATE nas_recipe SET definition = replace(definition, '60', '61')"),
    "tags that are no words": does(
        "INSERT INTO nas_note SELECT 1, candidate_id, 0, '[1]', '', 0.0 FROM nas_training WHERE id = 1"
    ),
    "warnings that say nothing": does("UPDATE nas_dataset SET warnings = '[{}]'"),
    "text that is no JSON": does("UPDATE nas_stage SET settings = '{'"),
}


@pytest.fixture(scope="module")
def good_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a study with everything in it, and its checkpoint."""
    folder = tmp_path_factory.mktemp("good")
    with open_database(f"sqlite:///{folder}/study.db") as database:
        rich_one = rich.__wrapped__(Repository(database), folder)  # type: ignore[attr-defined]
        store = CheckpointStore(folder / "store")
        return Path(export_study(rich_one, "made_up", folder / "good.zip", store=store).path)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_changes_nothing(name: str, good_archive: Path, tmp_path: Path) -> None:
    bad = rewritten(good_archive, tmp_path / "bad.zip", HOSTILE[name])
    with open_database(f"sqlite:///{tmp_path}/other.db") as database:
        there = Repository(database)
        with pytest.raises(NasError):
            import_study(there, bad, store=CheckpointStore(tmp_path / "deep" / "down" / "elsewhere"), ids=IDS)
        assert list((tmp_path / "deep").rglob("*.pt")) == []
        assert there.studies() == []
        assert there.latencies().empty
    outside = list(tmp_path.rglob("evil*")) + list(tmp_path.parent.glob("evil*"))
    assert outside == []
    assert not Path("/tmp/evil.txt").exists()


def test_the_command_knows_what_recipes_and_protocols_are_called() -> None:
    protocol = LatencyProtocol(device="cpu", batch=4)
    assert db.IDS["protocol"](protocol.to_dict()) == protocol.id
    assert db.IDS["recipe"](Recipe().to_dict()) == Recipe().id


@pytest.mark.parametrize("member", ["../../evil.txt", "/tmp/evil.txt", "manifest.txt", "checkpoints/abc"])
def test_members_that_no_archive_has_are_refused(rich: Repository, member: str, tmp_path: Path) -> None:
    good = export_study(rich, "made_up", tmp_path / "good.zip")
    with zipfile.ZipFile(good.path, "a") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(StorageError, match="more than a database and checkpoints"):
        import_study(rich, Path(good.path), name="again")


def test_a_checkpoint_is_stored_by_its_content_and_replaces_nothing(rich: Repository, tmp_path: Path) -> None:
    good = export_study(rich, "made_up", tmp_path / "good.zip", store=CheckpointStore(tmp_path / "store"))
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(good.path) as archive, zipfile.ZipFile(other, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, b"another network" if name != DATABASE else archive.read(name))
    store = CheckpointStore(tmp_path / "mine")
    with pytest.raises(StorageError, match="is another file"):
        import_study(rich, other, name="again", store=store)
    assert list(store.files()) == []
    import_study(rich, Path(good.path), name="again", store=store)
    (file,) = store.files()
    assert file.key == hashlib.sha256(b"weights" * 1000).hexdigest() + ".pt"


def test_an_imported_time_never_stands_for_one_measured_here(rich: Repository, tmp_path: Path) -> None:
    export_study(rich, "made_up", tmp_path / "a.zip")
    architecture = real_row(1)["architecture_id"]
    with open_database(f"sqlite:///{tmp_path}/other.db") as database:
        there = Repository(database)
        study_id, _, _ = fill(there, 3, study="mine", row_of=real_row, seed=7)
        there.set_study_latency(study_id, "p", "gpu")
        timed = {"architecture_id": architecture, "notation": real_row(1)["notation"]}
        there.store_latency({"median_ms": 20.0}, **timed, protocol_id="p", device="gpu")
        done = import_study(there, tmp_path / "a.zip")
        assert done.touched == ("2 latencies on the device of 'mine', used where it has none of its own",)
        assert there.latencies()["imported"].notna().tolist() == [False, True, True]
        found = there.find_latency(architecture, "p", "gpu")
        assert found is not None
        assert found.median_ms == 20.0
        shown = there.results("mine").set_index("architecture_id")["latency_ms"]
        assert shown[architecture] == 20.0


@pytest.mark.parametrize("value", [None, "9.5", float("nan"), float("inf"), 0.0, True])
def test_a_record_without_a_time_is_refused(repository: Repository, value: object) -> None:
    timed = {"architecture_id": "a", "notation": "x", "protocol_id": "p", "device": "gpu"}
    with pytest.raises(StorageError, match="median_ms"):
        repository.store_latency({"median_ms": value}, **timed)  # type: ignore[arg-type]
    assert repository.latencies().empty


def test_an_archive_whose_tables_were_made_step_by_step_is_read(repository: Repository, tmp_path: Path) -> None:
    made = tmp_path / "made.db"
    with closing(sqlite3.connect(made)) as connection:
        connection.executescript(STEP_BY_STEP.read_text())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(made, DATABASE)
    done = import_study(repository, tmp_path / "a.zip")
    assert (done.study, done.rows["nas_training"], done.rows["nas_note"]) == ("present", 3, 1)
    assert repository.results("present")["map"].dropna().tolist() == [0.5, 0.6]
    assert repository.datasets_of("present")[0]["warnings"] == [{"fact": "odd", "consequence": "little"}]


def test_an_archive_of_before_the_first_release_is_read(repository: Repository, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "mine")
    done = import_study(repository, EARLY_ARCHIVE, store=store)
    assert (done.study, done.rows["nas_training"], done.checkpoints) == ("early", 7, 1)
    table = repository.results("early").set_index(["stage", "seed", "notation"])
    assert table["status"].value_counts().to_dict() == {"finished": 5, "failed": 1, "waiting": 1}
    first = repository.training(int(table.loc[("0-sweep", 0, "resnet50+cnl@1"), "training_id"])) or {}
    rung = repository.training(int(table.loc[("1-search", 0, "resnet50+cnl@1"), "training_id"])) or {}
    inheriting = repository.training(int(table.loc[("1-search", 1, "resnet50+cnl@2"), "training_id"])) or {}
    assert first["map"] == 0.7312345678901234
    assert (rung["view"], rung["stop_epoch"], rung["dataset_known_by"]) == ("final", 40, "names and sizes")
    assert rung["resume_from_id"] == first["id"]
    assert inheriting["start"] == f"checkpoint:{hashlib.sha256(b'weights' * 10).hexdigest()}"
    assert len(repository.epochs(first["id"])) == 3
    assert store.is_intact(first["checkpoint_uri"], first["checkpoint_sha256"])


@pytest.mark.parametrize(
    "change",
    [
        {"id": []},
        {"id": 2**70},
        {"created_at": "never"},
        {"candidate_id": None},
        {"recipe_id": "lost"},
        {"fidelity": 1},
        {"fidelity": {"view": [1]}},
    ],
)
def test_an_archive_of_before_the_first_release_with_a_wrong_row_is_told(
    change: dict[str, object], repository: Repository, tmp_path: Path
) -> None:
    with zipfile.ZipFile(EARLY_ARCHIVE) as good, zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        for name in good.namelist():
            lines = good.read(name).splitlines()
            if name == "tables/nas_training.jsonl":
                lines[0] = json.dumps(json.loads(lines[0]) | change).encode()
            bad.writestr(name, b"\n".join(lines))
    with pytest.raises(StorageError, match="is not an archive of a study"):
        import_study(repository, tmp_path / "bad.zip")
    assert repository.studies() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE nas_candidate SET notation = x'ff00'", "values of notation are bytes"),
        ("UPDATE nas_training SET map = 'high'", "values of map are"),
        ("UPDATE nas_study SET definition = -1", "definition of the study"),
        ("UPDATE nas_candidate SET complexity = '{'", "cannot be read"),
    ],
)
def test_values_that_are_not_of_their_column_are_told(change: str, told: str, tmp_path: Path) -> None:
    path = _damaged(tmp_path, change)
    with open_database(f"sqlite:///{path}") as database, pytest.raises(StorageError, match=told):
        Repository(database).results("made_up")


@pytest.mark.parametrize("change", ["UPDATE nas_candidate SET created_at = x'ff00'", "DELETE FROM nas_recipe"])
def test_a_damaged_study_is_not_exported(change: str, tmp_path: Path) -> None:
    path = _damaged(tmp_path, change)
    with open_database(f"sqlite:///{path}") as database, pytest.raises(StorageError, match="is damaged"):
        export_study(Repository(database), "made_up", tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def _damaged(folder: Path, change: str) -> Path:
    """A database with a study whose rows were changed behind its back."""
    path = folder / "study.db"
    with open_database(f"sqlite:///{path}") as database:
        repository = Repository(database)
        study_id, *_ = fill(repository, 3, row_of=real_row)
        finish_all(repository, study_id)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    return path


def test_an_archive_that_unpacks_to_much_more_than_it_is_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(DATABASE, "w") as db,
    ):
        for _ in range(100):
            db.write(bytes(1 << 20))
    with open_database(f"sqlite:///{tmp_path}/study.db") as database, pytest.raises(StorageError, match="100 MiB"):
        import_study(Repository(database), tmp_path / "bomb.zip")


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
