"""What is really served: a mix of sequences with counts, measured as a suite made for it, and the answer for the mix.

In reading order: ``grammar`` (``120x 1q4k``: items, and what they are in words), ``mixes`` (a workload, and which of
its sequences are one call), ``binning`` (a long trace as a few dozen cases), ``named`` (workloads with their sources;
``named.toml``), ``asked_for`` (what ``--workload`` names: a mix, a name, a file), ``parts`` (which calls, how often,
and the case of each), ``interleaved`` (the suite, whose blocks have all ways of calling a kind), ``totals`` (what
serving the mix takes, process by process), ``paired`` (two totals compared), ``flips`` (at which share of prefill the
winner flips), ``verdict`` (the answer), ``said`` (the answer in words), ``shown`` (its figures).
"""

from attnbench.workloads.asked_for import workload
from attnbench.workloads.interleaved import ServedSuite
from attnbench.workloads.mixes import Workload, check_level
from attnbench.workloads.named import named
from attnbench.workloads.parts import WAYS, case_of, part, parts
from attnbench.workloads.said import findings
from attnbench.workloads.shown import FIGURES
from attnbench.workloads.totals import served
from attnbench.workloads.verdict import answers, verdict

__all__ = [
    "FIGURES",
    "WAYS",
    "ServedSuite",
    "Workload",
    "answers",
    "case_of",
    "check_level",
    "findings",
    "named",
    "part",
    "parts",
    "served",
    "verdict",
    "workload",
]
