"""Two implementations over two axes: at each place the ratio of their times, and whether one is told to be faster.

A place is a block with both of them; who may be the fastest of the two is what ``costs.lead`` says.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from attnbench.analysis.costs import lead, leaders
from attnbench.analysis.frames import POINT, measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

MOST_RIVALS = 2


def ratios(frame: pd.DataFrame, x: str, y: str, a: str, b: str) -> pd.DataFrame:
    """A row for each place that has both: ``ratio`` (time of B over that of A), ``told``, ``faster`` (A or B).

    The ratio is that of their common rounds, and that of their median times where they have none.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    both = measured(frame)
    both = both[both["impl"].isin((a, b))]
    others = [name for name in map(str, both.columns) if _sets_apart(name, x, y) and len(both[name].unique()) > 1]
    for block in _blocks(both.sort_values(others, kind="stable") if others else both):
        if set(block["impl"]) != {a, b}:
            continue
        of_both = lead(block)
        is_told = len(of_both.behind) > 0 and len(of_both.together) == 1
        slower = 1.0 if of_both.ratio is None else of_both.ratio.value
        ratio = slower if of_both.first == a else 1 / slower
        first = block.iloc[0]
        rows.append(
            {
                POINT + x: first[POINT + x],
                POINT + y: first[POINT + y],
                "ratio": ratio,
                "told": is_told,
                "faster": "A" if ratio > 1 else "B",
                "setting": f"A = {a}, B = {b}" + "".join(f", {_named(name)} {first[name]}" for name in others),
                "impl": a,
                "status": "ok",
            }
        )
    columns = [POINT + x, POINT + y, "ratio", "told", "faster", "setting", "impl", "status"]
    table = pd.DataFrame(rows, columns=columns)
    order = {setting: number for number, setting in enumerate(dict.fromkeys(table["setting"]))}
    ordered = table.assign(order=table["setting"].map(order))
    return ordered.sort_values(["order", POINT + y, POINT + x], ascending=[True, False, True])[columns]


def _blocks(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of each block: those of two runs were not measured beside each other."""
    keys = [name for name in ("run_id", "block_id") if name in rows]
    return (block for _, block in rows.groupby(keys, sort=False))


def _sets_apart(column: str, x: str, y: str) -> bool:
    """Whether places that differ in a column belong to different maps."""
    return column in ("run_id", "device", "threads") or (
        column.startswith(POINT) and column not in (POINT + x, POINT + y)
    )


def _named(column: str) -> str:
    return column.removeprefix(POINT).removesuffix("_id").replace("_", " ")


def rivals(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Those two that lead most often, then others that lead by turns; the first of a pair in the order of the frame.

    An implementation leads a block where it may be the fastest of all.
    """
    led: Counter[str] = Counter()
    for block in _blocks(measured(frame)):
        together, _ = leaders(block)
        led.update(map(str, together["impl"]))
    order = list(dict.fromkeys(map(str, frame["impl"])))
    names = sorted(led, key=lambda name: (-led[name], order.index(name)))
    # One that leads everywhere still has the one beside which it was measured.
    names += [name for name in map(str, dict.fromkeys(measured(frame)["impl"])) if name not in names]
    pairs = [tuple(sorted(both, key=order.index)) for both in itertools.combinations(names, 2)]
    return [(first, second) for first, second in pairs[:MOST_RIVALS]]


def map_of_rivals(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The ``ratios`` of the rivals of a frame, one under the other."""
    import pandas as pd

    parts = [ratios(frame, x, y, a, b) for a, b in rivals(frame)]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else ratios(frame, x, y, "", "")


def boundaries(frame: pd.DataFrame, x: str, y: str, a: str, b: str) -> list[str]:
    """Between which levels of ``x`` one overtakes the other, a sentence for each level of ``y``; what is not told."""
    table = ratios(frame, x, y, a, b)
    said = []
    for (setting, level), rows in table.groupby(["setting", POINT + y], sort=True):
        ordered = rows.sort_values(POINT + x)
        sure = ordered[ordered["told"]]
        open_levels = ordered[~ordered["told"]][POINT + x].tolist()
        steps = list(
            zip(sure[POINT + x].tolist(), [{"A": a, "B": b}[str(name)] for name in sure["faster"]], strict=True)
        )
        turned = [(low, high) for low, high in itertools.pairwise(steps) if low[1] != high[1]]
        words = [f"{high[1]} overtakes between {low[0]} and {high[0]}" for low, high in turned]
        if not turned and steps:
            words = [f"{steps[0][1]} is faster at every {x} that is told"]
        words += [f"not told at {', '.join(map(str, open_levels))}"] if open_levels else []
        where = str(setting).removeprefix(f"A = {a}, B = {b}")
        said.append(f"{y.replace('_', ' ')} {level}{where}: {'; '.join(words)}")
    return [f"{a} and {b}, by {x}: {'. '.join(said)}."] if said else []
