"""What ``ab.check`` returns: rows of every feature, what random cases showed, or what ONNX's nodes showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.interface.shown import ShownAnswer

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.agree.check.random_rows import RandomResult
    from attnbench.agree.check.rows import CheckRow
    from attnbench.agree.onnx.check import OnnxRow

GUARDED = "It was checked in processes of its own: a crash or a hang there is a row here."
UNGUARDED = "Unguarded: it ran in this process, so a crash or a changed random state would have been yours."


@dataclass(frozen=True, repr=False)
class Agreement(ShownAnswer):
    """What a check found: a row for each feature and dtype. Printing it says it all.

    ``guarded``: whether it ran in processes of its own, where a crash is a row, or in this one. ``notes`` are what was
    read from a function's arguments, and what the rows prove. ``exit_code`` is the exit status of ``attnbench check``:
    0, 1 a disagreement, 5 nothing was compared, 3 it was interrupted.
    """

    rows: tuple[CheckRow, ...]
    guarded: bool
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """The exit status of ``attnbench check``."""
        from attnbench.interface.checks.status import exit_of

        return exit_of(self.rows, interrupted=self.interrupted)

    @property
    def agrees(self) -> bool:
        """Whether something was compared, all of it agrees, and it came to its end."""
        return self.exit_code == 0

    @property
    def wrong(self) -> tuple[CheckRow, ...]:
        """The rows that disagree."""
        return tuple(row for row in self.rows if row.status == "wrong")

    @property
    def worst(self) -> CheckRow | None:
        """The disagreement with the smallest case; ``None`` where there is none."""
        return min(
            self.wrong, key=lambda row: (row.smallest_case is None, len("".join(row.smallest_case or []))), default=None
        )

    @property
    def smallest_case(self) -> list[str] | None:
        """The smallest case that disagrees, as ``case=`` takes it; several where it takes an earlier one to show."""
        return self.worst.smallest_case if self.worst is not None else None

    @property
    def again(self) -> str | None:
        """What shows that disagreement again: a command, or of a function a call."""
        return self.worst.again if self.worst is not None else None

    @property
    def verdict(self) -> str:
        """In a sentence."""
        compared = sum(row.first_counted for row in self.rows if row.answer is None)
        if self.wrong:
            return f"{len(self.wrong)} of {len(self.rows)} rows disagree."
        if not any(row.status in ("ok", "known") for row in self.rows):
            return "Nothing was compared."
        return f"All that was compared agrees: {compared:,} case{'s' * (compared != 1)}."

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame, with the fields that docs/interface.md explains."""
        import pandas as pd

        from attnbench.agree.check.rows import CheckRow

        return pd.DataFrame([vars(row) for row in self.rows], columns=list(CheckRow.__dataclass_fields__))

    @property
    def process(self) -> str:
        """Where it ran, and what that means."""
        return GUARDED if self.guarded else UNGUARDED

    def _asked_instead(self) -> str:
        return ".agrees"

    def __str__(self) -> str:
        from attnbench.interface.checks.table import report

        return "\n".join([report(self.rows), *self.notes, self.process])

    def _described(self) -> dict[str, Any]:
        """Faults, tables and remarks, as a notebook shows them."""
        from attnbench.interface.checks.notebook import described

        return described(self.rows)

    def html(self) -> str:
        """What a notebook shows."""
        from attnbench.report.html.notebook import agreement_html

        facts = {"verdict": self.verdict, "process": self.process, **self._described()}
        facts["colour"] = "bad" if self.wrong else "good" if self.agrees else ""
        facts["remarks"] = (*self.notes, *facts["remarks"])
        return agreement_html({"checked": facts})


@dataclass(frozen=True, repr=False)
class RandomAgreement(Agreement):
    """What random cases showed: ``results`` counts them, one for each implementation; ``rows`` are disagreements.

    Of each implementation the first twenty disagreements are rows, with their case as ``case=`` takes it.
    """

    results: tuple[RandomResult, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit status of ``attnbench check --random``."""
        from attnbench.interface.checks.random_cases import exit_of_results

        return exit_of_results(self.results)

    @property
    def verdict(self) -> str:
        """In a sentence."""
        wrong, compared = (sum(getattr(result, name) for result in self.results) for name in ("wrong", "cases"))
        if wrong:
            return f"{wrong:,} of {compared:,} random cases disagree."
        agree = f"All that was compared agrees: {compared:,} random case{'s' * (compared != 1)}."
        return agree if compared else "Nothing was compared."

    def frame(self) -> pd.DataFrame:
        """A row for each implementation, with the fields that ``attnbench check --random --json`` has."""
        import pandas as pd

        from attnbench.interface.checks.random_cases import entry

        return pd.DataFrame([entry(result) for result in self.results])

    def __str__(self) -> str:
        from attnbench.interface.checks.random_cases import report

        return "\n".join([report(self.results), *self.notes, self.process])

    def _described(self) -> dict[str, Any]:
        from attnbench.interface.checks import notebook, random_cases

        said = (*random_cases.remarks(self.results), random_cases.LEGEND)
        return notebook.counted(*random_cases.lines_of(self.results), random_cases.faults(self.results), said)


@dataclass(frozen=True, repr=False)
class NodeAgreement(Agreement):
    """What ONNX's nodes showed: ``results`` has each node of each implementation; ``rows`` are disagreements."""

    results: tuple[OnnxRow, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit status of ``attnbench check --onnx``."""
        from attnbench.interface.checks.nodes import exit_of_nodes

        return exit_of_nodes(self.results)

    @property
    def verdict(self) -> str:
        """In a sentence."""
        from attnbench.interface.checks.nodes import verdict

        return verdict(self.results)

    def frame(self) -> pd.DataFrame:
        """A row for each node of each implementation."""
        import pandas as pd

        from attnbench.agree.onnx.check import OnnxRow

        return pd.DataFrame([vars(row) for row in self.results], columns=list(OnnxRow.__dataclass_fields__))

    def __str__(self) -> str:
        from attnbench.interface.checks.nodes import report

        return "\n".join([report(self.results), *self.notes, self.process])

    def _described(self) -> dict[str, Any]:
        from attnbench.interface.checks import nodes, notebook

        said = nodes.remarks(self.results)
        return notebook.counted(*nodes.lines_of(self.results), nodes.faults(self.results), said)
