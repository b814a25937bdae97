"""Memory of both sides: fresh processes, more of them where they leave a question, and who cannot tell its peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from attnbench.comparing.live import weigh
from attnbench.live.pair import PairedEffort
from attnbench.measure.audits.auditor import Audited
from attnbench.suite import Cell
from attnbench.workers.protocol import Reply
from tests.live.test_pairs import World, measure


def test_memory_is_measured_three_times_on_each_side_in_fresh_processes() -> None:
    world = World()
    outcome, _ = measure(world, wanted=1, effort=PairedEffort(quads=1))
    (state,) = outcome.states
    assert state.memory == {"A": [10 * 2**20] * 3, "B": [10 * 2**20] * 3}
    assert len(world.settings) == 2 + 6


def peaks(world: World, side: str, *values: float | None) -> None:
    """Let a side say so of its memory, one process after the other; the last value from then on."""
    world.answers[side, "memory"] = lambda number, _: Reply(
        0, "ok", value={"peak_bytes": values[min(number, len(values) - 1)], "source": "not measured: here"}
    )


def test_memory_that_leaves_a_question_is_weighed_again_after_every_cell_had_its_first() -> None:
    world = World()
    questions: list[tuple[int, int]] = []

    def doubtful(a: Sequence[int], b: Sequence[int]) -> bool:
        questions.append((len(a), len(b)))
        return len(questions) == 1

    outcome, _ = measure(world, cells=2, wanted=1, effort=PairedEffort(quads=1), doubtful=doubtful)
    assert questions == [(3, 3), (3, 3)]
    assert sorted(len(state.memory[name]) for state in outcome.states for name in ("A", "B")) == [3, 3, 6, 6]


@pytest.mark.parametrize(
    ("a", "b", "unknown"),
    [((None,), (None,), ("A", "B")), ((2**20,), (None,), ("B",)), ((2**20,), (2**20, None), ("B",))],
)
def test_who_cannot_tell_its_memory_is_named(
    a: tuple[int | None, ...], b: tuple[int | None, ...], unknown: tuple[str, ...]
) -> None:
    world = World()
    peaks(world, "A", *a)
    peaks(world, "B", *b)
    (state,) = measure(world, wanted=1, effort=PairedEffort(quads=1))[0].states
    assert state.memory_unknown == unknown
    assert len(state.memory["A"]) == len(state.memory["B"]), "half a weighing is none"
    memory = weigh(state.memory["A"], state.memory["B"], state.memory_reason, state.memory_status, state.memory_unknown)
    assert memory.verdict == ("not-measured" if len(unknown) == 2 else "not-comparable")


@pytest.mark.parametrize("peak", [math.nan, -1, "1 MiB"])
def test_memory_that_is_no_number_of_bytes_is_not_comparable(peak: Any) -> None:
    world = World()
    peaks(world, "B", peak)
    (state,) = measure(world, wanted=1, effort=PairedEffort(quads=1))[0].states
    assert (state.memory_status, state.memory) == ("not-comparable", {"A": [], "B": []})
    memory = weigh([], [], state.memory_reason, state.memory_status)
    assert (memory.verdict, memory.status) == ("not-comparable", "ok")


class Judge:
    """An auditor whose judge finds what one process hands out wrong."""

    def __init__(self, world: World, wrong: str | None) -> None:
        self._world, self._wrong, self.asked = world, wrong, list[str]()

    def audit(self, *_: Any) -> Audited:
        return Audited()

    def answered(self, cell: Cell, _precision: Any, ask: Callable[..., Reply]) -> Reply | None:
        assert ask("answer", folder="there", name="last").ok
        side, _, arguments = self._world.log[-1]
        assert arguments["cell_id"] == cell.id
        self.asked.append(side)
        return Reply(0, "wrong", "output: is 0 where the oracle is 1") if side == self._wrong else None


@pytest.mark.parametrize(("wrong", "status"), [(None, "ok"), ("A", "wrong"), ("B", "wrong")])
def test_the_answer_of_the_call_that_was_weighed_is_judged(wrong: str | None, status: str) -> None:
    world = World()
    for side in ("A", "B"):
        world.answers[side, "prepare"] = lambda _, __: Reply(0, "ok", value=world.prepared | {"precision": {}})
        world.answers[side, "answer"] = lambda _, __: Reply(0, "ok")
    judge: Any = Judge(world, wrong)
    (state,) = measure(world, wanted=1, effort=PairedEffort(quads=1), auditor=judge)[0].states
    assert state.memory_status == status
    if wrong is None:
        assert judge.asked == ["A", "B"] * 3
        return
    reason = f"{wrong}: output: is 0 where the oracle is 1"
    assert (state.memory_reason, state.memory) == (reason, {"A": [], "B": []})
    assert weigh([], [], state.memory_reason, state.memory_status).status == "wrong"
