"""`nas dashboard`: the live dashboard of a database or of a folder's, on this machine unless asked otherwise."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from nas import search
from nas.cli.common import Url, note
from nas.errors import NasError
from nas.reporting import dashboard as pages


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", help="Name of a study, its file, or a database; default: all databases of this folder."
        ),
    ] = None,
    db: Url = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8050,
    token: Annotated[
        str | None,
        typer.Option(envvar="NAS_DASHBOARD_TOKEN", help="Token visitors need; default off this machine: a new one."),
    ] = None,
    below: Annotated[
        str, typer.Option(metavar="PATH", help="Path of its start page behind a reverse proxy, such as /nas/.")
    ] = "/",
    refresh: Annotated[float, typer.Option(min=0.5, help="Seconds between looks at the database.")] = 3.0,
) -> None:
    """Serve the live dashboard; it reads databases and never writes.

    Example: nas dashboard quickstart
    """
    urls = search.find_databases(study, db)
    if find_spec("dash") is None:
        raise NasError("the dashboard needs dash", "pip install 'nas-reid[dashboard]'")
    pages.serve(*urls, host=host, port=port, token=token, refresh_s=refresh, tell=note, below=below)
