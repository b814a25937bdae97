"""``attnbench compare`` and ``ab.compare``: a saved run judged against another, and what the weaker claim rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.interface.given import percentage, run_path
from attnbench.interface.shown import ShownAnswer
from attnbench.keywords import explained

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.comparing import SavedRun, Verdict
    from attnbench.comparing.between import BetweenRuns
    from attnbench.comparing.together import Drift, SharedReason


@dataclass(frozen=True, repr=False)
class SavedComparison(ShownAnswer):
    """A comparison of saved runs: a verdict on each cell, and what they have in common; printing it says it all.

    ``verdicts`` are one for each cell and metric, ``margin`` the smallest change that matters, as a fraction.
    ``missing`` says what imported sides do not tell; ``live`` what to type instead. ``drift`` and ``reasons`` are what
    the verdicts have in common. ``exit_code`` is the exit status of the command: 1 slower or larger, 5 nothing was
    compared, 3 undecided, 0 same, faster or smaller.
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

    @property
    def counts(self) -> dict[str, int]:
        """How many verdicts are ``slower``, ``same``, ``faster`` and so on."""
        return dict(Counter(verdict.verdict for verdict in self.verdicts))

    def frame(self) -> pd.DataFrame:
        """The verdicts as a pandas frame, one row for each cell and metric."""
        import pandas as pd

        from attnbench.comparing import Verdict

        return pd.DataFrame([asdict(verdict) for verdict in self.verdicts], columns=list(Verdict.__dataclass_fields__))

    def __str__(self) -> str:
        return "\n".join(lines(self))

    def html(self) -> str:
        """What a notebook shows."""
        from attnbench.report.html.notebook import comparison_html
        from attnbench.report.tables import verdict_table

        return comparison_html(verdict_table(self.verdicts, self.reasons), common(self), counted(self), remarks(self))


@explained
def compare(base: str | PathLike[str], head: str | PathLike[str], *, margin: str | float = "5%") -> SavedComparison:
    """Judge the saved run ``head`` against ``base``, as ``attnbench compare`` does: slower, same, faster or undecided.

    Both are run folders or run_ids below ``results/``, or objects of ``ab.run``. ``margin`` is the smallest change that
    matters, such as ``"5%"`` or ``0.05``. Raises ``UsageError`` and its kin; prints nothing.
    """
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench compare")
    from attnbench.comparing import load_saved
    from attnbench.results.read import run_folder

    smallest = percentage(margin)
    sides = [run_folder(run_path(run)) for run in (base, head)]
    return judge(load_saved(sides[0]), load_saved(sides[1]), smallest, {side.parent for side in sides})


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


def lines(judged: SavedComparison) -> list[str]:
    """What all have in common, the counts, the table with its claim, and what the verdicts rest on."""
    from attnbench.report.console import render
    from attnbench.report.tables import verdict_table

    table = render(verdict_table(judged.verdicts, judged.reasons))
    return [*common(judged), f"{counted(judged)}\n", f"{table}\n", *remarks(judged)]


def common(judged: SavedComparison) -> list[str]:
    """The reasons that many verdicts share."""
    return [reason.sentence for reason in judged.reasons]


def counted(judged: SavedComparison) -> str:
    """How many verdicts there are of each kind, in a sentence."""
    return (", ".join(f"{n} {word}" for word, n in judged.counts.items()) or "nothing was compared") + "."


def remarks(judged: SavedComparison) -> list[str]:
    """What the verdicts rest on, and what to type for a stronger claim."""
    from attnbench.comparing.verdicts import undecided

    sentences = [drift.sentence for drift in judged.drift]
    if any(verdict.verdict == "inconclusive" and verdict.low is not None for verdict in judged.verdicts):
        sentences.append(f"inconclusive: the interval {undecided(judged.margin)}.")
    return list(filter(None, (*judged.judged_by, *sentences, judged.rests_on, *judged.missing, *judged.live)))
