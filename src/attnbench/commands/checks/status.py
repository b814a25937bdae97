"""The exit status of ``attnbench check``, whatever it checks."""

from __future__ import annotations

from attnbench.errors import EXIT_GATE_FAILED, EXIT_NOTHING_MEASURED, EXIT_OK


def exit_code(*, wrong: bool, compared: bool) -> int:
    """1 for any disagreement, 5 if nothing was compared, else 0."""
    if wrong:
        return EXIT_GATE_FAILED
    return EXIT_OK if compared else EXIT_NOTHING_MEASURED
