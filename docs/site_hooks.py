"""What the site changes in pages that are written to be read in the repository, too."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+(?:README|benchmarks|deploy|examples|studies|search_spaces)[^)]*)\)")

ELSEWHERE = re.compile(r'<script[^>]*src="https?://[^"]*"[^>]*>\s*</script>')


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files of the repository become their names: they are not part of the site."""
    return OUTSIDE.sub(lambda link: f"{link[1]} (`{link[2].replace('../', '').partition('#')[0]}`)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Nothing is asked of the network: no formulas are set, and the search works where a server gives the pages."""
    return ELSEWHERE.sub("", output)
