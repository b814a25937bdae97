"""The rows of ``attnbench check`` on standard output, as a table or as JSON, and in a file; its exit status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.interface.checks.junit import write_junit
from attnbench.interface.checks.status import exit_of
from attnbench.interface.checks.table import report
from attnbench.show.console import document, show

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow


def write_and_show(
    rows: Sequence[CheckRow], junit: Path | None, note: str = "", *, as_json: bool, interrupted: bool = False
) -> int:
    """Write the file that was asked for, show the rows with a ``note`` at the end, and return the exit status."""
    if junit:
        write_junit(rows, junit)
    code = exit_of(rows, interrupted=interrupted)
    if as_json:
        document({"exit_code": code, "rows": [row.to_dict() for row in rows]} | ({"note": note} if note else {}))
    else:
        show(" ".join(filter(None, (report(rows), note))))
    return code
