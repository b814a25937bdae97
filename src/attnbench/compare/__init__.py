"""Judging runs against each other: statistics on raw samples, matched cells, verdicts that fail closed."""

from attnbench.compare.runs import SavedRun, load_saved, unlike
from attnbench.compare.verdicts import CLAIM, Verdict, compare, compare_runs, exit_code

__all__ = ["CLAIM", "SavedRun", "Verdict", "compare", "compare_runs", "exit_code", "load_saved", "unlike"]
