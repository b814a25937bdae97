"""What stands first on a terminal and in a pipe: the answer, its grid or its claims, and under which conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnbench.analysis.claims import CONTRADICTED, NOT_DETECTED, REPRODUCED
from attnbench.report.console import render
from attnbench.report.content import Report, RunReport, Section
from attnbench.report.glance.forest import DIFFERS, ForestLine
from attnbench.report.tables import Table
from attnbench.report.terminal.gridded import CODES, PLAIN, grid_lines, wrapped
from attnbench.show.console import screen
from attnbench.show.table import Screen, visible

MOST_SIGNS = 400  # of a reason that is printed
MOST_ROWS = 48  # of a table that is printed
COLOURED = {REPRODUCED: CODES["green"], CONTRADICTED: CODES["yellow"], NOT_DETECTED: CODES["dim"]}


def answer_text(report: Report, place: Screen | None = None, *, served: bool = False) -> str:
    """The answer of every run, for a screen (standard output if not given).

    ``served``: the verdict on a workload was said before, and only its grid is wanted.
    """
    place = place or screen()
    parts = list(_machines(report, place))
    parts += [part for run in report.runs for part in _run(run, place, _named(report, run), served=served)]
    if report.beside is not None:
        parts.append("\n".join(_beside(report, place)))
    return "\n\n".join(part for part in parts if part)


def _machines(report: Report, place: Screen) -> Iterator[str]:
    """Of several machines the answers of each and their tables, before each run by itself."""
    if report.machines is None:
        return
    lines = [f"{len(report.machines.machines)} machines, whose numbers are never compared with each other.", ""]
    for line in report.machines.lines:
        lines += wrapped(visible(line), place.width, "  ")
    yield "\n".join(lines)
    for sentence, table in report.machines.shown:
        yield "\n".join([*wrapped(visible(sentence), place.width), "", *_tables([table], place)])


def _named(report: Report, run: RunReport) -> str:
    """What a run is headed by where there are several."""
    if len(report.runs) == 1:
        return ""
    where = f", on {report.machines.name_of(run.info.run_id)}" if report.machines else ""
    return visible(f"Run {run.info.run_id}{where}")


def _run(run: RunReport, place: Screen, head: str, *, served: bool) -> Iterator[str]:
    if head:
        yield head
    if run.forest:
        yield "\n".join(_claims(run, place))
    for section in run.sections:
        if run.forest and section.verdicts:
            continue
        start = f"{visible(section.suite)}: " if len(run.sections) > 1 else ""
        yield "\n".join(_section(section, place, start, served=served))
    if run.failures.rows:
        yield "\n".join(_failures(run, place))
    yield "\n".join(_conditions(run, place))


def _section(section: Section, place: Screen, start: str, *, served: bool) -> Iterator[str]:
    """The sentence with the grid; what was found and the tables themselves where there is nothing to choose from."""
    chosen = section.grid is not None and section.advice is not None
    sentences = [_sentence(section, served=served)] if chosen else list(section.short or section.brief[:1])
    for number, sentence in enumerate(filter(None, sentences)):
        yield from wrapped(visible(f"{'' if number else start}{sentence}"), place.width)
    if not any(sentences) and start:
        yield start.rstrip()
    yield ""
    if section.grid is None or not chosen:
        yield from _tables(section.tables, place)
        return
    yield from grid_lines(section.grid, place)
    if section.advice is not None and section.advice.rests_on:
        yield from wrapped(section.advice.rests_on, place.width)


def _tables(tables: Sequence[Table], place: Screen) -> Iterator[str]:
    """Tables of a screen or two; of longer ones, how long they are."""
    for number, table in enumerate(tables):
        if number:
            yield ""
        if len(table.rows) <= MOST_ROWS:
            yield render(table, place)
        else:
            length = f"{table.title}: a table of {len(table.rows)} rows, see below where."
            yield from wrapped(visible(length), place.width)


def _sentence(section: Section, *, served: bool) -> str:
    return "" if section.advice is None or (served and section.answered) else section.advice.sentence


def _claims(run: RunReport, place: Screen) -> Iterator[str]:
    """How many verdicts came to what, then every claim, those that did not hold first."""
    yield from wrapped(run.tallied, place.width)
    for verdict, lines in run.forest.items():
        yield ""
        head = f"{verdict} · {len(lines)} claim{'s' * (len(lines) > 1)}"
        code = COLOURED.get(verdict, "") if place.colour else ""
        yield f"{code}{head}{PLAIN}" if code else head
        for line in lines:
            yield from wrapped(visible(f"  {_claim(line)}"), place.width, "      ")


def _claim(line: ForestLine) -> str:
    """A claim with what was found of it, by whom and in which suite; how often each verdict came, where they differ."""
    first, *more = line.marks
    who = f"{first.impls}, " if first.impls and not more else ""
    rest = f" and {len(more)} more" if more else ""
    counts = f"{line.counted}; " if line.verdict == DIFFERS else ""
    return f"{line.claim}: {first.text}{rest} ({counts}{who}{line.suite})"


def _failures(run: RunReport, place: Screen) -> Iterator[str]:
    """What failed, by implementation, status and reason, with the case or how many there are."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for _, case, impl, status, reason in run.failures.rows:
        alike.setdefault((impl, status, reason), []).append(case)
    yield "Failed:"
    for (impl, status, reason), cases in alike.items():
        where = cases[0] if len(cases) == 1 else f"{len(cases)} cases"
        why = reason if len(reason) <= MOST_SIGNS else f"{reason[:MOST_SIGNS]} … (all of it is in the report)"
        yield from wrapped(visible(f"  {impl}, {where}: {status}: {why}"), place.width, "      ")


def _conditions(run: RunReport, place: Screen) -> Iterator[str]:
    """Machine, noise and date in one line, what became of the cells, and what the budget did."""
    facts = [run.conditions[name] for name in ("Machine", "Noise", "Date") if name in run.conditions]
    yield from wrapped(visible(" · ".join(facts)), place.width)
    yield from wrapped(visible(run.counts), place.width)
    for sentence in run.shortened:
        yield from wrapped(visible(sentence), place.width)


def _beside(report: Report, place: Screen) -> Iterator[str]:
    """What two runs beside each other come to; their times are in the report and in ``compare``."""
    pair = report.beside
    assert pair is not None  # noqa: S101  (asked by answer_text)
    if pair.rows:
        count = f"Of {len(pair.rows)} cells {len(pair.rows) - pair.differing} are the same by the rules of compare."
        yield from wrapped(count, place.width)
    for sentence in pair.worth:
        yield from wrapped(visible(sentence), place.width)
    yield from wrapped(f"Both times of each: attnbench compare {pair.base} {pair.head}", place.width, "  ")
