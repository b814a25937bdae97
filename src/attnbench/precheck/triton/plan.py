"""What the interpreter is asked of an implementation: small cases, and calls that are too large for any memory here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from attnbench.agree.cases.case_text import case_text
from attnbench.backends import discover
from attnbench.precheck.triton.cases import GPU, interpreted, unasked
from attnbench.precheck.triton.interpreted import ORDERS
from attnbench.precheck.triton.offsets import large_calls
from attnbench.precheck.triton.standin import standing_in
from attnbench.precheck.triton.watched import ARCHITECTURE, no_time

BFLOAT16 = "bfloat16 is not interpreted: Triton's interpreter multiplies it wrongly in tl.dot"
NO_CASE = "no case in float16 or float32 is claimed"
# The first version of Triton whose interpreter is known to run what is asked here; that of 3.6 is not.
WATCHABLE = (3, 9)


def interpreter_plan(impl: str, files: list[str], archs: Sequence[str]) -> dict[str, Any]:
    """``cases`` and ``large`` calls, what is ``left_out`` or ``unasked``, and ``why`` where there is nothing to ask.

    Programs run in several orders in the first case of each feature and dtype; in the others, whose memory is watched
    as well, in one. The architectures take turns, since a kernel may have other tiles on each.
    """
    if why := _too_old(importlib.import_module("triton").__version__):
        return {"cases": [], "large": [], "left_out": "", "unasked": [], "why": why}
    with standing_in(ARCHITECTURE, no_time):
        implementation = discover.load_implementation(impl, files)
    cases: list[dict[str, Any]] = []
    seen = set()
    for each in interpreted(implementation):
        dtype = each.case.problem.dtype
        first = (each.feature, dtype) not in seen
        seen.add((each.feature, dtype))
        about = {"feature": each.feature, "dtype": dtype, "arch": archs[len(cases) % len(archs)]}
        cases.append({**about, "case": case_text(each.case), "orders": len(ORDERS) if first else 1})
    left_out = BFLOAT16 if "bfloat16" in implementation.capabilities_on(GPU).dtypes else ""
    return {
        "cases": cases,
        "large": large_calls(implementation),
        "left_out": left_out,
        "unasked": unasked(implementation, {case["feature"] for case in cases}) if cases else [],
        "why": f"{NO_CASE}: {BFLOAT16}",
    }


def _too_old(version: str) -> str | None:
    """Why the interpreter of this Triton is not asked."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= WATCHABLE:
        return None
    wanted = ".".join(map(str, WATCHABLE))
    return (
        f"the interpreter of Triton {version} cannot be watched; that of {wanted} can: pip install 'triton>={wanted}'"
    )
