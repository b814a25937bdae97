"""``assert_agrees``: a function on the cases of ``attnbench check``, in the process of the test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import FEATURES as OF_SPEC
from attnbench.agree.cases.by_feature import ROWS
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.features import features_of
from attnbench.backends.implementation import FEATURES, Capabilities, Implementation
from attnbench.errors import UsageError
from attnbench.interface.agreement import check_adapted
from attnbench.testing.fixed import cases_of, with_refusals
from attnbench.testing.kernel import kernel
from attnbench.testing.message import disagreement
from attnbench.testing.saying import DTYPE, PLAIN, Saying, backend_of, built_in, refuse_unread, words

if TYPE_CHECKING:
    from attnbench.attention.spec import AttentionSpec
    from attnbench.interface.agreements import Agreement
    from attnbench.interface.functions import Adapted

Names = str | Sequence[str]
CALLED = "attnbench.testing.assert_agrees"
AT_A_TIME = 3  # cases that are tried before somebody looks whether one of them disagrees


def assert_agrees(
    fn: Callable[..., Any],
    spec: AttentionSpec | None = None,
    *,
    dtype: Names = (),
    features: Names = (),
    without: Names = (),
    gradients: bool = False,
    backend: str | None = None,
    device: str = "cpu",
    layout: str = "bhsd",
    returns: Names = "output",
    only: Names = (),
    precision: Mapping[str, Any] | None = None,
    limits: Sequence[Any] = (),
    capabilities: Capabilities | None = None,
    vjp: Callable[..., Any] | None = None,
    require: Names = (),
    case: Names = (),
    quick: bool = True,
    deep: bool = False,
    budget: str | float | None = None,
    rows: Names = (),
    **built: Any,
) -> Agreement:
    """Raise ``DisagreementError``, an ``AssertionError``, unless ``fn`` is attention on the cases that are tried.

    ``fn(q, k, v)`` takes arrays of ``backend`` (NumPy's by itself) on ``device`` in ``layout``, ``bhsd`` or ``bshd``,
    and by name those of causal, scale, offset, mask, bias, window … that are among its arguments: these are the
    features that it is held to. ``features`` names those that are meant, where not all are, and those that no argument
    shows, such as ``gqa``; ``without`` names what is left out. ``dtype`` is float32 unless it is named, ``gradients``
    asks for those too, ``returns=("output", "lse")`` says what a tuple holds. What is built into ``fn`` is said in the
    words of the spec: ``causal=True, align="bottom_right"``. A function that takes ``call`` is called as in a drop-in
    file. ``case`` tries these cases alone; ``quick=False`` the whole plan, ``deep=True`` more. Returns what
    ``attnbench.check`` returns. Raises ``UsageError``, for words that say nothing beside others too.
    """
    __tracebackhide__ = True
    cases = [text for text in ([case] if isinstance(case, str) else case) if text]
    fixed = built_in(spec, built, inspect.signature(assert_agrees).parameters)
    others = {"require": require, "budget": budget, "without": without}
    refuse_unread(fixed, cases, words(dtype), gradients=gradients, others=others)
    said = Saying(
        backend=backend or backend_of(fn),
        dtypes=_dtypes(words(dtype), capabilities, cases),
        features=tuple(dict.fromkeys((*words(features), *_of_cases(cases)))),
        without=words(without),
        gradients=gradients or any(case_from_text(text).gradients for text in cases),
        layout=layout,
        returns=words(returns),
        only=words(only),
        precision=precision or {},
        limits=tuple(limits),
        capabilities=capabilities,
        vjp=vjp,
        device=device,
        spec=fixed,
    )
    depth = "deep" if deep else "quick" if quick else "usual"
    more = {"features": words(rows) or said.features, "require": require, "budget": budget}
    return _agreed(fn, said, _checked(fn, said, cases, words(dtype), depth, more), backend)


def _agreed(fn: Any, said: Saying, checked: Agreement, backend: str | None) -> Agreement:
    __tracebackhide__ = True
    if checked.agrees:
        return checked
    by_default = backend is None and said.backend == "numpy"
    raise disagreement(_name(fn), checked, kernel(fn, said).implementation, numpy_by_default=by_default)


def _name(fn: Any) -> str:
    if isinstance(fn, Implementation):
        return fn.name
    return str(getattr(fn, "__name__", type(fn).__name__))


def _checked(
    fn: Any, said: Saying, cases: Sequence[str], named: tuple[str, ...], depth: str, more: dict[str, Any]
) -> Agreement:
    """The cases that are given, those of what is built in, or the rows of the table."""
    given = kernel(fn, said)
    dtypes = said.dtypes
    if isinstance(fn, Implementation):
        dtypes = named or given.implementation.capabilities_on(said.device).dtypes
    if said.spec or cases:
        texts = cases or _fixed(given.implementation, said, dtypes, depth)
        checked = _of_each(given, texts, said.device)
        named = said.features or _declared(given.implementation, said)
        return checked if checked.wrong else with_refusals(checked, texts, () if cases else (*named, *said.spec))
    more = {**more, "features": _rows(more["features"], said.without)}
    return check_adapted(
        given, dtypes=dtypes, without=said.without, device=said.device, depth=depth, called=CALLED, **more
    )


def _dtypes(named: tuple[str, ...], capabilities: Capabilities | None, cases: Sequence[str]) -> tuple[str, ...]:
    """Those that are named, or float32 where it is declared; those of the cases too."""
    declared = (DTYPE,) if capabilities is None else capabilities.dtypes
    of_cases = (case_from_text(text).problem.dtype for text in cases)
    return tuple(dict.fromkeys((*named, *of_cases))) or ((DTYPE,) if DTYPE in declared else declared)


def _of_cases(cases: Sequence[str]) -> tuple[str, ...]:
    """The features that given cases have: they are declared by being asked for."""
    about = (name for text in cases for name in features_of(case_from_text(text)))
    return tuple(name for name in about if name in FEATURES)


def _rows(named: tuple[str, ...], without: tuple[str, ...]) -> list[str]:
    """The rows of the table that are tried; all are none by name, and the plain call is always one of them."""
    if not named and not without:
        return []
    chosen = list(dict.fromkeys((PLAIN, *named) if set(named) & set(OF_SPEC) else named or ROWS))
    rows = [name for name in chosen if name not in without]
    if not rows:
        msg = f"nothing is left to try: without leaves out {', '.join(without)}, which is all of {', '.join(chosen)}"
        raise UsageError(msg)
    return rows


def _declared(implementation: Implementation, said: Saying) -> tuple[str, ...]:
    can = implementation.capabilities_on(said.device)
    return tuple(name for name in FEATURES if getattr(can, name) is True and name not in ("stages", *said.without))


def _of_each(given: Adapted, cases: Sequence[str], device: str) -> Agreement:
    """The cases in their order, a few at a time, until one disagrees: it is taken apart then."""
    checked = check_adapted(given, cases=cases[:AT_A_TIME], device=device, called=CALLED)
    for first in range(AT_A_TIME, len(cases), AT_A_TIME):
        if checked.wrong:
            break
        more = check_adapted(given, cases=cases[first : first + AT_A_TIME], device=device, called=CALLED)
        checked = replace(checked, rows=(*checked.rows, *more.rows))
    return checked


def _fixed(implementation: Implementation, said: Saying, dtypes: Sequence[str], depth: str) -> list[str]:
    cases = cases_of(implementation, said, dtypes, depth)
    if not cases:
        fixed = ", ".join(f"{name}={value!r}" for name, value in said.spec.items())
        msg = f"no case has {fixed} beside what the function takes; features, only or limits leave nothing to try"
        raise UsageError(msg)
    return cases
