"""The landscapes and tables of the tests of shrinking."""

from __future__ import annotations

from shrinking.conftest import space, sweep

__all__ = ["space", "sweep"]
