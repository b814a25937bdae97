"""``attnbench check``: agreement with the oracle. What is checked instead of every feature is in files of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import check_positive, drop_ins, seconds, split
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import check_known
from attnbench.interface.checks.where import Where
from attnbench.show.console import say, set_quiet
from attnbench.show.progress import ProgressLine


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
    from attnbench.interface.agreeing import check_numbers, depth_of, refuse_idle
    from attnbench.interface.checks.answers import asked_for
    from attnbench.measure.run.plan import within

    began = time.monotonic()
    set_quiet(quiet)
    check_known("device", [device], DEVICES)
    check_positive("--timeout", timeout)
    given: dict[str, Any] = {"--dtype": dtype, "--features": features, "--require": require}
    given |= {"--quick": quick, "--deep": deep, "--budget": budget is not None}
    given |= {"--seed": seed, "--draws": draws != 1, "--junit": junit is not None}
    given |= {"--onnx": onnx, "--random": random, "--case": case}
    refuse_idle([name for name, there in given.items() if there])
    check_numbers(random, seed, draws)
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
        chosen: dict[str, Any] = {"dtypes": split(dtype), "features": split(features), "budget_s": seconds(budget)}
        chosen["depth"] = depth_of(quick=quick, deep=deep)
        code = _check_features(where, chosen, junit, demands, began, as_json=as_json)
    raise typer.Exit(code)


def _check_features(
    where: Where, choices: dict[str, Any], junit: Path | None, demands: list[str], began: float, *, as_json: bool
) -> int:
    """Check feature by feature and dtype by dtype, show, and return the exit status."""
    from attnbench.commands.checks.shown import write_and_show
    from attnbench.interface.agreeing import check_features, feature_options, tell_wrong
    from attnbench.tried.code import GPU
    from attnbench.tried.marks import untried

    chosen = feature_options(where, demands, choices)
    say(f"checking {len(chosen.impls)} implementation{'s' * (len(chosen.impls) != 1)} against the float64 oracle")
    if chosen.device == GPU and (new := untried(chosen.impls)):
        say(new)
    end_as_interrupted()
    with ProgressLine(chosen.budget_s) as progress:
        checked = check_features(chosen, demands, began, progress=tell_wrong, watch=progress, note=say)
    return write_and_show(checked.rows, junit, checked.note, as_json=as_json, interrupted=checked.interrupted)
