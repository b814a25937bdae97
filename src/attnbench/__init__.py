"""attnbench: benchmarks and ablations of attention across frameworks, with agreement checked first.

Nothing heavy is imported until it is used: ``import attnbench`` loads no framework, no pandas, no seaborn.

Rooms, in reading order: ``attention`` (what it is), ``backends`` (who computes it), ``api`` (what files of kernels,
adapters and suites import), ``suite`` and ``groups`` (a question and its cells), ``agree`` (when it is right),
``explaining`` (saved arrays), ``workers`` (processes that can be lost), ``checking`` (agreement, in processes),
``precheck`` (kernels for a GPU, without one), ``tried`` (what has run on a GPU or was prechecked), ``measure`` (how
long and how much), ``results`` (what was seen, kept), ``comparing`` (runs against each other), ``live`` (two sides,
both alive), ``crossover`` (from where on one is faster),
``analysis`` (what suites compute of results), ``answers`` (which one to take), ``workloads`` (what is served),
``ablate`` (trainings), ``exchange`` (other tools' formats), ``scoreboard`` (our verdicts and theirs), ``ci`` (files
for a kernel's own repository), ``show`` and ``report`` (for people), ``interface`` (what is asked, in a shell or in
Python), ``testing`` (for other people's test suites), ``dispatch`` (one run on many machines), ``day`` (ten minutes of
a GPU), ``commands`` (what is typed). Beside them stand ``errors``, ``keywords`` (that are none: what was meant),
``versions`` (of what is installed) and ``lazily`` (names that are loaded when somebody asks).
"""

from __future__ import annotations

from attnbench.lazily import loader

__version__ = "0.1.0"

_LAZY = {
    "AttentionSpec": "attnbench.attention.spec",
    "AttentionOutput": "attnbench.backends.implementation",
    "AttnbenchError": "attnbench.errors",
    "Case": "attnbench.attention.problem",
    "Problem": "attnbench.attention.problem",
    "SpecError": "attnbench.errors",
    "UnsupportedError": "attnbench.errors",
    "attend": "attnbench.backends.attend",
    "best": "attnbench.answers.ask",
    "check": "attnbench.interface.agreement",
    "clear_bindings": "attnbench.backends.kept",
    "compare": "attnbench.interface.comparison",
    "default_params": "attnbench.attention.inputs",
    "explain": "attnbench.explaining.ask",
    "from_padding": "attnbench.attention.call",
    "load": "attnbench.results.dataset",
    "open_run": "attnbench.interface.runs",
    "run": "attnbench.interface.runs",
    "table": "attnbench.answers.tabulate",
    "vjp": "attnbench.backends.attend",
    "workload": "attnbench.workloads.asked_for",
}

__all__ = [  # noqa: PLE0604  (the lazy names are resolved by __getattr__)
    "__version__",
    *_LAZY,
]


__getattr__ = loader(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted(__all__)
