"""The worker's side: kernels for a GPU that their own framework interprets on a CPU, held to the oracle and watched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.check.boundaries import judge_case
from attnbench.backends import discover
from attnbench.backends.bind import inputs_of
from attnbench.errors import AttnbenchError
from attnbench.precheck.lowering import claimed_dtypes, supported_cases

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend

# Each step of a kernel is a call of Python: the last case of each feature has the most besides it.
LEFT_OUT = ("inputs", "layout")
MOST_PAIRS, MOST_WIDTH = 20_000, 128


def interpretable(backend: Backend, impl: str, files: list[str]) -> dict[str, Any]:
    """Small cases, one of each feature that is claimed, in the first dtype; one in each other dtype.

    None where the framework has no interpreter, or lowers no kernel that it knows.
    """
    implementation = discover.load_implementation(impl, files)
    cases: list[dict[str, str]] = []
    if backend.interpreting() is None:
        return {"cases": cases}
    for number, dtype in enumerate(claimed_dtypes(implementation)):
        last: dict[str, str] = {}
        for each, inputs in supported_cases(implementation, dtype):
            n = inputs.call.sizes
            small = n.B * n.Hq * n.Tq * n.S <= MOST_PAIRS and max(n.D, n.Dv) <= MOST_WIDTH
            if small and each.feature not in LEFT_OUT:
                last[each.feature] = case_text(_of_one(each.case))
        wanted = last if number == 0 else dict(list(last.items())[-1:])
        cases += [{"feature": feature, "case": case} for feature, case in wanted.items()]
    return {"cases": cases}


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
