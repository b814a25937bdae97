"""The Python interface: ``attend`` and ``vjp``. What goes in, NumPy's, PyTorch's or JAX's arrays, comes out."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.spec import AttentionSpec
from attnbench.backends import discover
from attnbench.backends.execute import execute, execute_vjp
from attnbench.backends.kinds import NUMPY, GivenKind, kind_of
from attnbench.keywords import OPERANDS, check_keywords

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import AttentionOutput, Implementation


@cache
def load_backend(name: str) -> Backend:
    """The adapter of a backend, imported once in this process."""
    return discover.backend(name).load()


def resolve(impl: str | Implementation) -> tuple[Backend, Implementation]:
    """An implementation, by name or as itself (a decorated function), with its backend's adapter."""
    if isinstance(impl, str):
        implementation = discover.load_implementation(impl)
        return load_backend(implementation.backend), implementation
    return load_backend(impl.backend), impl


def attend(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    *,
    impl: str | Implementation = "numpy/naive",
    spec: AttentionSpec | None = None,
    outputs: tuple[str, ...] = (),
    device: str | None = None,
    threads: int | None = None,
    **operands: Any,
) -> AttentionOutput:
    """Attend: softmax(score(q, k)·scale + bias over the allowed keys) v.

    q, k and v have one dtype (float64, float32, bfloat16 of ``ml_dtypes``, float16) and one kind: NumPy's arrays,
    PyTorch's tensors or JAX's arrays, whatever computes. What comes back is of q's kind; PyTorch's and JAX's are
    copied in and out, and no graph for gradients is kept (``vjp``). ``operands``, of that kind or NumPy's: mask, bias,
    q_lengths, kv_lengths, q_segments, kv_segments, offset, sinks, slopes, keep, past_k, past_v, params; shapes in
    ``attention.call.Operands``. ``outputs`` asks for ``lse`` and the stages ``scores``, ``capped``, ``logits``,
    ``weights``.

    It is computed on ``device``, by default where q is. What a framework compiles is kept for calls of the same spec,
    shapes, dtypes and device: ``clear_bindings()`` forgets it. ``threads`` is the number of CPU threads of this call,
    by default what the framework has now; XLA's pool (JAX) is sized once in a process, and another number than that is
    a ``UsageError`` that says how to start.

    Returns an ``AttentionOutput``; what was not asked for is ``None``. Raises ``SpecError`` for input that is not a
    problem of the spec, ``UnsupportedError`` where the implementation does not declare what is asked, and
    ``MissingExtraError`` where its framework is not installed.
    """
    backend, implementation = resolve(impl)
    kind = kind_of(q, load_backend)
    given = collect(q, k, v, operands, kind=kind)
    answer = execute(backend, implementation, spec or AttentionSpec(), given, outputs, device or kind.device, threads)
    if kind.adapter is None:
        return answer
    return replace(answer, **{field.name: kind.native(getattr(answer, field.name)) for field in fields(answer)})


def vjp(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    d_output: Float[Array, "B Hq Tq Dv"],
    d_lse: Float[Array, "B Hq Tq"] | None = None,
    *,
    impl: str | Implementation = "numpy/naive",
    spec: AttentionSpec | None = None,
    device: str | None = None,
    threads: int | None = None,
    **operands: Any,
) -> dict[str, Any]:
    """Gradients of Σ output·d_output (+ Σ lse·d_lse) by every operand.

    d_output has the inputs' dtype, d_lse is float32 (float64 for float64). Returns a dict with q, k, v and, where
    given, bias, sinks, past_k, past_v, and ``params``, a dict; each in its operand's shape and of q's kind. Kinds of
    arrays, ``device`` and ``threads`` are those of ``attend``; what is compiled is kept likewise.
    """
    backend, implementation = resolve(impl)
    kind = kind_of(q, load_backend)
    given = collect(q, k, v, operands, "vjp", kind)
    cotangents = kind.numpy(d_output, "d_output"), kind.numpy(d_lse, "d_lse")
    where = device or kind.device
    flat = execute_vjp(backend, implementation, spec or AttentionSpec(), given, *cotangents, where, threads)
    flat = {name: kind.native(grad) for name, grad in flat.items()}
    grads: dict[str, Any] = {name: grad for name, grad in flat.items() if not name.startswith("params.")}
    params = {name.removeprefix("params."): grad for name, grad in flat.items() if name.startswith("params.")}
    return grads | ({"params": params} if params else {})


def collect(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    operands: dict[str, Any],
    name: str = "attend",
    kind: GivenKind = NUMPY,
) -> Operands:
    """Arguments of a ``kind`` as ``Operands`` of NumPy; an unknown one is a ``KeywordError`` (``TypeError``)."""
    check_keywords(name, operands, OPERANDS)
    given = {"q": q, "k": k, "v": v, **operands}
    return Operands(**{operand: kind.numpy(value, operand) for operand, value in given.items()})
