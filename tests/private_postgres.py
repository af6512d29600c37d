"""A PostgreSQL server of our own on a free loopback port, for tests and benchmarks.

PostgreSQL refuses to run as root, so as root it runs as the `postgres` user of Debian's package.
Everything lives in one temporary folder that is removed at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "kept-out-of-sight"
POOL = {"transaction": 3, "session": 20}
"""Connections to the server: few are enough where transactions share them; a session keeps its own."""
MISSING = "no PostgreSQL server binaries found (apt-get install postgresql)"


PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def find_binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`, newest version first; None when not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: -float(path.parts[-3]))
    on_path = shutil.which("pg_ctl")
    return found[0].parent if found else Path(on_path).parent if on_path else None


def serving() -> Iterator[PrivatePostgres]:
    """For a fixture: a server while it is in use; without the programs the test is skipped, with the reason."""
    if find_binaries() is None:
        pytest.skip(MISSING)
    server = PrivatePostgres()
    yield server
    server.close()


def free_port() -> int:
    """A loopback port of those that systems give to nobody by themselves, so that it is still free when it is used."""
    with socket.socket() as listener, contextlib.suppress(OSError):
        port = random.SystemRandom().randrange(20_000, 32_000)
        listener.bind(("127.0.0.1", port))
        return port
    return free_port()


def until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    """Waits for a server that was just started; it must not end meanwhile."""
    while True:
        assert server.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)


class PrivatePostgres:
    """One server; `create_database` gives a URL with a password, `stop` and `start` play an outage."""

    def __init__(self, *, durable: bool = False) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError(MISSING)
        self.binaries = binaries
        self.port = free_port()
        memory = Path("/dev/shm")
        in_memory = memory if memory.is_dir() and os.access(memory, os.W_OK) and not durable else None
        self.folder = Path(tempfile.mkdtemp(prefix="nas-postgres-", dir=in_memory))
        self._names = (f"nas_{number}" for number in itertools.count())
        self._initialise(durable)
        self.start()

    def _initialise(self, durable: bool) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, password):
                shutil.chown(path, "postgres")
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", "nas", "--auth-host=scram-sha-256", "--auth-local=trust",
            f"--pwfile={password}", "-E", "UTF8", "--locale=C", *([] if durable else ["--no-sync"]),
        )  # fmt: skip
        settings = f"port={self.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{self.folder}'\n"
        settings += "max_connections=200\n" if durable else "max_connections=200\nfsync=off\n"
        with (self.folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write(settings)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            code = subprocess.run(command, stdout=output, stderr=output, cwd="/", timeout=120).returncode
            output.seek(0)
            text = output.read()
        if code:
            raise RuntimeError(f"{program} failed with {code}: {text}")
        return text

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stops the server: `immediate` cuts all connections as a crash does, `fast` is orderly."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Runs a statement as the owner of the server."""
        return self._run("psql", "-h", str(self.folder), "-p", str(self.port), "-U", "nas", "-Atc", statement, database)

    def create_database(self, options: str = "") -> str:
        """A new empty database; returns its URL, password included."""
        name = next(self._names)
        self.psql(f"CREATE DATABASE {name} {options}")
        return f"postgresql://nas:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    @contextlib.contextmanager
    def bouncer(self, mode: str) -> Iterator[int]:
        """A PgBouncer before this server, pooling by `session` or `transaction`; yields its port."""
        port = free_port()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "users.txt").write_text(f'"nas" "{PASSWORD}"\n')
            (folder / "bouncer.ini").write_text(
                f"[databases]\n* = host=127.0.0.1 port={self.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
                f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder}/users.txt\n"
                f"pool_mode = {mode}\ndefault_pool_size = {POOL[mode]}\nserver_round_robin = 1\n"
                "ignore_startup_parameters = extra_float_digits\n"
            )
            command = [str(PGBOUNCER), str(folder / "bouncer.ini")]
            if os.geteuid() == 0:
                for path in (folder, *folder.iterdir()):
                    shutil.chown(path, "postgres")
                command = ["runuser", "-u", "postgres", "--", *command]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                until_it_listens(port, process)
                yield port
            finally:
                process.terminate()
                process.wait()

    def close(self) -> None:
        """Stops the server and removes all it wrote."""
        with contextlib.suppress(RuntimeError):  # it was stopped already
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
