"""``attnbench check --random N``: random combinations of everything, as one line for each implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.agree.random_cases import Coverage
from attnbench.commands.checking import choose
from attnbench.commands.output import document, say, show, table
from attnbench.errors import EXIT_GATE_FAILED, EXIT_NOTHING_MEASURED, EXIT_OK, UsageError, suggest
from attnbench.precision import DTYPES

if TYPE_CHECKING:
    from attnbench.agree.random_check import RandomResult


def random_command(
    impls: list[str],
    *,
    files: list[Path],
    dtypes: list[str],
    device: str,
    count: int,
    seed: int,
    draws: int,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Check ``count`` random cases of each implementation, show, and return the exit status."""
    from attnbench.measure.checking import CheckOptions, check_randomly

    for name in dtypes:
        if name not in DTYPES:
            msg = f"dtype {name!r} is not one of {', '.join(DTYPES)}{suggest(name, DTYPES)}"
            raise UsageError(msg)
    names = choose(impls, files)
    chosen = CheckOptions(
        names, [str(f.resolve()) for f in files], dtypes or DTYPES, device=device, timeout_s=timeout_s
    )
    say(f"checking {count} random combinations on each of {len(names)} implementations, seed {seed}")
    results = check_randomly(chosen, count, seed, draws)
    code = exit_code(results)
    if as_json:
        document({"exit_code": code, "seed": seed, "draws": draws, "random": [_entry(one) for one in results]})
    else:
        show(report(results))
    return code


def exit_code(results: Sequence[RandomResult]) -> int:
    """1 for any disagreement, 5 if nothing was compared, else 0."""
    if any(one.wrong for one in results):
        return EXIT_GATE_FAILED
    return EXIT_OK if any(one.cases for one in results) else EXIT_NOTHING_MEASURED


def _entry(one: RandomResult) -> dict[str, Any]:
    return {name: value for name, value in one.to_dict().items() if name != "levels"} | {
        "coverage": Coverage(one.levels).to_dict()
    }


def report(results: Sequence[RandomResult]) -> str:
    """The table, how well pairs of features are covered, and every disagreement with its case."""
    heads = ["implementation", "cases", "beyond its limits", "disagree", "forward", "gradient"]
    lines = [
        [r.impl, str(r.cases), str(r.unsupported), str(r.wrong), _ratio(r.error_ratio), _ratio(r.gradient_ratio)]
        for r in results
    ]
    parts = [table(heads, lines)]
    parts += [f"{one.impl}: {one.reason}" for one in results if one.reason]
    parts += [_coverage(one) for one in results if one.cases]
    parts += [_disagreement(one.impl, found) for one in results for found in one.disagreements]
    parts.append("Numbers are the largest error ratios: 1.00 is the bound.")
    return "\n\n".join(parts)


def _coverage(one: RandomResult) -> str:
    found = Coverage(one.levels).to_dict()
    text = f"{one.impl}: {found['pairs_seen']} of {found['pairs']} pairs of features seen, each at least"
    return f"{text} {found['fewest']} times (rarest: {found['rarest'][0]})"


def _disagreement(impl: str, found: dict[str, str]) -> str:
    return f"WRONG {impl} ({found['fault']}): {found['reason']}\n  case: {found['case']}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "–"
    return "inf" if math.isinf(value) else f"{value:.2f}"
