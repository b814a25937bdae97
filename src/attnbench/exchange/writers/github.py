"""A run as GitHub Actions shows it: a step summary in Markdown, and annotations for what is wrong or failed to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnbench.exchange.writers.saved import FAILED_TO_RUN, Saved, case_text, counts, one_line, peak_text
from attnbench.results.schema import CellResult
from attnbench.show import github, markdown, units

# A step summary of more than 1 MiB is refused as a whole; what no longer fits is counted, failures come first.
LIMIT = 1_000_000


def workflow_commands(saved: Saved) -> list[str]:
    """The workflow commands: ``::error`` for wrong cells, ``::warning`` for those that did not run to the end.

    GitHub shows the first ten of each kind in a step; the summary has all of them.
    """
    rows = sorted(saved.without_time(), key=lambda row: row.status != "wrong")
    return [_annotation(row) for row in rows if row.status != "unsupported"]


def _annotation(row: CellResult) -> str:
    level: github.Level = "error" if row.status == "wrong" else "warning"
    text = f"{row.suite}: {case_text(row)}: {one_line(row.reason)}"
    return github.annotation(level, f"attnbench: {row.impl} {row.status}", text)


def summary(saved: Saved) -> str:
    """The step summary: what failed, then a table for each block, the fastest first."""
    became = counts(row.status for row in saved.cells)
    head = f"## attnbench: {', '.join(saved.info.suites)}\n\n{became}. Run `{saved.info.run_id}`"
    head += ", finished." if saved.info.status == "complete" else ", **not finished**."
    if saved.info.imported is not None:
        head += f" Imported from {saved.info.imported.tool}: not measured by attnbench."
    rows = sorted(saved.without_time(), key=_severity)
    failures = [_failures(rows)] if rows else []
    blocks = [_block(rows) for rows in _by_place(saved.cells)]
    parts, size, left = [head + "\n"], len(head.encode()) + 1, 0
    for part in [*failures, *blocks]:
        if size + len(part.encode()) > LIMIT:
            left += 1
        else:
            parts.append(part)
            size += len(part.encode()) + 1
    if left:
        parts.append(f"{left} more tables do not fit into a step summary; see the run's report.\n")
    return "\n".join(parts)


def _severity(row: CellResult) -> int:
    order = ("wrong", *FAILED_TO_RUN, "not-run", "unsupported")
    return order.index(row.status)


def _place(row: CellResult) -> tuple[str, str]:
    """A block may hold several cases, and each has a table."""
    return row.block_id, row.case_id


def _by_place(cells: Sequence[CellResult]) -> Iterator[list[CellResult]]:
    """The rows of every place at which something was measured, in the order in which that comes."""
    places: dict[tuple[str, str], list[CellResult]] = {}
    for row in cells:
        places.setdefault(_place(row), []).append(row)
    for place in dict.fromkeys(_place(row) for row in cells if row.status == "ok"):
        yield places[place]


def _failures(rows: Sequence[CellResult]) -> str:
    table = [
        (
            row.status,
            markdown.code(row.impl),
            *map(markdown.escaped, (f"{row.suite}: {case_text(row)}", row.reason or "")),
        )
        for row in rows
    ]
    return "### Cells without a measurement\n\n" + markdown.table(("status", "implementation", "case", "reason"), table)


def _block(rows: Sequence[CellResult]) -> str:
    ok = sorted((row for row in rows if row.status == "ok"), key=lambda row: (row.time_median_s or 0.0, row.impl))
    title = f"### {markdown.escaped(f'{rows[0].suite}: {case_text(rows[0])}')}\n\n"
    if rows[0].kind == "observed":
        names = list(dict.fromkeys(name for row in ok for name in row.metrics))
        numbers = [
            (markdown.code(row.impl), *(f"{row.metrics[n]:.4g}" if n in row.metrics else "–" for n in names))
            for row in ok
        ]
        return title + markdown.table(("implementation", *names), numbers)
    times = [
        (
            markdown.code(row.impl),
            units.seconds(row.time_median_s),
            f"{units.seconds(row.time_low_s)} … {units.seconds(row.time_high_s)}",
            peak_text(row),
            "not checked" if row.error_ratio is None else f"{row.error_ratio:.2g}",
        )
        for row in ok
    ]
    return title + markdown.table(("implementation", "median time", "interval", "peak memory", "error ratio"), times)
