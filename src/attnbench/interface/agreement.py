"""``ab.check``: a function, in the process that holds it; what has a name is guarded, in processes of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError, check_known
from attnbench.interface.agreements import Agreement, NodeAgreement, RandomAgreement
from attnbench.interface.given import Duration, Files, Note, Words, check_positive, paths, seconds, split, texts
from attnbench.interface.runs import noting
from attnbench.keywords import explained

if TYPE_CHECKING:
    from attnbench.backends.implementation import Capabilities, Implementation
    from attnbench.checking.features import CheckOptions
    from attnbench.interface.agreeing import CheckedRows
    from attnbench.interface.checks.where import Where
    from attnbench.interface.functions import Adapted

USUAL_TIMEOUT_S = 120.0


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
    random: int = 0,
    seed: int = 0,
    draws: int = 1,
    onnx: bool = False,
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

    ``random=100`` tries so many random combinations of everything, and ``onnx=True`` the cases of ONNX's ``Attention``:
    they return a ``RandomAgreement`` and a ``NodeAgreement``, which count.
    ``impls`` are drop-in files. What may be given several times is a text or a list. Nothing is printed, unless
    ``quiet=False``. Raises ``UsageError`` and its kin.
    """
    from attnbench.backends.implementation import DEVICES
    from attnbench.interface.agreeing import check_numbers, refuse_idle
    from attnbench.interface.checks.answers import asked_for

    began = time.monotonic()
    check_known("device", [device], DEVICES)
    check_positive("--timeout", timeout)
    given = {"--dtype": dtype, "--features": features, "--require": require, "--case": case}
    idle = {**given, "--quick": quick, "--deep": deep, "--budget": budget is not None}
    idle |= {"--random": random, "--seed": seed, "--draws": draws != 1, "--onnx": onnx}
    check_numbers(random, seed, draws)
    refuse_idle([name for name, there in idle.items() if there])
    demands = asked_for(split(texts("require", require)))
    dtypes, wanted = split(texts("dtype", dtype)), split(texts("features", features))
    choices = {"dtypes": dtypes, "features": wanted, "budget_s": seconds(budget)}
    counted, cases = _Counted(random, seed, draws, onnx=onnx), texts("case", case)
    ask = _Asked(choices, demands, cases, counted, began, device, timeout, quick=quick, deep=deep, quiet=quiet)
    notes: list[str] = []
    note = noting(notes, quiet=quiet)
    if callable(impl):
        return _unguarded(impl, capabilities, backend, vjp, impls, ask, notes, note)
    if capabilities is not None or vjp is not None or backend is not None:
        msg = "capabilities, backend and vjp are of a function that is checked here; what has a name declares its own"
        raise UsageError(msg)
    return _guarded(texts("impl", impl), impls, ask, notes, note)


@dataclass(frozen=True)
class _Counted:
    """Whether random cases or ONNX's nodes are asked for in the place of every feature."""

    random: int
    seed: int
    draws: int
    onnx: bool

    def __bool__(self) -> bool:
        return bool(self.random or self.onnx)


@dataclass(frozen=True)
class _Asked:
    """What is asked of whoever is checked."""

    choices: dict[str, Any]
    demands: Sequence[str]
    cases: Sequence[str]
    counted: _Counted
    began: float
    device: str
    timeout_s: float
    quick: bool
    deep: bool
    quiet: bool
    called: str = "attnbench.check"

    @property
    def random_choices(self) -> dict[str, Any]:
        """The dtypes of random cases: all where none is named. Raises ``UsageError`` for one that is none."""
        from attnbench.attention.precision import DTYPES

        check_known("dtype", self.choices["dtypes"], DTYPES)
        return {"dtypes": self.choices["dtypes"] or DTYPES}

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

    if ask.counted.onnx:
        return _nodes(where, ask, notes, note)
    if ask.counted:
        return _random(where.options(**ask.random_choices), ask, notes, note, guarded=True)

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
    if ask.counted.onnx:
        msg = "onnx= is of what has a name; put the function into a file and check it by its name, "
        raise UsageError(f"{msg}as in ab.check('numpy/mine', impls='mine.py', onnx=True)")
    return _of_adapted(adapted(function, capabilities, backend, vjp), ask, notes, note)


def _of_adapted(given: Adapted, ask: _Asked, notes: list[str], note: Note) -> Agreement:
    for text in given.notes:
        note(text)
    if ask.counted:
        return _random_in_this_process(given, ask, notes, note)
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
        _Counted(random=0, seed=0, draws=1, onnx=False),
        time.monotonic(),
        device,
        USUAL_TIMEOUT_S,
        quick=depth == "quick",
        deep=depth == "deep",
        quiet=True,
        called=called,
    )
    return _of_adapted(given, ask, notes, notes.append)


def _random(options: CheckOptions, ask: _Asked, notes: list[str], note: Note, *, guarded: bool) -> RandomAgreement:
    from attnbench.checking.again import with_commands
    from attnbench.interface.checks.random_cases import disagreeing, found

    of = ask.counted
    note(f"{of.random} random cases of each implementation, seed {of.seed}")
    results = found(options, of.random, of.seed, of.draws)
    rows = with_commands(disagreeing(results, ask.device), options)
    return RandomAgreement(tuple(rows), guarded, tuple(notes), results=tuple(results))


def _random_in_this_process(given: Adapted, ask: _Asked, notes: list[str], note: Note) -> RandomAgreement:
    with _options_here(given, ask.device, ask.called, ask.random_choices) as options:
        return _random(options, ask, notes, note, guarded=False)


def _nodes(where: Where, ask: _Asked, notes: list[str], note: Note) -> NodeAgreement:
    from attnbench.interface.checks.nodes import checked_nodes, disagreeing

    of = ask.counted
    rows = checked_nodes(where, "ab.check(onnx=True)", of.random, of.seed, note, quiet=ask.quiet)
    return NodeAgreement(disagreeing(rows), guarded=True, notes=tuple(notes), results=tuple(rows))


@contextmanager
def _options_here(given: Adapted, device: str, called: str, more: dict[str, Any]) -> Iterator[CheckOptions]:
    """Checking of a function in this process, while it can be asked for by its name."""
    from attnbench.backends.discover import backend as card
    from attnbench.checking.features import CheckOptions
    from attnbench.interface.within import CallersProcess, held

    implementation = given.implementation
    card(implementation.backend).check_available()
    process = CallersProcess(implementation, given.typed, called)
    with held(implementation):
        yield CheckOptions((implementation.name,), device=device, here=process, **more)


def _in_this_process(given: Adapted, ask: _Asked, note: Note) -> CheckedRows:
    from attnbench.interface.agreeing import depth_of, with_features

    depth = depth_of(quick=ask.quick, deep=ask.deep)
    with _options_here(given, ask.device, ask.called, {}) as plain:

        def options(*, chosen: bool = False) -> CheckOptions:
            more = with_features(ask.demands, {**ask.choices, "depth": depth}) if chosen else {}
            return replace(plain, **more)

        return ask.rows(options, note)
