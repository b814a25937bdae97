"""What ``attnbench check`` says of how far it has looked: what was covered, and what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attnbench.agree.cases.by_feature import RULES
from attnbench.agree.cases.coverage import BOTH, OFFSET, Extents, together
from attnbench.agree.check.boundaries import NO_PLAN
from attnbench.agree.check.words import listed

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

UNTRIED = "?"
NAMES = {"B": "B", "Hq": "Hq", "group": "groups of", "Tq": "Tq", "S": "S", "D": "D", "Dv": "Dv", OFFSET: "offsets"}


def extent(rows: Sequence[CheckRow], name: str) -> str:
    """Such as ``1–9100``: the smallest and the largest of a size in the cases of these rows."""
    extents = together(*(row.covered or {} for row in rows))
    if name not in extents:
        return ""
    least, most = extents[name]
    return str(least) if least == most else f"{least}–{most}"


def covered(rows: Sequence[CheckRow]) -> list[str]:
    """For each implementation a sentence on what was compared and one on what was not; once where they are the same."""
    impls = dict.fromkeys(row.impl for row in rows)
    said = {impl: text for impl in impls if (text := _covered([row for row in rows if row.impl == impl]))}
    if len(set(said.values())) <= 1:
        return list(dict.fromkeys(said.values()))
    return [f"{impl}: {text}" for impl, text in said.items()]


def _covered(rows: Sequence[CheckRow]) -> str:
    compared = [row for row in rows if row.cases]
    extents = together(*(row.covered or {} for row in compared))
    if not (sizes := _sizes(extents)):
        whys = dict.fromkeys(why for row in rows for why in row.untried or {})
        return f"Nothing was covered, because {'; '.join(whys)}." if whys else ""
    dtypes = _dtypes(row for row in compared if row.covered is not None)
    backward = _dtypes(row for row in compared if row.gradient_ratio is not None)
    text = f"Covered: {sizes}; values in {listed(dtypes)}, "
    text += f"gradients in {listed(backward)}" if backward else "no gradients"
    return f"{text}. Not covered: {'; '.join(_gaps(rows, extents))}."


def _sizes(extents: Extents) -> str:
    words = [f"{NAMES[name]} {_range(*extents[name])}" for name in NAMES if name in extents]
    return ", ".join(words)


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _dtypes(rows: Iterable[CheckRow]) -> list[str]:
    return list(dict.fromkeys(row.dtype for row in rows))


def _gaps(rows: Sequence[CheckRow], extents: Extents) -> list[str]:
    """What nobody has looked at: beyond these sizes, and what was left out for a reason."""
    gaps = ["larger sizes"]
    most = extents[BOTH][1]
    if most < min(extents["Tq"][1], extents["S"][1]):
        gaps = [f"Tq and S both above {most:,}", *gaps]
    if missing := untried_features(rows):
        gaps.append(f"{listed(missing)} in some dtypes ({UNTRIED})")
    left = Counter[str]()
    for row in rows:
        left.update(row.untried or {})
    gaps += [f"{count:,} {'cases' if count > 1 else 'case'}, because {why}" for why, count in left.items() if count]
    return [*gaps, *(_uncounted(why) for why, count in left.items() if not count)]


def _uncounted(why: str) -> str:
    """Cases that nobody could count."""
    return why if why == NO_PLAN else f"cases of the plan that were not counted, because {why}"


def untried_features(rows: Sequence[CheckRow]) -> list[str]:
    """The features of one implementation that were tried in some dtypes and not in others."""
    dtypes = {row.dtype for row in rows if row.feature != "dtype"}
    untried = set()
    for feature in {row.feature for row in rows if row.feature not in (*RULES, "dtype")}:
        of_feature = [row for row in rows if row.feature == feature]
        absent = dtypes - {row.dtype for row in of_feature}
        tried = any(row.status != "unsupported" for row in of_feature)
        if any(row.status == "untried" for row in of_feature) or (absent and tried):
            untried.add(feature)
    return sorted(untried)
