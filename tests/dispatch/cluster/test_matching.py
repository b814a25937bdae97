"""Which block goes to which worker."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from attnbench.dispatch.cluster.fitting import FittingNumbers
from attnbench.dispatch.cluster.matching import Hand, LostHand, WaitingBlocks, lacks
from attnbench.dispatch.cluster.messages import WorkerAbout
from attnbench.dispatch.records import BlockNeeds, HeldVersions

HELD = HeldVersions(attnbench="1", code="1", python="1")
GIB = 2**30


def hand(name: str, machine: str = "", **about: Any) -> Hand:
    place = (machine or name).encode().hex().ljust(12, "0")[:12]
    known = {"processors": 4, "memory_bytes": 8 * GIB} | about
    return Hand(name, name, WorkerAbout(held=HELD, machine=place, lock="lock", **known))


def needs(**changes: Any) -> BlockNeeds:
    return BlockNeeds(**({"device": "cpu", "threads": 1} | changes))


def waiting(*many: BlockNeeds) -> WaitingBlocks:
    blocks = WaitingBlocks()
    for number, needed in enumerate(many):
        blocks.add(number, needed)
    return blocks


def test_what_is_lacking_is_named() -> None:
    worker = hand("w", labels={"rack": "7"}, missing=("torch",), processors=2).about
    assert lacks(needs(labels={"rack": "7"}), worker) == []
    assert lacks(needs(device="cuda"), worker) == ["no GPU"]
    assert lacks(needs(threads=4), worker) == ["2 of 4 processors"]
    assert lacks(needs(packages=("numpy", "torch")), worker) == ["no package torch"]
    assert lacks(needs(labels={"rack": "8", "gpu": "h100"}), worker) == ["no label gpu", "rack=7"]
    assert lacks(needs(memory_bytes=9 * GIB), worker) == ["8.00 GiB of 9.00 GiB of memory"]
    assert lacks(needs(device="cuda"), hand("g", gpus=("H100",)).about) == []


def test_blocks_go_out_in_order_and_to_whom_they_fit() -> None:
    blocks = waiting(needs(), needs(labels={"gpu": "h100"}), needs(), needs(memory_bytes=9 * GIB))
    small, large = hand("small"), hand("large", labels={"gpu": "h100"}, memory_bytes=90 * GIB)
    both = [small, large]
    assert blocks.stranded([small]) == [1, 3]
    assert blocks.stranded(both) == []
    assert blocks.take(large, both) == 1  # what fewer workers can measure comes first
    assert [blocks.take(small, both), blocks.take(small, both), blocks.take(small, both)] == [0, 2, None]
    assert blocks.take(large, both) == 3
    assert len(blocks) == 0


def test_a_block_that_lost_a_worker_goes_as_far_from_it_as_it_can() -> None:
    blocks = waiting(needs())
    first, beside, other = hand("first", "one"), hand("beside", "one"), hand("other", "two")
    everybody = [first, beside, other]
    blocks.lost[0] = [LostHand(first, "was lost")]
    assert [blocks.may_have(0, each, everybody) for each in everybody] == [False, False, True]
    assert [blocks.may_have(0, each, [first, beside]) for each in everybody[:2]] == [False, True]
    assert blocks.may_have(0, first, [first])  # there is no other
    assert blocks.take(beside, everybody) is None
    assert blocks.take(other, everybody) == 0


def test_who_refused_a_block_is_not_given_it_again() -> None:
    blocks = waiting(needs())
    first, other = hand("first"), hand("other")
    blocks.refused[0] = {first.slot: "no"}
    assert blocks.take(first, [first, other]) is None
    assert blocks.stranded([first]) == [0]
    blocks.drop([0])
    assert (len(blocks), blocks.take(other, [other])) == (0, None)


def test_many_blocks_and_workers_take_little_time() -> None:
    kinds = [needs(labels={"gpu": f"g{kind}"}) for kind in range(10)]
    blocks = waiting(*(kinds[number % 10] for number in range(20_000)))
    hands = [hand(f"w{number}", labels={"gpu": f"g{number % 10}"}) for number in range(1000)]
    began = time.process_time()
    taken = [blocks.take(hands[number % 1000], hands) for number in range(20_000)]
    assert sorted(number for number in taken if number is not None) == list(range(20_000))
    assert (time.process_time() - began) / 20_000 < 0.005


def test_workers_with_little_memory_pass_over_large_blocks_at_once() -> None:
    blocks = waiting(*(needs(memory_bytes=16 * GIB + number) for number in range(20_000)), needs())
    hands = [hand(f"w{number}") for number in range(500)]
    began = time.process_time()
    assert blocks.take(hands[0], hands) == 20_000
    assert [blocks.take(each, hands) for each in hands] == [None] * 500
    assert blocks.stranded(hands) == list(range(20_000))
    assert time.process_time() - began < 1


def test_a_block_that_comes_back_keeps_its_place_among_all_sizes() -> None:
    blocks = waiting(*(needs(memory_bytes=(1 + number % 2) * GIB) for number in range(6)))
    worker = hand("w")
    assert [blocks.take(worker, [worker]) for _ in range(3)] == [0, 1, 2]
    blocks.put_back(2)
    blocks.put_back(0)
    assert (list(blocks), blocks.needs(0).memory_bytes) == ([0, 2, 3, 4, 5], GIB)
    assert [blocks.take(worker, [worker]) for _ in range(6)] == [0, 2, 3, 4, 5, None]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.lists(st.tuples(st.booleans(), st.integers(0, 39), st.integers(0, 6)), max_size=60),
)
def test_the_first_that_fits_is_the_one_that_a_plain_search_has(sizes: list[int], steps: Any) -> None:
    numbers, plain = FittingNumbers(), dict(enumerate(sizes))
    for number, memory in plain.items():
        numbers.add(number, memory)
    for back, number, memory in steps:
        if back and number < len(sizes):
            numbers.put_back(number)
            plain[number] = sizes[number]
        fit = sorted(number for number, needed in plain.items() if needed <= memory)
        assert list(numbers.fitting(memory)) == fit
        if fit:
            numbers.take(fit[0])
            del plain[fit[0]]
        assert (len(numbers), dict(numbers)) == (len(plain), plain)
