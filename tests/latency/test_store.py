"""Records come back from a database as they went in, by architecture, protocol and device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from latency_builders import DEVICE, PROTOCOL, make_record

from nas.latency.store import RepositoryStore
from nas.spaces import Candidate
from nas.storage import Repository

PLAIN, PLACED = Candidate.parse("resnet50"), Candidate.parse("resnet50+cnl@8")


@pytest.fixture
def store(sqlite_repository: Repository) -> RepositoryStore:
    return RepositoryStore(sqlite_repository)


def test_a_record_comes_back_whole(store: RepositoryStore) -> None:
    record = replace(make_record([[1.0, 2.0], [3.0]], "resnet50"), energy_mj=12.5, clocks={"before": None})
    store.save(PLAIN, record)
    assert store.find([PLAIN], PROTOCOL, DEVICE) == {PLAIN: record}


def test_the_recipe_does_not_matter(store: RepositoryStore) -> None:
    store.save(Candidate.parse("resnet50+cnl@8[loss=circle]"), make_record(1.0))
    assert list(store.find([Candidate.parse("resnet50+cnl@8[loss=ce]")], PROTOCOL, DEVICE)) == [PLACED]


def test_the_newest_record_wins(store: RepositoryStore) -> None:
    for ms in (1.0, 2.0):
        store.save(PLAIN, make_record(ms))
    assert store.find(None, PROTOCOL, DEVICE)[PLAIN].median_ms == 2.0


def test_another_protocol_or_device_is_another_figure(store: RepositoryStore) -> None:
    store.save(PLAIN, make_record(1.0))
    assert store.find([PLAIN], replace(PROTOCOL, batch=8), DEVICE) == {}
    assert store.find([PLAIN], PROTOCOL, "another device") == {}
    assert store.find([PLACED], PROTOCOL, DEVICE) == {}


def test_load_changes_the_record_but_not_the_environment(sqlite_repository: Repository) -> None:
    store = RepositoryStore(sqlite_repository)
    for share in (0.0, 0.4):
        store.save(PLAIN, replace(make_record(1.0), environment={"cpu": "x", "others_cpu_share": share}))
    table = sqlite_repository.latencies()
    assert table["environment_id"].nunique() == 1
    found = store.find([PLAIN], PROTOCOL, DEVICE)[PLAIN].environment
    assert found is not None
    assert found["others_cpu_share"] == 0.4
