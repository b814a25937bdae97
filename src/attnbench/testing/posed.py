"""One call with its operands, as a kernel takes them, and the judgement of what comes out: ``problem(case)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import draw
from attnbench.attention.problem import Case
from attnbench.backends.bind import Inputs, inputs_of, to_device
from attnbench.errors import UsageError, check_known
from attnbench.explaining.ask import explained
from attnbench.explaining.explanation import ExplainedArrays
from attnbench.explaining.question import Given
from attnbench.interface.functions import OF_CALL, OF_SPEC
from attnbench.testing.close import plain, refuse_no_gradients, unexplained
from attnbench.testing.kernel import turned
from attnbench.testing.saying import LAYOUTS

QKV = ("q", "k", "v")
READ_PAIRS = 1 << 15  # of query and key, up to which a wrong output is held to other readings


@dataclass(frozen=True, repr=False)
class PosedProblem:
    """A case with the arrays that are drawn for it, those of ``backend`` on ``device`` in ``layout``.

    ``q``, ``k``, ``v`` and, of a backward case, ``d_output`` are the arrays; ``words`` is what else the call has, by
    name, as in ``kernel(p.q, p.k, p.v, **p.words)``. ``assert_close(out)`` judges what came out.
    """

    case: Case
    backend: str = "numpy"
    layout: str = "bhsd"
    device: str = "cpu"
    read_pairs: int = READ_PAIRS

    @property
    def q(self) -> Any:
        """The queries."""
        return self._arrays["q"]

    @property
    def k(self) -> Any:
        """The keys."""
        return self._arrays["k"]

    @property
    def v(self) -> Any:
        """The values."""
        return self._arrays["v"]

    @property
    def d_output(self) -> Any:
        """The cotangent of the output; ``None`` of a case without a backward pass."""
        return self._arrays["d_output"]

    @cached_property
    def words(self) -> dict[str, Any]:
        """What the call has besides q, k and v, by the names of ``attnbench.attend``, such as causal or scale.

        What is not the default is there, and nothing else. Where the queries stand is there as ``offset`` only where it
        is drawn: an ``align`` was asked for by whoever drew the case.
        """
        call, spec = self._native.call, self.case.spec
        values = {name: getattr(spec, name) for name in OF_SPEC} | {name: getattr(call, name) for name in OF_CALL}
        if spec.scale is None:
            values["scale"] = None
        if not any(kind.startswith(("offset", "past")) for kind in self.case.problem.operands):
            values["offset"] = None
        return {name: value for name, value in values.items() if value is not None and value is not False}

    def assert_close(self, out: Any, lse: Any = None, grads: Mapping[str, Any] | None = None) -> ExplainedArrays:
        """Raise ``DisagreementError`` unless ``out`` is right within rounding; so are ``lse`` and ``grads``.

        ``grads`` go by the names of their operands, such as ``{"q": q.grad}``, and are those of ``d_output``. A
        backward case is judged with them, unless ``grads={}`` says that they are not meant; a case with an lse
        likewise, unless ``lse=False`` does. Raises ``UsageError`` where one is missing.
        """
        __tracebackhide__ = True
        self._refuse_missing(lse, grads)
        operands = draw(self.case.spec, self.case.problem)
        arrays = {field.name: getattr(operands, field.name) for field in fields(operands)}
        given = Given(
            {name: array for name, array in arrays.items() if array is not None},
            self._judged(out),
            lse=None if lse is False else _numpy(lse),
            grads={name: self._judged(grad) for name, grad in (grads or {}).items()} or None,
            d_output=self._inputs.d_output if grads else None,
        )
        explanation = self._explained(given)
        if not explanation.ok:
            raise unexplained(explanation, case_text(self.case), repr(self))
        return explanation

    def _refuse_missing(self, lse: Any, grads: Mapping[str, Any] | None) -> None:
        """A case that asks for gradients or an lse is not passed by the output alone, and None is no gradient."""
        refuse_no_gradients(grads)
        if self.case.phase == "backward" and grads is None:
            msg = "the case has a backward pass: give the gradients of d_output too, as in grads={'q': q.grad}, or "
            raise UsageError(f"{msg}grads={{}} where the output alone is meant")
        if "lse" in self.case.outputs and lse is None:
            msg = "the case asks for the log-sum-exp: give lse= too, or lse=False where the output alone is meant"
            raise UsageError(msg)

    def _explained(self, given: Given) -> ExplainedArrays:
        """The explanation; of a larger problem without the readings that would fit, which take a while to try."""
        p = self.case.problem
        return explained(self.case.spec, given, read=p.B * p.Hq * p.Tq * p.S <= self.read_pairs)

    def _judged(self, array: Any) -> Any:
        """What came out, in logical order."""
        array = _numpy(array)
        rank_4 = len(getattr(array, "shape", ())) == len(self.layout)
        return array.swapaxes(1, 2) if self.layout == "bshd" and rank_4 else array

    @cached_property
    def _inputs(self) -> Inputs:
        return inputs_of(self.case)

    @cached_property
    def _native(self) -> Inputs:
        from attnbench.backends.attend import load_backend

        return to_device(load_backend(self.backend), self._inputs, self.device)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        arrays = dict(zip(QKV, self._native.qkv, strict=True)) | {"d_output": self._native.d_output}
        if self.layout == "bhsd":
            return arrays
        return {name: None if array is None else turned(array) for name, array in arrays.items()}

    def __repr__(self) -> str:
        words = [repr(case_text(self.case))]
        words += [f"backend={self.backend!r}"] if self.backend != "numpy" else []
        words += [f"layout={self.layout!r}"] if self.layout != "bhsd" else []
        words += [f"device={self.device!r}"] if self.device != "cpu" else []
        return f"attnbench.testing.problem({', '.join(words)})"


def problem(case: Case | str, *, backend: str = "numpy", layout: str = "bhsd", device: str = "cpu") -> PosedProblem:
    """A case, or its line such as ``"causal Tq=65"``, with the arrays that are drawn for it.

    Raises ``UsageError`` or ``SpecError`` for what is no case.
    """
    from attnbench.backends.discover import backend as card
    from attnbench.backends.implementation import DEVICES

    if not isinstance(case, (Case, str)):
        msg = f"a problem is made of a Case, or of a line such as 'causal Tq=65 D=16'; got {case!r}"
        raise UsageError(msg)
    card(backend).check_available()
    check_known("layout", [layout], LAYOUTS)
    check_known("device", [device], DEVICES)
    return PosedProblem(case if isinstance(case, Case) else case_from_text(case), backend, layout, device)


def _numpy(array: Any) -> Array | Any:
    """What came out of any framework as NumPy has it."""
    from attnbench.backends.attend import load_backend
    from attnbench.backends.kinds import kind_of

    array = plain(array)
    return kind_of(array, load_backend, "out").numpy(array, "out")
