"""``attnbench check --random N``: random combinations of everything, as one line for each implementation."""

from __future__ import annotations

from attnbench.attention.precision import DTYPES
from attnbench.errors import check_known
from attnbench.interface.checks.random_cases import entry, exit_of_results, found, report
from attnbench.interface.checks.where import Where
from attnbench.show.console import document, say, show


def check_random(where: Where, count: int, seed: int, draws: int, dtypes: list[str], *, as_json: bool) -> int:
    """Check ``count`` random cases of each implementation, show, and return the exit status."""
    check_known("dtype", dtypes, DTYPES)
    options = where.options(dtypes=dtypes or DTYPES)
    say(f"checking {count} random combinations on each of {len(options.impls)} implementations, seed {seed}")
    results = found(options, count, seed, draws)
    code = exit_of_results(results)
    if as_json:
        document({"exit_code": code, "seed": seed, "draws": draws, "random": [entry(result) for result in results]})
    else:
        show(report(results))
    return code
