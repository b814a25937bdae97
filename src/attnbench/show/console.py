"""Output: one JSON document on standard output with ``--json``, else text; notes for people go to standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_quiet = False


def set_quiet(quiet: bool) -> None:  # noqa: FBT001  (the flag itself)
    """Say nothing but results and errors."""
    global _quiet  # noqa: PLW0603  (one process, one command)
    _quiet = quiet


def say(text: str) -> None:
    """A note for people, on standard error; nothing with ``--quiet``."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """A result, on standard output."""
    print(text, flush=True)  # noqa: T201


def document(data: Any) -> None:
    """The one JSON document of a command, on standard output."""
    print(json.dumps(finite(data), indent=2, sort_keys=False, allow_nan=False), flush=True)  # noqa: T201


def finite(data: Any) -> Any:
    """JSON has no NaN and no infinity: they become null and "inf"."""
    if isinstance(data, float):
        if math.isnan(data):
            return None
        return data if math.isfinite(data) else ("inf" if data > 0 else "-inf")
    if isinstance(data, Mapping):
        return {str(name): finite(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    return data


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Aligned plain text; the last column is not padded."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    lines = [tuple(heads), tuple("─" * width for width in widths), *map(tuple, rows)]
    return "\n".join(
        indent + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


class ProgressLine:
    """Progress on standard error: a bar that is drawn over on a terminal, plain lines elsewhere."""

    WIDTH = 24

    def __init__(self) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._last = ""

    def __call__(self, done: int, total: int, label: str, hint: str = "") -> None:
        """``done`` of ``total``, and what comes next; ``hint`` is for a terminal alone."""
        if _quiet:
            return
        if not self._live:
            if label and label != self._last:
                say(f"[{done}/{total}] {label}")
            self._last = label
            return
        filled = self.WIDTH * done // max(total, 1)
        bar = "█" * filled + "░" * (self.WIDTH - filled)
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        text = f"{bar} {done}/{total} {label or hint}"[: columns - 1]
        print(f"\r\x1b[2K{text}", end="" if done < total or label else "\n", file=sys.stderr, flush=True)  # noqa: T201
