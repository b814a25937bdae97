"""The measuring side of a worker: cells prepared, gated, timed and weighed in one process with one framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.backends import discover
from attnbench.backends.asked import needs_of, small
from attnbench.backends.bind import bind_case
from attnbench.errors import (
    AttnbenchError,
    NotDeclaredError,
    UndeliveredError,
    UnsupportedError,
    device_not_there,
    is_refusal,
    refusal_of,
)
from attnbench.measure.audits.calls import audited, hand_out
from attnbench.measure.clock import ceilings, clock, gpu, memory
from attnbench.suite import Cell
from attnbench.workers.protocol import NOTHING_KEPT, OK, WRONG, Burst, Done, Prepared, Verified

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Binding
    from attnbench.backends.implementation import Implementation
    from attnbench.results.schema import Cache

# A call on an accelerator shorter than this is timed as a graph too: launching its kernels may take longer.
GRAPH_BELOW_NS = 100_000
# So many pairs of query and key the gate judges where a look is to be brief; the audit judges further ones.
BRIEF_PAIRS = 1 << 17


@dataclass(frozen=True)
class Live:
    """A cell that is bound and ready to be timed."""

    binding: Binding
    case: Case
    timed: dict[Cache, Timed]


@dataclass(frozen=True)
class Timed:
    """What a burst in one cache state calls, and how often."""

    run: Callable[[], Any]
    calls: int


class Bench:
    """The cells that live in a process, and its clocks. Every public operation answers a request.

    ``backend`` gives the adapter of the process; it is asked when an operation is called.
    """

    def __init__(self, backend: Callable[[], Backend]) -> None:
        self._backend = backend
        self._live: dict[str, Live] = {}
        self._clocks: dict[str, clock.Clock] = {}
        # The last result and the binding that gave it, until something else is asked.
        self._kept: tuple[Binding, Any] | None = None

    def operations(self) -> dict[str, Callable[..., Done]]:
        """The operations by their names in the protocol."""
        operations = (
            self.prepare,
            self.burst,
            self.steady,
            self.answer,
            self.audit,
            self.rest,
            self.verify,
            self.memory,
            self.weigh_ready,
            self.weigh_call,
            self.drop,
            self.ceilings,
        )
        return {operation.__name__: operation for operation in operations}

    def prepare(self, cell: dict[str, Any], gate: bool = True, brief: bool = False, calls: int = 0) -> Done:  # noqa: FBT001, FBT002
        """Load, check capabilities, draw, bind, call once, check agreement, calibrate; then the cell can be timed.

        If ``brief``, bursts are shorter, and agreement is checked in fewer pairs of query and key than usual. ``calls``
        is how many calls another process found that a burst takes.
        """
        planned, self._kept = Cell.from_dict(cell), None
        start = time.perf_counter()
        implementation = discover.load_implementation(planned.impl, planned.files)
        import_s = time.perf_counter() - start
        case, device = _case(planned), planned.device
        self._require(implementation, case, device)
        with nullcontext() if gate else accepted():
            binding = bind_case(self.backend, implementation, case, device)
            start = time.perf_counter()
            binding.result()
            first_call_s = time.perf_counter() - start
        ratio = None
        if gate:
            status, ratio, reason = agreement(binding, case, brief=brief)
            if status != OK:
                return status, reason or "disagrees with the oracle", {"error_ratio": ratio}
        with accepted():
            timed, warmups = self._calibrate(binding.run, device, calls, brief=brief)
        self._live[planned.id] = Live(binding, case, timed)
        prepared = Prepared(
            import_s=import_s,
            trace_s=binding.bound.trace_s,
            compile_s=binding.bound.compile_s,
            first_call_s=first_call_s,
            calls=next(iter(timed.values())).calls,
            error_ratio=ratio,
            warmups=[asdict(burst) for burst in warmups],
            states=list(timed),
            precision=exactness(implementation, case, device) if gate else None,
        )
        return OK, None, asdict(prepared)

    def _calibrate(
        self, run: Callable[[], Any], device: str, known: int = 0, *, brief: bool = False
    ) -> tuple[dict[Cache, Timed], list[Burst]]:
        """What is timed in each cache state; a short call on an accelerator also as a graph, where it can be one."""
        states: list[Cache] = ["none"] if device == "cpu" else ["hot", "cold"]
        runs: dict[Cache, Callable[[], Any]] = dict.fromkeys(states, run)
        timed: dict[Cache, Timed] = {}
        warmups: list[Burst] = []
        length = clock.BRIEFLY_ON_CPU if brief and device == "cpu" else None
        for state in states:
            calls, bursts = self._clock(device).calibrate(runs[state], state, length, known if device == "cpu" else 0)
            timed[state] = Timed(runs[state], calls)
            warmups += bursts
        last = warmups[-1]
        if device != "cpu" and last.wall_ns / last.calls < GRAPH_BELOW_NS:
            replay = self.backend.as_graph(run, device)
            if replay is not None:
                calls, bursts = self._clock(device).calibrate(replay, "graph")
                timed["graph"] = Timed(replay, calls)
                warmups += bursts
        return timed, warmups

    def _clock(self, device: str) -> clock.Clock:
        if device not in self._clocks:
            gauges = dict if device == "cpu" else gpu.open_gauges()
            self._clocks[device] = clock.clock_for(self.backend, device, gauges)
        return self._clocks[device]

    def burst(self, cell_id: str, calls: int = 0, cache: Cache | None = None) -> Done:
        """Time one burst of a prepared cell, in its first cache state if none is said."""
        live = self._live[cell_id]
        state: Cache = cache if cache is not None else next(iter(live.timed))
        timed = live.timed[state]
        self._kept, results = None, list[Any]()
        with accepted():
            measured = self._clock(live.binding.device).burst(timed.run, calls or timed.calls, state, results)
        self._kept = live.binding, results[0]
        return OK, None, asdict(measured)

    def steady(self, cell_id: str) -> Done:
        """Before an audit, when nothing more is timed that counts: freed memory stays, beside bursts and in audits."""
        del cell_id
        memory.keep_freed()
        return OK, None, {}

    def answer(self, cell_id: str, folder: str, name: str) -> Done:
        """Hand out what the last call of the burst before returned; which burst that is, nobody knows beforehand."""
        del cell_id
        return self._hand_out(Path(folder) / name)

    def audit(self, cell_id: str, folder: str, steps: list[str], ahead: bool, idle: bool) -> Done:  # noqa: FBT001
        """Call once for every step, on values that are in the folder; nanoseconds of each (``audits.calls``).

        ``idle``: do all but the calls, and hand out the last result each time.
        """
        live, kept = self._live[cell_id], self._kept
        if idle and kept is None:
            raise AttnbenchError(NOTHING_KEPT)
        self._kept = None
        with accepted():
            idle_result = kept[1] if idle and kept else None
            call_ns, binding, result = audited(live.binding, Path(folder), steps, ahead=ahead, idle=idle_result)
        self._kept = kept if idle else (binding, result)
        return OK, None, {"call_ns": call_ns}

    def rest(self, cell_id: str, folder: str, name: str) -> Done:
        """Hand out the last answer once more, now that the process has been at rest; time a call by a second clock."""
        live = self._live[cell_id]
        graph, binding = live.timed.get("graph"), live.binding
        done = self._hand_out(Path(folder) / name)
        with accepted():
            reason = None if graph is None else unlike(self.backend, graph.run(), binding.run())
            if reason is not None:
                return WRONG, reason, {}
            kernel_s = self.backend.kernel_time_s(binding.run, binding.device)
        return done if done[0] != OK else (OK, None, asdict(Verified(kernel_s)))

    def _hand_out(self, path: Path) -> Done:
        if self._kept is None:
            raise AttnbenchError(NOTHING_KEPT)
        hand_out(*self._kept, path)
        return OK, None, {}

    def call_of(self, cell_id: str) -> Callable[[], Any]:
        """One call of a prepared cell, for a clock that is not ours; the backend's ``wait`` belongs to it."""
        return next(iter(self._live[cell_id].timed.values())).run

    def verify(self, cell_id: str) -> Done:
        """Judge what the timed binding answers, after the clock; the cell cannot be timed any more."""
        from attnbench.agree.judge.verify import verify

        live, self._kept = self._live.pop(cell_id), None
        graph = live.timed.get("graph")
        binding = live.binding
        with accepted():
            reason = None if graph is None else unlike(self.backend, graph.run(), binding.run())
            reason = reason or verify(binding, live.case)
            if reason is not None:
                return WRONG, reason, {}
            kernel_s = self.backend.kernel_time_s(binding.run, binding.device)
        return OK, None, asdict(Verified(kernel_s))

    def memory(self, cell: dict[str, Any]) -> Done:
        """Peak memory of one call by this process's own account, after what ``weigh_ready`` does.

        So memory is measured on an accelerator, and where nobody else can tell.
        """
        binding = self._to_weigh(Cell.from_dict(cell))
        with accepted():
            return OK, None, asdict(memory.peak_of_call(binding, self._clock(binding.device).gauges))

    def weigh_ready(self, cell: dict[str, Any]) -> Done:
        """Make ready for one call whose memory is measured outside (``weighing``)."""
        planned = Cell.from_dict(cell)
        binding = self._to_weigh(planned)
        self._live[planned.id] = Live(binding, _case(planned), {})
        memory.settle(self.backend)
        return OK, None, {}

    def weigh_call(self, cell_id: str) -> Done:
        """Call once; what comes out is held until something else is asked."""
        binding = self._live[cell_id].binding
        with accepted():
            self._kept = binding, binding.result()
        return OK, None, dict(binding.bound.detail)

    def _to_weigh(self, cell: Cell) -> Binding:
        """A binding to a cell, after a small problem of the same kind has brought in what is loaded lazily."""
        self._kept = None
        self._live.clear()
        implementation = discover.load_implementation(cell.impl, cell.files)
        case, device = _case(cell), cell.device
        self._require(implementation, case, device)
        if self._missing(implementation, little := small(case), device) is None:
            with suppress(UnsupportedError):  # nobody has asked whether it takes the small one
                bind_case(self.backend, implementation, little, device).result()
        with accepted():
            return bind_case(self.backend, implementation, case, device)

    def ceilings(self, seconds: float, device: str, dtypes: list[str]) -> Done:
        """What this machine can do with the threads of this process, as far as this framework shows it."""
        return OK, None, asdict(ceilings.measure(self.backend, seconds, device, dtypes))

    def drop(self, cell_id: str) -> Done:
        """Forget a prepared cell."""
        self._kept = None
        self._live.pop(cell_id, None)
        return OK, None, {}

    @property
    def backend(self) -> Backend:
        """The adapter of this process."""
        return self._backend()

    def _missing(self, implementation: Implementation, case: Case, device: str) -> str | None:
        if device not in self.backend.devices():
            return device_not_there(device, self.backend.name, self.backend.devices())
        return implementation.unsupported(needs_of(case, device))

    def _require(self, implementation: Implementation, case: Case, device: str) -> None:
        if 0 in (case.problem.B, case.problem.Tq, case.problem.S, case.problem.Dv):
            msg = "there is nothing to compute: one of B, Tq, S, Dv is 0"
            raise NotDeclaredError(msg)
        if reason := self._missing(implementation, case, device):
            raise NotDeclaredError(reason)


