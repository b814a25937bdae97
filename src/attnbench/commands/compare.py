"""``attnbench compare`` and the check of a baseline: saved runs judged, and what their weaker claim rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import percentage
from attnbench.show.console import document, show

if TYPE_CHECKING:
    from attnbench.compare import SavedRun, Verdict
    from attnbench.compare.between import BetweenRuns


@dataclass(frozen=True)
class SavedComparison:
    """A comparison of saved runs. ``missing`` says what imported sides do not tell; ``live`` what to type instead."""

    verdicts: tuple[Verdict, ...]
    between: BetweenRuns
    missing: tuple[str, ...]
    live: tuple[str, ...]
    exit_code: int

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        from attnbench.compare import CLAIM

        return {
            "claim": CLAIM,
            "between_runs": {**asdict(self.between), "sentence": self.between.sentence},
            "missing": list(self.missing),
            "live": list(self.live),
            "exit_code": self.exit_code,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The run to compare with.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The run to judge.")],
    *,
    margin: options.Margin = "5%",
    as_json: options.Json = False,
) -> None:
    """Judge a saved run against another: slower, same, faster, inconclusive or not comparable."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench compare")
    from attnbench.compare import load_saved
    from attnbench.results.read import run_folder

    smallest = percentage(margin)
    folders = {run_folder(run).parent for run in (base, head)}
    judged = judge(load_saved(base), load_saved(head), smallest, folders)
    if as_json:
        document(judged.describe())
    else:
        tell(judged)
    raise typer.Exit(judged.exit_code)


def judge(base: SavedRun, head: SavedRun, margin: float, folders: Iterable[Path]) -> SavedComparison:
    """Verdicts, widened by what is known of the machine; ``folders`` hold its earlier runs."""
    from attnbench.compare import compare_runs, exit_code
    from attnbench.compare.between import recorded
    from attnbench.compare.live_command import live_advice

    between = recorded(base.info, head.info, folders)
    verdicts = tuple(compare_runs(base, head, margin, between.value))
    live = tuple(live_advice(base.info, head.info, verdicts, margin))
    return SavedComparison(verdicts, between, tuple(_missing(base, head)), live, exit_code(verdicts))


def _missing(base: SavedRun, head: SavedRun) -> Iterable[str]:
    for side, run in (("BASE", base), ("HEAD", head)):
        if (source := run.info.imported) is not None:
            unknown = f"; not known of it: {', '.join(source.unknown)}" if source.unknown else ""
            yield f"{side} was imported from {source.tool} ({source.file}), not measured by attnbench run{unknown}."


def tell(judged: SavedComparison) -> None:
    """The table with its claim, the counts, and what the verdicts rest on."""
    from attnbench.report.console import render
    from attnbench.report.tables import verdict_table

    show(render(verdict_table(judged.verdicts)))
    counts = Counter(verdict.verdict for verdict in judged.verdicts)
    show("\n" + (", ".join(f"{n} {word}" for word, n in counts.items()) or "nothing was compared") + ".")
    for line in (judged.between.sentence, *judged.missing, *judged.live):
        show(line)
