"""``attnbench check``: one implementation on every feature and dtype, as a table that can fail.

Runs in the process that holds the framework. One row per feature and dtype: what was asked, what came out, by how
much, and for a disagreement the smallest command that shows it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import CheckCase, check_cases
from attnbench.agree.trial import Trial, trial

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation


@dataclass(frozen=True)
class CheckRow:
    """One feature of one implementation in one dtype.

    ``status`` is ``ok``, ``wrong`` or ``unsupported``; ``error_ratio`` and ``gradient_ratio`` are the largest error
    over its bound, forward and backward, ``None`` where nothing was compared; ``reason`` is the first disagreement or
    why the feature is not supported; ``case`` the case of that disagreement.
    """

    impl: str
    feature: str
    dtype: str
    device: str
    status: str
    cases: int
    error_ratio: float | None = None
    gradient_ratio: float | None = None
    gradients: str | None = None
    fault: str | None = None
    reason: str | None = None
    case: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite ratio (an exact property failed) is the string ``"inf"``."""
        return {n: "inf" if isinstance(v, float) and math.isinf(v) else v for n, v in asdict(self).items()}


def check_implementation(
    backend: Backend,
    implementation: Implementation,
    dtypes: Sequence[str],
    features: Sequence[str] = (),
    device: str = "cpu",
    progress: Callable[[CheckRow], None] | None = None,
) -> list[CheckRow]:
    """Check every feature (or those named) in every dtype; ``progress`` is called with each finished row."""
    rows = []
    for dtype in dtypes:
        groups: dict[str, list[CheckCase]] = {}
        for one in check_cases(dtype):
            if not features or one.feature in features:
                groups.setdefault(one.feature, []).append(one)
        for feature, cases in groups.items():
            trials = [(one, _trial(backend, implementation, one, device)) for one in cases]
            row = _row(implementation, feature, dtype, device, trials)
            rows.append(row)
            if progress is not None:
                progress(row)
    return rows


def _trial(backend: Backend, implementation: Implementation, one: CheckCase, device: str) -> Trial:
    """With gradients where there are any, else forward alone."""
    case = one.case
    if case.gradients and not implementation.has_gradients(device):
        case = replace(case, phase="forward")
    return trial(backend, implementation, case, device)


def _row(
    implementation: Implementation,
    feature: str,
    dtype: str,
    device: str,
    trials: list[tuple[CheckCase, Trial]],
) -> CheckRow:
    judged = [(one, t) for one, t in trials if t.status != "unsupported"]
    row = CheckRow(implementation.name, feature, dtype, device, "ok", len(judged))
    if not judged:
        return replace(row, status="unsupported", reason=trials[0][1].reason)
    wrong = next(((one, t) for one, t in judged if t.status == "wrong"), None)
    forward = [j.error_ratio for _, t in judged for j in t.forward]
    backward = [j.error_ratio for _, t in judged for j in t.gradients]
    row = replace(
        row,
        error_ratio=max(forward, default=None),
        gradient_ratio=max(backward, default=None),
        gradients=None if implementation.has_gradients(device) else "not offered",
    )
    if wrong is None:
        return row
    one, failed = wrong
    return replace(row, status="wrong", fault=failed.fault, reason=failed.reason, case=one.case.label())
