"""The section of docs/mutants.md about mutants behind conditions.

``python -m tests.docs.write mutants-conditional`` judges 2,000 and writes the section alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.agree.conditional import Verdict, verdicts

COUNT, SEED = 2000, 20261127
TITLE = "\n## Behind a condition\n"

TEXT = """
The bugs that people meet are wrong somewhere: beyond a tile of queries, where five heads share a key head, in the
gradient of one dtype. So every mutant is also planted behind conditions (`attnbench.agree.mutants.conditional`). It
answers as the sound code does unless the condition holds, and where the condition is about rows, heads, batch entries
or keys, only that part of the answer is the mutant's. Thresholds are drawn at random, log-uniform from 1 to 9,000 for
queries and keys or at the edge of a tile, up to 40 for heads and 9 for batch entries; tails of sizes are those that
tiles leave. None is taken from the cases of the check.

A pair of a mutant and a condition counts only with a **witness**: a case made from the condition and from what tells
the mutant alone, in which the fault lies beyond the bound. What has none is listed and does not count: grouped heads
read wrongly where no heads are grouped are sound.

`tox -e mutants` judges 2,000 by a random seed, which it prints (`tox -e mutants -- --count 200 --seed 7` fewer, and
the same again). It prints killed and survived by class of condition and by kind of fault, and each survivor with its
witness as `attnbench check --case` takes it; the status is 1 below 99 %. The tests judge 50 by a fixed seed
(`tests/agree/test_conditional.py`).
`python -m tests.agree.held_out` measures the check from outside, with kernels that share no code with the mutants.

"""

NOWHERE = "it holds in no case of the check"
WITHOUT = "it holds in some cases of the check, none of which shows the mutant"


def section(judged: Sequence[Verdict], seed: int) -> str:
    """The text, and of a run what was killed and what survived, and why."""
    killed = sum(verdict.killed is not None for verdict in judged)
    unseen = sum(len(verdict.unseen) for verdict in judged)
    lines = [
        f"Of {len(judged)} pairs by the seed {seed} the default check kills {killed} ({unseen} drawn had no witness).",
        "What survives, and why:",
        "",
        f"| the fault shows | killed | survived: {NOWHERE} | survived: {WITHOUT} |",
        "|---|---|---|---|",
    ]
    for condition in sorted({verdict.condition for verdict in judged}):
        of_class = [verdict for verdict in judged if verdict.condition == condition]
        survivors = [verdict for verdict in of_class if verdict.killed is None]
        nowhere, without = (
            _named(verdict for verdict in survivors if (verdict.tried == 0) is none) for none in (True, False)
        )
        lines.append(f"| {condition} | {len(of_class) - len(survivors)} / {len(of_class)} | {nowhere} | {without} |")
    return TITLE + TEXT + "\n".join(lines) + "\n"


def _named(survivors: Iterable[Verdict]) -> str:
    parts = (verdict.line.split(" | ")[:2] for verdict in survivors)
    return "; ".join(f"{name} ({condition})" for name, condition in parts)


def measured() -> str:
    """The section from a run of some hundred."""
    return section(list(verdicts(COUNT, SEED, processes=2)), SEED)


def inserted(page: str, new: str) -> str:
    """The page with this section instead of its old one, or before the list of mutants."""
    before, _, rest = page.partition(TITLE)
    if rest:
        return before + new + rest[rest.index("\n## ") :]
    at = page.index("\n## The mutants\n")
    return page[:at] + new + page[at:]
