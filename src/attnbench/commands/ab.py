"""``attnbench ab A B``: two versions against each other, live; the tables, the sentences, the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.commands.output import ProgressLine, document, say, show
from attnbench.commands.running import end_as_interrupted, percentage, seconds
from attnbench.errors import UsageError
from attnbench.live.sides import Asked, resolve
from attnbench.measure.lock import only_run
from attnbench.results.extra import check_report_extra

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared

INCONCLUSIVE = ("fail", "pass")


def ab_command(
    asked: Asked,
    *,
    margin: str,
    budget: str,
    out: Path,
    inconclusive: str,
    wait: str | None,
    seed: int | None,
    github: bool,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Compare, write the folder, show the verdicts; the exit status."""
    check_report_extra("attnbench ab")
    from attnbench.commands import ab_files
    from attnbench.commands.ab_output import closing, tables
    from attnbench.live.comparison import Terms, compare_held
    from attnbench.results.calibrations import for_machine

    if inconclusive not in INCONCLUSIVE:
        msg = f"--inconclusive is fail or pass; got {inconclusive!r}"
        raise UsageError(msg)
    if asked.threads is not None and asked.threads < 1:
        msg = f"--threads is 1 or more; got {asked.threads}"
        raise UsageError(msg)
    ab_files.check_writable(junit, markdown, github=github)
    terms = Terms(
        margin=percentage(margin),
        budget_s=seconds(budget),
        out=out,
        wait_s=seconds(wait) or 0.0,
        seed=seed,
        inconclusive_passes=inconclusive == "pass",
        progress=ProgressLine(),
    )
    if not 0 < terms.margin < 1:
        msg = f"--margin is above 0 and below 100 %; got {margin}"
        raise UsageError(msg)
    end_as_interrupted()
    with ExitStack() as stack:
        say("preparing both sides")
        # Revisions are installed under the lock too: that is work beside whoever measures.
        resolved = resolve(asked, stack, lambda: stack.enter_context(only_run(wait_s=terms.wait_s)))
        compared = compare_held(resolved, terms)
    calibration = for_machine(compared.fingerprint.machine_id)
    ab_files.write(compared, calibration, junit=junit, markdown=markdown, github=github)
    if as_json:
        document(_json(compared, None if calibration is None else calibration.describe()))
        return compared.exit_code
    show(tables(compared))
    show("\n".join(closing(compared, calibration)))
    return compared.exit_code


def _json(compared: Compared, calibration: Any) -> dict[str, Any]:
    outcome, sides = compared.outcome, compared.resolved.sides
    return {
        "run_id": compared.run_id,
        "folder": str(compared.folder),
        "exit_code": compared.exit_code,
        "kind": compared.resolved.kind,
        "sides": {name: {"label": side.label, "code": side.code} for name, side in sides.items()},
        "margin": compared.margin,
        "pairs": outcome.pairs,
        "seconds": outcome.seconds,
        "note": outcome.note,
        "machine_id": compared.fingerprint.machine_id,
        "calibration": calibration,
        "verdicts": [{**asdict(one), "label": one.label} for one in compared.verdicts],
    }


def suites_or_default(suites: Sequence[str] | None) -> tuple[str, ...]:
    """The suites that were named, or the first one to run."""
    return tuple(suites or ("smoke",))
