"""``attnbench check --onnx``: one implementation on ONNX ``Attention`` nodes; one row for each node.

``check_node_case`` holds it to ONNX's own case with ONNX's tolerance; ``check_random`` to ``onnx.reference`` on a
random node, within what the roundings of both explain (``attnbench.agree.judge.bounds``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.judge.arithmetic import precision_of
from attnbench.agree.judge.array import Judgement, judge
from attnbench.agree.judge.bounds import Units, output_bound, stage_bounds
from attnbench.agree.onnx.cases import OnnxCase, judge_case, largest_error, node_case, node_cases
from attnbench.agree.onnx.node import PACKED_AXES, Node, Translation, answer, translate
from attnbench.agree.onnx.random_nodes import random_node
from attnbench.agree.onnx.reference import evaluate_as_intended, precision
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, prepare
from attnbench.attention.oracle import heads
from attnbench.attention.precision import SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, Precision
from attnbench.backends.execute import execute
from attnbench.errors import UsageError, device_not_there, is_refusal, refusal_of
from attnbench.show import finite

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

RANDOM = "random "
ROUNDING = "rounding"


@dataclass(frozen=True)
class OnnxRow:
    """One implementation on one node.

    ``status`` is ``ok``, ``wrong``, ``unsupported``, or ``rounding``: beyond ONNX's tolerance, but no farther than the
    declared arithmetic of a correct implementation explains. ``error`` is the largest absolute difference,
    ``error_ratio`` the largest error over what is allowed, ``reason`` the first disagreement, or why the node is not
    supported.
    """

    impl: str
    case: str
    opset: int
    device: str
    status: str
    error: float | None = None
    error_ratio: float | None = None
    fault: str | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite error is the string ``"inf"``."""
        return finite.to_record(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OnnxRow:
        """The inverse of ``to_dict``."""
        values = finite.from_record(data)
        return cls(**values)


def plan(count: int, seed: int) -> list[tuple[str, int]]:
    """Names and opsets of what to check: ``count`` random nodes from ``seed`` on, or with 0 every case of ONNX."""
    if count:
        return [(f"{RANDOM}{number}", random_node(number).opset) for number in range(seed, seed + count)]
    return [(name, case.node.opset) for name, case in node_cases().items()]


def check_named(backend: Backend, implementation: Implementation, name: str, device: str = "cpu") -> OnnxRow:
    """One row: ONNX's case of this name, or the random node ``"random SEED"``."""
    if not name.startswith(RANDOM):
        return check_node_case(backend, implementation, node_case(name), device)
    seed = name.removeprefix(RANDOM)
    if not seed.isdecimal():
        raise UsageError(f"a random node is named by its seed, as in 'random 7'; got {name!r}")
    return check_random(backend, implementation, int(seed), device)


def check_node_case(backend: Backend, implementation: Implementation, case: OnnxCase, device: str = "cpu") -> OnnxRow:
    """Held to what ONNX expects, with its tolerance."""
    translation = translate(case.node)
    row = OnnxRow(implementation.name, case.name, case.node.opset, device, "ok")
    answered = _run(backend, implementation, case.node, translation, row)
    if isinstance(answered, OnnxRow):
        return answered
    judged = _judged(row, judge_case(case, answered), largest_error(answered, case.expected))
    if judged.status == "wrong" and not _beyond_rounding(implementation, case, translation, answered, device):
        return replace(judged, status=ROUNDING)
    return judged


def _beyond_rounding(
    implementation: Implementation, case: OnnxCase, translation: Translation, outputs: dict[str, Array], device: str
) -> list[Judgement]:
    return [
        judgement
        for judgement in _against(implementation, case.node, translation, outputs, case.expected, device)
        if not judgement.ok
    ]


def check_random(backend: Backend, implementation: Implementation, seed: int, device: str = "cpu") -> OnnxRow:
    """Held to ``onnx.reference`` on the random node of this seed."""
    node = random_node(seed)
    translation = translate(node)
    row = OnnxRow(implementation.name, f"{RANDOM}{seed}", node.opset, device, "ok")
    answered = _run(backend, implementation, node, translation, row)
    if isinstance(answered, OnnxRow):
        return answered
    expected = evaluate_as_intended(node)
    judged = _against(implementation, node, translation, answered, expected, device)
    return _judged(row, judged, largest_error(answered, expected))


def _against(
    implementation: Implementation,
    node: Node,
    translation: Translation,
    outputs: dict[str, Array],
    expected: dict[str, Array],
    device: str,
) -> tuple[Judgement, ...]:
    """Every output held to that of the reference, within what the roundings of both explain."""
    declared = precision_of(implementation, translation.operands.q.dtype.name, device)
    allowed = bounds(node, translation, declared)
    return tuple(
        judge(name, outputs[name], array.astype(np.float64), allowed[name], array.dtype.name)
        for name, array in expected.items()
    )


def why_not(implementation: Implementation, translation: Translation, device: str) -> str | None:
    """Why a node is out of reach of an implementation, or ``None``."""
    runs_on = implementation.capabilities_on(device).devices
    if device not in runs_on:
        return f"does not support device {device}; it runs on {', '.join(runs_on)}"
    *_, call = prepare(translation.spec, translation.operands, translation.outputs)
    needs = call.needs(device)
    if translation.has_nan():
        needs = needs.with_features("nan_isolation")
    if reason := implementation.unsupported(needs):
        return reason
    level = implementation.capabilities_on(device).precision_of(call.dtype).softmax
    wanted = translation.softmax
    if wanted and UNIT_ROUNDOFF[level] > UNIT_ROUNDOFF[wanted]:
        return f"computes the softmax of {call.dtype} in {level}; softmax_precision asks for {wanted}"
    return None


def bounds(node: Node, translation: Translation, declared: Precision) -> dict[str, Array]:
    """How far an implementation and the reference may be apart, by output: both bounds, and the last rounding.

    The reference multiplies Q and K by the rounded root of the scale, which is up to 4 u more in a score: its bound is
    the rigorous one.
    """
    q, k, v, call = prepare(translation.spec, translation.operands, translation.outputs)
    dtype = node.inputs["Q"].dtype.name
    units = (Units.of(declared, call.dtype), Units.of(precision(node), dtype, rigorous=True))
    names = ("output", *translation.outputs)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for _, h, head in heads(q, k, v, call):
        apart = {name: _rounding(getattr(head, name), dtype) for name in names}
        for arithmetic in units:
            both = stage_bounds(head, call, h, arithmetic) | {"output": output_bound(head, call, h, arithmetic)}
            apart = {name: apart[name] + both[name] for name in names}
        for name in names:
            parts[name].append(apart[name])
    whole = {name: _together(arrays, call) for name, arrays in parts.items()}
    y = whole.pop("output")
    packed = y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)
    allowed = {"Y": packed if node.inputs["Q"].ndim == PACKED_AXES else y}
    allowed |= dict.fromkeys(("present_key", "present_value"), np.zeros(()))  # copies
    return allowed if translation.stage is None else allowed | {"qk_matmul_output": whole[translation.stage]}


