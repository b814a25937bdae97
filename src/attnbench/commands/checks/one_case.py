"""``attnbench check --case CASE``: exactly this case, as a disagreement's ``again`` line gives it."""

from __future__ import annotations

from pathlib import Path

from attnbench.commands.checks.shown import write_and_show
from attnbench.interface.agreeing import check_these, whole_cases
from attnbench.interface.checks.where import Where
from attnbench.show.console import say


def check_cases(where: Where, cases: list[str], junit: Path | None, *, as_json: bool) -> int:
    """Check these cases in their order, in one process for each implementation; show, and return the exit status."""
    texts = whole_cases(cases)
    options = where.options()
    say(f"checking {len(texts)} case{'s' * (len(texts) != 1)} on {', '.join(options.impls)}")
    checked = check_these(options, texts)
    return write_and_show(checked.rows, junit, as_json=as_json)
