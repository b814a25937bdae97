"""One case in the interpreter: judged against the oracle, its memory watched, its programs run in several orders."""

from __future__ import annotations

from dataclasses import asdict
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.judge.answered import Answered
from attnbench.agree.judge.arithmetic import held
from attnbench.agree.judge.run_once import Ran
from attnbench.agree.judge.selection import SHARE, choose, with_selected_cotangents
from attnbench.attention.oracle import Evaluated
from attnbench.backends import discover
from attnbench.backends.bind import Binding, Inputs, bind, inputs_of
from attnbench.errors import is_refusal, refusal_of
from attnbench.precheck.triton.architectures import MULTIPROCESSORS
from attnbench.precheck.triton.cases import GPU
from attnbench.precheck.triton.interpreted import FORWARD, ORDERS, in_order, watch
from attnbench.precheck.triton.regions import MemoryFault, Regions
from attnbench.precheck.triton.standin import failed_line, standing_in, wants_a_gpu, words_of

if TYPE_CHECKING:
    from attnbench.attention.arrays import Array
    from attnbench.backends.backend import Backend

ARCHITECTURE = list(MULTIPROCESSORS)[1]
REASON = 300
ORDER = "order"


def watched(
    backend: Backend,
    impl: str,
    files: list[str],
    text: str,
    orders: int = len(ORDERS),
    arch: str = ARCHITECTURE,
) -> dict[str, Any]:
    """``status``, ``reason`` and ``error_ratio`` of the numbers, and ``faults`` of the memory, with its ``notes``.

    A kernel's own Python may ask for the architecture, and choose its tiles by it.
    """
    with standing_in(arch, no_time):
        implementation = discover.load_implementation(impl, files)
        case = case_from_text(text)
        inputs = inputs_of(case)
        selection = choose(inputs.call, case.problem.seed, SHARE)
        inputs = with_selected_cotangents(inputs, selection)
        binding = bind(backend, implementation, inputs, "cpu")
        answers, regions, written = {}, {}, list[str]()
        try:
            for order in ORDERS[:orders]:
                regions[order] = Regions()
                answers[order] = _once(binding, regions[order], order)
                written = _written(backend, binding, inputs)
                if regions[order].faults or written:
                    break
        except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
            return _raised(error) | _of_memory(regions)
    first = answers[FORWARD]
    evaluated = Evaluated(*inputs.qkv, inputs.call, selection.rows, selection.pairs)
    judged = Answered(inputs, selection, evaluated, Ran(first.output, first.grads, written))
    precision = held(implementation, inputs.call.dtype, GPU).precision
    every = (*judged.forward(precision), *judged.gradients(precision))
    failed = next((judgement for judgement in every if not judgement.ok), None)
    reason = f"wrote to its input {', '.join(written)}" if written else failed.sentence() if failed else None
    numbers = {name: answer.named() for name, answer in answers.items()}
    return {
        "status": "wrong" if reason else "ok",
        "reason": reason,
        "error_ratio": max((judgement.error_ratio for judgement in every), default=0.0),
        **_of_memory(regions, _unlike(numbers)),
    }


def no_time(_call: Any, *_: Any, **__: Any) -> tuple[float, float, float]:
    """In place of a benchmark of the autotuner: nothing is called, and the first configuration is taken."""
    return (1.0, 1.0, 1.0)


def _written(backend: Backend, binding: Binding, inputs: Inputs) -> list[str]:
    """The inputs that are no longer what they were."""
    given = inputs.arrays()
    arrays = binding.native.arrays()
    return [name for name, array in arrays.items() if backend.to_numpy(array).tobytes() != given[name].tobytes()]


def _once(binding: Binding, regions: Regions, order: str) -> Any:
    with watch(regions, in_order(order)):
        result = binding.result()
    return binding.to_numpy(result)


def _raised(error: Exception) -> dict[str, Any]:
    """A refusal, a wish for a real GPU and what the interpreter cannot run say nothing of a kernel; all else does."""
    if is_refusal(error):
        return {"status": "unknown", "reason": refusal_of(error), "error_ratio": None, "refused": True}
    if wants_a_gpu(error):
        reason = f"it asks for a real GPU: {words_of(error)}"
        return {"status": "unknown", "reason": reason[:REASON], "error_ratio": None}
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, NotImplementedError):
        inner = inner.__cause__ or inner.__context__
    words = words_of(inner or error)
    if inner is not None and not _is_its_own(inner):
        return {"status": "unknown", "reason": f"the interpreter cannot run it: {words}"[:REASON], "error_ratio": None}
    return {"status": "wrong", "reason": f"raised {type(error).__name__}: {words}"[:REASON], "error_ratio": None}


def _is_its_own(error: BaseException) -> bool:
    """Whether the implementation's own Python raised it, and neither the interpreter nor an operation of PyTorch's."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    framework = bool(modules) and modules[-1].partition(".")[0] in ("triton", "torch")
    return failed_line(error).startswith("raise") and not framework


def _of_memory(regions: dict[str, Regions], unlike: str | None = None) -> dict[str, Any]:
    """The faults of all orders, each once. Programs that wait for each other are no race that is seen here."""
    faults: dict[tuple[str, str, str], MemoryFault] = {}
    for seen in regions.values():
        for key, fault in seen.faults.items():
            if not (seen.synchronises and fault.kind == "race"):
                faults.setdefault(key, fault)
    notes = []
    if any(seen.synchronises for seen in regions.values()):
        notes.append("its programs wait for each other by atomics: races between them are not told")
    if unlike is not None and not faults:
        if any(seen.uses_atomics for seen in regions.values()):
            notes.append(f"{unlike}: it uses atomics")
        else:
            faults[ORDER, "", ""] = MemoryFault("race", "a kernel", "its results", unlike)
    launched = any(seen.program for seen in regions.values())
    return {"faults": [asdict(fault) for fault in faults.values()], "notes": notes, "launched": launched}


def _unlike(answers: dict[str, dict[str, Array]]) -> str | None:
    """Which result depends on the order of the programs, bit by bit."""
    first = answers[FORWARD]
    for order, arrays in answers.items():
        for name, array in arrays.items():
            if np.asarray(array).tobytes() != np.asarray(first[name]).tobytes():
                return f"{name} has other bits when programs run {order} than when they run {FORWARD}"
    return None
