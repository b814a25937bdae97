"""The worker's side of ``declaring``: which declaration of arithmetic explains what an implementation disagreed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attnbench.backends import discover
from attnbench.workers.protocol import OK, Done

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend


def declare_operation(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operation by its name in the protocol; ``backend`` is asked when it is called."""

    def declare(
        impl: str,
        files: list[str],
        disagreements: dict[str, dict[str, list[str]]],
        device: str,
        deep: bool,  # noqa: FBT001
        seconds: float,
    ) -> Done:
        """Which declaration explains the disagreements of each dtype.

        ``disagreements`` has for each dtype the cases that disagreed (``cases``) and the rules that held (``held``).
        The answer has for each dtype the declaration as a row says it (``told``) and those of the cases that it
        explains (``cases``).
        """
        from attnbench.agree.cases.case_text import case_from_text
        from attnbench.agree.declare.offer import Question, offer

        implementation = discover.load_implementation(impl, files)
        questions = {
            dtype: Question([case_from_text(case) for case in given["cases"]], given["held"])
            for dtype, given in disagreements.items()
        }
        offered = offer(backend(), implementation, questions, device, deep=deep, seconds=seconds)
        typed = {case_from_text(text): text for given in disagreements.values() for text in given["cases"]}
        cases = {dtype: [typed[case] for case in explained] for dtype, explained in offered.cases.items()}
        return OK, None, {dtype: {"told": offered.of(dtype), "cases": cases[dtype]} for dtype in cases}

    return {"declare": declare}
