"""attnbench: benchmarks and ablations of attention across frameworks, with agreement checked first.

Nothing heavy is imported until it is used: ``import attnbench`` loads no framework, no pandas, no seaborn.
"""

from __future__ import annotations

from attnbench.lazily import loader

__version__ = "0.1.0"

_LAZY = {
    "AttentionSpec": "attnbench.spec",
    "AttentionOutput": "attnbench.implementation",
    "AttnbenchError": "attnbench.errors",
    "Case": "attnbench.problem",
    "Problem": "attnbench.problem",
    "SpecError": "attnbench.errors",
    "UnsupportedError": "attnbench.errors",
    "attend": "attnbench.attention",
    "clear_bindings": "attnbench.backends.kept",
    "default_params": "attnbench.inputs",
    "from_padding": "attnbench.call",
    "load": "attnbench.results.dataset",
    "vjp": "attnbench.attention",
}

__all__ = [  # noqa: PLE0604  (the lazy names are resolved by __getattr__)
    "__version__",
    *_LAZY,
]


__getattr__ = loader(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted(__all__)