def _rounding(values: Array, dtype: str) -> Array:
    """The rounding of a result to the dtype of Q, twice where it was computed in a wider one."""
    finite = np.where(np.isfinite(values), np.abs(values), 0.0)
    return np.asarray(2 * (UNIT_ROUNDOFF[dtype] * finite + SMALLEST_SUBNORMAL[dtype]))


def _together(arrays: list[Array], call: Call) -> Array:
    stacked = np.stack(arrays)
    return stacked.reshape(call.sizes.B, call.sizes.Hq, *stacked.shape[1:])


def _run(
    backend: Backend, implementation: Implementation, node: Node, translation: Translation, row: OnnxRow
) -> dict[str, Array] | OnnxRow:
    """The node's outputs, or the row that says why there are none. An exception is a disagreement, not a refusal."""
    reason = why_not(implementation, translation, row.device)
    if reason is None and row.device not in backend.devices():
        reason = device_not_there(row.device, backend.name, backend.devices())
    if reason:
        return replace(row, status="unsupported", reason=reason)
    try:
        result = execute(
            backend, implementation, translation.spec, translation.operands, translation.outputs, row.device
        )
        return answer(node, translation, result)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
        if is_refusal(error):
            return replace(row, status="unsupported", reason=f"refused by the kernel: {refusal_of(error)}")
        reason = f"raised {type(error).__name__}: {_first_line(error)}"
        return replace(row, status="wrong", fault="exception", reason=reason)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _judged(row: OnnxRow, judged: tuple[Judgement, ...], error: float) -> OnnxRow:
    row = replace(row, error=error, error_ratio=max(judgement.error_ratio for judgement in judged))
    failed = next((judgement for judgement in judged if not judgement.ok), None)
    if failed is None:
        return row
    return replace(row, status="wrong", fault=failed.fault, reason=failed.sentence().replace("the oracle", "ONNX"))
