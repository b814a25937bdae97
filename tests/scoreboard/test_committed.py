"""What is committed under results/scoreboard still counts: it was measured by the rules of the code of now.

A row names its rules by a hash of all that they come from: constants, what they say of fixed numbers, the source of
``scoreboard/attention.py`` with its imports, that of the benchmarks, the version of the tool. Whoever changes one of
these has to measure again, or to leave it. The machine is no part of this: it is another one here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from attnbench.results.journal import read_journal
from attnbench.scoreboard.live import campaign, tools, trials

COMMITTED = Path(__file__).parents[2] / "results" / "scoreboard"
TRIALS, CAMPAIGN = COMMITTED / trials.JOURNAL, COMMITTED / campaign.JOURNAL


def rows_of(journal: Path) -> list[Mapping[str, Any]]:
    return [record.data for record in read_journal(journal)]


def rules_of_now(row: Mapping[str, Any]) -> str | None:
    """What the rules of a row would be called now; ``None`` where another version of its tool is installed here."""
    if "tool" not in row:
        return campaign.conditions(len(row["cells"])).rules
    name = row["tool"]
    if name in tools.PACKAGES and row["versions"][name] != tools.versions()[name]:
        return None
    return trials.conditions(name, row["cells"]).rules


def not_counting(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tools and rules of rows that were measured by others than those of now."""
    unlike = [row for row in rows if rules_of_now(row) not in (None, row["rules"])]
    return sorted({f"{row.get('tool', 'campaign')}: {row['rules']}, now {rules_of_now(row)}" for row in unlike})


def test_there_is_something_to_count() -> None:
    assert {row["tool"] for row in rows_of(TRIALS)} == set(trials.ALL)
    assert rows_of(CAMPAIGN)


@pytest.mark.parametrize("journal", [TRIALS, CAMPAIGN], ids=lambda journal: str(journal.stem))
def test_the_committed_rows_were_measured_by_the_rules_of_now(journal: Path) -> None:
    assert not_counting(rows_of(journal)) == []


def test_a_row_by_other_rules_is_seen_and_one_of_another_version_is_passed_over() -> None:
    now = [{**row, "rules": rules_of_now(row)} for row in (*rows_of(TRIALS), *rows_of(CAMPAIGN))]
    assert not_counting(now) == []
    for name in trials.ALL:
        row = next(row for row in now if row.get("tool") == name)
        assert not_counting([{**row, "rules": "other"}]) == [f"{name}: other, now {row['rules']}"]
        elsewhere = {**row, "rules": "other", "versions": {**row["versions"], name: "0"}}
        assert bool(not_counting([elsewhere])) == (name == trials.OWN)
    assert not_counting([{**now[-1], "rules": "other"}]) == [f"campaign: other, now {now[-1]['rules']}"]
