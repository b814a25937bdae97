"""What ``attnbench check`` says of how far it has looked: what was covered, and what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attnbench.agree.check.coverage import OFFSET, Extents, together
from attnbench.agree.declare.words import listed

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

UNTRIED = "?"
NAMES = {"B": "B", "Hq": "Hq", "group": "groups of", "Tq": "Tq", "S": "S", "D": "D", "Dv": "Dv", OFFSET: "offsets"}


def extent(rows: Sequence[CheckRow], name: str) -> str:
    """Such as ``1–9100``: the smallest and the largest of a size in the cases of these rows."""
    found = together(*(row.covered or {} for row in rows))
    if name not in found:
        return ""
    least, most = found[name]
    return str(least) if least == most else f"{least}–{most}"


def covered(rows: Sequence[CheckRow]) -> str:
    """One sentence on what was compared and one on what was not, of one implementation or of several together."""
    compared = [row for row in rows if row.cases]
    sizes = _sizes(together(*(row.covered or {} for row in compared)))
    if not sizes:
        return ""
    dtypes = _dtypes(row for row in compared if row.covered is not None)
    backward = _dtypes(row for row in compared if row.gradient_ratio is not None)
    text = f"Covered: {sizes}; values in {listed(dtypes)}, "
    text += f"gradients in {listed(backward)}" if backward else "no gradients"
    return f"{text}. Not covered: {'; '.join(_gaps(rows))}."


def _sizes(found: Extents) -> str:
    words = [f"{NAMES[name]} {_range(*found[name])}" for name in NAMES if name in found]
    return ", ".join(words)


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _dtypes(rows: Iterable[CheckRow]) -> list[str]:
    return list(dict.fromkeys(row.dtype for row in rows))


def _gaps(rows: Sequence[CheckRow]) -> list[str]:
    """What nobody has looked at: beyond these sizes, and what was left out for a reason."""
    found = ["larger sizes"]
    missing = [row.feature for row in rows if row.status == "untried"]
    if missing:
        found.append(f"{listed(sorted(set(missing)))} in some dtypes ({UNTRIED})")
    left = Counter[str]()
    for row in rows:
        left.update(row.untried or {})
    found += [f"{count:,} {'cases' if count > 1 else 'case'}, because {why}" for why, count in left.items() if why]
    return found
