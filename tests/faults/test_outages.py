"""PostgreSQL goes away and comes back, and cuts connections, while real workers use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fault_builders import CUT, FaultStudy, Row
from private_network import far_machine
from private_postgres import PrivatePostgres, serving

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture
def own_server() -> Iterator[PrivatePostgres]:
    """A server that no other test uses: it will be stopped."""
    yield from serving()


def test_a_server_that_stops_and_starts(tmp_path: Path, own_server: PrivatePostgres, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, own_server.create_database(), seconds=0.2, workers=2)
    with study.watched():
        with study.held():
            runner = study.run()
            for wanted, mode in ((5, "immediate"), (20, "fast")):
                study.wait_for(wanted, runner)
                assert runner.poll() is None, study.said()
                own_server.stop(mode)
                time.sleep(0.5)  # long enough for every worker to notice
                own_server.start()
        study.finish(runner)
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


def test_connections_cut_in_the_middle_of_transactions(
    tmp_path: Path, own_server: PrivatePostgres, expected: list[Row]
) -> None:
    url = own_server.create_database()
    study = FaultStudy.replayed(tmp_path, url, seconds=0.05, workers=2)
    server, _, name = url.rpartition("/")
    cuts = 0
    with study.watched(), psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        with study.held():
            runner = study.run()
            study.wait_for(2, runner)
            while not cuts and runner.poll() is None:
                cuts += len(connection.execute(CUT, [name]).fetchall())
                time.sleep(0.01)
        while runner.poll() is None:
            cuts += len(connection.execute(CUT, [name]).fetchall())
            time.sleep(0.01 if cuts < 10 else 0.5)
        study.finish(runner)
    assert cuts
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_five_minutes_without_the_network(tmp_path: Path, own_server: PrivatePostgres, expected: list[Row]) -> None:
    """Packets vanish, so nobody is told that the server is away; trainings end meanwhile and are delivered after."""
    url, workers = own_server.create_database(), 2
    study = FaultStudy.replayed(tmp_path, url, seconds=2.0, workers=workers)
    with far_machine(own_server) as far, study.watched():
        runner = study.run("--db", far.address(url), lease=60.0, before=far.enter)
        study.wait_for(5, runner)
        far.cut()
        time.sleep(1.0)  # what had been sent is stored
        before = len(study.seen)
        time.sleep(299.0)
        assert runner.poll() is None, study.said()
        assert len(study.seen) == before
        far.mend()
        study.finish(runner)
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()
    assert counts.attempts <= counts.trainings + workers, counts.sentence()
