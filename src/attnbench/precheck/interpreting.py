"""The worker's side: kernels for a GPU that their own framework interprets on a CPU, held to the oracle and watched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import CheckCase
from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.check.boundaries import judge_case
from attnbench.backends import discover
from attnbench.backends.bind import inputs_of
from attnbench.backends.implementation import FEATURES
from attnbench.errors import AttnbenchError
from attnbench.precheck.lowering import claimed_dtypes, supported_cases

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

# Each step of a kernel is a call of Python: the last case of each feature has the most besides it.
LEFT_OUT = ("inputs", "layout")
MOST_PAIRS, MOST_WIDTH = 20_000, 128
# What the cases of ``attnbench check`` have not: tiles of 128 queries and 128 keys are met more than once, a ring of
# tiles is gone round, and a window begins behind the first of them.
LONG = "Tq=130 S=513 D=8"
MORE = {
    "sizes": LONG,
    "causal": f"causal align=bottom_right {LONG}",
    "window": f"window=[140,2] align=bottom_right {LONG}",
    "gqa": "Hq=2 Hkv=1 Tq=33 S=65 Dv=8",
    "softcap": "softcap=1.5 Tq=33 S=65 Dv=8",
    "nan_reached": "Tq=33 S=65 Dv=8 operands=nan_query outputs=lse",
}


def interpretable(backend: Backend, impl: str, files: list[str]) -> dict[str, Any]:
    """Small cases, one of each feature that is claimed, and ``MORE``, in the first dtype; one in each other dtype.

    None where the framework has no interpreter, or lowers no kernel that it knows. ``unasked`` are the features that
    are claimed and that no case has.
    """
    implementation = discover.load_implementation(impl, files)
    cases: list[dict[str, str]] = []
    if backend.interpreting() is None:
        return {"cases": cases, "unasked": []}
    for number, dtype in enumerate(claimed_dtypes(implementation)):
        last: dict[str, str] = {}
        more: list[tuple[str, str]] = []
        ours = [CheckCase(name, case_from_text(f"B=1 {each} dtype={dtype}")) for name, each in MORE.items()]
        for each, inputs in supported_cases(implementation, dtype, ours):
            case = _of_one(each.case)
            n = replace(inputs.call.sizes, B=case.problem.B)
            small = n.B * n.Hq * n.Tq * n.S <= MOST_PAIRS and max(n.D, n.Dv) <= MOST_WIDTH
            if any(each is check_case for check_case in ours):
                more.append((each.feature, case_text(case)))
            elif small and each.feature not in LEFT_OUT:
                last[each.feature] = case_text(case)
        wanted = [*last.items(), *more] if number == 0 else list(last.items())[-1:]
        cases += [{"feature": feature, "case": case} for feature, case in wanted]
    return {"cases": cases, "unasked": _unasked(implementation, {each["feature"] for each in cases})}


def _unasked(implementation: Implementation, features: set[str]) -> list[str]:
    """Features that are claimed and not among ``features``; gradients are asked of every case where there are any."""
    can = implementation.capabilities_on("cuda")
    return [name for name in FEATURES if getattr(can, name) and name not in features and name != "gradients"]


def _of_one(case: Case) -> Case:
    """The same for one batch entry, where that is a case too: each block of a grid takes a second or more."""
    try:
        smaller = case.with_problem(B=1)
        inputs_of(smaller)
    except AttnbenchError:
        return case
    return smaller


def interpreted(backend: Backend, impl: str, files: list[str], case: str) -> dict[str, Any]:
    """One case in the interpreter: what ``attnbench check`` says of it, and whether there was a race."""
    implementation = discover.load_implementation(impl, files)
    can = implementation.capabilities_on("cuda")
    on_cpu = replace(implementation, capabilities=replace(can, devices=("cuda", "cpu"), lacks={}), on={})
    interpreting = backend.interpreting()
    if interpreting is None:
        return {"result": None, "raced": False}
    with interpreting as raced:
        result = judge_case(backend, on_cpu, case_text(case_from_text(case)), "cpu")
        return {"result": result.to_dict(), "raced": raced()}
