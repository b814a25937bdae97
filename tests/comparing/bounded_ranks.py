"""What bounding the ranks changes, by simulated cells: the table of docs/regression.md, "Why ranks are bounded".

By hand: ``python -m tests.comparing.bounded_ranks``. The shared machine's pairs are those of the first campaign, which
was judged by plain ranks (results/scoreboard/campaign-plain-ranks.jsonl): its runs without a change as they are, the
others less the change that was made. Its three worst runs are a row by themselves.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from attnbench.comparing import many, signed_rank
from attnbench.comparing.sequential import Rules
from tests.repository import REPOSITORY

Array = np.ndarray[Any, np.dtype[np.float64]]

CAMPAIGN = REPOSITORY / "results/scoreboard/campaign-plain-ranks.jsonl"
WORST = ("ddd03e", "7d0bd0", "f2a2ff")
CELLS, PAIRS = 4000, 20


def recorded(*, worst: bool) -> Array:
    """Log-ratios of the campaign's pairs without what was changed: of all its runs, or of the worst alone."""
    found: list[Array] = []
    for line in CAMPAIGN.read_text().splitlines():
        run = json.loads(line)["data"]
        if not worst or run["run_id"].endswith(WORST):
            for cell in run["cells"]:
                ratios = np.asarray(cell["log_ratios"])
                found.append(ratios - (np.median(ratios) if worst else math.log1p(run["extra"] / 100)))
    return np.concatenate(found)


def worlds(rng: np.random.Generator) -> dict[str, Array]:
    """Noise of cells: rows of log-ratios. Recorded pairs are drawn singly, each with a fair sign."""
    shape = (CELLS, many.MOST)
    pairs = {False: recorded(worst=False), True: recorded(worst=True)}
    drawn = {worst: rng.choice(pairs[worst], shape) * rng.choice((-1.0, 1.0), shape) for worst in (False, True)}
    return {
        f"{len(pairs[False])} pairs of a shared machine": drawn[False],
        f"{len(pairs[True])} pairs of its three worst runs": drawn[True],
        "Student's t with 3 degrees of freedom, spread 3 %": rng.standard_t(3, shape) * 0.03 / 1.1,
        "normal, spread 3 %": rng.normal(0, 0.03, shape),
        "normal, spread 4 %": rng.normal(0, 0.04, shape),
    }


def by(bound: Callable[..., int] | None, noise: Array) -> tuple[float, float, float]:
    """Found at +10 %, ``same`` without a change, both after 20 pairs, and false alarms after any; of all cells."""
    kept = signed_rank.bound
    try:
        signed_rank.bound = bound or kept
        for cached in (signed_rank.boundaries, signed_rank._null_paths, signed_rank.null_tail):
            cached.cache_clear()
        signed_rank.interval_places.cache_clear()
        rules = Rules(cells=8)
        changed, unchanged = many.judge(noise + math.log1p(0.10), rules), many.judge(noise, rules)
    finally:
        signed_rank.bound = kept
    found = (changed.verdict == many.SLOWER) & (changed.decided_at <= PAIRS)
    same = (unchanged.verdict == many.SAME_WORD) & (unchanged.decided_at <= PAIRS)
    return float(found.mean()), float(same.mean()), float((unchanged.verdict == many.SLOWER).mean())


def main() -> None:
    """Print the table."""
    head = "noise of pairs", "+10 % found, plain", "bounded", "`same` without a change, plain", "bounded"
    lines = [f"| {' | '.join(head)} | false alarms, at most |", "|---" * 6 + "|"]
    for name, noise in worlds(np.random.default_rng(1)).items():
        plain, bounded = by(lambda n, _share=1.0: n, noise), by(None, noise)
        shares = plain[0], bounded[0], plain[1], bounded[1], max(plain[2], bounded[2])
        lines.append(f"| {name} | " + " | ".join(f"{100 * one:.1f} %" for one in shares) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
