"""What a run is asked in words of its own: shapes, tokens, batches, phases, dtypes as levels; workloads."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench import groups
from attnbench.attention.precision import DTYPES
from attnbench.attention.shapes import PHASES, shape
from attnbench.backends import discover
from attnbench.errors import UsageError, check_known
from attnbench.interface.given import Note
from attnbench.suite import SIZE, Suite
from attnbench.suite.written import written

if TYPE_CHECKING:
    from attnbench.measure.run.plan import Plan

WORKLOAD = "workload"  # the suite that is made of one

COUNTS = ("tokens", "batch")


def overrides(suites: Sequence[str], axes: Sequence[str], levels_by_axis: Mapping[str, Sequence[str]]) -> list[str]:
    """The texts of ``-a`` with those that --shape, --tokens, --batch, --phase and --dtype stand for.

    ``levels_by_axis`` has the levels of those axes; an axis without any was not asked about. Raises ``UsageError`` for
    an unknown shape, phase or dtype, for a count below 1, for an axis that is given twice, and where no suite of the
    run has the axis.
    """
    given: dict[str, Sequence[Any]] = {axis: levels for axis, levels in levels_by_axis.items() if levels}
    for name in given.get("shape", ()):
        shape(name)
    check_known("--phase", given.get("phase", ()), tuple(PHASES))
    check_known("--dtype", given.get("dtype", ()), DTYPES)
    given |= {axis: [_count(axis, text) for text in given[axis]] for axis in COUNTS if axis in given}
    for axis in given:
        _check_axis(axis, suites, axes)
    return [*axes, *(f"{axis}={written(levels)}" for axis, levels in given.items())]


def _count(axis: str, text: str) -> int:
    try:
        return SIZE.read(text)
    except UsageError:
        msg = f"--{axis} is 1 or more, up to 2**30, such as 512, 4Ki (4096) or 128k (128,000); got {text!r}"
        raise UsageError(msg) from None


def _check_axis(axis: str, suites: Sequence[str], axes: Sequence[str]) -> None:
    if any(text.partition("=")[0].strip() == axis for text in axes):
        msg = f"--{axis} and -a {axis}=... say the same; give one of them"
        raise UsageError(msg)
    if not suites or any(axis in suite.axes for suite in groups.suites_of(suites)):
        return
    having = [name for name in discover.suite_names() if axis in _axes(name)]
    msg = f"--{axis}: {', '.join(suites)} has no axis {axis!r}; suites that have it: {', '.join(having)}"
    raise UsageError(msg)


def _axes(name: str) -> Sequence[str]:
    try:
        return tuple(discover.suite(name).axes)
    except UsageError:
        return ()


def own_setting(suites: Sequence[str], setting: str) -> tuple[Any, ...]:
    """The ``devices`` or ``threads`` that all these suites declare; none where they differ and each has its own."""
    settings = {tuple(getattr(suite, setting)) for suite in groups.suites_of(suites)}
    return settings.pop() if len(settings) == 1 else ()


def serving(
    text: str | None, suites: Sequence[str], resumed: str | Path | None, note: Note
) -> tuple[list[str], list[Suite]]:
    """The names of all suites of a run, and the one that is made for a workload, which is named last.

    What the workload is is noted in words, so that nobody is misled by its grammar.
    """
    if text is None:
        return list(suites), []
    if resumed is not None:
        msg = f"a run that is resumed has its own workload; type: attnbench run --resume {shlex.quote(str(resumed))}"
        raise UsageError(msg)
    from attnbench.workloads import parts, workload
    from attnbench.workloads.said import in_words

    served = workload(text)
    levels = {"mix": (served.level,), "part": tuple(map(str, parts(served)))}
    for line in in_words(served):
        note(line)
    others = [name for name in suites if name != WORKLOAD]
    return [*others, WORKLOAD], [discover.suite(WORKLOAD).with_axes(levels)]


def check_servable(plan: Plan) -> None:
    """Raise ``UsageError`` before anything is measured for a workload of which a part can be served by nobody here."""
    from attnbench.workloads import part

    known: dict[str, bool] = {}
    reasons: dict[str, str] = {}
    for cell in plan.cells:
        if cell.suite == WORKLOAD:
            text = str(cell.point["part"])
            known[text] = known.get(text, False) or cell.id not in plan.refused
            reasons.setdefault(text, plan.refused.get(cell.id, ""))
    batches = {part(text).kind for text, fits in known.items() if fits and not part(text).single}
    for text, fits in known.items():
        if not fits and part(text).single and part(text).kind not in batches:
            msg = f"workload: {part(text).batch[0].words()}: nobody can serve it here: {reasons[text]}"
            raise UsageError(msg)


def left_out(plan: Plan) -> Iterator[str]:
    """What a plan leaves out and what of it cannot be measured here, with the reasons, in sentences."""
    from attnbench.measure.run.choice import sentences

    yield from sentences(plan.left_out)
    planned = Counter(cell.suite for cell in plan.cells)
    refused = Counter(cell.suite for cell in plan.cells if cell.id in plan.refused)
    for suite in (name for name, count in planned.items() if refused[name] == count):
        whys = dict.fromkeys(plan.refused[cell.id] for cell in plan.cells if cell.suite == suite)
        yield f"{suite}: nothing of it can be measured here: {'; '.join(whys)}"
