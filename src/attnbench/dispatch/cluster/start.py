"""``attnbench dispatch run``: from what was typed to a plan with its results, and the runs that are made of them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attnbench.dispatch.cluster.connection import COMMAND, ClusterWords, connected
from attnbench.dispatch.cluster.fleet import Fleet
from attnbench.dispatch.cluster.front import Carried, Front
from attnbench.dispatch.cluster.matching import WaitingBlocks, lacks
from attnbench.dispatch.cluster.messages import AskedOfWorker
from attnbench.dispatch.layout import WantedPlan, lay_out, unmake
from attnbench.dispatch.listing import Listing, in_ranges, listed
from attnbench.dispatch.merge import Merged, merge
from attnbench.dispatch.records import DispatchPlan
from attnbench.dispatch.sending import check_there
from attnbench.errors import EXIT_INCONCLUSIVE, AttnbenchError, UsageError, worst_exit
from attnbench.interface.given import Duration, seconds
from attnbench.interface.places import check_folder, check_runs_folder
from attnbench.interface.running import RunWords
from attnbench.measure.run.options import Progress
from attnbench.results.extra import check_report_extra
from attnbench.results.fingerprint import PACKAGES
from attnbench.results.store import new_run_id, utc_now

PATIENCE_S = 60.0
OFTEN_S = 0.3
# How long a block waits for another run on its machine.
BLOCK_WAIT = "10m"


class BrokenOffError(AttnbenchError):
    """The front ended before its blocks did; what was measured is kept."""

    exit_code = EXIT_INCONCLUSIVE


@dataclass(frozen=True)
class DispatchWords:
    """What ``attnbench dispatch run`` is asked.

    ``wanted`` is a plan to be made, whose folder may be left to us (``plan`` is ``None``), or ``resume`` the folder of
    one. ``wait`` is how long workers are waited for, ``most`` how many blocks are out at once.
    """

    cluster: ClusterWords
    wanted: WantedPlan
    plan: Path | None = None
    resume: Path | None = None
    out: Path = Path("results")
    most: int | None = None
    partial: bool = False
    wait: Duration = None


@dataclass(frozen=True)
class Dispatched:
    """What became of it: the plan's folder, the blocks nobody measured with why, and the runs, if they were made."""

    folder: Path
    blocks: int
    left: dict[int, str]
    merged: Merged | None
    beside: int
    exit_code: int


def dispatch(words: DispatchWords, progress: Progress, note: Callable[[str], None]) -> Dispatched:
    """Measure a plan on the workers of a cluster. Raises ``UsageError`` and its kin."""
    _check(words)
    if words.resume is not None:
        there = listed(words.resume)
        for path in there.damaged:
            note(f"{path} is damaged, or of another plan, and counts as no result; its block is measured again")
        if not there.missing:
            note(f"every block of {words.resume} has a result")
            return _merged(words, there, {}, 0)
        check_there(words.resume, there.plan)
    stays = words.plan is not None and words.plan.is_dir()
    with connected(words.cluster, note) as client:
        listing = _listing(words, note)
        try:
            front = front_of(words, client, listing, progress, note)
        except BaseException:
            if words.resume is None:
                _unmake(words, listing.folder, stays=stays)
            raise
        try:
            front.hand_out()
        except (KeyboardInterrupt, AttnbenchError) as error:
            raise BrokenOffError(_broken_off(words, listing, error)) from error
    return _merged(words, listed(listing.folder), front.left, front.beside)


def _check(words: DispatchWords) -> None:
    """Raise ``UsageError`` before anything is written."""
    words.cluster.check()
    check_report_extra(COMMAND)
    check_runs_folder("--out", words.out)
    seconds(words.wait)
    if words.most is not None and words.most < 1:
        msg = f"--most is how many blocks are out at once, 1 or more; got {words.most}"
        raise UsageError(msg)
    if words.resume is None:
        return
    if others := _of_a_plan(words):
        msg = (
            f"--resume {words.resume} goes on with the plan that is there, as it was asked; leave out: "
            f"{shlex.join(others)}"
        )
        raise UsageError(msg)


