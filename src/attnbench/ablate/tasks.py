"""Tasks to learn: copy, reverse, sort, and retrieval from slots. Every example is a function of a seed and a name.

An example belongs to the training, the validation or the test split by a hash of its own content: what was seen in
training can never be asked in a test, whatever the seeds. Each split and each operand has a random stream of its own,
so that two arms with the same seed see the same examples in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream
from attnbench.errors import UsageError, not_one_of

Batch = dict[str, Array]

SPLITS = ("train", "validation", "test")
# Of ten hashes eight are trained on, one validates, one tests.
HASHES, VALIDATION, TEST = 10, 8, 9
# After so many examples in a row of which none belongs to a split, it is taken to hold none.
IN_VAIN = 100_000
# Padding of a sequence; outside every vocabulary, and never read as an index below the lengths.
PADDING = 0


def split_of(content: Array) -> Array:
    """The split of each row of integers (n, m): 0 train, 1 validation, 2 test; (n,).

    A polynomial hash over the row, mixed by SplitMix64's finaliser: the same in every process and on every machine.
    """
    mixed = np.full(len(content), 0x9E3779B97F4A7C15, np.uint64)
    for column in np.ascontiguousarray(content, np.uint64).T:
        mixed = _mix(mixed * np.uint64(0x100000001B3) + column + np.uint64(1))
    place = (mixed % np.uint64(HASHES)).astype(np.int64)
    return np.where(place == TEST, 2, np.where(place == VALIDATION, 1, 0))


def _mix(x: Array) -> Array:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _wanted(split: str) -> int:
    if split not in SPLITS:
        raise UsageError(not_one_of("split", split, SPLITS))
    return SPLITS.index(split)


def _until(count: int, split: str, draw: Callable[[int], Array], content: Callable[[Array], Array]) -> Array:
    """``count`` rows of the split, drawn and thrown away until there are enough. ``draw(n)`` gives n more rows."""
    wanted, kept, have, in_vain = _wanted(split), [], 0, 0
    if count < 1:
        raise UsageError(f"asked for {count} examples of the split {split!r}: ask for 1 at least")
    share = {"train": VALIDATION, "validation": 1, "test": 1}[split] / HASHES
    while have < count:
        rows = draw(int((count - have) / share * 1.1) + 16)
        belonging = rows[split_of(content(rows)) == wanted]
        kept.append(belonging)
        have += len(belonging)
        in_vain = 0 if len(belonging) else in_vain + len(rows)
        if in_vain >= IN_VAIN:
            raise UsageError(
                f"the split {split!r} holds no example of this task: of the {in_vain:,} drawn last, none belongs to "
                "it. A task needs more different examples to fill all splits: take longer sequences, or more symbols, "
                "keys or slots"
            )
    return np.concatenate(kept)[:count]


@dataclass(frozen=True)
class RetrievalTask:
    """``slots`` pairs of a key and a value, and one of the keys as the question; its value is the answer.

    The keys of an example differ from each other; values may repeat. Two examples with the same pairs in another
    order are the same for the split. Arrays: ``keys`` and ``values`` (n, slots), ``query`` and ``target`` (n,), int64.
    With ``questions`` above 1 so many keys are asked for at once, in an order that counts: ``query`` and ``target`` are
    (n, questions).
    """

    slots: int = 16
    keys: int = 64
    values: int = 32
    questions: int = 1

    def draw(self, seed: int, split: str, count: int) -> Batch:
        """``count`` examples of a split."""
        streams = [stream(seed, f"retrieval.{split}.{name}") for name in ("keys", "values", "query")]

        def rows(n: int) -> Array:
            # A whole stable sort: what a partition leaves in which order depends on the processor.
            order = streams[0].random((n, self.keys)).argsort(-1, kind="stable")[:, : self.slots]
            values = streams[1].integers(0, self.values, (n, self.slots))
            return np.concatenate([order, values, streams[2].integers(0, self.slots, (n, self.questions))], 1)

        drawn = _until(count, split, rows, self._content)
        keys, values, slots = np.split(drawn, [self.slots, 2 * self.slots], 1)
        query, target = (np.take_along_axis(array, slots, 1) for array in (keys, values))
        if self.questions == 1:
            query, target = query[:, 0], target[:, 0]
        return {"keys": keys, "values": values, "query": query, "target": target}

    def _content(self, rows: Array) -> Array:
        keys, values, slots = np.split(rows, [self.slots, 2 * self.slots], 1)
        order = keys.argsort(-1)
        query = np.take_along_axis(keys, slots, 1)
        return np.concatenate([np.take_along_axis(keys, order, 1), np.take_along_axis(values, order, 1), query], 1)


ANSWERS: dict[str, Callable[[Array], Array]] = {
    "copy": lambda source: source,
    "reverse": lambda source: source[:, ::-1],
    "sort": lambda source: np.sort(source, -1),
}


@dataclass(frozen=True)
class SequenceTask:
    """Copy, reverse or sort a sequence over ``symbols`` symbols.

    Arrays: ``source`` and ``target`` (n, longest), padded with 0 behind the ``lengths`` (n,); int64. The source is
    what the split goes by.
    """

    kind: str = "reverse"
    symbols: int = 16

    def __post_init__(self) -> None:
        if self.kind not in ANSWERS:
            raise UsageError(not_one_of("task", self.kind, ANSWERS))

    def draw(self, seed: int, split: str, count: int, shortest: int, longest: int) -> Batch:
        """``count`` examples of a split with lengths from ``shortest`` to ``longest``, each equally likely."""
        kind = f"sequence.{split}.{shortest}-{longest}"
        lengths_stream, symbols_stream = (stream(seed, f"{kind}.{name}") for name in ("lengths", "symbols"))

        def rows(n: int) -> Array:
            lengths = lengths_stream.integers(shortest, longest + 1, (n, 1))
            symbols = symbols_stream.integers(0, self.symbols, (n, longest))
            return np.concatenate([lengths, np.where(np.arange(longest) < lengths, symbols, PADDING)], 1)

        drawn = _until(count, split, rows, _unpadded)
        lengths, source = drawn[:, 0], drawn[:, 1:]
        return {"source": source, "lengths": lengths, "target": self.answer(source, lengths)}

    def answer(self, source: Array, lengths: Array) -> Array:
        """The right answers, padded like the source."""
        target = np.full_like(source, PADDING)
        for length in np.unique(lengths):
            rows = lengths == length
            target[rows, :length] = ANSWERS[self.kind](source[rows, :length])
        return target

    def alignment(self, source: Array, lengths: Array) -> Array:
        """Where in the source each symbol of the answer comes from, (n, longest); the first place for equal symbols."""
        places = np.zeros_like(source)
        for length in np.unique(lengths):
            rows = lengths == length
            symbols = source[rows, :length]
            order = symbols.argsort(-1, kind="stable") if self.kind == "sort" else np.arange(length)
            places[rows, :length] = order[::-1] if self.kind == "reverse" else order
        return places


# A sequence hashes alike however far it is padded.
LONGEST = 64


def _unpadded(rows: Array) -> Array:
    wide = np.zeros((len(rows), LONGEST + 1), rows.dtype)
    if rows.shape[1] > wide.shape[1]:
        msg = f"sequences are at most {LONGEST} symbols long; asked for {rows.shape[1] - 1}"
        raise UsageError(msg)
    wide[:, : rows.shape[1]] = rows
    return wide


def batches(data: Batch, size: int) -> list[Batch]:
    """The examples in order, ``size`` at a time; a rest that fills no batch is left out."""
    count = len(next(iter(data.values()))) // size
    return [{name: array[i * size : (i + 1) * size] for name, array in data.items()} for i in range(count)]
