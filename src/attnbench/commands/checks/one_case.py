"""``attnbench check --case CASE``: exactly this case, as a disagreement's ``again`` line gives it."""

from __future__ import annotations

from pathlib import Path

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.checking.again import with_commands
from attnbench.checking.examining import check_given, examined
from attnbench.commands.checks.table import write_and_show
from attnbench.commands.checks.where import Where
from attnbench.show.console import say


def check_cases(where: Where, cases: list[str], junit: Path | None, *, as_json: bool) -> int:
    """Check these cases in their order, in one process for each implementation; show, and return the exit status."""
    texts = [case_text(case_from_text(text)) for text in cases]
    options = where.options()
    say(f"checking {len(texts)} case{'s' * (len(texts) != 1)} on {', '.join(options.impls)}")
    rows = with_commands(examined(check_given(options, texts), options), options)
    return write_and_show(rows, junit, as_json=as_json)
