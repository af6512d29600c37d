"""Dash's `html` and `dcc` without their generated types, which refuse attributes such as `aria-label`."""

from __future__ import annotations

from typing import Any

import dash

html: Any = dash.html
dcc: Any = dash.dcc
"""Component constructors, as documented by Dash."""
