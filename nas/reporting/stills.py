"""PNG and SVG stills of figures, through kaleido and a Chromium that is installed; the page never needs them."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import plotly.graph_objects as go

from nas.errors import StudyError
from nas.progress import Progress, silent
from nas.reporting.document import FigureBlock

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH_PX = 980
START_S = 60.0
"""Within this time a browser has to answer."""


def stills_missing() -> str | None:
    """Why stills cannot be made here, None when they can."""
    if find_spec("kaleido") is None:
        return "stills need kaleido: pip install 'nas-reid[stills]'"
    return None if find_browser() else "stills need a Chromium or Chrome; install one or set BROWSER_PATH"


def find_browser() -> str | None:
    """The browser that draws stills: $BROWSER_PATH, else the first known one that is installed."""
    given = os.environ.get("BROWSER_PATH")
    return given or next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def pictures_of(
    figures: Sequence[FigureBlock],
    report: Path,
    formats: Sequence[str] = ("png",),
    progress: Progress = silent,
    *,
    needed: bool = False,
) -> dict[str, PurePosixPath]:
    """Writes report/figures/NAME.FORMAT for every drawn figure, light theme.

    Args:
        needed: False where a report without pictures does as well.

    Returns:
        figure name -> path of its first still, relative to the report; empty where none was drawn.

    Raises:
        StudyError: they are needed, and kaleido or a browser is missing or fails.
    """
    drawn = [figure for figure in figures if isinstance(figure.drawing, go.Figure)]
    jobs = [(figure, f"figures/{figure.name}.{fmt}") for figure in drawn for fmt in formats]
    if not jobs:
        return {}
    (report / "figures").mkdir(parents=True, exist_ok=True)
    try:
        _draw([figure.drawing for figure, _ in jobs], [report / path for _, path in jobs], progress)
    except StudyError:
        if needed:
            raise
        return {}
    return {figure.name: PurePosixPath(path) for figure, path in reversed(jobs)}


def write_still(figure: go.Figure, path: Path) -> Path:
    """Writes one figure as PNG or SVG, light theme; a `StudyError` where kaleido or a browser is missing."""
    _draw([figure], [path])
    return path


def _draw(figures: Sequence[go.Figure], paths: Sequence[Path], progress: Progress = silent) -> None:
    """One browser for all stills."""
    if missing := stills_missing():
        raise StudyError(f"no stills: {missing}", "write html instead of png and svg; it is complete without them")
    kaleido = import_module("kaleido")  # an extra: only a still needs it
    os.environ.setdefault("BROWSER_PATH", find_browser() or "")
    for name in ("kaleido", "choreographer"):
        # What fails is raised as well; at the end a farewell may be read for a broken message, with a traceback.
        logging.getLogger(name).setLevel(logging.CRITICAL)

    async def drawn() -> None:
        browser = kaleido.Kaleido(n=1, mathjax=False)  # by itself it loads MathJax from the network
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(START_S):
                    await stack.enter_async_context(browser)
                for done, (figure, path) in enumerate(zip(figures, paths, strict=True), start=1):
                    fmt = path.suffix[1:]
                    options = {"format": fmt, "scale": 2 if fmt == "png" else 1}
                    options |= {"width": WIDTH_PX, "height": int(figure.layout.height or 440)}
                    image = await browser.calc_fig(figure, opts=options)
                    path.write_bytes(_reproducible(image) if fmt == "svg" else image)
                    progress(done, len(paths), path.name)
            except BaseException:  # one that does not answer would not end by itself either
                with suppress(AttributeError, ProcessLookupError):
                    os.killpg(browser.subprocess.pid, signal.SIGKILL)
                    browser.subprocess.wait()
                await browser.close()
                raise

    try:  # not kaleido's own server: it waits for ever for a browser that did not start
        with ThreadPoolExecutor(1) as aside:  # in a notebook this thread has a loop already
            aside.submit(lambda: asyncio.run(drawn())).result()
    except Exception as error:  # a browser and what drives it fail in more ways than their libraries name
        raise StudyError(f"no stills: the browser failed ({error})", "html is complete without them") from error


def _reproducible(svg: bytes) -> bytes:
    """The SVG with plotly's random clip-path ids replaced by running numbers: the same figure, the same file."""
    text = svg.decode("utf-8")
    names = list(dict.fromkeys(re.findall(r"(?:clip|legend|topdefs-|defs-)[0-9a-f]{6}", text)))
    uids = list(dict.fromkeys(name[-6:] for name in names))
    for i, uid in enumerate(uids):
        text = text.replace(uid, f"{i:06x}")
    return text.encode("utf-8")
