"""What a notebook shows of an answer: the pieces of the page's first screen, with styles that reach nothing else.

Every rule of the style sheet stands below ``.attnbench``, there is no script, and nothing is asked of a network.
Colours are those of the page, light or dark as the notebook is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import all_standings
from attnbench.report import claimed, findings
from attnbench.report.content import imported_label, remarks, told
from attnbench.report.glance.conditions import conditions
from attnbench.report.glance.forest import forest, forest_noun
from attnbench.report.glance.grid import AnswerGrid, grid_of
from attnbench.report.html.page import STYLESHEET, TEMPLATE
from attnbench.report.html.templates import FOLDER, environment
from attnbench.suite import NOT_JUDGED

if TYPE_CHECKING:
    from attnbench.analysis.judged import JudgedRun, JudgedSuite
    from attnbench.report.tables import Table

ANSWER, LOOKS = "notebook.html.j2", "notebook.css"
# Of the page's style sheet: its colours by name, and the steps of a ratio.
COLOURS = re.compile(r"^  (?:--[\w-]+: light-dark\([^;]+\); ?)+$", re.MULTILINE)
STEPS = re.compile(r"^\.r\d \{[^}]+\}$", re.MULTILINE)
DOCUMENT = "<!DOCTYPE html>"


def run_html(run: JudgedRun, most: int) -> str:
    """A run: its advice and its grid, of at most so many cases, its claims, and under which conditions it was made."""
    verdicts = [(suite.name, row) for suite in run.suites for row in suite.verdicts if row["verdict"] != NOT_JUDGED]
    return _rendered(
        "run",
        info=run.info,
        suites=[_suite(suite, most) for suite in run.suites if not (suite.verdicts and verdicts)],
        claims=(drawn := forest(verdicts)),
        claims_noun=forest_noun(drawn),
        remarks=[said for suite in run.suites for said in remarks(suite)],
        conditions=conditions(run.info, run.frame),
        counts=f"{findings.counts(run.frame)} {imported_label(run.info)}".strip(),
    )


def _suite(judged: JudgedSuite, most: int) -> dict[str, Any]:
    """One suite of a run; where there is nothing to choose, its findings in brief."""
    over = all_standings(judged.frame)
    grid = grid_of(judged.frame, over)
    story, sentences, advice = told(judged, over)
    return {
        "name": judged.name,
        "advice": advice,
        "grid": None if grid is None else _short(grid, most),
        "more": 0 if grid is None else max(0, len(grid.rows) - most),
        "brief": findings.brief(sentences, claimed.tally(judged.verdicts)),
        "question": story.question,
    }


def _short(grid: AnswerGrid, most: int) -> AnswerGrid:
    return replace(grid, rows=grid.rows[:most])


def comparison_html(table: Table, common: Sequence[str], counted: str, remarks: Sequence[str]) -> str:
    """Two runs: how many verdicts of each kind, what they have in common, each of them, and what they rest on."""
    return _rendered("comparison", verdicts=table, common=common, counted=counted, remarks=remarks)


def agreement_html(facts: Mapping[str, Any]) -> str:
    """A check: its verdict, how it was asked, the faults with their cases, and a table for each implementation."""
    return _rendered("agreement", **facts)


def _rendered(what: str, **facts: Any) -> str:
    from markupsafe import Markup

    looks = Markup(style())  # noqa: S704  (our own files)
    given = dict.fromkeys(("report", *_NAMES)) | facts
    text: str = _template().render(what=what, looks=looks, **given)
    return text


_NAMES = (
    *("info", "suites", "claims", "claims_noun", "conditions", "counts"),
    *("verdicts", "common", "counted", "remarks", "checked"),
)


@cache
def style() -> str:
    """The styles, all of them below ``.attnbench``, so that they can disturb no notebook."""
    page = (FOLDER / STYLESHEET).read_text(encoding="utf-8")
    inner = (FOLDER / LOOKS).read_text(encoding="utf-8")
    colours, steps = ("\n".join(lines.findall(page)) for lines in (COLOURS, STEPS))
    return inner.replace("/* colours of the page */", colours).replace("/* steps of the page */", steps)


@cache
def _template() -> Any:
    """The answer's template below the macros of the page, which stand above its document."""
    loader = environment().loader
    if loader is None:
        msg = "the templates' environment has no loader"
        raise AssertionError(msg)
    page, inner = (loader.get_source(environment(), name)[0] for name in (TEMPLATE, ANSWER))
    macros = page.partition(DOCUMENT)[0]
    return environment().from_string(macros + inner)
