"""The exit status of ``attnbench check``, whatever it checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attnbench.errors import EXIT_GATE_FAILED, EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow


def exit_of(rows: Sequence[CheckRow], *, interrupted: bool = False) -> int:
    """The exit status of a check of features or cases."""
    wrong = any(row.status == "wrong" for row in rows)
    return exit_code(wrong=wrong, compared=any(row.status in ("ok", "known") for row in rows), interrupted=interrupted)


def exit_code(*, wrong: bool, compared: bool, interrupted: bool = False) -> int:
    """1 for any disagreement, 5 if nothing was compared, 3 if it was interrupted, else 0."""
    if wrong:
        return EXIT_GATE_FAILED
    if not compared:
        return EXIT_NOTHING_MEASURED
    return EXIT_INCONCLUSIVE if interrupted else EXIT_OK
