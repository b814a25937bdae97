"""``ab.check``: a function, in the process that holds it; what has a name is guarded, in processes of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError, check_known
from attnbench.interface.given import Duration, Files, Note, Words, check_positive, paths, seconds, split, texts
from attnbench.interface.runs import noting
from attnbench.interface.shown import ShownAnswer
from attnbench.keywords import explained

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.agree.check.rows import CheckRow
    from attnbench.backends.implementation import Capabilities, Implementation
    from attnbench.checking.features import CheckOptions
    from attnbench.interface.agreeing import CheckedRows
    from attnbench.interface.functions import Adapted

GUARDED = "It was checked in processes of its own: a crash or a hang there is a row here."
UNGUARDED = "Unguarded: it ran in this process, so a crash or a changed random state would have been yours."
USUAL_TIMEOUT_S = 120.0


@dataclass(frozen=True, repr=False)
class Agreement(ShownAnswer):
    """What a check found: a row for each feature and dtype. Printing it says it all.

    ``guarded``: whether it ran in processes of its own, where a crash is a row, or in this one. ``notes`` are what was
    read from a function's arguments, and what the rows prove. ``exit_code`` is the exit status of ``attnbench check``:
    0, 1 a disagreement, 5 nothing was compared, 3 it was interrupted.
    """

    rows: tuple[CheckRow, ...]
    guarded: bool
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """The exit status of ``attnbench check``."""
        from attnbench.interface.checks.status import exit_of

        return exit_of(self.rows, interrupted=self.interrupted)

    @property
    def agrees(self) -> bool:
        """Whether something was compared, all of it agrees, and it came to its end."""
        return self.exit_code == 0

    @property
    def wrong(self) -> tuple[CheckRow, ...]:
        """The rows that disagree."""
        return tuple(row for row in self.rows if row.status == "wrong")

    @property
    def worst(self) -> CheckRow | None:
        """The disagreement with the smallest case; ``None`` where there is none."""
        return min(
            self.wrong, key=lambda row: (row.smallest_case is None, len("".join(row.smallest_case or []))), default=None
        )

    @property
    def smallest_case(self) -> list[str] | None:
        """The smallest case that disagrees, as ``case=`` takes it; several where it takes an earlier one to show."""
        return self.worst.smallest_case if self.worst is not None else None

    @property
    def again(self) -> str | None:
        """What shows that disagreement again: a command, or of a function a call."""
        return self.worst.again if self.worst is not None else None

    @property
    def verdict(self) -> str:
        """In a sentence."""
        compared = sum(row.first_counted for row in self.rows if row.answer is None)
        if self.wrong:
            return f"{len(self.wrong)} of {len(self.rows)} rows disagree."
        if not any(row.status in ("ok", "known") for row in self.rows):
            return "Nothing was compared."
        return f"All that was compared agrees: {compared:,} case{'s' * (compared != 1)}."

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame, with the fields that docs/interface.md explains."""
        import pandas as pd

        from attnbench.agree.check.rows import CheckRow

        return pd.DataFrame([vars(row) for row in self.rows], columns=list(CheckRow.__dataclass_fields__))

    @property
    def process(self) -> str:
        """Where it ran, and what that means."""
        return GUARDED if self.guarded else UNGUARDED

    def _asked_instead(self) -> str:
        return ".agrees"

    def __str__(self) -> str:
        from attnbench.interface.checks.table import report

        return "\n".join([report(self.rows), *self.notes, self.process])

    def html(self) -> str:
        """What a notebook shows."""
        from attnbench.interface.checks.notebook import described
        from attnbench.report.html.notebook import agreement_html

        facts = {"verdict": self.verdict, "process": self.process, **described(self.rows)}
        facts["colour"] = "bad" if self.wrong else "good" if self.agrees else ""
        facts["remarks"] = (*self.notes, *facts["remarks"])
        return agreement_html({"checked": facts})


@explained
def check(
    impl: Words | Callable[..., Any] | Implementation = (),
    capabilities: Capabilities | None = None,
    *,
    backend: str | None = None,
    vjp: Callable[..., Any] | None = None,
    impls: Files = (),
    dtype: Words = (),
    features: Words = (),
    require: Words = (),
    device: str = "cpu",
    quick: bool = False,
    deep: bool = False,
    budget: Duration = None,
    case: Words = (),
    timeout: float = USUAL_TIMEOUT_S,
    quiet: bool = True,
) -> Agreement:
    """Hold implementations, or a function, to the float64 oracle: ``attnbench check`` in the same words.

    ``impl`` is a name or a pattern such as ``"torch/*"``, or several: each is checked in processes of its own. A
    function, plain or decorated, is checked in this process, unguarded. A plain one is called ``fn(q, k, v)`` with the
    arrays of ``backend`` (NumPy's by itself) in layout (B, heads, T, D), and by name with those of causal, scale,
    offset, mask, bias, window, softcap, kv_lengths and so on that are among its arguments: these are the features that
    it is held to, and ``capabilities`` declares others. One with an argument ``call`` is called as in a drop-in file.

    ``impls`` are drop-in files. What may be given several times is a text or a list. Nothing is printed, unless
    ``quiet=False``. Raises ``UsageError`` and its kin.
    """
    from attnbench.backends.implementation import DEVICES
    from attnbench.interface.agreeing import refuse_idle
    from attnbench.interface.checks.answers import asked_for

    began = time.monotonic()
    check_known("device", [device], DEVICES)
    check_positive("--timeout", timeout)
    given = {"--dtype": dtype, "--features": features, "--require": require, "--case": case}
    idle = {**given, "--quick": quick, "--deep": deep, "--budget": budget is not None}
    refuse_idle([name for name, there in idle.items() if there])
    demands = asked_for(split(texts("require", require)))
    choices = {
        "dtypes": split(texts("dtype", dtype)),
        "features": split(texts("features", features)),
        "budget_s": seconds(budget),
    }
    ask = _Asked(choices, demands, texts("case", case), began, device, timeout, quick=quick, deep=deep, quiet=quiet)
    notes: list[str] = []
    note = noting(notes, quiet=quiet)
    if callable(impl):
        return _unguarded(impl, capabilities, backend, vjp, impls, ask, notes, note)
    if capabilities is not None or vjp is not None or backend is not None:
        msg = "capabilities, backend and vjp are of a function that is checked here; what has a name declares its own"
        raise UsageError(msg)
    return _guarded(texts("impl", impl), impls, ask, notes, note)


