"""From the words of ``attnbench check`` to its rows: what the command and ``ab.check`` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError, check_known

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow
    from attnbench.checking.features import CheckOptions
    from attnbench.checking.progress import Note, Watch
    from attnbench.interface.checks.where import Where

# What each way of checking takes besides the kernels, the device and the seconds; the last is that of every feature.
GOES_WITH = {
    "--onnx": ("--random", "--seed"),
    "--random": ("--dtype", "--seed", "--draws"),
    "--case": ("--junit",),
    "": ("--dtype", "--features", "--require", "--quick", "--deep", "--budget", "--junit"),
}
EVERY = "the check of every feature"
INTERRUPTED = "It was interrupted: what was not tried by then is no proof."
NO_PROOF = "This was a quick look, and is no proof: the whole plan is tried without --quick."


@dataclass(frozen=True)
class CheckedRows:
    """The rows of a check, a note on what they prove, and whether it was interrupted."""

    rows: Sequence[CheckRow]
    note: str = ""
    interrupted: bool = False


def refuse_idle(given: Sequence[str]) -> None:
    """Raise ``UsageError`` for an option that would say nothing beside what is checked."""
    what = next((name for name in GOES_WITH if name in given), "")
    idle = [name for name in given if name != what and name not in GOES_WITH[what]]
    if idle:
        where = "; ".join(f"{name} {_goes_with(name)}" for name in idle)
        msg = f"{', '.join(idle)} would say nothing beside {what or EVERY}: {where}"
        raise UsageError(msg)


def _goes_with(name: str) -> str:
    if name in GOES_WITH:
        return "is a check by itself"
    return f"goes with {' or '.join(what or EVERY for what, some in GOES_WITH.items() if name in some)}"


def check_numbers(random: Any, seed: Any, draws: Any) -> None:
    """Raise ``UsageError`` for a number of cases, a seed or a number of draws that is none."""
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (random, seed, draws))
    if not whole or random < 0 or seed < 0 or draws < 1:
        msg = f"--random and --seed are 0 or more and --draws 1 or more; got {random}, {seed} and {draws}"
        raise UsageError(msg)


def depth_of(*, quick: bool, deep: bool) -> str:
    """How much is tried. Raises ``UsageError`` for both."""
    from attnbench.agree.cases.plan import DEEP, QUICK, USUAL

    if quick and deep:
        msg = "--quick is a look while editing and --deep a long proof; give one of them"
        raise UsageError(msg)
    return QUICK if quick else DEEP if deep else USUAL


def feature_options(where: Where, demands: Sequence[str], choices: dict[str, Any]) -> CheckOptions:
    """What is checked, feature by feature: of ``choices`` dtypes, features, budget_s, depth. Raises ``UsageError``."""
    return where.options(**with_features(demands, choices))


def with_features(demands: Sequence[str], choices: dict[str, Any]) -> dict[str, Any]:
    """The choices with all dtypes where none is named, and with the rows that answer what is demanded."""
    from attnbench.agree.cases.by_feature import ROWS
    from attnbench.attention.precision import DTYPES

    dtypes, features = choices["dtypes"], list(choices["features"])
    features += [name for name in demands if features and name not in features]
    check_known("dtype", dtypes, DTYPES)
    check_known("feature", features, ROWS)
    return {**choices, "dtypes": dtypes or DTYPES, "features": features}


def check_features(
    options: CheckOptions,
    demands: Sequence[str],
    began: float | None = None,
    *,
    progress: Callable[[CheckRow], None] | None = None,
    watch: Watch | None = None,
    note: Note | None = None,
) -> CheckedRows:
    """Check feature by feature and dtype by dtype; what disagrees is examined. Its budget began then, or begins now."""
    from attnbench.agree.cases.plan import DEEP, QUICK
    from attnbench.agree.check import deviations
    from attnbench.checking.again import with_commands
    from attnbench.checking.ends import Ends
    from attnbench.checking.examining import examined
    from attnbench.checking.features import check as checked
    from attnbench.interface.checks.answers import required

    known = deviations.of_backends(options.impls)
    ends = Ends(options.budget_s, time.monotonic() if began is None else began)
    rows = checked(options, progress, watch, note, ends)
    whole = options.depth != QUICK and options.budget_s is None and not ends.interrupted
    rows = deviations.settle(rows, known, deep=options.depth == DEEP, whole=whole)
    try:
        rows = examined(rows, options, ends.last)
    except KeyboardInterrupt:
        if options.here is not None:
            raise
        ends.interrupt()
    said = INTERRUPTED if ends.interrupted else NO_PROOF if options.depth == QUICK else ""
    return CheckedRows(with_commands(required(rows, demands), options), said, ends.interrupted)


def tell_wrong(row: CheckRow) -> None:
    """Say on standard error that a row disagrees, as soon as it does."""
    from attnbench.show.console import say

    if row.status == "wrong":
        say(f"  {row.impl} {row.feature} {row.dtype}: WRONG ({row.fault})")


def check_these(options: CheckOptions, cases: Sequence[str]) -> CheckedRows:
    """Check these cases in their order, in one process for each implementation."""
    from attnbench.checking.again import with_commands
    from attnbench.checking.examining import check_given, examined

    return CheckedRows(with_commands(examined(check_given(options, cases), options), options))


def whole_cases(cases: Sequence[str]) -> list[str]:
    """Cases as they are written in full. Raises ``UsageError`` for what is none."""
    from attnbench.agree.cases.case_text import case_from_text, case_text

    return [case_text(case_from_text(text)) for text in cases]
