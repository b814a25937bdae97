"""What the marker of a test says, and the parts of the work that it is split into."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.errors import UsageError
from attnbench.keywords import check_keywords

NAME = "attnbench"
OF_CASES = ("features", "dtypes", "gradients", "align", "backend", "layout", "device")


@dataclass(frozen=True)
class TestPart:
    """What one test tries: these rows of the table, in this dtype. Empty rows are all that there are."""

    __test__ = False

    rows: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as ``causal-float32``."""
        return "-".join((*(self.rows or ("every",)), *(self.dtypes or ("float32",))))


def said_by(marks: Iterable[Any]) -> dict[str, Any]:
    """The words of the markers of a test; those of the nearest win. Raises ``UsageError`` for what is none."""
    said: dict[str, Any] = {}
    for mark in marks:
        if mark.args:
            msg = f"the marker {NAME} takes words, as in @pytest.mark.{NAME}(features='causal,gqa'); got {mark.args!r}"
            raise UsageError(msg)
        renamed = {"dtypes" if name == "dtype" else name: value for name, value in mark.kwargs.items()}
        said = {**renamed, **said}
    return said


def check_said(said: dict[str, Any], *, of_cases: bool) -> None:
    """Raise ``KeywordError`` for a word that nobody reads."""
    if of_cases:
        check_keywords(f"the marker {NAME} of a test with attention_case", said, OF_CASES)
        return
    from attnbench.keywords import SPEC
    from attnbench.testing.asserting import assert_agrees

    unread = ("fn", "built", "rows", "dtype")
    words = [name for name in inspect.signature(assert_agrees).parameters if name not in unread]
    check_keywords(f"the marker {NAME}", said, ["dtypes", *words, *SPEC])


def parts(said: dict[str, Any], *, every: bool) -> list[TestPart]:
    """The parts of a test: with ``every`` one for each feature and dtype, else one for all features in the first dtype.

    Words of the spec, which are built into a function, are in all of its cases: there is a part for each dtype.
    """
    from attnbench.keywords import SPEC
    from attnbench.testing.saying import PLAIN, words

    dtypes = words(said.get("dtypes")) or ("",)
    if said.get("case"):
        return [TestPart((), words(said.get("dtypes")))]
    if not every:
        return [TestPart((), (dtypes[0],) if dtypes[0] else ())]
    features: Sequence[str] = () if said.get("spec") or set(SPEC) & set(said) else words(said.get("features"))
    rows: list[tuple[str, ...]] = [(name,) for name in dict.fromkeys((PLAIN, *features))] if features else [()]
    return [TestPart(row, (dtype,) if dtype else ()) for row in rows for dtype in dtypes]


def of_part(part: TestPart, more: dict[str, Any]) -> dict[str, Any]:
    """What the part of a test gives way to: words of the test's own that say which cases are tried."""
    from attnbench.keywords import SPEC

    if more.get("case"):
        usual = {"dtype": (), "rows": (), "gradients": False, "without": (), "require": (), "budget": None}
        return {name: value for name, value in usual.items() if name not in more}
    return {"rows": ()} if part.rows and set(more) & {"features", "spec", *SPEC} else {}


def cases(said: dict[str, Any], *, every: bool) -> list[str]:
    """The lines of the cases of a test; by default those of the first dtype, the first that has each feature.

    Raises ``UsageError`` where no case has a feature that is named: nothing would be known of it.
    """
    from attnbench.agree.cases.case_text import case_text
    from attnbench.agree.cases.features import features_of
    from attnbench.testing.declared import Drawable
    from attnbench.testing.saying import words

    dtypes = words(said.get("dtypes")) or ("float32",)
    drawable = Drawable(
        words(said.get("features")),
        dtypes if every else dtypes[:1],
        bool(said.get("gradients")),
        said.get("align"),
    )
    chosen: list[str] = []
    seen: set[str] = set()
    for case in drawable.cases():
        about = set(features_of(case))
        if (text := case_text(case)) not in chosen and (every or not about <= seen):
            chosen.append(text)
        seen |= about
    if missing := [name for name in drawable.features if name not in seen]:
        msg = f"no case for the fixture attention_case has {', '.join(missing)}; agrees(fn) tries more"
        raise UsageError(msg)
    return chosen