def _of_a_plan(words: DispatchWords) -> list[str]:
    """What was typed that makes another plan."""
    wanted = words.wanted
    typed = wanted.words.typed()[len(RunWords().typed()) :]
    for name, values in {"--label": wanted.labels, "--hold": wanted.hold}.items():
        typed += [word for value in values for word in (name, value)]
    typed += ["--send-files"] if wanted.send_files else []
    typed += ["--seed", str(wanted.seed)] if wanted.seed is not None else []
    return typed + (["--plan", str(words.plan)] if words.plan is not None else [])


def _listing(words: DispatchWords, note: Callable[[str], None]) -> Listing:
    """The plan, made where there is none."""
    if words.resume is not None:
        return listed(words.resume)
    wanted = words.wanted
    folder = words.plan
    if folder is None:
        name = new_run_id([*wanted.words.suites, *(["workload"] if wanted.words.workload else [])], utc_now())
        folder = words.out.absolute().parent / "plans" / name
        check_folder("--plan", folder)
    try:
        planned = lay_out(replace(wanted, out=folder), note)
    except UsageError as error:
        error.args = (str(error).replace("-o ", "--plan ", 1),) if str(error).startswith("-o ") else error.args
        raise
    if staying := [file.path for file in planned.plan.files if file.sent is None]:
        note(f"every worker has to have these files at the same place; --send-files sends them: {', '.join(staying)}")
    return listed(folder)


def _unmake(words: DispatchWords, folder: Path, *, stays: bool) -> None:
    """Remove a plan that was made just now, before anything was measured; its folder ``stays`` if it was there."""
    unmake(folder, stays=stays)
    if words.plan is None and not stays:
        with suppress(OSError):  # it has the plans of others
            folder.parent.rmdir()


def front_of(
    words: DispatchWords, client: Any, listing: Listing, progress: Progress, note: Callable[[str], None]
) -> Front:
    """All that there is before the first block is given out. Raises ``UsageError`` for what nobody can measure."""
    plan = listing.plan
    progress(len(listing.ids) - len(listing.missing), len(listing.ids), "asking the workers")
    waiting, packages = WaitingBlocks(), set[str]()
    for number in listing.missing:
        needs = listing.planned.needs_of(number)
        waiting.add(number, needs)
        packages.update(needs.packages)
    wait_s = seconds(words.wait) or PATIENCE_S
    question = AskedOfWorker(plan=plan, packages=tuple(sorted(name for name in packages if _planned_with(name, plan))))
    fleet = Fleet(client, question, words.cluster.token, note)
    _gather(fleet, words, waiting, wait_s)
    for line in fleet.sentences():
        note(line)
    _check_possible(words, fleet, waiting, note)
    return Front(
        client,
        fleet,
        Carried.of(listing.planned, BLOCK_WAIT),
        waiting,
        token=words.cluster.token,
        most=words.most,
        patience_s=wait_s,
        progress=progress,
        note=note,
    )


def _planned_with(package: str, plan: DispatchPlan) -> bool:
    """Whether the plan was made with a package, so that its workers need it: what nobody has is a row with a reason."""
    return package in plan.held.packages if package in PACKAGES else find_spec(package) is not None


def _gather(fleet: Fleet, words: DispatchWords, waiting: WaitingBlocks, wait_s: float) -> None:
    """Wait for workers, and for what they say. Raises ``UsageError`` where none can measure.

    With ``--wait`` those that are there may be too few: who can measure the rest has as long to come.
    """
    began = time.monotonic()
    least = words.cluster.workers or 1
    while True:
        fleet.look()
        there = fleet.settled and len(fleet.hands) + len(fleet.refused) >= least
        if there and (words.wait is None or not waiting.stranded(list(fleet.hands.values()))):
            break
        # Who is there has a while to answer, however short others are waited for.
        if time.monotonic() - began > (wait_s if fleet.settled else max(wait_s, PATIENCE_S)):
            break
        time.sleep(OFTEN_S)
    if fleet.hands:
        return
    token = words.cluster.token
    start = f'start some with: dask worker ADDRESS --nthreads 1 --resources "{token}=1"'
    if fleet.refused:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(fleet.refused.items())[:3])
        msg = f"none of the {len(fleet.refused)} workers can be used. {why}"
    elif not fleet.settled:
        waited = max(wait_s, PATIENCE_S)
        msg = f"the workers did not answer within {waited:g} s: they may be busy; type the same with a longer --wait"
    else:
        msg = f"the scheduler has no workers, and none came within {wait_s:g} s; {start}"
    raise UsageError(msg)


