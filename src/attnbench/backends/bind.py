"""Bind once: the one way from a case to a call that can be checked, judged, timed and weighed.

A ``Binding`` is an implementation bound to arrays that lie on the device. Whatever a framework traces and compiles is
done when it is made; ``on`` puts other arrays of the same shapes and dtypes into it without compiling anything again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Operands, prepare
from attnbench.attention.inputs import draw, draw_cotangents
from attnbench.backends.answers import Answer, answer_of
from attnbench.errors import AttnbenchError, SpecError

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.attention.problem import Case
    from attnbench.attention.spec import AttentionSpec
    from attnbench.backends.backend import Backend, Bound
    from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class Inputs:
    """All that one computation reads: NumPy arrays, or a backend's own.

    q (B, Hq, Tq, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv), the ``call`` with its own arrays, and where there is a
    backward pass the cotangents d_output (B, Hq, Tq, Dv) and perhaps d_lse (B, Hq, Tq). ``layout`` says where the
    backend's own arrays are to lie in memory (``Backend.laid_out``); by default each is contiguous. ``laid`` names
    those that do, by default all that can.
    """

    q: Any
    k: Any
    v: Any
    call: Call
    d_output: Any = None
    d_lse: Any = None
    layout: str = ""
    laid: tuple[str, ...] | None = None

    @property
    def gradients(self) -> bool:
        """Whether there is a backward pass."""
        return self.d_output is not None

    @property
    def qkv(self) -> tuple[Any, Any, Any]:
        """Queries, keys and values."""
        return self.q, self.k, self.v

    @property
    def cotangents(self) -> dict[str, Any]:
        """The cotangents that are there, by name."""
        given = (("d_output", self.d_output), ("d_lse", self.d_lse))
        return {name: array for name, array in given if array is not None}

    def arrays(self) -> dict[str, Any]:
        """Every array by its name, parameters as ``params.W``."""
        return dict(zip("qkv", self.qkv, strict=True)) | self.call.arrays_by_name() | self.cotangents

    def map_arrays(self, convert: Callable[[Any], Any]) -> Inputs:
        """The same with every array converted."""
        q, k, v = (convert(array) for array in self.qkv)
        cotangents = {name: convert(array) for name, array in self.cotangents.items()}
        return Inputs(q, k, v, self.call.map_arrays(convert), **cotangents, layout=self.layout, laid=self.laid)

    def with_values(self, **arrays: Any) -> Inputs:
        """The same with other q, k, v, d_output or d_lse."""
        return replace(self, **arrays)

    def with_arrays(self, arrays: Mapping[str, Any]) -> Inputs:
        """The inverse of ``arrays``: the same with these, by the same names."""
        of_inputs = {name: arrays[name] for name in ("q", "k", "v", *self.cotangents)}
        return replace(self, **of_inputs, call=self.call.with_arrays_by_name(arrays))

    def kind(self) -> Hashable:
        """Everything but values and layout: what is compiled for one is right for every other of the same kind.

        The layout is left out because a framework whose arrays have strides reads them at each call.
        """
        shapes = tuple((name, tuple(array.shape), str(array.dtype)) for name, array in self.arrays().items())
        return constants_of(self.call), shapes


def constants_of(call: Call) -> tuple[tuple[str, Hashable], ...]:
    """What of a call is no array, and so is compiled in: spec, sizes, dtype, outputs, a scale and an offset for all."""
    named = {name: getattr(call, name) for name in ("spec", "sizes", "dtype", "outputs", "wanted")}
    numbers = {name: value for name in ("scale", "offset") if not hasattr(value := getattr(call, name), "dtype")}
    return tuple((named | numbers).items())


def inputs_of(case: Case) -> Inputs:
    """The inputs of a case in NumPy, as they are drawn: with cotangents where its phase has a backward pass."""
    d_output, d_lse = draw_cotangents(case) if case.gradients else (None, None)
    inputs = given_inputs(case.spec, draw(case.spec, case.problem), case.outputs, d_output, d_lse)
    call = replace(inputs.call, wanted=case.problem.wanted)
    return replace(inputs, call=call, layout=case.problem.layout)


def given_inputs(
    spec: AttentionSpec,
    operands: Operands,
    outputs: tuple[str, ...] = (),
    d_output: Float[Array, "B Hq Tq Dv"] | None = None,
    d_lse: Float[Array, "B Hq Tq"] | None = None,
) -> Inputs:
    """Operands checked against the spec. Raises ``SpecError``."""
    return Inputs(*prepare(spec, operands, outputs), d_output, d_lse)


@dataclass(frozen=True)
class Binding:
    """An implementation bound to ``native`` arrays on ``device``: what is checked is what is timed.

    ``run()`` starts one computation and returns its native result, perhaps before it is done (``Backend.wait``).
    """

    backend: Backend
    implementation: Implementation
    device: str
    bound: Bound
    native: Inputs
    kind: Hashable
    run: Callable[[], Any]

    def on(self, inputs: Inputs) -> Binding:
        """The same on other values (NumPy): nothing is traced, compiled or bound again.

        Raises ``AttnbenchError`` where shapes, dtypes or constants are others than those it was bound to.
        """
        if inputs.kind() != self.kind:
            msg = f"a binding of {self.implementation.name} takes arrays of the shapes and dtypes it was bound to"
            raise AttnbenchError(f"{msg}: {_difference(self.kind, inputs.kind())}")
        return _bound_to(self.backend, self.implementation, self.device, self.bound, inputs, self.kind)

    def result(self) -> Any:
        """Compute once and wait: the native result."""
        result = self.run()
        self.backend.wait(result)
        return result

    def answer(self) -> Answer:
        """Compute once: output and gradients in NumPy."""
        return self.to_numpy(self.result())

    def to_numpy(self, result: Any) -> Answer:
        """A native result in NumPy; what was asked for and is missing is an error."""
        return answer_of(self.backend, result, self.native.call, gradients=self.native.gradients)


def bind(backend: Backend, implementation: Implementation, inputs: Inputs, device: str = "cpu") -> Binding:
    """Move the inputs (NumPy) to the device and bind: here a framework traces and compiles, if it does."""
    native = to_device(backend, inputs, device)
    bound = backend.bind(implementation, *native.qkv, native.call, **native.cotangents)
    return _of(backend, implementation, device, bound, native, inputs.kind())


def bind_case(backend: Backend, implementation: Implementation, case: Case, device: str = "cpu") -> Binding:
    """Draw a case and bind to it. Gate, clock, audit and memory all use this one binding."""
    return bind(backend, implementation, inputs_of(case), device)


class LastBinding:
    """Binds to inputs one after the other. What was compiled is used again while they stay of the same kind."""

    def __init__(self, backend: Backend, implementation: Implementation, device: str = "cpu") -> None:
        self._backend, self._implementation, self._device = backend, implementation, device
        self._last: Binding | None = None

    def on(self, inputs: Inputs) -> Binding:
        """A binding to these inputs (NumPy)."""
        if self._last is not None and self._last.kind == inputs.kind():
            return self._last.on(inputs)
        self._last = None  # it is not kept while another one is compiled
        self._last = bind(self._backend, self._implementation, inputs, self._device)
        return self._last


def to_device(backend: Backend, inputs: Inputs, device: str) -> Inputs:
    """The inputs as the backend's own arrays, laid out as they ask for."""
    native = inputs.map_arrays(lambda array: backend.to_native(array, device))
    if not inputs.layout:
        return native
    return (_expanded if inputs.layout == "expanded" else _laid_out)(backend, inputs, native)


