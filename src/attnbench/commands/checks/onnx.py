"""``attnbench check --onnx``: conformance to ONNX's Attention operator, as a table of counts with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from attnbench.agree.onnx.cases import check_onnx_extra
from attnbench.checking.onnx import OnnxOptions, check_onnx
from attnbench.errors import UsageError
from attnbench.interface.checks.status import exit_code
from attnbench.interface.checks.where import Where
from attnbench.show.console import document, say, show, table

if TYPE_CHECKING:
    from attnbench.agree.onnx.check import OnnxRow

NOTHING = "–"
NAMED = 3


def check_onnx_nodes(where: Where, random: int, seed: int, *, as_json: bool) -> int:
    """Check, show, and return the exit status: 1 for a disagreement, 5 if nothing was compared."""
    check_onnx_extra("attnbench check --onnx")
    if random < 0 or seed < 0:
        raise UsageError(f"--random and --seed are 0 or more; got {random} and {seed}")
    names = where.names()
    what = f"{random} random nodes, against onnx.reference" if random else "the cases of the package"
    say(f"checking {len(names)} implementation{'s' * (len(names) != 1)} on Attention of onnx {version('onnx')}: {what}")
    options = OnnxOptions(names, where.paths(), random, seed, where.device, where.timeout_s)
    rows = check_onnx(options, _told)
    statuses = {row.status for row in rows} - {"unsupported"}
    code = exit_code(wrong="wrong" in statuses, compared=bool(statuses))
    if as_json:
        parts = {"exit_code": code, "onnx": version("onnx"), "summary": summary(rows)}
        document(parts | {"rows": [row.to_dict() for row in rows]})
    else:
        show(report(rows))
    return code


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
    opsets = sorted({row.opset for row in rows} - {0})
    lines = [_line(impl, rows_of_it, opsets) for impl, rows_of_it in by_impl(rows).items()]
    heads = ["implementation", *(f"opset {opset}" for opset in opsets), "all", "largest error", "of the allowed"]
    parts = [table(heads, lines)]
    parts += [
        _others(impl, rows_of_it)
        for impl, rows_of_it in by_impl(rows).items()
        if any(row.status != "ok" for row in rows_of_it)
    ]
    parts += [_disagreement(row) for row in rows if row.status == "wrong"]
    wrong = sum(row.status == "wrong" for row in rows)
    compared = sum(row.status != "unsupported" for row in rows)
    verdict = f"{wrong} disagree" if wrong else "all that was compared agrees"
    return "\n\n".join([*parts, f"{compared} nodes compared: {verdict}."])


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
    kind, _, seed = row.case.partition(" ")
    random = f" --random 1 --seed {seed}" if kind == "random" else ""
    return (
        f"WRONG {row.impl} {row.case} ({row.fault}): {row.reason}\n  again: attnbench check {row.impl} --onnx{random}"
    )


def _told(row: OnnxRow) -> None:
    if row.status == "wrong":
        say(f"  {row.impl} {row.case}: WRONG ({row.fault})")
