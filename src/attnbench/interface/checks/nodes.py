"""What the nodes of ONNX's Attention showed: a table of counts with reasons, and every disagreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from attnbench.agree.onnx.cases import check_onnx_extra
from attnbench.checking.onnx import OnnxOptions, check_onnx
from attnbench.interface.checks.status import exit_code
from attnbench.show.console import say, table

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow
    from attnbench.agree.onnx.check import OnnxRow
    from attnbench.interface.checks.where import Where

NOTHING = "–"
NAMED = 3


def checked_nodes(
    where: Where, asked_by: str, random: int, seed: int, note: Callable[[str], None], *, quiet: bool = False
) -> list[OnnxRow]:
    """Check every node on every implementation, asked by a command or a call. Raises ``UsageError`` without onnx."""
    check_onnx_extra(asked_by)
    names = where.names()
    what = f"{random} random nodes, against onnx.reference" if random else "the cases of the package"
    note(
        f"checking {len(names)} implementation{'s' * (len(names) != 1)} on Attention of onnx {version('onnx')}: {what}"
    )
    options = OnnxOptions(names, where.paths(), random, seed, where.device, where.timeout_s)
    return check_onnx(options, None if quiet else _told)


def exit_of_nodes(rows: Sequence[OnnxRow]) -> int:
    """The exit status: 1 for a disagreement, 5 if nothing was compared."""
    statuses = {row.status for row in rows} - {"unsupported"}
    return exit_code(wrong="wrong" in statuses, compared=bool(statuses))


def summary(rows: Sequence[OnnxRow]) -> list[dict[str, object]]:
    """The counts of each implementation, by status, and its largest error."""
    return [_summary(impl, rows_of_it) for impl, rows_of_it in by_impl(rows).items()]


def _summary(impl: str, rows: Sequence[OnnxRow]) -> dict[str, object]:
    errors = {name: _largest(rows, name) for name in ("error", "error_ratio")}
    return {"impl": impl, "cases": len(rows), **Counter(row.status for row in rows), **errors}


def by_impl(rows: Sequence[OnnxRow]) -> dict[str, list[OnnxRow]]:
    """Rows by implementation, in order."""
    return {impl: [row for row in rows if row.impl == impl] for impl in dict.fromkeys(row.impl for row in rows)}


def report(rows: Sequence[OnnxRow]) -> str:
    """A table of what passes by opset, why the rest does not, and every disagreement."""
    return "\n\n".join([table(*lines_of(rows)), *remarks(rows), *faults(rows), verdict(rows)])


def lines_of(rows: Sequence[OnnxRow]) -> tuple[list[str], list[list[str]]]:
    """The heads of the table, and a line for each implementation."""
    opsets = sorted({row.opset for row in rows} - {0})
    heads = ["implementation", *(f"opset {opset}" for opset in opsets), "all", "largest error", "of the allowed"]
    return heads, [_line(impl, rows_of_it, opsets) for impl, rows_of_it in by_impl(rows).items()]


def remarks(rows: Sequence[OnnxRow]) -> list[str]:
    """Why nodes did not pass, for each implementation."""
    every = by_impl(rows).items()
    return [_others(impl, rows_of_it) for impl, rows_of_it in every if any(row.status != "ok" for row in rows_of_it)]


def faults(rows: Sequence[OnnxRow]) -> list[str]:
    """Every disagreement, with its command below it."""
    return [_disagreement(row) for row in rows if row.status == "wrong"]


def verdict(rows: Sequence[OnnxRow]) -> str:
    """In a sentence."""
    wrong = sum(row.status == "wrong" for row in rows)
    compared = sum(row.status != "unsupported" for row in rows)
    return f"{compared} nodes compared: {f'{wrong} disagree' if wrong else 'all that was compared agrees'}."


def _line(impl: str, rows: Sequence[OnnxRow], opsets: Sequence[int]) -> list[str]:
    counts = [_count([row for row in rows if row.opset == opset]) for opset in opsets]
    error, ratio = _largest(rows, "error"), _largest(rows, "error_ratio")
    numbers = [NOTHING if error is None else f"{error:.1e}", NOTHING if ratio is None else f"{ratio:.2f}"]
    return [impl, *counts, _count(rows), *numbers]


def _count(rows: Sequence[OnnxRow]) -> str:
    return f"{sum(row.status == 'ok' for row in rows)}/{len(rows)}"


def _largest(rows: Sequence[OnnxRow], name: str) -> float | None:
    return max((value for row in rows if (value := getattr(row, name)) is not None), default=None)


def _others(impl: str, rows: Sequence[OnnxRow]) -> str:
    """The nodes that did not pass, counted by reason."""
    reasons = Counter(row.reason or "" for row in rows if row.status == "unsupported")
    lines = [f"  {count:4d}  {reason}" for reason, count in reasons.most_common()]
    rounded = [row.case for row in rows if row.status == "rounding"]
    if rounded:
        names = ", ".join(rounded[:NAMED]) + (", ..." if len(rounded) > NAMED else "")
        lines.append(
            f"  {len(rounded):4d}  beyond ONNX's tolerance, by no more than its arithmetic's rounding: {names}"
        )
    if wrong := sum(row.status == "wrong" for row in rows):
        lines.append(f"  {wrong:4d}  WRONG, see below")
    return "\n".join([f"{impl}, not passed:", *lines])


def _disagreement(row: OnnxRow) -> str:
    return f"WRONG {row.impl} {row.case} ({row.fault}): {row.reason}\n  again: {_again(row)}"


def _told(row: OnnxRow) -> None:
    if row.status == "wrong":
        say(f"  {row.impl} {row.case}: WRONG ({row.fault})")


def disagreeing(rows: Sequence[OnnxRow]) -> tuple[CheckRow, ...]:
    """The disagreements, each as a row of a check; a node has no case of ours."""
    from attnbench.agree.check.rows import CheckRow

    return tuple(
        CheckRow(
            *(row.impl, row.case, f"opset {row.opset}", row.device, "wrong", 1, row.error_ratio),
            fault=row.fault,
            reason=row.reason,
            again=_again(row),
        )
        for row in rows
        if row.status == "wrong"
    )


def _again(row: OnnxRow) -> str:
    """The command that shows a node again."""
    kind, _, seed = row.case.partition(" ")
    return f"attnbench check {row.impl} --onnx{f' --random 1 --seed {seed}' if kind == 'random' else ''}"
