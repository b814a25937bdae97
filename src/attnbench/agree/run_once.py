"""An implementation run once as a trial needs it: what it answers, what it wrote to, and whether its answer lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.call import Call
from attnbench.execute import empty_gradients, empty_output, to_numpy_gradients, to_numpy_output
from attnbench.implementation import AttentionOutput

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation

Array = np.ndarray[Any, np.dtype[Any]]
Qkv = tuple[Array, Array, Array]
Cotangents = tuple[Array | None, Array | None]

SMALL = 1 << 16  # B·Hq·Tq·S up to which it is called a second time


@dataclass(frozen=True)
class Ran:
    """Output and gradients in NumPy; the inputs that were written to, and the results that a second call changed."""

    output: AttentionOutput
    grads: dict[str, Array]
    written: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def run_once(
    backend: Backend,
    implementation: Implementation,
    qkv: Qkv,
    call: Call,
    cotangents: Cotangents,
    device: str = "cpu",
) -> Ran:
    """Move everything to the device, run, and look at the inputs again; what the implementation raises is raised.

    A small call is followed by one on other inputs, which must leave the first result alone: a buffer that is handed
    out twice is right only until then.
    """
    d_output, d_lse = cotangents
    if call.sizes.empty:
        return Ran(empty_output(call), {} if d_output is None else empty_gradients(*qkv, call, d_lse))
    given = dict(zip("qkv", qkv, strict=True)) | {
        name: array for name, array in (("d_output", d_output), ("d_lse", d_lse)) if array is not None
    }
    native = {name: backend.to_native(array, device) for name, array in given.items()}
    native_call = call.map_arrays(lambda array: backend.to_native(array, device))
    inputs = native | flat(native_call)
    writes = {name: backend.writes(array) for name, array in inputs.items()}
    result = _bound_result(backend, implementation, native, native_call)
    originals = given | flat(call)
    written = [
        name
        for name, array in inputs.items()
        if backend.writes(array) != writes[name] or not _same_bits(originals[name], backend.to_numpy(array))
    ]
    ran = _in_numpy(backend, result, call, d_output is not None)
    s = call.sizes
    if s.B * s.Hq * s.Tq * s.S > SMALL or written:
        return Ran(*ran, written)
    before = {name: _bits(array) for name, array in _named(*ran).items()}
    ran = (_copied(ran[0]), {name: _copy(grad) for name, grad in ran[1].items()})
    if not _call_again(backend, implementation, native | {"q": -given["q"], "v": -given["v"]}, native_call, device):
        return Ran(*ran, written)
    after = _named(*_in_numpy(backend, result, call, d_output is not None))
    return Ran(*ran, written, [name for name, bits in before.items() if _bits(after[name]) != bits])


def _bound_result(backend: Backend, implementation: Implementation, native: dict[str, Any], call: Call) -> Any:
    q, k, v = (native[name] for name in "qkv")
    cotangents = {name: native[name] for name in ("d_output", "d_lse") if name in native}
    result = backend.bind(implementation, q, k, v, call, **cotangents).run()
    backend.wait(result)
    return result


def _call_again(
    backend: Backend, implementation: Implementation, inputs: dict[str, Any], call: Call, device: str
) -> bool:
    """Call it on these q and v (NumPy); false where arrays cannot be changed, so that no result can either."""
    q, v = (backend.to_native(inputs[name], device) for name in "qv")
    if not backend.overwrite(q, inputs["q"]):
        return False
    _bound_result(backend, implementation, inputs | {"q": q, "v": v}, call)
    return True


def _in_numpy(backend: Backend, result: Any, call: Call, gradients: bool) -> tuple[AttentionOutput, dict[str, Array]]:  # noqa: FBT001
    output, grads = result if gradients else (result, {})
    return to_numpy_output(backend, output, call), to_numpy_gradients(backend, grads, call) if gradients else {}


def _named(output: AttentionOutput, grads: dict[str, Array]) -> dict[str, Any]:
    return dict(output.items()) | {f"d_{name}": grad for name, grad in grads.items()}


def _copied(output: AttentionOutput) -> AttentionOutput:
    return AttentionOutput(**{name: _copy(array) for name, array in output.items()})


def _copy(array: Any) -> Any:
    return array.copy() if isinstance(array, np.ndarray) else array


def _bits(array: Any) -> bytes:
    return np.asarray(array).tobytes() if isinstance(array, np.ndarray) else repr(array).encode()


def flat(call: Call) -> dict[str, Any]:
    """The arrays of a call by name, parameters as ``params.W``."""
    arrays = call.arrays()
    return arrays | {f"params.{name}": array for name, array in arrays.pop("params", {}).items()}


def _same_bits(before: Array, after: Array) -> bool:
    return before.shape == after.shape and before.tobytes() == after.tobytes()
