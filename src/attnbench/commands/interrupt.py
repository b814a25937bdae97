"""Ending early: SIGTERM ends the work of a command as Ctrl-C does."""

from __future__ import annotations

import signal


def end_as_interrupted() -> None:
    """From now on SIGTERM ends the work as Ctrl-C does: what was measured is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