@dataclass(frozen=True)
class _Asked:
    """What is asked of whoever is checked."""

    choices: dict[str, Any]
    demands: Sequence[str]
    cases: Sequence[str]
    began: float
    device: str
    timeout_s: float
    quick: bool
    deep: bool
    quiet: bool
    called: str = "attnbench.check"

    def rows(self, options: Callable[..., CheckOptions], note: Note) -> CheckedRows:
        """The rows of these cases, or of every feature."""
        from attnbench.interface.agreeing import check_features, check_these, tell_wrong, whole_cases
        from attnbench.show.progress import ProgressLine

        if self.cases:
            return check_these(options(), whole_cases(self.cases))
        chosen = options(chosen=True)
        if self.quiet:
            return check_features(chosen, self.demands, self.began, note=note)
        with ProgressLine(chosen.budget_s) as progress:
            return check_features(chosen, self.demands, self.began, progress=tell_wrong, watch=progress, note=note)


def _guarded(names: Sequence[str], impls: Files, ask: _Asked, notes: list[str], note: Note) -> Agreement:
    from attnbench.interface.agreeing import depth_of, feature_options
    from attnbench.interface.checks.where import Where
    from attnbench.measure.run.plan import within

    describing_s = within(ask.choices["budget_s"], ask.timeout_s)
    where = Where(list(names), paths("impls", impls), ask.device, ask.timeout_s, describing_s)
    depth = depth_of(quick=ask.quick, deep=ask.deep)

    def options(*, chosen: bool = False) -> CheckOptions:
        return feature_options(where, ask.demands, {**ask.choices, "depth": depth}) if chosen else where.options()

    checked = ask.rows(options, note)
    return Agreement(
        tuple(checked.rows),
        guarded=True,
        notes=(*notes, *filter(None, [checked.note])),
        interrupted=checked.interrupted,
    )


def _unguarded(
    function: Any,
    capabilities: Capabilities | None,
    backend: str | None,
    vjp: Any,
    impls: Files,
    ask: _Asked,
    notes: list[str],
    note: Note,
) -> Agreement:
    from attnbench.interface.functions import adapted

    if impls:
        msg = "impls= names drop-in files, whose implementations are checked by name; leave it out with a function"
        raise UsageError(msg)
    if ask.timeout_s != USUAL_TIMEOUT_S:
        msg = "timeout= cannot end a function that runs in this process; put it into a file and check it by name, "
        raise UsageError(f"{msg}as in ab.check('numpy/mine', impls='mine.py')")
    return _of_adapted(adapted(function, capabilities, backend, vjp), ask, notes, note)


def _of_adapted(given: Adapted, ask: _Asked, notes: list[str], note: Note) -> Agreement:
    for text in given.notes:
        note(text)
    checked = _in_this_process(given, ask, note)
    return Agreement(
        tuple(checked.rows),
        guarded=False,
        notes=(*notes, *filter(None, [checked.note])),
        interrupted=checked.interrupted,
    )


def check_adapted(
    given: Adapted,
    *,
    dtypes: Sequence[str] = (),
    features: Sequence[str] = (),
    without: Sequence[str] = (),
    require: Words = (),
    cases: Sequence[str] = (),
    device: str = "cpu",
    depth: str = "quick",
    budget: Duration = None,
    called: str = "attnbench.check",
) -> Agreement:
    """A function that is an implementation already, checked in this process; ``called`` is who asks for it again."""
    from attnbench.interface.checks.answers import asked_for

    choices = {
        "dtypes": list(dtypes),
        "features": list(features),
        "without": list(without),
        "budget_s": seconds(budget),
    }
    demands = asked_for(split(texts("require", require)))
    notes: list[str] = []
    ask = _Asked(
        choices,
        demands,
        list(cases),
        time.monotonic(),
        device,
        USUAL_TIMEOUT_S,
        quick=depth == "quick",
        deep=depth == "deep",
        quiet=True,
        called=called,
    )
    return _of_adapted(given, ask, notes, notes.append)


def _in_this_process(given: Adapted, ask: _Asked, note: Note) -> CheckedRows:
    from attnbench.backends.discover import backend as card
    from attnbench.checking.features import CheckOptions
    from attnbench.interface.agreeing import depth_of, with_features
    from attnbench.interface.within import CallersProcess, held

    implementation = given.implementation
    card(implementation.backend).check_available()
    depth = depth_of(quick=ask.quick, deep=ask.deep)
    process = CallersProcess(implementation, given.typed, ask.called)

    def options(*, chosen: bool = False) -> CheckOptions:
        more = with_features(ask.demands, {**ask.choices, "depth": depth}) if chosen else {}
        return CheckOptions((implementation.name,), device=ask.device, here=process, **more)

    with held(implementation):
        return ask.rows(options, note)
