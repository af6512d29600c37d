"""Before there is anything to see: an empty database at a desk and on a telephone, light and dark; pages that wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.storage import open_database


@pytest.mark.slow
def test_an_empty_database(tmp_path: Path, serve: Callable[..., str], pictures: Any) -> None:
    open_database(f"sqlite:///{tmp_path}/new.db").close()
    assert "no study in this database yet" in pictures.of_page("empty database", serve(tmp_path / "new.db"))


@pytest.mark.parametrize("part", ["", "front"])
def test_a_page_that_waits_says_so(part: str, site: str, open_page: Callable[..., Any]) -> None:
    page = open_page(f"{site}/study/market1501/data", fresh=True)
    page.wait_for_function("document.querySelector('#body')?.hasChildNodes()")
    held: list[Any] = []

    def hold(route: Any) -> None:
        """The page's frame comes; what it reads from the database does not."""
        if "page.children" in route.request.post_data:
            route.continue_()
        else:
            held.append(route)

    page.route("**/_dash-update-component", hold)
    go = "(path) => window.dash_clientside.set_props('url', { pathname: path, search: '' })"
    page.evaluate(go, f"/study/market1501/{part}".rstrip("/"))
    words = "getComputedStyle([...document.querySelectorAll('#body, #front-table')].at(-1), '::before').content"
    page.wait_for_function(f"document.querySelector('#body, #front-table') && {words}.includes('Being read')")
    page.unroute("**/_dash-update-component")
    for route in held:
        route.continue_()
    page.wait_for_function("!document.querySelector('#body:empty, #front-table:empty')")
