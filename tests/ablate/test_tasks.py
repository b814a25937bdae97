"""Tasks: every example is a function of its seed, the splits share nothing, and the answers are right."""

import hashlib

import numpy as np
import pytest

from attnbench.ablate import tasks, training
from attnbench.errors import UsageError

RETRIEVAL = tasks.RetrievalTask()


def digest(batch: tasks.Batch) -> str:
    digest = hashlib.sha256()
    for name in sorted(batch):
        digest.update(name.encode() + np.ascontiguousarray(batch[name], "<i8").tobytes())
    return digest.hexdigest()[:16]


GOLDEN = {
    ("retrieval", "train"): "226089887452b37d",
    ("retrieval", "test"): "8fc0268b4f5596f9",
    ("copy", "train"): "a8dae31491fbf59d",
    ("reverse", "validation"): "7be3b806ac553678",
    ("sort", "test"): "7d613c878f22d5c6",
}


def drawn(kind: str, split: str, seed: int = 0) -> tasks.Batch:
    if kind == "retrieval":
        return RETRIEVAL.draw(seed, split, 100)
    return tasks.SequenceTask(kind).draw(seed, split, 100, 1, 20)


@pytest.mark.parametrize(("kind", "split"), GOLDEN)
def test_the_examples_are_those_of_their_seed_for_ever(kind: str, split: str) -> None:
    assert digest(drawn(kind, split)) == GOLDEN[kind, split]
    assert digest(drawn(kind, split, seed=1)) != GOLDEN[kind, split]


def test_retrieval_asks_for_the_value_beside_a_key() -> None:
    batch = RETRIEVAL.draw(3, "train", 200)
    for keys, values, query, target in zip(*(batch[n] for n in ("keys", "values", "query", "target")), strict=True):
        assert len(set(keys)) == RETRIEVAL.slots
        assert dict(zip(keys, values, strict=True))[query] == target
    assert batch["keys"].max() < RETRIEVAL.keys
    assert len(np.unique(batch["keys"].argmin(1))) == RETRIEVAL.slots  # no slot is special


@pytest.mark.parametrize(("kind", "expected"), [("copy", [3, 1, 2]), ("reverse", [2, 1, 3]), ("sort", [1, 2, 3])])
def test_the_answers_are_right(kind: str, expected: list[int]) -> None:
    source, lengths = np.array([[3, 1, 2, 0, 0], [5, 4, 0, 0, 0]]), np.array([3, 1])
    assert tasks.SequenceTask(kind).answer(source, lengths).tolist() == [[*expected, 0, 0], [5, 0, 0, 0, 0]]


@pytest.mark.parametrize("kind", ["copy", "reverse", "sort"])
def test_the_alignment_is_where_the_answer_comes_from(kind: str) -> None:
    task = tasks.SequenceTask(kind)
    batch = task.draw(0, "train", 50, 1, 9)
    places = task.alignment(batch["source"], batch["lengths"])
    counts = np.arange(9) < batch["lengths"][:, None]
    np.testing.assert_array_equal(np.take_along_axis(batch["source"], places, 1)[counts], batch["target"][counts])
    assert all(len(set(row[:n])) == n for row, n in zip(places, batch["lengths"], strict=True))
    uniform = np.full((50, 9, 9), 0.1)
    assert training.aligned_mass(uniform, places, batch["lengths"]) == pytest.approx(0.1)
    exact = np.eye(9)[places]
    assert training.aligned_mass(exact, places, batch["lengths"]) == 1.0


def test_lengths_are_those_asked_for_and_padding_is_behind_them() -> None:
    batch = tasks.SequenceTask("reverse").draw(0, "train", 500, 2, 9)
    assert set(batch["lengths"]) == set(range(2, 10))
    assert (batch["source"][np.arange(9) >= batch["lengths"][:, None]] == tasks.PADDING).all()


def contents(batch: tasks.Batch) -> set[tuple[int, ...]]:
    if "source" in batch:
        return {tuple(row[:n]) for row, n in zip(batch["source"], batch["lengths"], strict=True)}
    pairs = [sorted(zip(k, v, strict=True)) for k, v in zip(batch["keys"], batch["values"], strict=True)]
    return {(*tuple(np.ravel(pair)), int(q)) for pair, q in zip(pairs, batch["query"], strict=True)}


def test_no_example_is_in_two_splits_whatever_the_seed_and_the_padding() -> None:
    few = tasks.RetrievalTask(slots=2, keys=3, values=2)  # 36 different examples in all
    reverse = tasks.SequenceTask("reverse", symbols=4)
    splits = [
        (
            contents(few.draw(seed, split, 200)),
            contents(reverse.draw(seed, split, 300, 2, 4)) | contents(reverse.draw(seed, split, 300, 3, 9)),
        )
        for seed, split in enumerate(tasks.SPLITS)
    ]
    for task in (0, 1):
        first, second, third = (split[task] for split in splits)
        assert first
        assert second
        assert third
        assert not first & second
        assert not (first | second) & third


def test_the_order_of_the_slots_does_not_change_the_split() -> None:
    batch = RETRIEVAL.draw(0, "test", 64)
    at = np.array([int(np.flatnonzero(k == q)[0]) for k, q in zip(batch["keys"], batch["query"], strict=True)])
    turned = np.concatenate([batch["keys"][:, ::-1], batch["values"][:, ::-1], 15 - at[:, None]], 1)
    assert set(tasks.split_of(RETRIEVAL._content(turned))) == {tasks.SPLITS.index("test")}


def test_splits_have_their_shares() -> None:
    places = tasks.split_of(np.arange(20000)[:, None])
    np.testing.assert_allclose(np.bincount(places) / 20000, [0.8, 0.1, 0.1], atol=0.01)


def test_batches_are_in_order_and_whole() -> None:
    data = RETRIEVAL.draw(0, "train", 10)
    cut = tasks.batches(data, 4)
    assert len(cut) == 2
    assert cut[1]["target"].tolist() == data["target"][4:8].tolist()


def test_what_does_not_exist_is_said() -> None:
    with pytest.raises(UsageError, match="task 'revers' is not one of copy, reverse, sort"):
        tasks.SequenceTask("revers")
    with pytest.raises(UsageError, match="split 'dev' is not one of train, validation, test"):
        RETRIEVAL.draw(0, "dev", 1)
    with pytest.raises(UsageError, match="at most 64 symbols long; asked for 70"):
        tasks.SequenceTask("copy").draw(0, "train", 1, 70, 70)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_an_example_is_refused_and_not_drawn_for_ever(split: str) -> None:
    # The only sequence of one symbol belongs to the test.
    task = tasks.SequenceTask("copy", symbols=1)
    assert len(task.draw(0, "test", 3, 1, 1)["source"]) == 3
    with pytest.raises(UsageError, match=rf"the split '{split}' holds no example of this task.*more symbols"):
        task.draw(0, split, 3, 1, 1)


@pytest.mark.parametrize("count", [0, -1])
def test_no_examples_at_all_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"asked for {count} examples of the split 'train'"):
        RETRIEVAL.draw(0, "train", count)
