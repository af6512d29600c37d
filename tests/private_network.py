"""A second machine, as a network namespace of this one, whose network can be cut: what is sent to it then vanishes.

Needs root and Debian's package iproute2. Nothing of this machine's own network is changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from private_postgres import PrivatePostgres

SERVER, FAR = "10.231.0.1", "10.231.0.2"  # inside the two namespaces only
RELAY = """
import socket, sys, threading

def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

door = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("open", flush=True)
while True:
    near, _ = door.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[3])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
"""


class FarMachine:
    """Another machine, with a database server at the other end of its cable.

    Attributes:
        enter: words before a command that runs there.
    """

    def __init__(self, name: str) -> None:
        self._server = f"{name}s"
        self.enter: Sequence[str] = ("ip", "netns", "exec", f"{name}f")

    @staticmethod
    def address(url: str) -> str:
        """What a database of the server is called there."""
        return url.replace("127.0.0.1", SERVER)

    def cut(self) -> None:
        """From now on nothing reaches the machine: neither answers nor that a connection was closed."""
        _ip("-n", self._server, "route", "add", "blackhole", f"{FAR}/32")

    def mend(self) -> None:
        """As before."""
        _ip("-n", self._server, "route", "del", "blackhole", f"{FAR}/32")


@contextlib.contextmanager
def far_machine(server: PrivatePostgres) -> Iterator[FarMachine]:
    """Another machine that reaches the server; without the means for one the test is skipped, with the reason."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network to cut needs root and iproute2 (apt-get install iproute2)")
    name = f"nas{os.getpid()}"
    ends = {f"{name}s": SERVER, f"{name}f": FAR}
    with contextlib.ExitStack() as made:
        for end in ends:
            _ip("netns", "add", end)
            made.callback(_ip, "netns", "del", end)
        one, other = ends
        _ip("link", "add", one, "netns", one, "type", "veth", "peer", "name", other, "netns", other)
        for end, address in ends.items():
            _ip("-n", end, "addr", "add", f"{address}/30", "dev", end)
            for link in (end, "lo"):
                _ip("-n", end, "link", "set", link, "up")
        socket = f"{server.folder}/.s.PGSQL.{server.port}"  # sockets of files are of no network
        command = ["ip", "netns", "exec", one, sys.executable, "-c", RELAY, SERVER, str(server.port), socket]
        relay = made.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        made.callback(relay.kill)
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"open\n"
        yield FarMachine(name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
