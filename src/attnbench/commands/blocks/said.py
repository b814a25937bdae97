"""What ``attnbench dispatch`` says."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError

if TYPE_CHECKING:
    from attnbench.dispatch.cluster.start import Dispatched
    from attnbench.dispatch.layout import LaidOutPlan, PlannedKind
    from attnbench.dispatch.listing import ListedBlock, Listing
    from attnbench.dispatch.merge import Merged
    from attnbench.dispatch.work import Worked


def planned_lines(planned: LaidOutPlan, out: Path) -> list[str]:
    """What was laid out, what is to be brought to every machine, and what to type next."""
    blocks = "1 block is" if planned.plan.blocks == 1 else f"{planned.plan.blocks} blocks are"
    cells = "1 cell" if planned.plan.cells == 1 else f"{planned.plan.cells} cells"
    lines = [
        f"{blocks} laid out in {out}, {cells} in all.",
        *(_kind(kind) for kind in planned.kinds),
    ]
    if planned.plan.asked.budget_s is not None:
        each = planned.plan.asked.budget_s / planned.plan.cells
        lines.append(f"The budget gives each cell {each:.3g} s of a machine's time, and a block that of its cells.")
    if names := ", ".join(file.path for file in planned.plan.files if file.sent is None):
        lines.append(
            f"Not in the folder, and to be at the same place on every machine: {names}. --send-files copies them."
        )
    place = shlex.quote(str(out))
    return [
        *lines,
        f"measure one: attnbench dispatch work {place} --block 0",
        f"see them:    attnbench dispatch list {place}",
        f"at the end:  attnbench dispatch merge {place}",
    ]


def _kind(kind: PlannedKind) -> str:
    from attnbench.show.units import size

    numbers = f"{kind.first}-{kind.last}" if kind.last > kind.first else str(kind.first)
    memory = "" if kind.memory_bytes is None else f"; arrays of up to {size(kind.memory_bytes)}"
    return f"  {numbers}: {kind.needs}{memory}"


def worked_line(outcome: Worked) -> str:
    """What became of one block."""
    name = f"block {outcome.block.number} ({outcome.block.id})"
    if outcome.was_there:
        return f"{name} has a result already: {outcome.file}. --again measures it anew."
    if outcome.file is None:
        return f"{name}: {outcome.note}. Nothing of it is kept; type the same again."
    return f"{name}: {_counts(outcome.counts)}.\nkept: {outcome.file}"


def _counts(counts: Any) -> str:
    total = sum(counts.values())
    cells = "1 cell" if total == 1 else f"{total} cells"
    return f"{cells}: " + ", ".join(f"{count} {status}" for status, count in counts.items())


def dispatched_lines(outcome: Dispatched, reasons: Sequence[str], go_on: str) -> list[str]:
    """What became of a plan on a cluster, and what to type next."""
    lines = [f"plan: {outcome.folder}, {outcome.blocks - len(outcome.left)} of {outcome.blocks} blocks have a result."]
    lines += [f"Not measured: block {reason}." for reason in reasons]
    if outcome.merged is None or not outcome.merged.runs:
        lines += _beside(outcome.beside)
    if outcome.merged is not None:
        lines += merged_lines(outcome.folder, outcome.merged)
    if outcome.left:
        lines.append(f"Go on with: {go_on}")
        if outcome.merged is None:
            lines.append(
                f"Or take what is there: attnbench dispatch merge {shlex.quote(str(outcome.folder))} --partial"
            )
    return lines


def _beside(blocks: int) -> list[str]:
    """That blocks disturbed each other, where they did."""
    number = "1 block was" if blocks == 1 else f"{blocks} blocks were"
    return [f"{number} measured beside others on the same machine: do not rely on those times."] if blocks else []


def merged_lines(folder: Path, outcome: Merged) -> list[str]:
    """The runs of the machines, what has no result, and what to type next."""
    from attnbench.dispatch.listing import in_ranges

    lines = []
    for run in outcome.runs:
        what = ", ".join([run.cpu or "a machine that does not say what it is", *run.gpus])
        blocks = "1 block" if run.blocks == 1 else f"{run.blocks} blocks"
        lines += [f"{run.machine} ({what}): {blocks}, {_counts(run.counts)}.", f"run: {run.folder}"]
    lines += _beside(sum(run.beside for run in outcome.runs))
    place = shlex.quote(str(folder))
    if outcome.damaged:
        number = len(outcome.damaged)
        those = "1 file is damaged" if number == 1 else f"{number} files are damaged"
        lines.append(f"{those}, as said above. Measured again on the same machine it is replaced; else remove it.")
    if outcome.missing:
        count = "1 block has" if len(outcome.missing) == 1 else f"{len(outcome.missing)} blocks have"
        lines.append(f"{count} no result: {in_ranges(outcome.missing)}.")
    if (outcome.missing or outcome.damaged) and not outcome.runs:
        lines.append(f"Nothing was written. To take what is there: attnbench dispatch merge {place} --partial")
    if outcome.runs:
        runs = " ".join(shlex.quote(str(run.folder)) for run in outcome.runs)
        name = "" if len(outcome.runs) == 1 else " -o reports/machines"
        what = "page" if len(outcome.runs) == 1 else "a run for each machine, and a page with all of them side by side"
        lines.append(f"{what}: attnbench report {runs}{name}")
    return lines


def check_listed(*, missing: bool, each: bool, array_size: int | None) -> None:
    """Raise ``UsageError`` for ways to write that do not go together."""
    if each and array_size is not None:
        msg = "--each and --array-size are two ways to write the same; give one of them"
        raise UsageError(msg)
    if array_size is not None and array_size < 1:
        msg = f"--array-size is 1 or more, such as 1000; got {array_size}"
        raise UsageError(msg)
    if (each or array_size is not None) and not missing:
        option = "--each" if each else f"--array-size {array_size}"
        msg = f"{option} is a way to write what has no result; type: --missing {option}"
        raise UsageError(msg)


def block_record(block: ListedBlock) -> dict[str, Any]:
    """A block for the JSON document."""
    return {field.name: getattr(block, field.name) for field in fields(block)} | {"needs": block.needs.model_dump()}


def listing_text(listing: Listing) -> str:
    """The blocks as a table."""
    from attnbench.show.console import table
    from attnbench.show.units import size

    rows = [
        [
            str(block.number),
            block.id,
            block.suite,
            block.kind,
            "" if block.needs.memory_bytes is None else size(block.needs.memory_bytes),
            str(block.cells),
            ", ".join(block.machines) or "nobody yet",
        ]
        for block in listing.blocks()
    ]
    total = len(listing.planned)
    done = total - len(listing.missing)
    heads = ["block", "id", "suite", "needs", "arrays", "cells", "measured by"]
    return f"{table(heads, rows)}\n\nBlocks with a result: {done} of {total}."
