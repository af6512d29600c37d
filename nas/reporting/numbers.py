"""Numbers as people read them: fixed digits, units, and a dash for what was not measured."""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or not a finite number."""
    if value is None:
        return True
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError):
        return True


def fixed(value: Any, digits: int = 1) -> str:
    """A number with that many decimals, or a dash; what is rounded to zero has no sign of its own.

    >>> fixed(3.14159, 2), fixed(-0.001, 2), fixed(None), fixed(float("nan"))
    ('3.14', '0.00', '–', '–')
    """
    return MISSING if is_missing(value) else f"{float(value):z,.{digits}f}".replace(",", "\u202f")


def signed(value: Any, digits: int = 4) -> str:
    """A difference with its sign.

    >>> signed(0.0021), signed(-1.5, 1), signed(-0.001, 2)
    ('+0.0021', '−1.5', '+0.00')
    """
    return MISSING if is_missing(value) else f"{float(value):+z.{digits}f}".replace("-", "−")


def count(value: Any) -> str:
    """A whole number with thin spaces between thousands; a long one in powers of ten.

    >>> count(12936) == "12\u202f936", count(3.2e11)
    (True, '3.2 × 10¹¹')
    """
    if is_missing(value):
        return MISSING
    whole = int(value)
    if whole < 10**10:
        return f"{whole:,}".replace(",", "\u202f")
    exponent = len(str(whole)) - 1
    power = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{whole / 10**exponent:.1f} × 10{power}"


def mean_sd(mean: Any, sd: Any, digits: int = 4) -> str:
    """Mean and spread over seeds, as in the paper's tables.

    >>> mean_sd(0.8755, 0.0007), mean_sd(0.8755, None)
    ('0.8755 ± 0.0007', '0.8755')
    """
    return fixed(mean, digits) if is_missing(sd) else f"{fixed(mean, digits)} ± {fixed(sd, digits)}"


def interval(low: Any, high: Any, digits: int = 4) -> str:
    """A 95 % interval, or a dash.

    >>> interval(-0.001, 0.002)
    '[−0.0010, +0.0020]'
    """
    return MISSING if is_missing(low) or is_missing(high) else f"[{signed(low, digits)}, {signed(high, digits)}]"


def p_value(value: Any) -> str:
    """A p value with two digits, or as smaller than the last one shown.

    >>> p_value(0.0123), p_value(1e-9)
    ('0.012', '< 0.001')
    """
    return MISSING if is_missing(value) else "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def hours(seconds: Any) -> str:
    """A long time span in hours, minutes or seconds.

    >>> hours(7200), hours(90), hours(4)
    ('2.0 h', '1.5 min', '4 s')
    """
    if is_missing(seconds):
        return MISSING
    value = float(seconds)
    return f"{value / 3600:.1f} h" if value >= 3600 else f"{value / 60:.1f} min" if value >= 60 else f"{value:.0f} s"


def scaled(value: Any, unit: float, digits: int) -> str:
    """A large number in thousands, millions, ...: `unit` of them are 1.

    >>> scaled(25_557_032, 1e6, 2)
    '25.56'
    """
    return MISSING if is_missing(value) else fixed(float(value) / unit, digits)


def plural(number: int, noun: str, many: str | None = None) -> str:
    """A counted noun.

    >>> plural(1, "training"), plural(3, "training")
    ('1 training', '3 trainings')
    """
    return f"{count(number)} {noun if number == 1 else many or noun + 's'}"
