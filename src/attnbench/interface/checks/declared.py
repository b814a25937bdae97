"""What ``attnbench check`` says of declared arithmetic: what a pass rests on, and what would explain a disagreement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attnbench.agree.check.words import arithmetic, listed

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

MOST = 3  # implementations that the last line speaks of one by one


def is_explained(row: CheckRow) -> bool:
    """Whether a declaration explains all that a row disagrees in."""
    return row.declaration is not None and (row.diagnosis or {}).get("kind") == "declaration"


def declarations(rows: Sequence[CheckRow]) -> list[str]:
    """What is declared of the arithmetic beyond the default, which moves the bound: one line for each dtype."""
    by_dtype = {row.dtype: row.declared for row in rows if row.declared}
    return [f"  declares for {dtype}: {arithmetic(declared)}" for dtype, declared in by_dtype.items()]


def explained(rows: Sequence[CheckRow]) -> list[str]:
    """One block for the rows of an implementation in a dtype that the same declaration explains."""
    by_place: dict[tuple[str, str], list[CheckRow]] = {}
    for row in rows:
        if is_explained(row):
            by_place.setdefault((row.impl, row.dtype), []).append(row)
    return [_block(same) for same in by_place.values()]


def _block(rows: Sequence[CheckRow]) -> str:
    first = rows[0]
    declaration = first.declaration or {}
    where = listed(row.feature for row in rows)
    head = f"WRONG {first.impl} {first.dtype} in {where}: an arithmetic that is not declared explains it"
    lines = [f"{head}: {declaration['words']}", f"first: {first.reason}"]
    lines += [f"case: {first.case}"] if first.case else []
    lines += [f"diagnosis: declaration: {declaration['evidence']}", to_add(first)]
    lines += [f"again: {first.again}"] if first.again else []
    return "\n  ".join(lines)


def to_add(row: CheckRow) -> str:
    """The line that would declare it."""
    declaration = row.declaration or {}
    return f"if it is meant, write in {declaration.get('where', 'its Capabilities')}: {declaration['line']}"


def besides(row: CheckRow) -> list[str]:
    """Of a row of which a declaration explains a part: which, and the line."""
    if row.declaration is None or is_explained(row):
        return []
    return [f"other cases of it are explained by {row.declaration['words']}: {to_add(row)}"]


def rests(rows: Sequence[CheckRow]) -> str:
    """What the passes rest on, as the last line has it: ``; bfloat16 rests on a declared arithmetic: ...``."""
    by_impl = {impl: _of_one([row for row in rows if row.impl == impl]) for impl in dict.fromkeys(r.impl for r in rows)}
    there = {impl: text for impl, text in by_impl.items() if text}
    if len(there) > MOST:
        return f"; {len(there)} of {len(by_impl)} implementations rest on a declared arithmetic, below their tables"
    return "".join(f"; {impl + ': ' if len(by_impl) > 1 else ''}{text}" for impl, text in there.items())


def _of_one(rows: Sequence[CheckRow]) -> str:
    """By arithmetic the dtypes in which everything agrees, and something was compared."""
    by_words: dict[str, list[str]] = {}
    for dtype, words in _passing(rows):
        by_words.setdefault(words, []).append(dtype)
    return "; ".join(
        f"{listed(dtypes)} rest{'s' * (len(dtypes) == 1)} on a declared arithmetic: {words}"
        for words, dtypes in by_words.items()
    )


def _passing(rows: Sequence[CheckRow]) -> Iterable[tuple[str, str]]:
    wrong = {row.dtype for row in rows if row.status == "wrong"}
    for dtype in dict.fromkeys(row.dtype for row in rows if row.status == "ok" and row.dtype not in wrong):
        declared = next((row.declared for row in rows if row.dtype == dtype and row.declared), None)
        if declared:
            yield dtype, arithmetic(declared)
