"""What a check found, as a table of implementation × feature × dtype, with every fault and the sum."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attnbench.agree.cases.by_feature import RULES
from attnbench.interface.checks.answers import answers, refusals
from attnbench.interface.checks.blocks import blocks
from attnbench.interface.checks.covered import UNTRIED, covered, extent
from attnbench.interface.checks.declared import declarations, explained, is_explained, rests
from attnbench.show import units
from attnbench.show.console import table

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

NOTHING = "·"
VALUE = re.compile(r"^(\w+) = \d+ is")  # one reason, however many sizes are beyond a limit


def report(rows: Sequence[CheckRow]) -> str:
    """One table for each implementation, then every fault with its best case, then the sum."""
    impls = dict.fromkeys(row.impl for row in rows)
    parts = [_table(impl, [row for row in rows if row.impl == impl]) for impl in impls]
    wrong = [row for row in rows if row.status == "wrong"]
    parts += [*explained(wrong), *blocks([row for row in wrong if not is_explained(row)])]
    known = [f"known {row.impl} {row.feature} {row.dtype}: {row.reason}" for row in rows if row.status == "known"]
    parts += known
    parts += answers(rows)
    compared = sum(row.first_counted for row in rows if row.answer is None)
    verdict = f"{len(wrong)} of {len(rows)} rows disagree{_of_them(wrong)}" if wrong else "all that was compared agrees"
    verdict = verdict if compared or wrong else "nothing was compared"
    verdict += f", but for {len(known)} known deviation{'s' * (len(known) != 1)}" if known else ""
    verdict += refusals(rows) + rests(rows)
    legend = "Numbers are error ratios, forward/gradient: 1.00 is the bound; "
    legend += f"{NOTHING} is not supported, {UNTRIED} not tried."
    said = covered(rows)
    last = [said[0]] if len(said) == 1 else []
    parts += ["\n".join(said)] if len(said) > 1 else []
    many = f"{compared:,} case{'s' * (compared != 1)} compared"
    parts.append(" ".join((f"{many}: {verdict}.", *last, legend)))
    return "\n\n".join(parts)


def _of_them(wrong: Sequence[CheckRow]) -> str:
    """How many of them a declaration would explain."""
    count = sum(map(is_explained, wrong))
    which = "all" if count == len(wrong) else f"{count} of them"
    return f", {which} explained by an arithmetic that is not declared" if count else ""


def _table(impl: str, rows: Sequence[CheckRow]) -> str:
    if all(row.dtype == "all" for row in rows):
        return f"{impl}: {rows[0].status}: {rows[0].reason}"
    text = table(*grid_of(impl, rows))
    undeclared = [row.reason for row in rows if row.feature == "dtype" and row.status != "untried"]
    return "\n".join([text, *(f"  {reason}" for reason in undeclared if reason), *declarations(rows)])


def grid_of(impl: str, rows: Sequence[CheckRow]) -> tuple[list[str], list[list[str]]]:
    """The rows of one implementation, feature by dtype: the heads of the columns, and the lines."""
    dtypes = list(dict.fromkeys(row.dtype for row in rows if row.feature != "dtype"))
    by_place = {(row.feature, row.dtype): row for row in rows}
    lines = []
    for feature in dict.fromkeys(row.feature for row in rows if row.feature != "dtype"):
        in_dtypes = [by_place.get((feature, dtype)) for dtype in dtypes]
        there = [row for row in in_dtypes if row is not None]
        places = [_place(row) if row else _missing(feature, there) for row in in_dtypes]
        lines.append([feature, *places, _count(there), extent(there, "Tq"), extent(there, "S"), _why(there)])
    heads = [impl, *dtypes, "cases", "Tq", "S", "left out"]
    if not any(line[-1] for line in lines):
        heads, lines = heads[:-1], [line[:-1] for line in lines]
    return heads, lines


def _count(rows: Sequence[CheckRow]) -> str:
    """``12``, or ``10 of 12`` where some cases are not supported or were not tried."""
    cases, planned = sum(row.cases for row in rows), sum(row.asked for row in rows)
    return str(cases) if cases >= planned else f"{cases} of {planned}"


def _why(rows: Sequence[CheckRow]) -> str:
    """The reasons, with how many cases each leaves out; where nothing at all is supported that of the first case."""
    if all(row.status == "unsupported" for row in rows):
        return next((row.reason for row in rows if row.reason), "")
    reasons = Counter[str]()
    for row in rows:
        for reason, count in (row.left_out or {}).items():
            reasons[VALUE.sub(r"\1 is", reason)] += count
    untried = sum(row.asked - row.cases for row in rows) - reasons.total()
    parts = [f"{count} unsupported: {reason}" for reason, count in reasons.items()]
    return "; ".join([*parts, f"{untried} not tried"] if untried > 0 else parts)


def _missing(feature: str, others: Sequence[CheckRow]) -> str:
    """What stands for a row that is not there: nothing where a rule asks nothing of a dtype."""
    if feature in RULES:
        return ""
    return NOTHING if all(row.status == "unsupported" for row in others) else UNTRIED


def _place(row: CheckRow) -> str:
    if row.status == "untried":
        return UNTRIED
    if row.status == "unsupported":
        return NOTHING
    numbers = row.answer or f"{units.ratio(row.error_ratio)}/{units.ratio(row.gradient_ratio)}"
    return {"wrong": f"WRONG {row.fault}", "known": f"known {row.fault}"}.get(row.status, numbers)
