"""Requests that no page of the dashboard sends: in part, odd, too large, with the token in the wrong place."""

from __future__ import annotations

import http.client
import socket
import threading
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from nas.reporting.dashboard import access, serving
from nas.reporting.dashboard.app import create_app
from nas.storage import open_database

HOST = {"Host": "127.0.0.1:8050"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database without a study."""
    address = f"sqlite:///{tmp_path / 'nas.db'}"
    open_database(address).close()
    return address


def test_the_token_takes_nothing_else_out_of_the_address(url: str) -> None:
    client = create_app(url, token="secret").server.test_client()
    answer = client.get("/study/market/front?blocks=cnl&token=secret&text=%C3%A9")
    assert answer.headers["Location"] == "/study/market/front?blocks=cnl&text=%C3%A9"
    elsewhere = client.get("/?token=secret", environ_overrides={"PATH_INFO": "//evil.example/"})
    assert elsewhere.headers["Location"] == "/evil.example/"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"{}", b'{"output": 5}', b'{"output": "x.y", "inputs": 3}', b"\xff\xfe"]
)
def test_odd_callbacks_are_no_fault_of_ours(url: str, body: bytes) -> None:
    client = create_app(url).server.test_client()
    answer = client.post("/_dash-update-component", data=body, content_type="application/json", headers=HOST)
    assert 400 <= answer.status_code < 500, answer.data


def test_a_request_that_is_too_large_is_not_read(url: str) -> None:
    client = create_app(url).server.test_client()
    large = b" " * (access.LARGEST_REQUEST + 1)
    answer = client.post("/_dash-update-component", data=large, content_type="application/json", headers=HOST)
    assert answer.status_code == 413


def test_half_sent_requests_are_let_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Request, "timeout", 0.5)
    server = make_server("127.0.0.1", 0, create_app(url).server, threaded=True, request_handler=serving._Request)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        for sent in (
            b"",
            b"GET / HT",
            b"POST /_dash-update-component HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        ):
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as half:
                half.sendall(sent)
                while half.recv(4096):  # ends when the server has closed it
                    pass
        monkeypatch.setattr(serving._Request, "timeout", 60)  # whoever is slow, as a busy machine is, sends the whole
        whole = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        whole.request("GET", "/_dash-layout")
        assert whole.getresponse().status == 200
        whole.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