def _check_possible(words: DispatchWords, fleet: Fleet, waiting: WaitingBlocks, note: Callable[[str], None]) -> None:
    """Say what no worker can measure. Raises ``UsageError`` unless the rest is to be measured."""
    hands = list(fleet.hands.values())
    stranded = waiting.stranded(hands)
    if not stranded:
        return
    lines = []
    for kind, numbers in waiting.by_kind(stranded).items():
        nearest = min((lacks(waiting.needs(numbers[0]), hand.about) for hand in hands), key=len)
        those = f"blocks {in_ranges(numbers)} need" if len(numbers) > 1 else f"block {numbers[0]} needs"
        lines.append(f"{those} {kind}; the nearest worker has {', '.join(nearest)}")
    there = "; ".join(fleet.described()[:5])
    count = f"{len(stranded)} of {len(waiting)} blocks" if len(waiting) > 1 else "the block"
    what = f"no worker can measure {count}. {'. '.join(lines)}. There are: {there}"
    if not words.partial or len(stranded) == len(waiting):
        rest = "" if len(stranded) == len(waiting) else ", or type --partial to measure the others"
        msg = f"{what}. Start a worker that can (its labels stand in ATTNBENCH_LABELS){rest}; nothing was measured"
        raise UsageError(msg)
    note(f"{what}. They wait until one comes that can, and are left otherwise")


def going_on(words: DispatchWords, folder: Path) -> str:
    """What to type to measure what is left."""
    cluster = words.cluster
    where = ["--scheduler", cluster.scheduler] if cluster.scheduler else ["--workers", str(cluster.workers)]
    if cluster.certificates.ca is not None:
        for name in ("ca", "cert", "key"):
            where += [f"--tls-{name}", str(getattr(cluster.certificates, name))]
    where += ["--resource", cluster.token] if cluster.token != ClusterWords.token else []
    where += ["--out", str(words.out)] if words.out != Path("results") else []
    return shlex.join([*COMMAND.split(), "--resume", str(folder), *where])


def _broken_off(words: DispatchWords, listing: Listing, error: BaseException) -> str:
    now = listed(listing.folder)
    done = len(now.ids) - len(now.missing)
    why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    return (
        f"{why}. {done} of {len(now.ids)} blocks have a result in {listing.folder}. Go on with: "
        f"{going_on(words, listing.folder)}"
    )


def _merged(words: DispatchWords, listing: Listing, left: dict[int, str], beside: int) -> Dispatched:
    """The runs, where every block has a result or the rest was not asked for."""
    whole = not listing.missing
    some = len(listing.missing) < len(listing.ids)
    outcome = merge(listing.folder, words.out, partial=words.partial) if whole or (words.partial and some) else None
    codes = [EXIT_INCONCLUSIVE] if listing.missing else []
    codes += [outcome.exit_code] if outcome is not None else []
    reasons = {number: left.get(number, "") for number in listing.missing}
    if outcome is not None and outcome.runs:  # those of earlier fronts too
        beside = sum(run.beside for run in outcome.runs)
    return Dispatched(listing.folder, len(listing.ids), reasons, outcome, beside, worst_exit(codes))


def reasons(left: dict[int, str]) -> Sequence[str]:
    """Blocks that nobody measured, by why."""
    by_reason: dict[str, list[int]] = {}
    for number, why in left.items():
        by_reason.setdefault(why or "nobody had it", []).append(number)
    return [f"{in_ranges(numbers)}: {why}" for why, numbers in by_reason.items()]
