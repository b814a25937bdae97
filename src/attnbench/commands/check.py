"""``attnbench check``: agreement with the oracle. What is checked instead of every feature is in files of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.checks.where import Where
from attnbench.commands.given import check_positive, drop_ins, seconds, split
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import UsageError, check_known
from attnbench.show.console import say, set_quiet
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

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


def check(
    impls: Annotated[list[str] | None, typer.Argument(metavar="[IMPL]...", help="Names or shell patterns.")] = None,
    *,
    files: options.Files = None,
    dtype: options.Dtypes = None,
    features: options.Features = None,
    require: options.Require = None,
    device: options.Device = "cpu",
    quick: options.Quick = False,
    deep: options.Deep = False,
    budget: options.CheckBudget = None,
    random: options.Random = 0,
    seed: options.RandomSeed = 0,
    draws: options.Draws = 1,
    onnx: options.Onnx = False,
    case: options.Cases = None,
    junit: options.RowsJunit = None,
    timeout: options.RowTimeout = 120.0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hold implementations to the float64 oracle, forward and gradient: feature by feature, dtype by dtype."""
    from attnbench.backends.implementation import DEVICES
    from attnbench.commands.checks.answers import asked_for
    from attnbench.measure.run.plan import within

    began = time.monotonic()
    set_quiet(quiet)
    check_known("device", [device], DEVICES)
    check_positive("--timeout", timeout)
    given: dict[str, Any] = {"--dtype": dtype, "--features": features, "--require": require}
    given |= {"--quick": quick, "--deep": deep, "--budget": budget is not None}
    given |= {"--seed": seed, "--draws": draws != 1, "--junit": junit is not None}
    given |= {"--onnx": onnx, "--random": random, "--case": case}
    _refuse_idle([name for name, there in given.items() if there])
    _check_numbers(random, seed, draws)
    if junit is not None:
        from attnbench.results.store import check_output

        check_output("--junit", junit, drop_ins(files))
    where = Where(impls or [], files or [], device, timeout, within(seconds(budget), timeout))
    demands = asked_for(split(require))
    if onnx:
        from attnbench.commands.checks.onnx import check_onnx_nodes

        code = check_onnx_nodes(where, random, seed, as_json=as_json)
    elif random:
        from attnbench.commands.checks.random_cases import check_random

        code = check_random(where, random, seed, draws, split(dtype), as_json=as_json)
    elif case:
        from attnbench.commands.checks.one_case import check_cases

        code = check_cases(where, case, junit, as_json=as_json)
    else:
        depth = _depth(quick=quick, deep=deep)
        chosen = {"dtypes": split(dtype), "features": split(features), "budget_s": seconds(budget)}
        code = _check_features(where, chosen, junit, demands, began, depth=depth, as_json=as_json)
    raise typer.Exit(code)


def _check_numbers(random: int, seed: int, draws: int) -> None:
    """Raise ``UsageError`` for a number of cases, a seed or a number of draws that is none."""
    if random < 0 or seed < 0 or draws < 1:
        msg = f"--random and --seed are 0 or more and --draws 1 or more; got {random}, {seed} and {draws}"
        raise UsageError(msg)


def _refuse_idle(given: Sequence[str]) -> None:
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


def _check_features(
    where: Where,
    choices: dict[str, Any],
    junit: Path | None,
    demands: list[str],
    began: float,
    *,
    depth: str,
    as_json: bool,
) -> int:
    """Check feature by feature and dtype by dtype, show, and return the exit status."""
    from attnbench.agree.cases.by_feature import ROWS
    from attnbench.agree.cases.plan import DEEP, QUICK
    from attnbench.agree.check import deviations
    from attnbench.attention.precision import DTYPES
    from attnbench.checking.again import with_commands
    from attnbench.checking.ends import Ends
    from attnbench.checking.examining import examined
    from attnbench.checking.features import check as checked
    from attnbench.commands.checks.answers import required
    from attnbench.commands.checks.table import write_and_show

    features = [
        *choices["features"],
        *(name for name in demands if choices["features"] and name not in choices["features"]),
    ]
    check_known("dtype", choices["dtypes"], DTYPES)
    check_known("feature", features, ROWS)
    chosen = where.options(**{**choices, "dtypes": choices["dtypes"] or DTYPES, "features": features}, depth=depth)
    names = chosen.impls
    known = deviations.of_backends(names)
    say(f"checking {len(names)} implementation{'s' * (len(names) != 1)} against the float64 oracle")
    ends = Ends(chosen.budget_s, began)
    end_as_interrupted()
    with ProgressLine(chosen.budget_s) as progress:
        rows = checked(chosen, _told, progress, say, ends)
    whole = depth != QUICK and choices.get("budget_s") is None and not ends.interrupted
    rows = deviations.settle(rows, known, deep=depth == DEEP, whole=whole)
    try:
        rows = examined(rows, chosen, ends.last)
    except KeyboardInterrupt:
        ends.interrupt()
    note = INTERRUPTED if ends.interrupted else NO_PROOF if depth == QUICK else ""
    rows = with_commands(required(rows, demands), chosen)
    return write_and_show(rows, junit, note, as_json=as_json, interrupted=ends.interrupted)


def _depth(*, quick: bool, deep: bool) -> str:
    from attnbench.agree.cases.plan import DEEP, QUICK, USUAL

    if quick and deep:
        msg = "--quick is a look while editing and --deep a long proof; give one of them"
        raise UsageError(msg)
    return QUICK if quick else DEEP if deep else USUAL


def _told(row: CheckRow) -> None:
    if row.status == "wrong":
        say(f"  {row.impl} {row.feature} {row.dtype}: WRONG ({row.fault})")
