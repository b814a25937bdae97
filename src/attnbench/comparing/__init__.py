"""Judging runs against each other: statistics on raw samples, matched cells, verdicts that fail closed.

In reading order: ``statistics`` and ``signed_rank`` (intervals), ``rates`` (how often, with an interval), ``runs``
(saved runs, and what makes two unlike), ``between`` (how runs differ by themselves), ``verdicts`` (``compare``),
``baseline``; ``sequential`` (a rule that may stop early), ``live`` (its verdicts), ``live_command`` (the command that
would decide), ``many`` (the rule on many cells at once), ``calibration`` (what a machine can tell); ``history`` and
``past_runs``; the rooms ``anchored`` (what two runs are judged by), ``repeated`` (how runs of one code differ) and
``together`` (what all verdicts have in common).
"""

from attnbench.comparing.runs import SavedRun, load_saved, unlike
from attnbench.comparing.verdicts import CLAIM, Verdict, compare, compare_runs, exit_code

__all__ = ["CLAIM", "SavedRun", "Verdict", "compare", "compare_runs", "exit_code", "load_saved", "unlike"]