def _case(cell: Cell) -> Case:
    if cell.case is None:
        msg = f"cell {cell.id} of suite {cell.suite!r} has no case: it is observed, not timed"
        raise AttnbenchError(msg)
    return cell.case


@contextmanager
def accepted() -> Iterator[None]:
    """Around calls of what has passed the gate: to refuse now what was taken there is a failure, and no refusal."""
    try:
        yield
    except UnsupportedError as error:
        if not is_refusal(error):
            raise
        msg = f"refused what it took at the gate: {refusal_of(error)}"
        raise UndeliveredError(msg) from error


def exactness(implementation: Implementation, case: Case, device: str) -> dict[str, Any]:
    """How exact its answers have to be (``Precision``), as data for whoever judges them elsewhere."""
    from attnbench.agree.judge.arithmetic import precision_of

    return asdict(precision_of(implementation, case.problem.dtype, device))


def agreement(binding: Binding, case: Case, *, brief: bool = False) -> tuple[str, float | None, str | None]:
    """What the agreement gate says of a binding: status, error ratio, reason."""
    from attnbench.agree.judge.gate import gate
    from attnbench.agree.judge.selection import Share

    share = Share(pairs=BRIEF_PAIRS) if brief else None
    result = gate(binding.backend, binding.implementation, case, binding.device, binding, share)
    if result.status == OK and result.error_ratio is None:
        return WRONG, None, "no number was compared, so nothing is known of its agreement"
    return result.status, result.error_ratio, result.reason


def unlike(backend: Backend, replayed: Any, called: Any) -> str | None:
    """Why the answer of a graph is not, bit for bit, that of the calls it was recorded from; ``None`` where it is."""
    backend.wait(called)
    again, first = (_arrays(backend, result) for result in (replayed, called))
    for name, array in first.items():
        if name not in again or not np.array_equal(again[name], array, equal_nan=True):
            return f"replayed as a graph, its {name} is another one"
    return None


def _arrays(backend: Backend, result: Any) -> dict[str, Any]:
    output, gradients = result if isinstance(result, tuple) else (result, {})
    native = dict(output.items()) | {f"gradient of {name}": array for name, array in gradients.items()}
    return {name: backend.to_numpy(array) for name, array in native.items()}
