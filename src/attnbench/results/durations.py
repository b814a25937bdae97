"""How long something takes, for people."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """A duration such as ``1:40``."""
    whole = max(1, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
