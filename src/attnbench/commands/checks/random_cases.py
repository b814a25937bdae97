"""``attnbench check --random N``: random combinations of everything, as one line for each implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.random_cases import Coverage
from attnbench.agree.check.deviations import of_backends, settle_random
from attnbench.agree.judge.trial import BLUNT
from attnbench.attention.precision import DTYPES
from attnbench.checking.features import check_randomly
from attnbench.errors import check_known
from attnbench.interface.checks.status import exit_code
from attnbench.interface.checks.where import Where
from attnbench.show import units
from attnbench.show.console import document, say, show, table

if TYPE_CHECKING:
    from attnbench.agree.check.random_rows import RandomResult

FEW = 6  # classes that are named


def check_random(where: Where, count: int, seed: int, draws: int, dtypes: list[str], *, as_json: bool) -> int:
    """Check ``count`` random cases of each implementation, show, and return the exit status."""
    check_known("dtype", dtypes, DTYPES)
    options = where.options(dtypes=dtypes or DTYPES)
    say(f"checking {count} random combinations on each of {len(options.impls)} implementations, seed {seed}")
    checked = check_randomly(options, count, seed, draws)
    results = settle_random(checked, of_backends(options.impls), options.device)
    code = exit_code(wrong=any(result.wrong for result in results), compared=any(result.cases for result in results))
    if as_json:
        document({"exit_code": code, "seed": seed, "draws": draws, "random": [_entry(result) for result in results]})
    else:
        show(report(results))
    return code


def _entry(result: RandomResult) -> dict[str, Any]:
    return {name: value for name, value in result.to_dict().items() if name not in ("levels", "possible")} | {
        "coverage": Coverage(result.levels).to_dict(result.possible)
    }


def report(results: Sequence[RandomResult]) -> str:
    """The table, how many classes of boundaries were seen, and every disagreement with its case."""
    heads = ["implementation", "cases", "beyond its limits", "disagree", "forward", "gradient"]
    lines = [
        [
            r.impl,
            str(r.cases),
            str(r.unsupported),
            str(r.wrong),
            units.ratio(r.error_ratio),
            units.ratio(r.gradient_ratio),
        ]
        for r in results
    ]
    parts = [table(heads, lines)]
    parts += [f"{result.impl}: {result.reason}" for result in results if result.reason]
    parts += [f"{r.impl}: {r.refused} refused by the kernel itself: {r.refusal}" for r in results if r.refused]
    parts += [f"{r.impl}: {r.untried} not tried, because {BLUNT}" for r in results if r.untried]
    parts += [f"{r.impl}: {len(r.known)} known deviation{'s' * (len(r.known) != 1)}" for r in results if r.known]
    parts += [_coverage(result) for result in results if result.cases]
    parts += [_disagreement(result.impl, disagreement) for result in results for disagreement in result.disagreements]
    parts.append("Numbers are the largest error ratios: 1.00 is the bound.")
    return "\n\n".join(parts)


def _coverage(result: RandomResult) -> str:
    coverage = Coverage(result.levels).to_dict(result.possible)
    text = f"{result.impl}: {coverage['classes_seen']} of {coverage['classes']} classes of boundaries seen, and"
    text += f" {coverage['pairs_seen']:,} of the {coverage['pairs']:,} pairs of them that can be"
    unseen = coverage["unseen"]
    return text + (f" (not seen: {', '.join(unseen[:FEW])}{', …' if len(unseen) > FEW else ''})" if unseen else "")


def _disagreement(impl: str, disagreement: dict[str, str]) -> str:
    return f"WRONG {impl} ({disagreement['fault']}): {disagreement['reason']}\n  case: {disagreement['case']}"
