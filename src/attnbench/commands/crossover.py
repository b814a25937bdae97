"""``attnbench crossover A B``: from where on one is faster than the other, found live at the boundary."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import check_threads, seconds
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import UsageError, check_known
from attnbench.interface.places import check_runs_folder
from attnbench.show.console import document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.crossover.axes import AxisSetting
    from attnbench.crossover.measuring import Asked, CrossoverOutcome
    from attnbench.crossover.question import CrossoverQuestion

RANGE = re.compile(r"([^:]+):([^:]+)")


def crossover(
    names: Annotated[list[str], typer.Argument(metavar="A B...", help="Two implementations or more; see: list impls.")],
    *,
    axis: options.CrossoverAxis = "tokens",
    ends: options.Range = None,
    shape: options.OneShape = "h4-d64",
    tokens: options.FixedTokens = None,
    batch: options.FixedBatch = None,
    phase: options.OnePhase = None,
    dtype: options.OneDtype = "float32",
    device: options.Device = "cpu",
    threads: options.Threads = None,
    budget: options.Budget = "3m",
    out: options.PairsOut = Path("results"),
    seed: options.OrderSeed = None,
    wait: options.Wait = None,
    files: options.Files = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find where one implementation overtakes another along an axis, as an interval, in pairs of fresh processes."""
    set_quiet(quiet)
    from attnbench.attention.shapes import PHASE_WORDS
    from attnbench.crossover.axes import TOKENS, AxisSetting
    from attnbench.crossover.schedule import check_budget
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench crossover")
    check_runs_folder("--out", out)
    _check_not_the_axis(axis, {"tokens": tokens, "batch": batch, "threads": threads})
    check_threads([] if threads is None else [threads])
    setting = AxisSetting(
        shape=shape,
        tokens=TOKENS if tokens is None else _count("--tokens", tokens),
        batch=1 if batch is None else _count("--batch", batch),
        phase="prefill" if phase is None else PHASE_WORDS.get(phase, phase),
        dtype=dtype,
        device=device,
        threads=threads or 1,
    )
    began, limit = time.monotonic(), seconds(budget) or 0.0
    check_budget(limit, budget)
    question = _question(names, files or [], axis, ends, setting, phase=phase, budget_s=limit)
    if axis == "threads":  # of all that vary the largest, once
        check_threads([question.grid.high], "--axis threads, up to")
    with ProgressLine(limit, paced=False) as progress:
        from attnbench.crossover.measuring import Asked

        how = Asked(budget_s=limit, out=out, seed=seed, progress=progress, began=began)
        outcome = _measured(question, how, seconds(wait) or 0.0)
    _tell(outcome, as_json=as_json)
    raise typer.Exit(outcome.exit_code)


def _question(
    names: list[str],
    files: list[Path],
    axis_name: str,
    ends: str | None,
    setting: AxisSetting,
    *,
    phase: str | None,
    budget_s: float,
) -> CrossoverQuestion:
    from attnbench.attention.precision import DTYPES
    from attnbench.attention.shapes import PHASES
    from attnbench.attention.shapes import shape as shape_named
    from attnbench.backends.implementation import DEVICES
    from attnbench.crossover import axes
    from attnbench.crossover.question import CrossoverQuestion, contestants
    from attnbench.measure.run.plan import within

    axis = axes.axis_named(axis_name)
    shape_named(setting.shape)
    check_known("--phase", [setting.phase], tuple(PHASES))
    check_known("--dtype", [setting.dtype], DTYPES)
    check_known("device", [setting.device], DEVICES)
    setting = axes.setting_for(axis, setting, typed=phase)
    grid = axes.grid_of(axis, setting, *_range(ends))
    chosen, dropped = contestants(names, files, within(budget_s))
    return CrossoverQuestion(chosen, axis, setting, grid, dropped)


def _range(text: str | None) -> tuple[int, int] | tuple[()]:
    if text is None:
        return ()
    match = RANGE.fullmatch(text.strip())
    if match is None:
        msg = f"--range is LOW:HIGH, two whole numbers such as 64:8192 or 1Ki:32Ki; got {text!r}"
        raise UsageError(msg)
    low, high = (_count("--range", part) for part in match.groups())
    if low == high:
        msg = f"--range {text} is one place, and nothing crosses at one; type two ends, such as 64:8192"
        raise UsageError(msg)
    if low > high:
        msg = f"--range is LOW:HIGH, the smaller number first; got {text}"
        raise UsageError(msg)
    return low, high


def _count(option: str, text: str) -> int:
    from attnbench.suite import SIZE

    try:
        return int(SIZE.read(text))
    except UsageError:
        msg = f"{option}: a number is 1 or more, up to 2**30, such as 512, 4Ki (4096) or 128k (128,000); got {text!r}"
        raise UsageError(msg) from None


def _check_not_the_axis(axis: str, given: dict[str, Any]) -> None:
    """Raise ``UsageError`` where what varies is given as one number too."""
    varying = ("tokens",) if axis in ("tokens", "keys") else (axis,)
    for name in varying:
        if given.get(name) is not None:
            msg = f"--axis {axis} varies what --{name} {given[name]} holds; leave it out, or type --range LOW:HIGH"
            raise UsageError(msg)


def _measured(question: CrossoverQuestion, how: Asked, wait_s: float) -> CrossoverOutcome:
    from attnbench.crossover.measuring import measure_held
    from attnbench.workers.lock import only_run

    end_as_interrupted()
    with ExitStack() as stack:
        waits = time.monotonic()
        stack.enter_context(only_run(wait_s=wait_s))
        waited = time.monotonic() - waits
        grid = question.grid
        say(f"{' against '.join(question.names)}: {question.axis.name} from {grid.low} to {grid.high}")
        # Waiting for somebody else is not of the budget.
        return measure_held(question, replace(how, began=(how.began or waits) + waited))


def _tell(outcome: CrossoverOutcome, *, as_json: bool) -> None:
    from attnbench.commands.live.crossover import json_document, text

    if as_json:
        document(json_document(outcome))
    else:
        show(text(outcome))
