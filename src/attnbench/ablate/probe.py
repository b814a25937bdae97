"""The probe that an observed suite is given: attention in one backend, NumPy in and NumPy out.

The measuring worker and the tests use this one class, so that what a suite computes in a test is what it computes in
a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.backends.execute import execute, execute_vjp

if TYPE_CHECKING:
    from attnbench.attention.call import Operands
    from attnbench.attention.spec import AttentionSpec
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import AttentionOutput, Implementation
    from attnbench.backends.learning import Learner, Model, Optimiser


@dataclass(frozen=True)
class LocalProbe:
    """A ``Probe`` in this process: the implementation ``studied``, in its ``backend`` on ``device``."""

    backend: Backend
    studied: Implementation
    device: str = "cpu"

    @property
    def implementation(self) -> str:
        """The name of the implementation under study."""
        return self.studied.name

    def attend(self, spec: AttentionSpec, operands: Operands, outputs: tuple[str, ...] = ()) -> AttentionOutput:
        """Forward; the shapes of ``attnbench.attend``. Raises ``SpecError`` and ``UnsupportedError``."""
        return execute(self.backend, self.studied, spec, operands, tuple(outputs), self.device)

    def vjp(self, spec: AttentionSpec, operands: Operands, d_output: Any, d_lse: Any = None) -> dict[str, Any]:
        """Gradients by name (q, k, v, bias, sinks, params.NAME)."""
        return execute_vjp(self.backend, self.studied, spec, operands, d_output, d_lse, self.device)

    def learner(self, model: Model, parameters: Mapping[str, Any], optimiser: Optimiser) -> Learner:
        """A model around the implementation that learns in its framework. Raises ``UnsupportedError``."""
        return self.backend.learner(model, self.studied, parameters, optimiser, self.device)
