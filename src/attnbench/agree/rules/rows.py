"""Rules 2 and 3, and the probes, as rows of ``attnbench check``: they look at what no bound of an element can.

A ratio above 1 breaks the rule, as in every other row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from attnbench.agree.eager.baseline import APPLIES, SMALLEST, baseline_cases, excess
from attnbench.agree.rules.bias import DRAWS, bias
from attnbench.agree.rules.probe_rule import probe_cases, probed
from attnbench.agree.rules.probes import Box
from attnbench.backends.fitted import asked
from attnbench.errors import NotDeclaredError

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

SEEDS, DEEP_SEEDS, DEEP_DRAWS = 2, 8, 64


@dataclass(frozen=True)
class Ruling:
    """What a rule found: the worst ratios of output and gradients, and what broke it in which case.

    ``cases`` are the problems that were asked, or the probes.
    """

    cases: int
    error_ratio: float
    gradient_ratio: float | None = None
    reason: str | None = None
    case: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the rule holds."""
        return self.reason is None


def applies(rule: str, dtype: str) -> bool:
    """Whether a rule says anything in this dtype."""
    return rule != "rule_2" or dtype in APPLIES


def ruling(
    rule: str, backend: Backend, implementation: Implementation, dtype: str, device: str = "cpu", *, deep: bool = False
) -> Ruling:
    """Apply ``rule_2``, ``rule_3`` or ``probes``; what the implementation raises is raised."""
    return LOOK[rule](backend, implementation, dtype, device, deep=deep)


def _against_the_baseline(
    backend: Backend, implementation: Implementation, dtype: str, device: str, *, deep: bool
) -> Ruling:
    can = implementation.capabilities_on(device)
    cases = [asked(case, can) for case in baseline_cases(dtype, DEEP_SEEDS if deep else SEEDS)]
    by_case = [(case, excess(backend, implementation, case, device)) for case in cases]
    if not all("output" in ratios for _, ratios in by_case):
        msg = f"cannot be held to our own eager attention: its limits leave outputs of fewer than {SMALLEST} elements"
        raise NotDeclaredError(msg)
    outputs = max(ratios["output"] for _, ratios in by_case)
    gradients = max((r for _, ratios in by_case for n, r in ratios.items() if n != "output"), default=None)
    every = [(ratio, name, case) for case, ratios in by_case for name, ratio in ratios.items()]
    ratio, name, case = max(every, key=itemgetter(0))
    if ratio <= 1:
        return Ruling(len(cases), outputs, gradients)
    text = f"{name}: its errors are {2 * ratio:.2g} times those of our own eager attention in {dtype}; twice is allowed"
    return Ruling(len(cases), outputs, gradients, text, case.label())


def _for_a_direction(
    backend: Backend, implementation: Implementation, dtype: str, device: str, *, deep: bool
) -> Ruling:
    looked = bias(backend, implementation, dtype, device, DEEP_DRAWS if deep else DRAWS)
    sizes = {name: float("inf") if math.isnan(value) else abs(value) for name, value in looked.directions.items()}
    name = max(sizes, key=lambda direction: sizes[direction])
    worst = sizes[name]
    if worst <= 1:
        return Ruling(1, worst)
    what = {"offset": "shifted", "gain": "too large" if looked.directions[name] > 0 else "too small"}[name]
    how = f"it is {what} on average, by {worst:.3g} times what is allowed" if worst < math.inf else "it is no number"
    text = f"output: over {looked.case.problem.B} draws {how}"
    return Ruling(1, worst, None, text, looked.case.label())


def _by_probes(backend: Backend, implementation: Implementation, dtype: str, device: str, *, deep: bool) -> Ruling:
    box = Box(backend, implementation, device)
    cases = probe_cases(implementation, dtype, device, deep=deep)
    shown = [(case, probe) for case in cases for probe in probed(box, case, deep=deep)]
    if not shown:
        msg = "cannot be asked any probe: its limits leave none of their sizes"
        raise NotDeclaredError(msg)
    forward = max((probe.ratio for _, probe in shown if not probe.gradient), default=0.0)
    backward = max((probe.ratio for _, probe in shown if probe.gradient), default=None)
    fault = next(((case, probe.sentence) for case, probe in shown if probe.sentence), None)
    ruled = Ruling(len(shown), forward, backward)
    return ruled if fault is None else Ruling(len(shown), forward, backward, fault[1], fault[0].label())


LOOK = {"rule_2": _against_the_baseline, "rule_3": _for_a_direction, "probes": _by_probes}
