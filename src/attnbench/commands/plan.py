"""``attnbench plan --detect``: what finding a slowdown on this machine costs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import percentage, split
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
from attnbench.interface.suite_files import suites_named
from attnbench.show.console import document, show

if TYPE_CHECKING:
    from attnbench.live.sides import WantedComparison

# The margin for a slowdown of a given size: one that is no larger than the margin is found half the time.
MARGIN_SHARE = 0.5


def plan(
    *,
    detect: options.Detect,
    suite: options.TimedSuites = None,
    impl: options.ImplsOrNaive = None,
    axis: options.Axes = None,
    suite_files: options.SuiteFiles = None,
    margin: options.MarginIfAny = None,
    as_json: options.Json = False,
) -> None:
    """Say how many pairs and minutes it takes to find a slowdown here, before anything runs."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench plan")
    from attnbench.live.sides import WantedComparison, resolve_itself

    size = percentage(detect)
    if not 0 < size < 1:
        msg = f"--detect is above 0 and below 100 %; got {detect}"
        raise UsageError(msg)
    within = size * MARGIN_SHARE if margin is None else percentage(margin)
    named = suites_named(split(suite), suite_files, timed=True) or ("smoke",)
    chosen = WantedComparison("", suites=named, patterns=impl or [], axes=axis or [])
    with ExitStack() as stack:
        cells = len(resolve_itself(chosen, stack).twins)
    forecast, took = _forecast(size, within, cells)
    code = EXIT_OK if took is not None else EXIT_INCONCLUSIVE
    if as_json:
        document(
            {"detect": size, "margin": within, "cells": cells, **asdict(forecast), "seconds": took, "exit_code": code}
        )
    else:
        typed = _options(chosen, [str(file) for file in suite_files or ()])
        show("\n".join(_plan_lines(size, within, cells, forecast, took, typed)))
    raise typer.Exit(code)


def _forecast(size: float, within: float, cells: int) -> tuple[Any, float | None]:
    """The pairs that it takes by what is known of this machine, and their seconds; ``None`` where it cannot be done."""
    from attnbench.comparing.calibration import forecast, noise_of
    from attnbench.comparing.sequential import Rules
    from attnbench.results.fingerprint import collect_hardware

    noise = noise_of(collect_hardware().id)
    rules = Rules(margin=within, cells=cells)
    result = forecast(noise.draw, size, rules, noise.spread, is_assumed=noise.is_assumed)
    took = None if result.pairs is None else noise.seconds(result.pairs, cells)
    return result, took


def _options(cells: WantedComparison, files: Sequence[str] = ()) -> str:
    """The options that choose the cells, as they were typed, for ``attnbench ab``; ``files`` are those of suites."""
    chosen = [("--suites", file) for file in files]
    chosen += [("--suite", text) for text in cells.suites] + [("-a", text) for text in cells.axes]
    return "".join(f" {option} {shlex.quote(text)}" for option, text in chosen)


def _plan_lines(size: float, margin: float, cells: int, forecast: Any, took: float | None, chosen: str) -> list[str]:
    from attnbench.show.units import clock

    source = (
        f"assuming a spread of {100 * forecast.spread:g} % with heavy tails (this machine is not calibrated; type: "
        "attnbench calibrate)"
        if forecast.assumed
        else f"by this machine's own pairs, whose spread is {100 * forecast.spread:.1f} %"
    )
    if took is None:
        rare = f"A slowdown of {100 * size:g} % is found in only {100 * forecast.power:.0f} of 100"
        return [f"{rare}, {source}. Ask for a larger one, or measure on a quieter machine."]
    typical = f", typically {forecast.typical:.0f}" if math.isfinite(forecast.typical) else ""
    what = f"{cells} cells, a slowdown of {100 * size:g} % in each"
    cost = f"at most {forecast.pairs} pairs{typical}, about {clock(took)} with memory"
    again = f"attnbench ab A B{chosen} --margin {100 * margin:g}% --budget {math.ceil(took / 60)}m"
    return [f"{what}: {cost}, {source}.", f"type: {again}"]
