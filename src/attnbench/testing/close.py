"""``assert_close_attention``: one output held to the attention of its inputs, by bounds that are derived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnbench.testing.disagreement import DisagreementError

if TYPE_CHECKING:
    from attnbench.explaining.explanation import ExplainedArrays

CALLED = "assert_close_attention"


def assert_close_attention(out: Any, q: Any, k: Any, v: Any, **words: Any) -> ExplainedArrays:
    """Raise ``DisagreementError``, an ``AssertionError``, unless ``out`` is the attention of q, k, v within rounding.

    The words are those of ``attnbench.explain``: the spec's (``causal=True, scale=0.1, window=(64, 0)``), operands
    (``mask``, ``bias``, ``sinks`` …), ``lse``, ``grads`` with ``d_output``, ``layout``, ``dtype``. Arrays are PyTorch's
    on any device, JAX's or NumPy's; tensors that ask for gradients are taken as they are. The message names the worst
    element as a multiple of what rounding explains, and the reading that fits, where one does.

    Returns the explanation. Raises ``SpecError`` or ``UsageError`` for arrays that are no such call, and fails where
    ``out`` has no element, so that nothing is compared.
    """
    __tracebackhide__ = True
    from attnbench.errors import SpecError, UsageError
    from attnbench.explaining.ask import explain
    from attnbench.keywords import KeywordError

    if words.get("other") is not None:
        msg = f"{CALLED} judges one output: leave out other=, and call it for each"
        raise UsageError(msg)
    refuse_no_gradients(words.get("grads"))
    for name, array in zip(("out", "q", "k", "v"), (out, q, k, v), strict=True):
        if array is None or getattr(getattr(array, "device", None), "type", "") == "meta":
            there = "None" if array is None else "on the meta device, which holds no values"
            msg = f"{name} is {there}; {CALLED} compares values"
            raise SpecError(msg)
    given = [plain(array) for array in (out, q, k, v)]
    try:
        explanation = explain(*given, **{name: plain(value) for name, value in words.items()})
    except KeywordError as error:
        raise KeywordError(str(error).replace("explain ", f"{CALLED} ", 1)) from None
    if not explanation.ok:
        raise unexplained(explanation)
    if not explanation.arrays["output"].elements:
        msg = f"out has no element, so that nothing was compared; its sizes are {dict(explanation.sizes)}"
        raise DisagreementError(msg)
    return explanation


def refuse_no_gradients(grads: Any) -> None:
    """Raise ``SpecError`` for a gradient that is None, as ``q.grad`` is where nothing was computed backward."""
    from attnbench.errors import SpecError

    for name, gradient in grads.items() if isinstance(grads, Mapping) else ():
        if gradient is None:
            msg = f"grads[{name!r}] is None: no gradient reached {name}. Was backward called, and does it ask for one?"
            raise SpecError(msg)


def unexplained(explanation: ExplainedArrays, case: str = "", again: str = "") -> DisagreementError:
    """What to raise for an output that is not within rounding."""
    fits = [reading.sentence for reading in explanation.readings]
    lines = explanation.lines()
    what = f"{lines[0]}: {fits[0]}" if fits else lines[0]
    message = [what, *lines[1:]]
    message += [f"case: {case}"] if case else []
    message += [f"again: {again}"] if again else []
    size = sum(explanation.sizes.values())
    return DisagreementError("\n".join(message), case, what, again, size)


def plain(value: Any) -> Any:
    """A value that can be read wherever it lies: a tensor without its graph, on the CPU; JAX's as NumPy's."""
    from attnbench.backends.kinds import framework_of

    if isinstance(value, Mapping):
        return {name: plain(array) for name, array in value.items()}
    framework = framework_of(value)
    if framework == "torch" and hasattr(value, "detach"):
        return value.detach().cpu()
    traced = any(base.__name__ == "Tracer" for base in type(value).__mro__)
    if framework == "jax" and not traced and hasattr(value, "devices"):
        import numpy as np

        return np.asarray(value)
    return value
