"""What tests ask of a sentence is held to: order, whole numbers, one sentence."""

import pytest

from tests.wording import any_says, says

SENTENCE = "At d = 256, by arm: unscaled 0.10 / 0.98 and -0.39; folded 10.5 [9.9, 11]."


@pytest.mark.parametrize(
    "parts", [("d = 256", "unscaled 0.10 / 0.98", "folded 10.5"), ("-0.39",), ("10.5", "[9.9, 11]"), ("11",)]
)
def test_what_a_sentence_says_is_seen(parts: tuple[str, ...]) -> None:
    assert says(SENTENCE, *parts)


@pytest.mark.parametrize(
    "parts",
    [
        ("folded", "unscaled"),
        ("unscaled 0.1",),
        ("0.5",),
        ("0.39",),
        ("d = 25",),
        ("folded 10",),
        ("unscaled 0.10", "unscaled"),
        ("scaled 0.11",),
    ],
)
def test_another_number_or_order_is_not_what_it_says(parts: tuple[str, ...]) -> None:
    assert not says(SENTENCE, *parts)


def test_parts_of_two_sentences_are_said_by_none() -> None:
    assert any_says(["a/x is 1.0.", "b/x is 2.0."], "b/x", "2.0")
    assert not any_says(["a/x is 1.0.", "b/x is 2.0."], "a/x", "2.0")
