"""The gate of a run: a cell that disagrees with the oracle is reported ``wrong`` and is not timed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.agree.judge.trial import trial

if TYPE_CHECKING:
    from attnbench.agree.judge.selection import Share
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Binding
    from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class GateResult:
    """``ok``, ``wrong`` or ``unsupported``; ``error_ratio`` is ``None`` where no number was compared."""

    status: str
    error_ratio: float | None
    reason: str | None


def gate(
    backend: Backend,
    implementation: Implementation,
    case: Case,
    device: str = "cpu",
    binding: Binding | None = None,
    share: Share | None = None,
) -> GateResult:
    """Judge an implementation on the very case that is about to be measured, in the binding that will be timed.

    ``share`` as in ``choose``.
    """
    result = trial(backend, implementation, case, device, binding, share)
    ratio = result.error_ratio
    return GateResult(result.status, ratio if math.isfinite(ratio) and result.forward else None, result.reason)