def _laid_out(backend: Backend, inputs: Inputs, native: Inputs) -> Inputs:
    """q, k, v, d_output, mask and bias in the layout that is asked for."""

    def lay(name: str, array: Any) -> Any:
        wanted = array is not None and (inputs.laid is None or name in inputs.laid)
        return backend.laid_out(array, inputs.layout) if wanted else array

    of_inputs = {name: lay(name, getattr(native, name)) for name in ("q", "k", "v", "d_output")}
    of_call = {name: lay(name, getattr(native.call, name)) for name in ("mask", "bias")}
    return native.with_values(**of_inputs, call=replace(native.call, **of_call))


def _expanded(backend: Backend, inputs: Inputs, native: Inputs) -> Inputs:
    """Keys and values of the first batch entry for all of them, if they are alike."""
    for name, array in (("k", inputs.k), ("v", inputs.v)):
        if any(entry.tobytes() != array[0].tobytes() for entry in array):
            msg = f"layout_expanded: {name} is not the same in every batch entry, so that one cannot stand for all"
            raise SpecError(msg)
    names = [name for name in ("k", "v") if inputs.laid is None or name in inputs.laid]
    return native.with_values(**{name: backend.laid_out(getattr(native, name), "expanded") for name in names})


def _bound_to(
    backend: Backend, implementation: Implementation, device: str, bound: Bound, inputs: Inputs, kind: Hashable
) -> Binding:
    return _of(backend, implementation, device, bound, to_device(backend, inputs, device), kind)


def _of(
    backend: Backend, implementation: Implementation, device: str, bound: Bound, native: Inputs, kind: Hashable
) -> Binding:
    run = bound.on(*native.qkv, native.call, **native.cotangents)
    return Binding(backend, implementation, device, bound, native, kind, run)


def _difference(kind: Any, other: Any) -> str:
    """What two kinds of inputs differ in."""
    (constants, arrays), (other_constants, other_arrays) = kind, other
    before = dict(constants) | {name: f"{dtype}{shape}" for name, shape, dtype in arrays}
    after = dict(other_constants) | {name: f"{dtype}{shape}" for name, shape, dtype in other_arrays}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(f"{n} is {after.get(n, 'not there')} and was {before.get(n, 'not there')}" for n in names)
