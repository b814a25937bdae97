"""``attnbench check``: one implementation on every feature and dtype, as a table that can fail.

Runs in the process that holds the framework. One row per feature and dtype: what was asked, what came out, by how
much, and for a disagreement the smallest command that shows it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import FEATURES, CheckCase, check_cases
from attnbench.agree.trial import Trial, trial
from attnbench.precision import DTYPES

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

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CheckRow:
        """The inverse of ``to_dict``."""
        values: dict[str, Any] = {n: math.inf if v == "inf" else v for n, v in data.items()}
        return cls(**values)


def plan_rows(
    implementation: Implementation, dtypes: Sequence[str], features: Sequence[str], device: str
) -> list[tuple[str, str]]:
    """The (feature, dtype) pairs to check.

    A dtype that is not declared is one pair, with the feature ``dtype``; so is a device, with the dtype ``all``.
    """
    if device not in implementation.capabilities_on(device).devices:
        return [("device", "all")]
    declared = implementation.capabilities_on(device).dtypes
    chosen = [feature for feature in FEATURES if not features or feature in features]
    pairs = [(feature, dtype) for dtype in dtypes if dtype in declared for feature in chosen]
    return pairs + [("dtype", dtype) for dtype in dtypes if dtype not in declared]


def check_feature(
    backend: Backend,
    implementation: Implementation,
    feature: str,
    dtype: str,
    device: str = "cpu",
    *,
    deep: bool = False,
) -> CheckRow:
    """Check one feature in one dtype: one row."""
    if feature == "device":
        why = f"does not run on {device}, only on {', '.join(implementation.capabilities.devices)}"
        return CheckRow(implementation.name, feature, dtype, device, "unsupported", 0, reason=why)
    wanted = FEATURES[0] if feature == "dtype" else feature
    cases = [one for one in check_cases(dtype, deep=deep) if one.feature == wanted]
    trials = [(one, _trial(backend, implementation, one, device)) for one in cases]
    return _row(implementation, feature, dtype, device, trials)


def check_implementation(
    backend: Backend,
    implementation: Implementation,
    dtypes: Sequence[str] = DTYPES,
    features: Sequence[str] = (),
    device: str = "cpu",
    *,
    deep: bool = False,
) -> list[CheckRow]:
    """Check every feature (or those named) in every dtype, in this process."""
    pairs = plan_rows(implementation, dtypes, features, device)
    return [check_feature(backend, implementation, feature, dtype, device, deep=deep) for feature, dtype in pairs]


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
