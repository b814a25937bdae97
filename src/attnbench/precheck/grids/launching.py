"""The workers' side: what one case launches on a GPU that is not there, with nothing computed.

Triton's kernels are recorded on tensors without memory, and compiled; a framework with kernels of its own tells their
grids by itself (``Backend.grids``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.attention.problem import Case
from attnbench.backends import discover
from attnbench.errors import is_refusal, refusal_of
from attnbench.precheck.grids.shaped import shaped_inputs, why_not_taken
from attnbench.precheck.grids.waves import programs_of, too_many
from attnbench.precheck.triton.launches import Launch, LaunchRecorder, call_once
from attnbench.precheck.triton.machine import CompiledVariant, compiled
from attnbench.precheck.triton.standin import standing_in

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Inputs
    from attnbench.backends.implementation import Implementation

UNSUPPORTED = "unsupported"
REASON = 300
# What was compiled in this process, by architecture and kind of launch.
COMPILED: dict[tuple[str, str], CompiledVariant] = {}
OF_CODE = (
    "compiled", "registers", "spill_bytes", "shared_bytes", "occupancy", "limited_by", "num_warps", "num_stages",
)  # fmt: skip


def launches_of(
    backend: Backend, impl: str, files: list[str], case: dict[str, Any], *, triton: bool, arch: str
) -> dict[str, Any]:
    """``status``, ``reason`` and ``launches`` of one case; a launch has its kernel, its grid, and what is compiled."""
    of_suite = Case.from_dict(case)
    if not triton:
        implementation = discover.load_implementation(impl, files)
        return _answered(implementation, of_suite, lambda inputs: _of_framework(backend, implementation, inputs))
    with standing_in(arch, call_once):
        implementation = discover.load_implementation(impl, files)
        return _answered(
            implementation, of_suite, lambda inputs: _compiled(_recorded(backend, implementation, inputs), arch)
        )


def _answered(
    implementation: Implementation, case: Case, launches: Callable[[Inputs], Iterator[dict[str, Any]]]
) -> dict[str, Any]:
    """What is out of reach has no launches; what raises otherwise may do so for want of values, and is not known."""
    inputs = shaped_inputs(case)
    why = why_not_taken(implementation, case, inputs)
    if why is not None:
        return {"status": UNSUPPORTED, "reason": why, "launches": []}
    try:
        seen = list(launches(inputs))
    except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
        if is_refusal(error):
            return {"status": UNSUPPORTED, "reason": refusal_of(error), "launches": []}
        words = f"called on arrays without values it raised {type(error).__name__}: {' '.join(str(error).split())}"
        return {"status": "unknown", "reason": words[:REASON], "launches": []}
    faults = [fault for launch in seen for fault in launch["faults"]]
    return {"status": "wrong" if faults else "ok", "reason": faults[0] if faults else None, "launches": seen}


def _recorded(backend: Backend, implementation: Implementation, inputs: Inputs) -> list[Launch]:
    """The launches of one call, in their order."""
    torch = importlib.import_module("torch")
    native = inputs.map_arrays(
        lambda array: torch.empty(array.shape, dtype=getattr(torch, array.dtype.name), device="meta")
    )
    bound = backend.bind(implementation, *native.qkv, native.call, **native.cotangents)
    recorder = LaunchRecorder()
    with recorder.recording():
        bound.on(*native.qkv, native.call, **native.cotangents)()
    return recorder.launches


def _compiled(launches: Sequence[Launch], arch: str) -> Iterator[dict[str, Any]]:
    """Each launch with its machine code; of an autotuner's configurations one that has no fault, if there is one."""
    by_choice: dict[int, list[tuple[Launch, CompiledVariant]]] = {}
    for number, launch in enumerate(launches):
        by_choice.setdefault(launch.choice or -1 - number, []).append((launch, _code(launch, arch)))
    for several in by_choice.values():
        launch, code = min(several, key=lambda pair: bool(pair[1].faults))
        faults = [*filter(None, [too_many(launch.grid)]), *code.faults]
        yield {
            **_of_grid(launch.name, launch.grid),
            **{name: getattr(code, name) for name in OF_CODE},
            "variant": launch.says,
            "choices": len(several),
            "faults": [f"{launch.name}: {fault}" for fault in faults],
        }


def _code(launch: Launch, arch: str) -> CompiledVariant:
    if (arch, launch.key) not in COMPILED:
        (COMPILED[arch, launch.key],) = compiled([replace(launch, grid=(1,), choice=0)], arch)
    return COMPILED[arch, launch.key]


def _of_framework(backend: Backend, implementation: Implementation, inputs: Inputs) -> Iterator[dict[str, Any]]:
    """The kernels that the framework tells of, of which it compiles none here."""
    for kernel in backend.grids(implementation, *inputs.qkv, inputs.call, **inputs.cotangents):
        beyond = too_many(kernel.grid)
        yield {
            **_of_grid(kernel.kernel, kernel.grid),
            **dict.fromkeys(OF_CODE),
            "num_warps": kernel.num_warps,
            "variant": None,
            "choices": 1,
            "faults": [f"{kernel.kernel}: {beyond}"] if beyond else [],
        }


def _of_grid(kernel: str, grid: Sequence[int]) -> dict[str, Any]:
    return {"kernel": kernel, "grid": list(grid), "programs": programs_of(grid)}
