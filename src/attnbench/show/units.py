"""Numbers for people: times, bytes, ratios, some of many names; three significant digits, in the unit that suits."""

from __future__ import annotations

import math
from collections.abc import Sequence

TIME_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
BYTE_UNITS = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))
NOTHING = "–"
SECONDS_ALONE = 90  # below, a time is said in seconds


def known(value: object) -> bool:
    """Whether a frame has a value here: neither ``None`` nor NaN."""
    return value is not None and value == value  # noqa: PLR0124  (NaN is not equal to itself)


def significant(value: float, digits: int = 3) -> str:
    """A number with this many significant digits and no exponent within reason, such as ``0.0123`` or ``1240``."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "NaN"
    if value == 0:
        return "0"
    magnitude = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 0.9999 has the magnitude of 1
    if not -4 <= magnitude <= 6:  # noqa: PLR2004  (beyond these, an exponent reads better)
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


def _unit(value: float, units: tuple[tuple[str, float], ...]) -> tuple[str, float]:
    return next(((name, size) for name, size in units if abs(value) >= size), units[-1])


def seconds(value: float | None) -> str:
    """A time, such as ``1.23 ms``."""
    if value is None or not known(value):
        return NOTHING
    name, size = _unit(value, TIME_UNITS)
    return f"{significant(value / size)} {name}"


def clock(value: float) -> str:
    """How long something takes, in seconds, such as ``1:40``."""
    whole = max(1, round(value))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def roughly(value: float) -> str:
    """A time that is only estimated, such as ``40 s``, ``3 min`` or ``1 h 20 min``."""
    if value < SECONDS_ALONE:
        return f"{max(round(value), 1)} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def interval(median: float | None, low: float | None, high: float | None, *, named: bool = False) -> str:
    """The interval of a time in the unit of its median, such as ``1.20 – 1.27``; ``too few`` without one.

    ``named`` says the unit too, where the median does not stand beside it.
    """
    if median is None or not known(median):
        return NOTHING
    if low is None or high is None or not known(low) or not known(high):
        return "too few bursts"
    name, size = _unit(median, TIME_UNITS)
    return f"{significant(low / size)} – {significant(high / size)}" + (f" {name}" if named else "")


def size(value: float | None) -> str:
    """A number of bytes, such as ``4.00 MiB``."""
    if value is None or not known(value):
        return NOTHING
    name, unit = _unit(value, BYTE_UNITS)
    return f"{significant(value / unit)} {name}" if unit > 1 else f"{value:.0f} B"


def times(value: float | None) -> str:
    """A factor, such as ``3.60×``."""
    return NOTHING if value is None or not known(value) else f"{significant(value)}×"


def number(value: object) -> str:
    """Any level or metric of a frame as short text."""
    if not known(value):
        return NOTHING
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else significant(value, 4)  # noqa: PLR2004
    return str(value)


def level(value: object) -> str:
    """A level of an axis: a number that was chosen, so without zeros that say how exact it is, such as ``0.0003``."""
    return f"{value:.4g}" if isinstance(value, float) and not value.is_integer() else number(value)


def some(names: Sequence[str], most: int) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def ratio(value: float | None) -> str:
    """A share of what is allowed, such as ``0.31``; ``inf`` where nothing was."""
    if value is None:
        return NOTHING
    return "inf" if math.isinf(value) else f"{value:.2f}"
