"""Serves the dashboard: where it listens, and which address to open."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from werkzeug.serving import WSGIRequestHandler, make_server

from nas.errors import NasError
from nas.reporting.dashboard.access import is_loopback, new_token
from nas.reporting.dashboard.app import create_app
from nas.reporting.dashboard.routing import serve_below

SLOWEST_REQUEST_S = 30.0


class _Request(WSGIRequestHandler):
    timeout = SLOWEST_REQUEST_S
    """Requests that are sent in part, or not at all, do not hold a thread for ever."""


def serve(
    *urls: str,
    host: str,
    port: int,
    token: str | None,
    refresh_s: float,
    tell: Callable[[str], None],
    below: str = "/",
) -> None:
    """Serves until interrupted; arguments and errors as of `create_app`.

    Args:
        host: address to listen on; one that others can reach gets a token in any case.
        port: port; 0 takes a free one.
        token: what visitors must bring; None makes one where it is needed.
        tell: prints a line for the person at the terminal.

    Raises:
        NasError: the port is taken or may not be used.
    """
    secret = token or (None if is_loopback(host) else new_token())
    app = create_app(*urls, token=secret, refresh_s=refresh_s, below=below)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        server = make_server(host, port, app.server, threaded=True, request_handler=_Request)
    except (OSError, SystemExit) as error:
        taken = isinstance(error, SystemExit) or error.errno == errno.EADDRINUSE
        what = "is taken" if taken else "cannot be used"
        raise NasError(f"port {port} of {host} {what}", "choose another one: --port 8051") from error
    shown = f"[{host}]" if ":" in host else host
    tell(f"Dashboard: http://{shown}:{server.server_port}{serve_below(below)}{f'?token={secret}' if secret else ''}")
    tell("It reads only; stop it with Ctrl-C.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        tell("Stopped.")
    finally:
        server.server_close()
