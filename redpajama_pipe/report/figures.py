"""Numbers as people read them: thousands separators, three significant figures, a dash for what is not known.

Shared by the HTML report and the terminal. Results never depend on the locale.
"""

from __future__ import annotations

import math

DASH = "–"

_DECIMAL = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def count(value: int | None) -> str:
    """Write every digit: 1,204,332."""
    return DASH if value is None else f"{value:,}"


def compact(value: float | None) -> str:
    """Write three significant figures: 1.20 M; whole numbers below 1,000 stay as they are. B is 10**9, T 10**12."""
    return _scaled(value, _DECIMAL, "")


def size(value: float | None) -> str:
    """Write bytes in powers of ten: 1.20 GB."""
    return _scaled(value, _BYTES, " B")


def rate(value: float | None) -> str:
    """Write bytes a second: 148 MB/s."""
    return DASH if value is None else f"{size(value)}/s"


def share(part: float, whole: float) -> str:
    """Write a percentage. Only exactly all is 100 % and only exactly none is 0 %; a dash when the whole is 0."""
    if not whole:
        return DASH
    percent = 100 * part / whole
    if percent == 0 or part == whole:
        return f"{percent:.0f} %"
    if abs(percent) < 0.1:
        return "< 0.1 %"
    if percent > 99.9 and part < whole:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def number(value: float | int | None) -> str:
    """Write a signal's value or a bound: up to four significant figures, no trailing zeros."""
    if value is None:
        return DASH
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Write a time: 0.42 s, 12.3 s, 4 min 07 s, 2 h 05 min."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def plural(value: int, one: str, many: str = "") -> str:
    """Write a count with its noun: 1 document, 2 documents."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def _scaled(value: float | None, steps: tuple[tuple[float, str], ...], unit: str) -> str:
    if value is None:
        return DASH
    if not math.isfinite(value):
        return number(value) + unit
    for step, suffix in steps:
        # 999.5 and more would be written as 1,000 of the smaller step
        if abs(value) >= step * 0.9995:
            scaled = value / step
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:,.{digits}f} {suffix}"
    return f"{number(value) if value == int(value) else f'{value:.3g}'}{unit}"
