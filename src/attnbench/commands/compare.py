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
    from attnbench.comparing import SavedRun, Verdict
    from attnbench.comparing.between import BetweenRuns
    from attnbench.comparing.together import Drift, SharedReason


@dataclass(frozen=True)
class SavedComparison:
    """A comparison of saved runs. ``missing`` says what imported sides do not tell; ``live`` what to type instead.

    ``drift`` and ``reasons`` are what the verdicts have in common.
    """

    verdicts: tuple[Verdict, ...]
    margin: float
    drift: tuple[Drift, ...]
    reasons: tuple[SharedReason, ...]
    between: BetweenRuns
    between_ratios: BetweenRuns
    missing: tuple[str, ...]
    live: tuple[str, ...]
    exit_code: int

    @property
    def rests_on(self) -> str:
        """By what the intervals were widened; nothing to say where there is none."""
        judged = {verdict.by for verdict in self.verdicts if verdict.low is not None and verdict.metric == "time"}
        known = (("anchor", self.between_ratios), ("raw", self.between))
        return " ".join(between.sentence for by, between in known if by in judged)

    @property
    def judged_by(self) -> list[str]:
        """By what times were judged, in sentences."""
        from attnbench.comparing.anchored.said import judged_by

        return judged_by(self.verdicts)

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        from attnbench.comparing import CLAIM

        return {
            "claim": CLAIM,
            "margin": self.margin,
            "drift": [{**asdict(drift), "sentence": drift.sentence} for drift in self.drift],
            "reasons": [{**asdict(reason), "sentence": reason.sentence} for reason in self.reasons],
            "judged_by": self.judged_by,
            "between_runs": {**self.between.describe(), "sentence": self.rests_on},
            "between_ratios": self.between_ratios.describe(),
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
    from attnbench.comparing import load_saved
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
    from attnbench.comparing import compare_runs, exit_code
    from attnbench.comparing.between import BY, recorded
    from attnbench.comparing.live_command import live_advice
    from attnbench.comparing.together import drifts, shared_reasons

    folders = list(folders)
    between, ratios = (recorded(base.info, head.info, folders, by) for by in BY)
    verdicts = tuple(compare_runs(base, head, margin, between, ratios))
    return SavedComparison(
        verdicts,
        margin,
        drift=tuple(drifts(verdicts, margin)),
        reasons=tuple(shared_reasons(verdicts)),
        between=between,
        between_ratios=ratios,
        missing=tuple(_missing(base, head)),
        live=tuple(live_advice(base.info, head.info, verdicts, margin)),
        exit_code=exit_code(verdicts),
    )


def _missing(base: SavedRun, head: SavedRun) -> Iterable[str]:
    for side, run in (("BASE", base), ("HEAD", head)):
        if (source := run.info.imported) is not None:
            unknown = f"; not known of it: {', '.join(source.unknown)}" if source.unknown else ""
            yield f"{side} was imported from {source.tool} ({source.file}), not measured by attnbench run{unknown}."


def tell(judged: SavedComparison) -> None:
    """What all have in common, the counts, the table with its claim, and what the verdicts rest on."""
    from attnbench.comparing.verdicts import undecided
    from attnbench.report.console import render
    from attnbench.report.tables import verdict_table

    for reason in judged.reasons:
        show(reason.sentence)
    counts = Counter(verdict.verdict for verdict in judged.verdicts)
    show((", ".join(f"{n} {word}" for word, n in counts.items()) or "nothing was compared") + ".\n")
    show(render(verdict_table(judged.verdicts, judged.reasons)) + "\n")
    sentences = [drift.sentence for drift in judged.drift]
    if any(verdict.verdict == "inconclusive" and verdict.low is not None for verdict in judged.verdicts):
        sentences.append(f"inconclusive: the interval {undecided(judged.margin)}.")
    for line in filter(None, (*judged.judged_by, *sentences, judged.rests_on, *judged.missing, *judged.live)):
        show(line)
