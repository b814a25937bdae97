"""What is wrong with the declaration of a suite, in words: said when it is defined, before anything is planned."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from attnbench.errors import UsageError, suggest
from attnbench.suite.axis import AxisLevels, usual_kind
from attnbench.suite.levels import Levels
from attnbench.suite.story import Story


def words_of(kind: type) -> set[str]:
    """The words with which a suite of a kind, or a story, is declared."""
    return {field.name for field in fields(kind) if field.init}


def refuse_no_kind(name: object) -> None:
    """Raise ``UsageError`` for what is declared as a ``Suite`` of no kind: nobody could tell what it measures."""
    msg = (
        f"suite {name!r} is of one of two kinds: TimedSuite, with case(**point), where calls are timed, or "
        "ObservedSuite, with observe(probe, **point), where an analysis computes numbers"
    )
    raise UsageError(msg)


def check_words(name: object, words: Collection[str], kind: type, other: type) -> None:
    """Raise ``UsageError`` for a word in the wrong place: one of the ``other`` kind of suite, or one of its story.

    A word that nobody knows is left to the dataclass, which refuses it by itself.
    """
    for word in words:
        if word in words_of(kind):
            continue
        if word in words_of(other):
            msg = f"suite {name!r} is {_way(kind)}, not {_way(other)}: {word!r} belongs to {other.__name__}"
            raise UsageError(msg)
        if word in words_of(Story):
            msg = f"suite {name!r} gives its {word} in its story: story=Story({word}=...)"
            raise UsageError(msg)


def _way(kind: type) -> str:
    return kind.__name__.removesuffix("Suite").lower()


def check_story(name: str, story: object) -> None:
    """Raise ``UsageError`` where a story is none, such as a question alone."""
    if not isinstance(story, Story):
        msg = f"suite {name!r} has {story!r} in the place of its story; write story=Story(question=...)"
        raise UsageError(msg)


def check_tuples(name: str, axes: object, **texts: object) -> None:
    """Raise ``UsageError`` for axes that have no tuples of levels, and for a text where texts belong in a tuple."""
    if not isinstance(axes, Mapping):
        msg = f"suite {name!r} maps its axes to their levels, such as axes={{'d': (16, 64)}}; got {axes!r}"
        raise UsageError(msg)
    for axis, levels in axes.items():
        if isinstance(levels, str) or not isinstance(levels, Sequence):
            msg = f"axis {axis!r} of suite {name!r} has a tuple of levels, such as ({levels!r},); got {levels!r}"
            raise UsageError(msg)
    for word, listed in texts.items():
        if isinstance(listed, str) or not isinstance(listed, Sequence):
            msg = f"suite {name!r} has {word} in a tuple, such as {word}=({listed!r},); got {listed!r}"
            raise UsageError(msg)


def check_read(name: str, axes: Collection[str], read: Sequence[str]) -> None:
    """Raise ``UsageError`` where the function of a suite reads other axes than the suite declares."""
    if set(read) != set(axes):
        msg = f"suite {name!r} declares the axes {sorted(axes)} but reads {sorted(read)}"
        raise UsageError(msg)


def check_tiers(name: str, axes: Collection[str], tiers: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> None:
    """Raise ``UsageError`` for a tier with levels on an axis that is not there."""
    for tier, levels in tiers.items():
        if unknown := [axis for axis in levels if axis not in axes]:
            msg = f"suite {name!r} has no axis {unknown[0]!r} for its tier {tier!r}"
            raise UsageError(msg)


def known_levels(
    name: str,
    axes: Mapping[str, tuple[Any, ...]],
    tiers: Mapping[str, Mapping[str, tuple[Any, ...]]],
    levels: Mapping[str, Levels],
) -> dict[str, AxisLevels]:
    """What every axis takes: what is declared, else what its own levels and those of its tiers say.

    Raises ``UsageError`` for levels of an axis that is not there, and for a level of the suite's own that is wrong.
    """
    if unknown := [axis for axis in levels if axis not in axes]:
        msg = f"suite {name!r} has no axis {unknown[0]!r} to declare the levels of; it has "
        raise UsageError(msg + ", ".join(axes) + suggest(unknown[0], axes))
    for axis, kind in levels.items():
        if not isinstance(kind, Levels):
            what = f"the levels of axis {axis!r} of suite {name!r}"
            msg = f"{what} are a kind of levels, such as Whole(1) or OneOf('a', 'b'); got {kind!r}"
            raise UsageError(msg)
    known = {}
    for axis, usual in axes.items():
        theirs = [tier[axis] for tier in tiers.values() if axis in tier]
        every = tuple(dict.fromkeys(level for part in (usual, *theirs) for level in part))
        known[axis] = AxisLevels(name, axis, levels.get(axis) or usual_kind(axis, every), tuple(usual))
        if axis in levels and every:
            known[axis].check_all(every)
    return known


def check_rules(name: str, axes: Collection[str], rules: Sequence[Callable[..., bool]]) -> None:
    """Raise ``UsageError`` for a rule of thinning that reads an axis that is not there."""
    for rule in rules:
        if unknown := [axis for axis in read_by(rule) if axis not in axes]:
            msg = f"suite {name!r} has no axis {unknown[0]!r} for its rule of thinning to read"
            raise UsageError(msg)


def check_beside(name: str, axes: Collection[str], beside: Sequence[str]) -> None:
    """Raise ``UsageError`` where the levels of an axis that is not there are to stand beside each other."""
    if unknown := [axis for axis in beside if axis not in axes]:
        msg = f"suite {name!r} has no axis {unknown[0]!r} to stand beside each other; it has "
        raise UsageError(msg + ", ".join(axes) + suggest(unknown[0], axes))


def read_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arguments of a function, in order."""
    return tuple(inspect.signature(function).parameters)
