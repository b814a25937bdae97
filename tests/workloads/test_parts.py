"""What a mix becomes: calls of one sequence, padded and packed calls of several, and that these compute the same."""

from collections.abc import Iterator

import numpy as np
import pytest

import attnbench as ab
from attnbench.attention.call import Operands
from attnbench.attention.inputs import draw
from attnbench.attention.problem import Case, Problem
from attnbench.attention.shapes import shape
from attnbench.backends import discover
from attnbench.errors import SpecError, UsageError
from attnbench.suite import TimedSuite
from attnbench.workloads.asked_for import workload
from attnbench.workloads.parts import PACKED, PADDED, WAYS, ServedPart, case_of, part, parts, ways

MIX = "3x 1q20, 2x 1q33, 2x 3q20, 1x 4q30, 2x 24q24, 1x 18q18, 1x 20q40, 1x 17q30"
CAUSAL = shape("h8-2-d128-causal")


def batches(text: str = MIX) -> Iterator[ServedPart]:
    """Its parts of several sequences."""
    yield from (mine for mine in parts(workload(text)) if not mine.single)


@pytest.mark.parametrize("text", [MIX, "8x 2q2k, 120x 1q4k, 4x 512q4k", "1x 1q1", "1000x 19q19"])
def test_parts_are_written_and_read_again(text: str) -> None:
    mix = workload(text)
    for mine in parts(mix):
        assert part(str(mine)) == mine
    for kind, items in mix.kinds().items():
        wanted = sum(item.count for item in items)
        assert sum(mine.sequences for mine in parts(mix) if mine.kind == kind and mine.single) == wanted
        assert [mine.sequences for mine in parts(mix) if mine.kind == kind and not mine.single] in ([wanted], [])


@pytest.mark.parametrize("text", ["1q4k", "0x 1q4k", "2x (1q4k", "2x (1x 1q4k + 1x 64q64)", "2x ()", "x 1q1"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"part of a workload|an item is|a count of 0"):
        part(text)


def expected(case: Case, operands: Operands) -> list[np.ndarray]:
    """The answer of each sequence by itself: the last queries of its own keys, causal at the bottom right."""
    spec = ab.AttentionSpec(causal=True, align="bottom_right")
    answers, q_from, kv_from = [], 0, 0
    for b, (queries, keys) in enumerate(case.problem.sequences):
        packed = "segments" in case.problem.operands
        at, q_at, kv_at = (0, q_from, kv_from) if packed else (b, 0, 0)
        q = operands.q[at : at + 1, :, q_at : q_at + queries]
        k, v = (array[at : at + 1, :, kv_at : kv_at + keys] for array in (operands.k, operands.v))
        answers.append(ab.attend(q, k, v, impl="numpy/naive", spec=spec).output[0])
        q_from, kv_from = q_from + queries, kv_from + keys
    return answers


@pytest.mark.parametrize("way", [PADDED, PACKED])
def test_a_call_of_several_computes_what_their_own_calls_compute(way: str) -> None:
    seen = 0
    for mine in batches():
        case = case_of(mine, way, CAUSAL, "float64")
        if case is None:
            assert way == PACKED
            assert mine.kind in ("verify", "chunk")
            continue
        operands = draw(case.spec, case.problem)
        known = {name: getattr(operands, name) for name in ("q_lengths", "kv_lengths", "q_segments", "kv_segments")}
        given = {name: array for name, array in known.items() if array is not None}
        out = ab.attend(operands.q, operands.k, operands.v, impl="numpy/naive", spec=case.spec, **given).output
        start = 0
        for b, ((queries, _), answer) in enumerate(zip(case.problem.sequences, expected(case, operands), strict=True)):
            got = out[0, :, start : start + queries] if way == PACKED else out[b, :, :queries]
            np.testing.assert_allclose(got, answer, rtol=1e-9, atol=1e-12)
            start += queries
        seen += 1
    assert seen == (4 if way == PADDED else 2)


def test_equal_sequences_are_a_plain_batch_and_single_calls_those_of_the_shape() -> None:
    (mine,) = batches("4x 1q64")
    case = case_of(mine, PADDED, CAUSAL, "float32")
    assert case is not None
    assert (case.problem.B, case.problem.operands, case.problem.sequences) == (4, ("past",), ())
    (single, _) = parts(workload("4x 1q64"))
    assert case_of(single, "each", CAUSAL, "float32") == CAUSAL.case(64, phase="decode")
    (prompt,) = parts(workload("64q64"))
    assert case_of(prompt, "each", CAUSAL, "float32") == CAUSAL.case(64)
    assert [way for way in WAYS if case_of(single, way, CAUSAL, "float32")] == list(ways(single)) == ["each"]


def test_shapes_keep_what_they_are() -> None:
    (mine,) = batches("2x 1q64, 2x 1q100")
    local = shape("gemma-2-9b/local")
    case = case_of(mine, PADDED, local, "float32")
    assert case is not None
    assert (case.spec.window, case.spec.softcap, case.spec.align) == (local.spec.window, local.softcap, "bottom_right")
    assert case_of(mine, PACKED, local, "float32") is None  # each would need an offset of its own
    (prompts,) = batches("2x 64q64, 2x 32q32")
    assert case_of(prompts, PACKED, local, "float32") is not None


def test_the_installed_suite_is_an_example_that_can_be_laid_out() -> None:
    suite = discover.suite("workload")
    assert isinstance(suite, TimedSuite)
    cases = list(suite.cases())
    assert {point["way"] for point, _ in cases} == set(WAYS)
    assert len({case.id for _, case in cases}) == len(cases)


def blocks_of(mix: str, shape_name: str) -> dict[str, set[str]]:
    """The blocks of each kind of sequence, as a run of the mix has them."""
    served = workload(mix)
    levels = {"mix": (served.level,), "part": tuple(map(str, parts(served))), "shape": (shape_name,)}
    suite = discover.suite("workload").with_axes(levels)
    by_kind: dict[str, set[str]] = {}
    for point, _ in suite.cases():
        by_kind.setdefault(part(point["part"]).kind, set()).add(suite.block_of(point, "cpu", 1))
    return by_kind


def test_all_ways_of_calling_a_kind_stand_in_one_block() -> None:
    known = blocks_of(MIX, "h4-d64-causal")
    assert {kind: len(blocks) for kind, blocks in known.items()} == dict.fromkeys(workload(MIX).kinds(), 1)
    assert len(set.union(*known.values())) == len(known)


def test_what_would_be_too_much_at_once_stands_in_blocks_of_its_parts() -> None:
    known = blocks_of("200x 1q7k, 100x 1q5k, 1x 64q64", "llama-3-8b")
    assert {kind: len(blocks) for kind, blocks in known.items()} == {"decode": 3, "prompt": 1}


def test_sequences_of_a_problem_are_checked_and_leave_old_ids_alone() -> None:
    assert Problem().id == "56d59dda5f91"  # as in runs from before there were sequences
    assert "sequences" not in Problem().to_dict()
    mine = Problem(B=2, Tq=4, S=8, operands=("kv_lengths",), sequences=((1, 3), (4, 8)))
    assert Problem.from_dict(mine.to_dict()) == mine
    with pytest.raises(SpecError, match="pairs of whole numbers from 1 on"):
        Problem(sequences=((0, 3),))
