"""The exit status of ``attnbench check``, whatever it checks."""

from __future__ import annotations

from attnbench.errors import EXIT_GATE_FAILED, EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK


def exit_code(*, wrong: bool, compared: bool, interrupted: bool = False) -> int:
    """1 for any disagreement, 5 if nothing was compared, 3 if it was interrupted, else 0."""
    if wrong:
        return EXIT_GATE_FAILED
    if not compared:
        return EXIT_NOTHING_MEASURED
    return EXIT_INCONCLUSIVE if interrupted else EXIT_OK
