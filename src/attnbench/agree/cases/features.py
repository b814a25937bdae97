"""The rows of the table that a case is evidence for, and the row that disagreements are put down to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attnbench.attention.spec import STAGES

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

SIZES = "sizes"
# Rows by the beginning of the name of an operand kind.
OF_OPERANDS = {
    "mask": "mask",
    "bias": "bias",
    "q_lengths": "lengths",
    "kv_lengths": "lengths",
    "segments": "segments",
    "sinks": "sinks",
    "slopes": "slopes",
    "offsets": "batch_offset",
    "past": "cache",
    "layout": "layout",
}


def features_of(case: Case) -> tuple[str, ...]:
    """The rows that a case says something about, ``sizes`` last, which every case is about."""
    spec, p = case.spec, case.problem
    rows = [row for kind in p.operands for start, row in OF_OPERANDS.items() if kind.startswith(start)]
    rows += ["nan_isolation"] * bool({"nan", "nan_last_key"} & set(p.operands))
    rows += ["nan_reached"] * bool({"nan_query", "nan_key", "nan_value"} & set(p.operands))
    rows += [name for name in ("softcap", "causal", "window", "dropout") if getattr(spec, name) not in (None, False, 0)]
    rows += [] if spec.scale is None else [_scale_row(spec.scale)]
    rows += [] if spec.score == "dot" else [spec.score]
    rows += ["gqa"] * (p.Hq != p.Hkv) + ["inputs"] * (p.distribution != "normal")
    rows += ["lse"] * ("lse" in case.outputs) + ["stages"] * bool(set(STAGES) & set(case.outputs))
    return (*dict.fromkeys(rows), SIZES)


def _scale_row(scale: object) -> str:
    return "head_scale" if isinstance(scale, tuple) else "log_n" if scale == "log_n" else "scale"


def put_down(cases: Sequence[tuple[tuple[str, ...], bool]]) -> list[str | None]:
    """For each case (its rows, whether it is wrong) the row that its disagreement is put down to; ``None`` if right.

    It is the row whose cases are wrong the most often. The wrong cases that it is not about are put down in the same
    way, until none is left; so one fault stands in one row, and not in those that happened to be on beside it.
    """
    blamed: list[str | None] = [None] * len(cases)
    while open_ := [i for i, (_, wrong) in enumerate(cases) if wrong and blamed[i] is None]:
        names = dict.fromkeys(name for i in open_ for name in cases[i][0])
        rates = {name: _rate(name, cases, blamed) for name in names}
        worst = max(names, key=lambda name: (rates[name], name != SIZES))
        for i in open_:
            if worst in cases[i][0]:
                blamed[i] = worst
    return blamed


def _rate(name: str, cases: Sequence[tuple[tuple[str, ...], bool]], blamed: Sequence[str | None]) -> float:
    """The share of a row's cases that are wrong; those that are put down to another row already do not count."""
    about = [i for i, (rows, _) in enumerate(cases) if name in rows and blamed[i] is None]
    return sum(cases[i][1] for i in about) / max(1, len(about))
