"""What random combinations of everything showed: a line for each implementation, and every disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.random_cases import Coverage
from attnbench.agree.check.deviations import of_backends, settle_random
from attnbench.agree.judge.trial import BLUNT
from attnbench.checking.features import check_randomly
from attnbench.interface.checks.status import exit_code
from attnbench.show import units
from attnbench.show.console import table

if TYPE_CHECKING:
    from attnbench.agree.check.random_rows import RandomResult
    from attnbench.agree.check.rows import CheckRow
    from attnbench.checking.features import CheckOptions

FEW = 6  # classes that are named
LEGEND = "Numbers are the largest error ratios: 1.00 is the bound."


def found(options: CheckOptions, count: int, seed: int, draws: int) -> list[RandomResult]:
    """What ``count`` random cases of each implementation show; known deviations are told from what is wrong."""
    checked = check_randomly(options, count, seed, draws)
    return settle_random(checked, of_backends(options.impls), options.device)


def exit_of_results(results: Sequence[RandomResult]) -> int:
    """The exit status: 1 for any disagreement, 5 if nothing was compared."""
    return exit_code(wrong=any(result.wrong for result in results), compared=any(result.cases for result in results))


def entry(result: RandomResult) -> dict[str, Any]:
    """A result as a document has it, with how far it looked."""
    return {name: value for name, value in result.to_dict().items() if name not in ("levels", "possible")} | {
        "coverage": Coverage(result.levels).to_dict(result.possible)
    }


def report(results: Sequence[RandomResult]) -> str:
    """The table, how many classes of boundaries were seen, and every disagreement with its case."""
    return "\n\n".join([table(*lines_of(results)), *remarks(results), *faults(results), LEGEND])


def lines_of(results: Sequence[RandomResult]) -> tuple[list[str], list[list[str]]]:
    """The heads of the table, and a line for each implementation."""
    heads = ["implementation", "cases", "beyond its limits", "disagree", "forward", "gradient"]
    lines = [
        [
            *(result.impl, str(result.cases), str(result.unsupported), str(result.wrong)),
            *(units.ratio(result.error_ratio), units.ratio(result.gradient_ratio)),
        ]
        for result in results
    ]
    return heads, lines


def remarks(results: Sequence[RandomResult]) -> list[str]:
    """Why cases were not judged, and how far the others reach."""
    parts = [f"{result.impl}: {result.reason}" for result in results if result.reason]
    parts += [f"{r.impl}: {r.refused} refused by the kernel itself: {r.refusal}" for r in results if r.refused]
    parts += [f"{r.impl}: {r.untried} not tried, because {BLUNT}" for r in results if r.untried]
    parts += [f"{r.impl}: {len(r.known)} known deviation{'s' * (len(r.known) != 1)}" for r in results if r.known]
    return parts + [_coverage(result) for result in results if result.cases]


def faults(results: Sequence[RandomResult]) -> list[str]:
    """Every disagreement that is described, with its case below it."""
    return [_disagreement(result.impl, disagreement) for result in results for disagreement in result.disagreements]


def _coverage(result: RandomResult) -> str:
    coverage = Coverage(result.levels).to_dict(result.possible)
    text = f"{result.impl}: {coverage['classes_seen']} of {coverage['classes']} classes of boundaries seen, and"
    text += f" {coverage['pairs_seen']:,} of the {coverage['pairs']:,} pairs of them that can be"
    unseen = coverage["unseen"]
    return text + (f" (not seen: {', '.join(unseen[:FEW])}{', …' if len(unseen) > FEW else ''})" if unseen else "")


def _disagreement(impl: str, disagreement: dict[str, str]) -> str:
    return f"WRONG {impl} ({disagreement['fault']}): {disagreement['reason']}\n  case: {disagreement['case']}"


def disagreeing(results: Sequence[RandomResult], device: str) -> tuple[CheckRow, ...]:
    """The disagreements that are described, each as a row of a check."""
    from attnbench.agree.cases.case_text import case_from_text
    from attnbench.agree.check.rows import CheckRow

    pairs = [(result.impl, disagreement) for result in results for disagreement in result.disagreements]
    return tuple(
        CheckRow(
            *(impl, "random", case_from_text(disagreement["case"]).problem.dtype, device, "wrong", 1),
            fault=disagreement["fault"],
            reason=disagreement["reason"],
            case=disagreement["case"],
            failing=disagreement["case"],
            smallest_case=[disagreement["case"]],
        )
        for impl, disagreement in pairs
    )
