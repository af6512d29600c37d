"""The dashboard behind a real nginx, on a path of its own beside something else."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from docs_snippets import ROOT, snippets
from private_postgres import free_port, until_it_listens

pytest.importorskip("dash", reason="dash is not installed")
from werkzeug.serving import make_server

from nas.reporting.dashboard.app import create_app
from nas.reporting.dashboard.routing import serve_below
from nas.storage import open_database

TOKEN = "only-for-visitors"
CONFIG = """daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; {location} location / {{ return 200 "something else"; }} }}
}}
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """An nginx with the configuration of the documentation, in front of a dashboard."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    open_database(url).close()
    server = make_server("127.0.0.1", 0, create_app(url, token=TOKEN, below="/nas/").server, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = ROOT / "docs" / "how-to" / "database.md"
    (location,) = [s.text for s in snippets(page) if s.language == "nginx"]
    port = free_port()
    location = location.replace("127.0.0.1:8050", f"127.0.0.1:{server.server_port}")
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, port=port, location=location))
    nginx = subprocess.Popen(["nginx", "-c", str(config), "-p", str(tmp_path)])
    try:
        until_it_listens(port, nginx)
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait()
        server.shutdown()
        serve_below("/")


def test_the_dashboard_lives_below_its_path_only(address: str, tmp_path: Path) -> None:
    assert requests.get(f"{address}/", timeout=120).text == "something else"
    assert requests.get(f"{address}/nas/", timeout=120).status_code == 403
    visitor = requests.Session()
    page = visitor.get(f"{address}/nas/?token={TOKEN}", timeout=120)
    assert (page.status_code, page.url) == (200, f"{address}/nas/")
    assert "/nas/_dash-component-suites/" in page.text
    assert 'src="/_dash' not in page.text
    layout = visitor.get(f"{address}/nas/_dash-layout", timeout=120)
    assert layout.status_code == 200
    assert '"href": "/nas/"' in json.dumps(layout.json())
    assert visitor.get(f"{address}/nas/study/a/front", timeout=120).status_code == 200
    assert requests.get(f"{address}/nas/_dash-layout", timeout=120).status_code == 403
