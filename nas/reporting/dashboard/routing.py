"""Addresses of the dashboard's pages, both ways, so that every view can be linked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

PAGES: dict[str, str] = {
    "overview": "Overview",
    "front": "Front",
    "rules": "Rules",
    "compare": "Compare",
    "positions": "Positions",
    "spaces": "Spaces",
    "latency": "Latency",
    "data": "Data",
}
"""Pages of a study in the order of the navigation; `candidate` is reached by a click."""


_below = "/"
"""Path of the dashboard's start page; longer than `/` behind a reverse proxy that serves other things too."""


def serve_below(prefix: str) -> str:
    """Sets the path under which this process serves its pages; returns it with its slashes.

    >>> serve_below("lab/nas"), href("a"), read_route("/lab/nas/study/a").study, serve_below("/")
    ('/lab/nas/', '/lab/nas/study/a/overview', 'a', '/')
    """
    global _below
    _below = f"/{prefix.strip('/')}/".replace("//", "/")
    return _below


@dataclass(frozen=True)
class Route:
    """A page: of all studies (`studies`, `compare`), of one study, or of one candidate; `unknown` for anything else."""

    page: str
    study: str | None = None
    candidate: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)


def read_route(pathname: str | None, search: str | None = None) -> Route:
    """The page an address means.

    >>> read_route("/study/a%2Fb/front", "?blocks=cnl")
    Route(page='front', study='a/b', candidate=None, query={'blocks': 'cnl'})
    """
    path = pathname or "/"
    below = path[len(_below) :] if f"{path}/".startswith(_below) else path
    parts = [unquote(part) for part in below.split("/") if part]
    query = dict(parse_qsl((search or "").lstrip("?")))
    if not parts or parts == ["compare"]:
        return Route("compare" if parts else "studies", query=query)
    if parts[0] != "study" or len(parts) < 2 or len(parts) > 4:
        return Route("unknown", query=query)
    page = parts[2] if len(parts) > 2 else "overview"
    if page == "candidate" and len(parts) == 4:
        return Route("candidate", parts[1], parts[3], query)
    return Route(page if page in PAGES and len(parts) < 4 else "unknown", parts[1], query=query)


def study_at(pathname: str | None) -> str:
    """The study that an address is of; empty for a page of all."""
    return read_route(pathname).study or ""


def href(study: str, page: str = "overview", candidate: str | None = None, **query: str) -> str:
    """The address of a page.

    >>> href("a/b", "front", blocks="cnl")
    '/study/a%2Fb/front?blocks=cnl'
    """
    parts = ["study", study, page, *([candidate] if candidate else [])]
    path = _below + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(query)}" if query else path


def compare_href(*studies: str) -> str:
    """The address of the view of several studies.

    >>> compare_href("a", "b")
    '/compare?studies=a%2Cb'
    """
    return f"{_below}compare" + (f"?{urlencode({'studies': ','.join(studies)})}" if studies else "")
