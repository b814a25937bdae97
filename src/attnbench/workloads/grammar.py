"""The words of a workload: ``120x 1q4k`` is 120 sequences, each of which asks 1 query over 4,096 keys.

An item is ``[COUNTx] QUERIESqKEYS``; items stand between commas. A ``k`` behind either number is 1,024, as people who
serve models write it (elsewhere in attnbench ``4k`` is 4,000). ``KEYS`` counts all keys that the queries are asked
over, those of the new tokens among them, so that it is never below ``QUERIES``: ``512q4k`` are 512 new tokens behind
3,584 in a cache, and ``2kq2k`` is a prompt of 2,048 tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from attnbench.attention.spec import FARTHEST
from attnbench.errors import UsageError

K = 1024
MOST_COUNT = 10**12
# Decoding steps ask one query; where a draft of some tokens is verified at once, as many as it has, and one more.
FEW = 16
PREFILL, DECODE = "prefill", "decode"
STAGES = (PREFILL, DECODE)
ITEM = re.compile(
    r"(?:(?P<count>\d[\d_]{0,23})\s*[x×*]\s*)?(?P<queries>\d[\d_]{0,23}k?)q(?P<keys>\d[\d_]{0,23}k?)",
    re.IGNORECASE | re.ASCII,
)
FORM = "an item is [COUNTx] QUERIESqKEYS, such as 120x 1q4k: 120 sequences, 1 query over 4,096 keys each"


@dataclass(frozen=True, order=True)
class Stretch:
    """What one sequence asks in one step: so many queries, which are its last tokens, over so many keys."""

    queries: int
    keys: int

    @property
    def kind(self) -> str:
        """``decode``, ``verify`` (some tokens at once over a cache), ``prompt`` (a whole one) or ``chunk`` of one."""
        if self.queries == 1:
            return "decode"
        if self.queries == self.keys:
            return "prompt"
        return "verify" if self.queries <= FEW else "chunk"

    @property
    def stage(self) -> str:
        """``decode`` for at most 16 new tokens over a cache, ``prefill`` for everything else."""
        return DECODE if self.kind in ("decode", "verify") else PREFILL

    @property
    def pairs(self) -> int:
        """Pairs of query and key, as causality leaves them."""
        return self.queries * self.keys - self.queries * (self.queries - 1) // 2

    def __str__(self) -> str:
        return f"{_short(self.queries)}q{_short(self.keys)}"

    def words(self) -> str:
        """For people, such as ``1 query over 4,096 keys, decode``."""
        queries = "1 query" if self.queries == 1 else f"{self.queries:,} queries"
        keys = "1 key" if self.keys == 1 else f"{self.keys:,} keys"
        cached = self.keys - self.queries
        said = {
            "decode": "decode",
            "verify": f"decode, {self.queries} tokens at once",
            "prompt": "prefill of a whole prompt",
            "chunk": f"prefill behind {cached:,} cached token{'s' if cached > 1 else ''}",
        }
        return f"{queries} over {keys}, {said[self.kind]}"


@dataclass(frozen=True)
class Counted:
    """So many sequences that ask alike."""

    count: int
    stretch: Stretch

    def __str__(self) -> str:
        return f"{self.count}x {self.stretch}"

    def words(self) -> str:
        """For people, such as ``120 sequences: 1 query over 4,096 keys, decode``."""
        number = "1 sequence" if self.count == 1 else f"{self.count:,} sequences"
        return f"{number}: {self.stretch.words()}"


def _short(number: int) -> str:
    return f"{number // K}k" if number >= K and not number % K else str(number)


def items(text: str) -> tuple[Counted, ...]:
    """The items of a mix, in their order. Raises ``UsageError``, in one line that marks the place."""
    if not text.strip():
        msg = f"an empty workload: nothing is served. {FORM[0].upper()}{FORM[1:]}"
        raise UsageError(msg)
    parts = text.split(",")
    return tuple(_item(parts, number) for number in range(len(parts)))


def _item(parts: list[str], number: int) -> Counted:
    text = parts[number].strip()

    def fail(why: str) -> NoReturn:
        marked = ",".join([*parts[:number], f" >>>{text}<<<"[not number :], *parts[number + 1 :]])
        msg = f"workload {marked}: {why}"
        raise UsageError(msg)

    match = ITEM.fullmatch(text)
    if match is None:
        fail(_hint(text))
    try:
        return counted(match["count"] or "1", match["queries"], match["keys"])
    except UsageError as error:
        fail(str(error))


def counted(count: str | int, queries: str | int, keys: str | int) -> Counted:
    """An item from its numbers, or from them as they are written. Raises ``UsageError``."""
    many, first, all_of_them = (_number(text) for text in (count, queries, keys))
    if not 1 <= many <= MOST_COUNT:
        msg = f"a count of {many:,}: counts are whole numbers from 1 to 10**12; leave out what is not served"
        raise UsageError(msg)
    if first < 1:
        msg = "no query asks nothing; a sequence has 1 query or more"
        raise UsageError(msg)
    if first > all_of_them:
        msg = (
            f"{first:,} queries over {all_of_them:,} keys: keys count the new tokens too, so they are {first:,} or more"
        )
        raise UsageError(msg)
    if all_of_them > FARTHEST:
        msg = f"{all_of_them:,} keys: a sequence has at most 2**30"
        raise UsageError(msg)
    return Counted(many, Stretch(first, all_of_them))


def _number(text: str | int) -> int:
    if isinstance(text, int):
        return text
    digits = text.lower()
    return int(digits.removesuffix("k")) * (K if digits.endswith("k") else 1)


# What is likely meant by an item that cannot be read, by what stands in it; the first that matches.
HINTS = {
    r"": f"nothing stands between two commas, or at an end; {FORM}",
    r".*\d{25}.*": "too long a number; a sequence has at most 2**30 keys",
    r"\d*q\d+k?(s\d+k?)?(_.*)?": (
        "the queries stand before the q and the keys behind it: 2kq2k is a prompt of 2,048 tokens, and what vLLM's "
        "benchmarks write 8q1s1k is 8x 1q1k"
    ),
    r".*(\d[kK]?[iI]|[mMgG]).*": f"the only suffix is k, for 1,024; {FORM}",
    r".*\..*": f"whole numbers only, and a comma between items; {FORM}",
    r".*-.*": f"numbers are from 1 on; {FORM}",
}


def _hint(text: str) -> str:
    """What is wrong with an item that cannot be read, as far as one can tell."""
    return next((hint for form, hint in HINTS.items() if re.fullmatch(form, text, re.IGNORECASE)), FORM)
