"""One trial: an implementation on one case, held to the oracle. The gate of a run and ``attnbench check`` both use it.

What of a large case is judged is in ``selection``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.agree.judge.answered import Answered, answer_to
from attnbench.agree.judge.arithmetic import held
from attnbench.agree.judge.array import Judgement
from attnbench.attention.needs import with_operands
from attnbench.backends.bind import inputs_of
from attnbench.errors import AttnbenchError, is_refusal, refusal_of

if TYPE_CHECKING:
    from attnbench.agree.judge.run_once import Ran
    from attnbench.agree.judge.selection import Share
    from attnbench.attention.precision import Precision
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Binding, LastBinding
    from attnbench.backends.implementation import Implementation

MOST = 0.5  # of an array must tell, or it counts as not tried
BLUNT = "the bound is too wide for a wrong answer to show"


@dataclass(frozen=True)
class Trial:
    """The outcome of one case: ``ok``, ``wrong`` or ``unsupported``, with the judgements or the reason.

    ``refused``: it is declared, and the kernel itself did not take it; ``reason`` are its own words.
    """

    status: str
    forward: tuple[Judgement, ...] = ()
    gradients: tuple[Judgement, ...] = ()
    reason: str | None = None
    fault: str | None = None
    refused: bool = False

    @property
    def error_ratio(self) -> float:
        """The largest error over its bound; above 1, or ``inf``, in a trial that disagrees."""
        judged = (*self.forward, *self.gradients)
        if self.status == "wrong" and all(j.ok for j in judged):
            return float("inf")  # it raised, or wrote to an input
        return max((j.error_ratio for j in judged), default=0.0)

    @property
    def blunt(self) -> tuple[str, ...]:
        """The arrays whose bounds are too wide to tell: whatever a kernel returns there, they are not tried."""
        return tuple(j.tensor for j in (*self.forward, *self.gradients) if j.telling < MOST)

    @property
    def tried(self) -> bool:
        """Whether it says something of the kernel: a disagreement does, and an output that could have been wrong."""
        return self.status == "wrong" or (self.status == "ok" and "output" not in self.blunt)

    @property
    def forward_ratio(self) -> float | None:
        """The largest error over its bound of what the forward pass returned; ``None`` where nothing tells."""
        return largest(_of_those_that_tell(self.forward))

    @property
    def gradient_ratio(self) -> float | None:
        """The same of the gradients."""
        return largest(_of_those_that_tell(self.gradients))


def largest(ratios: Iterable[float | None]) -> float | None:
    """Of the error ratios that are there; ``None`` where none is."""
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def _of_those_that_tell(judged: Iterable[Judgement]) -> Iterator[float]:
    """The error ratios of what could have shown an error, and of what did."""
    return (j.error_ratio for j in judged if j.telling >= MOST or not j.ok)


def trial(
    backend: Backend,
    implementation: Implementation,
    case: Case,
    device: str = "cpu",
    binding: Binding | LastBinding | None = None,
    share: Share | None = None,
) -> Trial:
    """Run ``case`` and judge it; with a ``binding`` of its kind nothing is compiled. ``share`` as in ``choose``.

    An exception, an input that was written to, and a result that a second call changes are disagreements too. A kernel
    that raises ``UnsupportedError`` refuses the case, which is unsupported.
    """
    inputs = inputs_of(case)
    call = inputs.call
    needs = with_operands(call.needs(device, gradients=case.gradients), case.problem.operands)
    if reason := implementation.unsupported(needs):
        return Trial("unsupported", reason=reason)
    try:
        answer = answer_to(inputs, case.problem.seed, backend, implementation, device, binding, share)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        return _raised(error)
    if wrong := _of_memory(answer.ran):
        return wrong
    arithmetic = held(implementation, call.dtype, device)
    judged = _judged(answer, arithmetic.precision)
    if judged.status == "wrong" and any(answer.agrees(precision) for precision in arithmetic.open):
        return Trial("unsupported", reason=arithmetic.probed)
    return judged


def _judged(answer: Answered, precision: Precision) -> Trial:
    """What was answered, held to the bound of this arithmetic."""
    forward, gradients = answer.forward(precision), answer.gradients(precision)
    failed = next((j for j in (*forward, *gradients) if not j.ok), None)
    if failed is None:
        return Trial("ok", forward, gradients)
    return Trial("wrong", forward, gradients, reason=failed.sentence(), fault=failed.fault)


def _raised(error: Exception) -> Trial:
    """What an exception says of a case: refused by the kernel, or a disagreement."""
    if is_refusal(error):
        return Trial("unsupported", reason=refusal_of(error), refused=True)
    if isinstance(error, ValueError) and "read-only" in str(error):
        return Trial("wrong", reason=f"tried to write to an input: {_first_line(error)}", fault="input")
    kind = "" if isinstance(error, AttnbenchError) else f"{type(error).__name__}: "
    return Trial("wrong", reason=f"raised {kind}{_first_line(error)}", fault="exception")


def _of_memory(ran: Ran) -> Trial | None:
    """An input that was written to, and a result that did not last."""
    if ran.written:
        return Trial("wrong", reason=f"wrote to its input {', '.join(ran.written)}", fault="input")
    if ran.changed:
        what = f"{ran.changed[0]}: changed when it was called again on other inputs: the memory is used twice"
        return Trial("wrong", reason=what, fault="reused")
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
