"""Alignment and its controls: what is perfect, what is chance, what moves forward and what backward."""

from typing import Any

import numpy as np
import pytest

from attnbench.ablate import aligned, tasks

LENGTH, COUNT = 8, 40
LENGTHS = np.full(COUNT, LENGTH)


def perfect(kind: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All the weight on the right place, in two more columns and rows than there are symbols."""
    batch = tasks.SequenceTask(kind).draw(0, "test", COUNT, LENGTH, LENGTH)
    places = tasks.SequenceTask(kind).alignment(batch["source"], batch["lengths"])
    weights = np.pad(np.eye(LENGTH)[places], ((0, 0), (0, 2), (0, 2)))
    return weights, np.pad(places, ((0, 0), (0, 2)))


@pytest.mark.parametrize(("kind", "direction"), [("copy", 1.0), ("reverse", -1.0)])
def test_a_perfect_alignment_and_its_controls(kind: str, direction: float) -> None:
    metrics = aligned.with_controls("x", *perfect(kind), LENGTHS, seed=0)
    assert metrics["aligned.x"] == metrics["near.x"] == 1.0
    assert metrics["aligned_uniform.x"] == pytest.approx(1 / LENGTH, abs=1e-12)
    assert metrics["aligned_permuted.x"] == pytest.approx(1 / LENGTH, abs=0.06)
    assert metrics["aligned_other.x"] == 1.0  # the order is the same in every example
    assert metrics["monotone.x"] == direction
    assert abs(metrics["monotone_permuted.x"]) < 0.15


def test_an_order_that_follows_the_content_is_not_that_of_another_example() -> None:
    metrics = aligned.with_controls("x", *perfect("sort"), LENGTHS, seed=0)
    assert metrics["aligned.x"] == 1.0
    assert metrics["aligned_other.x"] < 0.4


def test_a_neighbour_is_near_and_not_at_the_place() -> None:
    weights, places = perfect("copy")
    metrics = aligned.with_controls("x", np.roll(weights, 1, -1), places, LENGTHS, seed=0)
    assert metrics["aligned.x"] == 0.0
    assert metrics["near.x"] == 1.0


def test_uniform_weights_have_no_order() -> None:
    weights, places = perfect("copy")
    flat = aligned.uniform(weights, LENGTHS)
    assert aligned.with_controls("x", flat, places, LENGTHS, seed=0)["monotone.x"] == 0.0
    np.testing.assert_allclose(flat.sum(-1), 1.0)


def test_a_permutation_keeps_every_row_that_counts_and_leaves_the_rest() -> None:
    weights = np.random.default_rng(0).random((3, 6, 4))
    outputs = np.array([6, 4, 0])
    mixed = aligned.permuted(weights, outputs, seed=1)
    assert not np.array_equal(mixed, weights)
    for example, other, count in zip(weights, mixed, outputs, strict=True):
        np.testing.assert_array_equal(example[count:], other[count:])
        assert sorted(map(tuple, example)) == sorted(map(tuple, other))
    np.testing.assert_array_equal(mixed, aligned.permuted(weights, outputs, seed=1))


def test_examples_with_one_output_have_no_order() -> None:
    assert aligned.monotone(np.ones((2, 3, 3)), np.array([1, 0])) == 0.0
