"""``attnbench calibrate`` and ``attnbench plan --detect``: what this machine is able to tell, and what that costs."""

from __future__ import annotations

import math
import shlex
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attnbench.commands.output import ProgressLine, document, say, show
from attnbench.commands.running import end_as_interrupted, percentage, seconds
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK, UsageError
from attnbench.live.sides import Asked, resolve_itself
from attnbench.results.extra import check_report_extra

# Seconds of a pair and of each cell in it, where nothing was measured here: 4 quads of 4 bursts of 35 ms, and a start.
ASSUMED_STARTUP_S, ASSUMED_CELL_S = 1.5, 1.0
MEMORY_RUNS = 3
# The margin for a slowdown of a given size: one that is no larger than the margin is found half the time.
MARGIN_SHARE = 0.5


def calibrate_command(asked: Asked, *, margin: str, budget: str, out: Path, wait: str | None, as_json: bool) -> int:
    """Compare a version with itself, and keep what that says of this machine."""
    check_report_extra("attnbench calibrate")
    from attnbench.compare.calibration import MOST
    from attnbench.live.comparison import Terms, calibrated, compare_live
    from attnbench.live.pair import PairedEffort
    from attnbench.live.pairs import INTERRUPTED
    from attnbench.results.calibrations import save

    terms = Terms(
        margin=percentage(margin),
        budget_s=seconds(budget),
        out=out,
        wait_s=seconds(wait) or 0.0,
        effort=PairedEffort(memory_repeats=0),
        progress=ProgressLine(),
        name="calibrate",
        keep_going=True,
    )
    end_as_interrupted()
    with ExitStack() as stack:
        compared = compare_live(resolve_itself(asked, stack), terms)
    measured = [one for one in compared.verdicts if one.measured]
    if not measured:
        say("nothing was measured, so nothing is known of this machine")
        if as_json:
            document({"pairs": 0, "cells": 0, "folder": str(compared.folder), "exit_code": EXIT_NOTHING_MEASURED})
        return EXIT_NOTHING_MEASURED
    say("judging the recorded pairs again, with and without a slowdown")
    calibration = calibrated(compared)
    path = save(calibration)
    code = EXIT_INCONCLUSIVE if compared.outcome.note == INTERRUPTED else EXIT_OK
    if as_json:
        document({**calibration.describe(), "file": str(path), "folder": str(compared.folder), "exit_code": code})
        return code
    show(calibration.sentence(MOST))
    show("\n".join(_found(calibration.replayed)))
    show(f"kept: {path} and {compared.folder}")
    return code


def _found(replayed: Any) -> list[str]:
    if replayed is None:
        return []
    often = f"{100 * replayed.power:.0f} of 100"
    lines = [f"smallest slowdown found in at least {often}, margin {100 * replayed.margin:g} %:"]
    for pairs, size in replayed.found.items():
        lines.append(f"  {pairs:>3} pairs: " + ("none of those tried" if size is None else f"{100 * size:g} %"))
    return lines


def plan_command(asked: Asked, *, detect: str, margin: str | None, as_json: bool) -> int:
    """Say how many pairs and minutes finding a slowdown takes, without measuring; 3 where it cannot be done."""
    check_report_extra("attnbench plan")
    from attnbench.compare.calibration import ASSUMED_SPREAD, FEWEST, assumed, forecast, recorded, recorded_both
    from attnbench.compare.sequential import Rules
    from attnbench.compare.signed_rank import robust_spread
    from attnbench.results.calibrations import for_machine
    from attnbench.results.fingerprint import collect_hardware

    size = percentage(detect)
    if not 0 < size < 1:
        msg = f"--detect is above 0 and below 100 %; got {detect}"
        raise UsageError(msg)
    within = size * MARGIN_SHARE if margin is None else percentage(margin)
    with ExitStack() as stack:
        cells = len(resolve_itself(asked, stack).twins)
    rules = Rules(margin=within, cells=cells)
    known = for_machine(collect_hardware().id)
    values = known.log_ratios if known is not None else ()
    is_assumed = len(values) < FEWEST
    spread = ASSUMED_SPREAD if is_assumed else robust_spread(recorded_both(values))
    noise = assumed() if is_assumed or known is None else recorded(known.series)
    found = forecast(noise, size, rules, spread, is_assumed=is_assumed)
    startup_s, cell_s = (ASSUMED_STARTUP_S, ASSUMED_CELL_S) if known is None else (known.startup_s, known.cell_s)
    took = None
    if found.pairs is not None:
        took = found.pairs * (startup_s + cells * cell_s) + MEMORY_RUNS * cells * (startup_s + cell_s / 4)
    code = EXIT_OK if took is not None else EXIT_INCONCLUSIVE
    if as_json:
        document(
            {"detect": size, "margin": within, "cells": cells, **asdict(found), "seconds": took, "exit_code": code}
        )
        return code
    show("\n".join(_plan_lines(size, within, cells, found, took, _options(asked))))
    return code


def _options(asked: Asked) -> str:
    """The options that choose the cells, as they were typed, for ``attnbench ab``."""
    chosen = [("--suite", one) for one in asked.suites] + [("-a", one) for one in asked.axes]
    return "".join(f" {option} {shlex.quote(one)}" for option, one in chosen)


def _plan_lines(size: float, margin: float, cells: int, found: Any, took: float | None, chosen: str) -> list[str]:
    from attnbench.compare.live import clock

    source = (
        f"assuming a spread of {100 * found.spread:g} % with heavy tails (this machine is not calibrated; type: "
        "attnbench calibrate)"
        if found.assumed
        else f"by this machine's own pairs, whose spread is {100 * found.spread:.1f} %"
    )
    if took is None:
        rare = f"A slowdown of {100 * size:g} % is found in only {100 * found.power:.0f} of 100"
        return [f"{rare}, {source}. Ask for a larger one, or measure on a quieter machine."]
    typical = f", typically {found.typical:.0f}" if math.isfinite(found.typical) else ""
    what = f"{cells} cells, a slowdown of {100 * size:g} % in each"
    cost = f"at most {found.pairs} pairs{typical}, about {clock(took)} with memory"
    again = f"attnbench ab A B{chosen} --margin {100 * margin:g}% --budget {math.ceil(took / 60)}m"
    return [f"{what}: {cost}, {source}.", f"type: {again}"]
