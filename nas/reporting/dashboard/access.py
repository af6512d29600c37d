"""Who may look: this machine only, unless asked; then with a token. And what a page may load: nothing from outside."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
from collections.abc import Callable
from urllib.parse import quote, urlencode

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

LARGEST_REQUEST = 8 << 20
"""Bytes; a view with all its zooms is some kilobytes."""
COOKIE = "nas_dashboard"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_DENIED = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>nas dashboard</title>"
    "<body style='font:16px system-ui;margin:3rem'><h1>Token needed</h1>"
    "<p>Open the address that <code>nas dashboard</code> printed; it ends with <code>?token=…</code>.</p>"
)


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token nobody guesses."""
    return secrets.token_urlsafe(24)


def guard(server: Flask, token: str | None) -> None:
    """Refuses requests without the token (or, without one, for another host name), and sets safe headers.

    Without a token only names of this machine are answered: a page elsewhere that resolves its own name to
    127.0.0.1 must not read the dashboard.
    """
    server.before_request(_token_check(token) if token else _host_check)
    server.after_request(_safe_headers)
    server.register_error_handler(Exception, _odd_request)
    server.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST


def _odd_request(error: Exception) -> Response | HTTPException:
    """What no page of ours sends; a mistake of a page itself is told on it, by the application."""
    if isinstance(error, HTTPException):
        return error
    logging.getLogger("nas.dashboard").warning("an odd request for %s", request.path, exc_info=error)
    return Response("This is no request of the dashboard's own pages.", status=400, mimetype="text/plain")


def _host_check() -> Response | None:
    name = request.host.rsplit(":", 1)[0] if not request.host.startswith("[") else request.host.split("]")[0] + "]"
    if is_loopback(name):
        return None
    return Response("This dashboard answers on this machine only.", status=403, mimetype="text/plain")


def _token_check(token: str) -> Callable[[], Response | None]:
    def check() -> Response | None:
        given = request.args.get("token")
        if given is not None and _same(given, token):
            return _welcome(token)
        if _same(request.cookies.get(COOKIE, ""), token):
            return None
        return Response(_DENIED, status=403, mimetype="text/html")

    return check


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _welcome(token: str) -> Response:
    """The token moves from the address (which ends up in histories) into a cookie."""
    rest = [(key, value) for key, value in request.args.items(multi=True) if key != "token"]
    answer = Response(
        status=303,
        headers={"Location": "/" + quote(request.path.lstrip("/")) + (f"?{urlencode(rest)}" if rest else "")},
    )
    answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict", max_age=7 * 24 * 3600)
    return answer


def _safe_headers(answer: Response) -> Response:
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Frame-Options"] = "DENY"
    return answer
