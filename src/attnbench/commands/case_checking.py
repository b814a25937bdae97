"""``attnbench check --case CASE``: exactly this case, as a disagreement's ``again`` line gives it."""

from __future__ import annotations

from pathlib import Path

from attnbench.agree.case_text import case_from_text, case_text
from attnbench.commands.checking import choose, exit_code, report
from attnbench.commands.junit import write_junit
from attnbench.commands.output import document, say, show


def case_command(
    impls: list[str],
    cases: list[str],
    *,
    files: list[Path],
    device: str,
    timeout_s: float,
    junit: Path | None,
    as_json: bool,
) -> int:
    """Check these cases in their order, in one process for each implementation; show, and return the exit status."""
    from attnbench.measure.checking import CheckOptions
    from attnbench.measure.diagnosing import check_given, examined

    texts = [case_text(case_from_text(text)) for text in cases]
    names = choose(impls, files)
    options = CheckOptions(names, [str(f.resolve()) for f in files], device=device, timeout_s=timeout_s)
    say(f"checking {len(texts)} case{'s' * (len(texts) != 1)} on {', '.join(names)}")
    rows = examined(check_given(options, texts), options)
    code = exit_code(rows)
    if junit:
        write_junit(rows, junit)
    if as_json:
        document({"exit_code": code, "rows": [row.to_dict() for row in rows]})
    else:
        show(report(rows))
    return code
