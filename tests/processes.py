"""Processes that tests see end."""

import time
from pathlib import Path


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends (a zombie has ended)."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
